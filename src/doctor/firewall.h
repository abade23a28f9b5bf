/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a ruleset of nftables does with a packet that somebody might send: its JSON, as `nft -j list
 * ruleset` prints it, is walked with a packet of which only some is known. A match that asks for
 * what is not known, or in words that are not known here, is neither true nor false; where the
 * outcome hangs on one, it is not known. So nothing is called fine that was not understood.
 *
 * The packet is the first of its connection. Pure; borrowed pointers; any thread.
 */
#ifndef FAIRLEAD_DOCTOR_FIREWALL_H
#define FAIRLEAD_DOCTOR_FIREWALL_H

#include "base/netaddr.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum firewall_verdict {
	FIREWALL_PASSES,
	FIREWALL_DROPS,
	FIREWALL_TRANSLATES, /* its destination */
	FIREWALL_UNSURE, /* a rule that is not understood may drop or translate it */
};

struct firewall_packet {
	uint8_t family; /* enum ip_family */
	uint8_t protocol; /* of IP */
	uint16_t port; /* that it goes to; 0: the protocol has none */
	struct ip_address source; /* IP_NONE: anybody's */
	struct ip_address destination; /* IP_NONE: not known */
	const char *interface; /* that it comes in by; NULL: not known */
	bool strays; /* the way back to its source is another interface, as `fib` rules see it */
	bool forwarded; /* it is led on; otherwise it is for this machine */
};

#define FIREWALL_PLACE_BYTES 256

struct firewall_answer {
	enum firewall_verdict verdict;
	char chain[FIREWALL_PLACE_BYTES]; /* "inet filter input": whose rule or policy it is */
	char rule[FIREWALL_PLACE_BYTES]; /* "rule 7 of chain inet filter input", or its policy */
};

/* `ruleset` is the whole of nft's answer, {"nftables": […]}. */
void firewall_judge(const json_t *ruleset, const struct firewall_packet *packet,
		    struct firewall_answer *ret_answer);

#endif
