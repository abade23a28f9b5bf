/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Response rate limiting: how many answers a network may get over UDP, where anybody can ask in its
 * name. One table for all threads of a server, of fixed size, without locks: each entry is a word
 * that is exchanged whole. Who shows a cookie, or asks over TCP, is who he says, and is not
 * counted.
 *
 * A network is an IPv4 /24 or an IPv6 /56. It has a bucket that holds a second's answers. An entry
 * is given to another network when its bucket is full again; a network for which no entry is free
 * is not limited, so that who asks in the name of many cannot silence one.
 */
#ifndef FAIRLEAD_NAMING_LIMITER_H
#define FAIRLEAD_NAMING_LIMITER_H

#include "base/error.h"
#include "base/netaddr.h"

#include <stdbool.h>
#include <stdint.h>

#define LIMITER_RATE_MAX                                                                           \
	1000000u /* answers a second; above it the clock's steps are too coarse                    \
		  */
#define LIMITER_SECRET_BYTES 16u

struct limiter;

/* Owned by the caller; -ENOMEM. `secret` keeps others from choosing networks that share entries. */
must_check int limiter_new(const uint8_t secret[LIMITER_SECRET_BYTES],
			   struct limiter **ret_limiter);
void limiter_free(struct limiter *limiter);

/*
 * Count one answer to `client` at `now_us` (a clock that only grows) and say whether it is above
 * `rate` a second; 0: nothing ever is. Any thread.
 */
bool limiter_is_over(struct limiter *limiter, const struct ip_address *client, uint32_t rate,
		     uint64_t now_us);

#endif
