/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often a source address may fail at the node channel: for each, an allowance that refills with
 * time. A source is an IPv4 address or the /64 of an IPv6 one. The table has a fixed size; when too
 * many sources come at once the one that was quiet longest is forgotten, so this slows one source
 * down, and the bounds on all connections together (worker.c) do the rest. Pure.
 */
#ifndef FAIRLEAD_PEER_SOURCE_LIMITS_H
#define FAIRLEAD_PEER_SOURCE_LIMITS_H

#include "base/netaddr.h"
#include "base/random.h"

#include <stdbool.h>
#include <stdint.h>

#define PEER_LIMITS_SETS 256u
#define PEER_LIMITS_WAYS 8u

/* X(ID, most at once, milliseconds until one more is allowed, meaning) */
#define PEER_LIMITS(X)                                                                             \
	X(FAILURE, 20, 500, "handshakes that failed")                                              \
	X(JOIN, 5, 3000, "joins that were asked for")

enum peer_limit {
#define X(id, most, refill_ms, meaning) PEER_LIMIT_##id,
	PEER_LIMITS(X)
#undef X
	    PEER_LIMIT_COUNT
};

struct peer_source_limit {
	struct ip_address source;
	uint64_t seen_ms;
	uint64_t free_ms[PEER_LIMIT_COUNT]; /* when all of it is allowed again */
};

struct peer_limits {
	uint8_t key[16];
	struct peer_source_limit sources[PEER_LIMITS_SETS][PEER_LIMITS_WAYS];
};

/* The randomness keeps others from choosing whom they push out. */
void peer_limits_init(struct peer_limits *limits, struct random *random);

/* May it happen once more now? Nothing is counted. */
bool peer_limits_allow(struct peer_limits *limits, enum peer_limit limit,
		       const struct ip_address *source, uint64_t now_ms);

/* It happened. */
void peer_limits_count(struct peer_limits *limits, enum peer_limit limit,
		       const struct ip_address *source, uint64_t now_ms);

#endif
