/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the UDP probe and the echo program say to each other. The probe sends a numbered request;
 * the echo sends it back with the name of its backend in the field that was empty. Both run on
 * one machine, so fields are in host order.
 */
#ifndef FAIRLEAD_LAB_DATAGRAM_H
#define FAIRLEAD_LAB_DATAGRAM_H

#include <stdint.h>

#define DATAGRAM_MAGIC 0x666c7072u

struct datagram {
	uint32_t magic;
	uint32_t flow; /* index of the probe's socket */
	uint64_t number; /* rises by one per datagram of one address family */
	char backend[16]; /* NUL-terminated; empty in a request */
};

#endif
