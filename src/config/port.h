/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the file writes a service's port: `tcp/80`, `udp/53`, `quic/443`, `tcp/8000-8099`. Each value
 * has one canonical text, and parsing that text gives the value again. Pure; any thread.
 */
#ifndef FAIRLEAD_CONFIG_PORT_H
#define FAIRLEAD_CONFIG_PORT_H

struct service_port;

/* NULL when all is well; elsewhere the rest of the sentence "… is not a port: ", and the output is
 * untouched. */
const char *port_parse(const char *text, struct service_port *ret_port);

/* Into `text`, which holds TEXT_BYTES of base/text.h; returns it. */
const char *port_format(const struct service_port *port, char *text);

#endif
