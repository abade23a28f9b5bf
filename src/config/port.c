/* SPDX-License-Identifier: Apache-2.0 */
#include "config/port.h"

#include "base/text.h"
#include "model/fabric.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	uint8_t protocol;
	bool quic;
} PROTOCOLS[] = {
    {"tcp/", SERVICE_TCP, false}, {"udp/", SERVICE_UDP, false}, {"quic/", SERVICE_UDP, true}};

#define PROTOCOL_COUNT (sizeof(PROTOCOLS) / sizeof(PROTOCOLS[0]))

const char *port_parse(const char *text, struct service_port *ret_port)
{
	size_t i = 0;
	while (i < PROTOCOL_COUNT &&
	       strncmp(text, PROTOCOLS[i].name, strlen(PROTOCOLS[i].name)) != 0)
		i++;
	if (i == PROTOCOL_COUNT)
		return "it must begin with tcp/, udp/ or quic/, such as tcp/80";

	struct service_port port = {.protocol = PROTOCOLS[i].protocol, .quic = PROTOCOLS[i].quic};
	const char *end = text_scan_port(text + strlen(PROTOCOLS[i].name), &port.first);
	port.last = port.first;
	if (end && *end == '-')
		end = text_scan_port(end + 1, &port.last);
	if (!end || *end)
		return "ports are numbers from 1 to 65535, one or a range such as tcp/8000-8099";
	if (port.last < port.first)
		return "the range ends before it begins";
	*ret_port = port;
	return NULL;
}

const char *port_format(const struct service_port *port, char *text)
{
	const char *name = port->protocol == SERVICE_TCP ? "tcp" : port->quic ? "quic" : "udp";
	int length = snprintf(text, TEXT_BYTES, "%s/%u", name, port->first);
	if (port->last != port->first)
		snprintf(text + length, (size_t)(TEXT_BYTES - length), "-%u", port->last);
	return text;
}
