/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landing: all that a backend machine does so that a tunnelled flow reaches the service and is
 * answered from the service address. It
 *   - decapsulates (XDP, on interfaces declared underlay, from edges, for service addresses),
 *   - makes every pool address local, yet lets this machine call other services of the pool,
 *   - keeps the machine from claiming pool addresses on the link,
 *   - clamps the MSS of what leaves from them, so that clients' segments fit the tunnel (tc),
 *   - hands flows to listeners bound to one address or another port (sk_lookup),
 *   - counts, and on the operator's order ends, the connections of each service address.
 *
 * Nothing here depends on versions: a landing is told about pools, so a rollout changes nothing on
 * a backend. Landing acts in the network namespace of the thread that calls landing_open; one
 * landing per namespace, and each needs a pin folder of its own. While it is open its process holds
 * the pin folder locked.
 *
 * Life: landing_open → landing_apply, again with every change → landing_check, whenever the watch
 * descriptor is readable and at least every few seconds → landing_close. What was set outlives a
 * crash: programs are pinned, rules and routes carry a protocol number of ours, and the sysctl
 * values found before our own are pinned in a journal, written before the sysctl is. The next
 * landing_open takes all of it over.
 *
 * No thread safety: one thread per landing. Nothing logs. Calls block for some milliseconds at
 * most, but for landing_count and landing_destroy, which take about 5 ms per 1,000 sockets.
 */
#ifndef FAIRLEAD_LANDING_LANDING_H
#define FAIRLEAD_LANDING_LANDING_H

#include "abi/drop.h"
#include "base/alarms.h"
#include "base/error.h"
#include "base/netaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LANDING_INTERFACES_MAX = 16,
	LANDING_POOLS_MAX = 64,
	LANDING_ADDRESSES_MAX = 64,
	LANDING_EDGES_MAX = 1024,
	LANDING_LISTENERS_MAX = 1024,
	LANDING_ALARMS_MAX = 32,
};

struct landing;

struct landing_options {
	const char *pin_root; /* folder on a bpffs, made if missing; for this landing alone */
	const char
	    *former_sysctls; /* where earlier releases kept what they changed; NULL: nowhere */
	const char *const *interfaces; /* names of the underlay interfaces; none: only to undo */
	unsigned interface_count;
	/* Further interfaces that packets for the pools may come in by, bare: an edge's of this
	 * machine, whose backend it is. */
	const char *const *admitted;
	unsigned admitted_count; /* at most LANDING_INTERFACES_MAX */
	/* The pin root of the edge (dataplane/edge.h) that shares those underlay interfaces which
	 * are admitted, too: there landing's program is its next stage. NULL: none. */
	const char *stages_root;
	bool generic_only; /* skip the driver's native XDP, for drivers that get it wrong */
};

/*
 * Flows to `destination` (a pool, a part of one, or one address) and `port` go to the socket that
 * listens elsewhere. The longest destination that fits wins. Only needed where that socket is not
 * bound to the wildcard address and the service's own port; while it does not exist, packets go the
 * normal way.
 */
struct landing_listener {
	struct ip_prefix destination;
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t port; /* as the client sees it; host order */
	struct ip_address listen_address; /* what it is bound to; IP_NONE: the wildcard */
	uint16_t listen_port;
};

/* What to serve; all arrays are borrowed for the call. Order does not matter. */
struct landing_desired {
	const struct ip_prefix *pools;
	unsigned pool_count;
	const struct ip_address *addresses; /* this machine's own, which edges tunnel to */
	unsigned address_count;
	const struct ip_address *edges; /* outer sources that are believed */
	unsigned edge_count;
	const struct landing_listener *listeners;
	unsigned listener_count;
};

/* Something that is not as it was set. While it lasts, every check reports it again. */
struct landing_alarm {
	enum alarm_code code;
	char subject[64]; /* what it is about, by name */
	char text[256]; /* the sentence of the code's row */
};

struct landing_alarms {
	struct landing_alarm items[LANDING_ALARMS_MAX];
	unsigned count;
	unsigned dropped; /* alarms beyond the limit */
};

struct landing_interface_state {
	char name[16];
	bool present; /* the interface exists */
	bool attached; /* our program is on it */
	bool native; /* the driver runs the program */
};

struct landing_state {
	struct landing_interface_state interfaces[LANDING_INTERFACES_MAX];
	unsigned interface_count;
	unsigned listener_count;
	unsigned listeners_bound; /* whose listener is known to the kernel */
	char program_tag[17]; /* hex digest that the kernel gives the program */
	char layout[17]; /* hex digest of the map layout */
};

