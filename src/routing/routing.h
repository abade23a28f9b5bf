/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routing plane: the prefixes that this node takes traffic for, as `blackhole` routes in a
 * table of the kernel that is kept for them. No rule looks the table up, so it decides about no
 * packet; a routing daemon reads it and tells routers (bird.h). It holds what is announced and
 * nothing else of ours: routes of ours carry ROUTING_PROTOCOL, and others' are left alone.
 *
 * The table outlives the process, as the maps by which packets are forwarded do: closing withdraws
 * nothing, and the next process goes on from what it finds.
 *
 * One thread; it belongs to the network namespace of the thread that opened it.
 */
#ifndef FAIRLEAD_ROUTING_ROUTING_H
#define FAIRLEAD_ROUTING_ROUTING_H

#include "base/error.h"
#include "base/netaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUTING_PROTOCOL                                                                           \
	104 /* in rtnetlink's number space of routing protocols; 102 and 103 are ours as well */
#define ROUTING_TABLE 122 /* unless told otherwise */
#define ROUTING_TABLE_MOST                                                                         \
	252 /* FRR reads no table of its own above that, and 253 is `default`                      \
	     */
#define ROUTING_METRIC 100

struct routing;

/* `table` is 1 to ROUTING_TABLE_MOST. -ENOMEM, or what the kernel refused, with a sentence. */
must_check int routing_open(uint32_t table, struct routing **ret_routing, struct error *err);
/* Leaves the routes as they are. NULL is fine. */
void routing_close(struct routing *routing);

/* Readable when routes changed: then routing_follow(). Owned by `routing`. */
int routing_fd(const struct routing *routing);

/*
 * Announce exactly these prefixes from now on: what is missing is added before what is too much
 * goes, and what is there already is not touched. None: withdraw all. Copied. A prefix of a family
 * that this machine does not have is an error, after all others were done.
 */
must_check int routing_announce(struct routing *routing, const struct ip_prefix *prefixes,
				size_t count, struct error *err);

/* Read what of the kind is in the table, also of an earlier process: sorted by nothing, at most
 * `most`, into `ret_prefixes`; their number, or an error. */
must_check int routing_read(struct routing *routing, struct ip_prefix *ret_prefixes, size_t most,
			    struct error *err);

/* What somebody took away. */
struct routing_loss {
	size_t count; /* of the prefixes; 0: none */
	struct ip_prefix prefix; /* the first of them */
	char deleter[64]; /* who asked the kernel for it */
};

/* Read the kernel's news and put back what is missing since the last routing_announce(); before
 * the first one nothing is. Blocks for the kernel's answers only. */
must_check int routing_follow(struct routing *routing, struct routing_loss *ret_loss,
			      struct error *err);

#endif
