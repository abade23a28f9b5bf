/* SPDX-License-Identifier: Apache-2.0 */
/* What prober and responder say to each other: a request, and the same again as its answer. */
#ifndef FAIRLEAD_BENCH_FORWARDING_REQUEST_H
#define FAIRLEAD_BENCH_FORWARDING_REQUEST_H

#include <stdint.h>

struct forwarding_request {
	uint64_t number;
	char backend[16]; /* who answered; NUL-terminated, empty in a request */
	char filling[40];
};

#define FORWARDING_REQUEST 64
_Static_assert(sizeof(struct forwarding_request) == FORWARDING_REQUEST, "64 bytes on the wire");

#endif