/* Packets since the pins were made (they survive the daemon). */
struct landing_counters {
	uint64_t passed; /* no tunnel packet for us */
	uint64_t accepted_4in4, accepted_6in4, accepted_4in6, accepted_6in6; /* inner in outer */
	uint64_t clamped; /* SYNs from a pool that left with a smaller MSS */
	uint64_t unclamped; /* SYNs from a pool whose MSS could not be seen, and left as it was */
	uint64_t wrong_source; /* answers over UDP that left from another address than was asked */
	uint64_t drops[DROP_REASONS]; /* by enum drop_reason */
};

/* Connections of one service address. */
struct landing_connections {
	struct ip_address address;
	uint64_t count; /* never 0 */
};

/*
 * Load the programs; take over what an earlier run left. Changes nothing in the network yet.
 * Errors say what is missing and what to do: -FL_EPRIVILEGE, -FL_EUNAVAILABLE (no bpffs at
 * pin_root), -FL_EUNSUPPORTED (a kernel that refuses the programs), -FL_ENOTFOUND (no such
 * interface), -EBUSY (a landing of another process, which the sentence names, is open on pin_root),
 * -FL_ECORRUPT (the file of an earlier release).
 */
must_check int landing_open(const struct landing_options *options, struct landing **ret_landing,
			    struct error *err);

/*
 * Make the machine as `desired` says: idempotent, changes only what differs, adds before it
 * deletes. On failure what was set stays set, and the same call may be repeated.
 */
must_check int landing_apply(struct landing *landing, const struct landing_desired *desired,
			     struct error *err);

/* An edge's program comes on this interface in a moment, which it shares: landing, if it has a link
 * of its own there, goes on behind that. */
must_check int landing_yield(struct landing *landing, const char *interface, struct error *err);

/*
 * The largest tunnel packet that the way from the edges carries, in bytes, as they know it; 0: they
 * do not. With the next check no larger segments are offered to clients. Until the next call, also
 * before landing_apply.
 */
void landing_set_path_mtu(struct landing *landing, uint32_t mtu);

/* Readable when links, addresses, routes or rules changed: call landing_check. Owned by the
 * landing. */
int landing_watch_fd(const struct landing *landing);

/*
 * Compare everything that landing_apply set with what is there. Repairs what is safely repaired
 * (own routes, rules, sysctls, programs on an interface that came back, listeners that were
 * restarted); reports the rest, and what of the machine's own keeps packets away: underlay
 * interfaces that are down, addresses that it lost, no route to clients. Following the routes
 * and listeners is normal work, no alarm. Call it at least every few seconds: sysctls and listeners
 * make no noise when they change.
 */
must_check int landing_check(struct landing *landing, struct landing_alarms *ret_alarms,
			     struct error *err);

must_check int landing_counters_read(const struct landing *landing,
				     struct landing_counters *ret_counters, struct error *err);

void landing_state_read(const struct landing *landing, struct landing_state *ret_state);

/*
 * Which of these are addresses of this machine? `ret_owned` has room for `count`. One that another
 * machine on the link has too is none.
 */
must_check int landing_owns(struct landing *landing, const struct ip_address *addresses,
			    size_t count, bool *ret_owned, struct error *err);

/*
 * Connections per service address: TCP, both address families of sockets (a v4-mapped address
 * counts as v4), every state but LISTEN and TIME_WAIT, local address inside an applied pool or,
 * before the first landing_apply, inside one that an earlier run left local; and those that the
 * kernel leads on from such an address to another (landing/translated.h).
 * Sorted by address; the caller owns the array (free()); NULL when there is none. Any failure to
 * see all of them is an error, never a smaller count.
 */
must_check int landing_count(struct landing *landing, struct landing_connections **ret_connections,
			     size_t *ret_count, struct error *err);

/*
 * End every TCP connection (same states) whose local address is one of `addresses`, which must lie
 * inside applied pools; peers get a reset. Of those that are led on to another address the
 * translation is forgotten, and no peer hears of that. `ret_destroyed` counts those that this call
 * ended, also when it fails half-way.
 */
must_check int landing_destroy(struct landing *landing, const struct ip_address *addresses,
			       size_t address_count, uint64_t *ret_destroyed, struct error *err);

enum landing_close {
	LANDING_KEEP, /* leave all in place: packets keep landing, the next open takes over */
	LANDING_UNDO, /* put back everything as it was before the first open */
};

/*
 * Frees `landing` in any case (NULL is fine). With LANDING_UNDO also undoes what an earlier,
 * crashed run set, even if landing_apply was never called; a sysctl that somebody else changed
 * in the meantime is left as it is.
 */
int landing_close(struct landing *landing, enum landing_close how, struct error *err);

#endif
