/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge plane: turns the image into what the data plane shall forward, follows next hops, keeps
 * the heartbeat, and measures when each address last saw a new flow and a packet.
 */
#ifndef FAIRLEAD_DAEMON_EDGE_PLANE_H
#define FAIRLEAD_DAEMON_EDGE_PLANE_H

#include "base/alarms.h"
#include "daemon/options.h"
#include "dataplane/edge.h"
#include "fabric/observation.h"
#include "state/image.h"
#include "state/mark.h"
#include "state/recovery.h"

#include <uv.h>

struct edge_plane;
struct landing_plane;

/*
 * Begin to load the program, which takes the kernel's verifier a while: a thread does it, while the
 * caller reads the store. Nothing is attached before the first edge_plane_publish().
 */
must_check int edge_plane_new(const struct daemon_options *options, const struct clock *clock,
			      struct edge_plane **ret_plane, struct error *err);
/* This landing is on some of the edge's interfaces; borrowed until it is NULL again, or the plane
 * freed. Before the first edge_plane_publish(). */
void edge_plane_share(struct edge_plane *plane, struct landing_plane *landing);

/* Wait for that to end, and follow the kernel's news; before everything below but the free. */
must_check int edge_plane_start(struct edge_plane *plane, uv_loop_t *loop, struct error *err);
/* Stops following; what is pinned goes on forwarding. Runs the loop until its handles are closed.
 */
void edge_plane_free(struct edge_plane *plane);

/* Make the maps say what the image says; attaches the interfaces the first time. */
must_check int edge_plane_publish(struct edge_plane *plane, const struct image *image,
				  struct error *err);

/* Take packets for the image's pools, by maps that know none of their addresses; attaches the
 * interfaces the first time. Nothing while it is not known which pools there are. */
must_check int edge_plane_await(struct edge_plane *plane, const struct image *image,
				struct error *err);

/* edge_set_passing() and edge_passes(). */
must_check int edge_plane_pass(struct edge_plane *plane, const struct edge_passing *passing,
			       struct error *err);
must_check int edge_plane_passes(const struct edge_plane *plane, struct edge_passes *ret_passes);

/* Leave the maps as they are, by which DNS is to be answered: -FL_EUNAVAILABLE unless they mean the
 * same by each address that `image` has clients sent to. */
must_check int edge_plane_keep(const struct edge_plane *plane, const struct image *image,
			       struct error *err);

/* The first interface that does not carry the edge's program, or is not there; NULL: all do. */
const char *edge_plane_detached(const struct edge_plane *plane);

/* Do the maps lack a version that clients are sent to by `image`? Then `err` names it. Looks at
 * all of them. */
bool edge_plane_lacks(const struct edge_plane *plane, const struct image *image, struct error *err);

/* What the maps forward by that an earlier process published, in `arena`; false, and nothing is
 * filled, when that is not known. */
bool edge_plane_held(const struct edge_plane *plane, struct arena *arena,
		     struct recovery_knowledge *ret_knowledge);

/* Are packets forwarded by what is pinned, whoever published it? */
bool edge_plane_forwards(const struct edge_plane *plane);

/* Note beside the maps what is acknowledged. */
must_check int edge_plane_mark(struct edge_plane *plane, const struct mark_note *note,
			       struct error *err);

/* Read the counters; call it every tick. */
void edge_plane_sample(struct edge_plane *plane, const struct image *image, uint64_t now_ms);

/* How long each address was quiet at the last edge_plane_sample(), since this process attached at
 * most: sorted by address, borrowed until the next one. */
const struct activity *edge_plane_activity(const struct edge_plane *plane, size_t *ret_count);

/* Backends without a known next hop, as edge_unreached() lists them. */
must_check int edge_plane_unreached(const struct edge_plane *plane,
				    struct ip_address **ret_addresses, size_t *ret_count);

must_check int edge_plane_counters(const struct edge_plane *plane, const struct ip_address *address,
				   struct edge_counters *ret_counters);
must_check int edge_plane_drops(const struct edge_plane *plane, uint64_t ret_drops[DROP_REASONS]);
must_check int edge_plane_status(struct edge_plane *plane, struct edge_status *ret_status);

/*
 * See that programs, links and pins are as they were attached, and set back what somebody else
 * changed; call it every tick, which is every EDGE_SELFCHECK_MS. True when it found something that
 * it did not find the time before. edge_plane_interference() keeps that for a minute, or while it
 * stands.
 */
bool edge_plane_check(struct edge_plane *plane, uint64_t now_ms);

/* What somebody else did to the edge lately; NULL: nothing. */
const struct alarm *edge_plane_interference(const struct edge_plane *plane, uint64_t now_ms);

/* The largest packet that the way to a backend's address carries, in bytes; 0: not known. */
uint32_t edge_plane_path_mtu(const struct edge_plane *plane, const struct ip_address *backend);

/* What was dropped lately because it was too big for the way to its backend, and what told service
 * addresses that an answer was; and what was passed on to other edges. */
struct edge_plane_growth {
	uint64_t too_big, icmp_too_big, passed;
};
struct edge_plane_growth edge_plane_growth(const struct edge_plane *plane);

/* edge_own_calls_problem(). */
const char *edge_plane_own_calls_problem(const struct edge_plane *plane);

/* Why next hops could not be followed lately; it does not stand while they are. */
const struct alarm *edge_plane_alarm(const struct edge_plane *plane);

#endif
