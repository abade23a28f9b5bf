/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge: the XDP program that sends each packet for a service address to its backend, and the
 * maps it reads. This header is the whole of the data plane as the daemon sees it.
 *
 * The maps are pinned below `pin_root` and outlive the process: when it ends, however it ends,
 * packets go on. The next edge_open() makes a new set of maps beside the old one, edge_publish()
 * fills it, and edge_attach() switches the interfaces over in one step each, then removes the old
 * set. A restart, an upgrade and a downgrade are the same path.
 *
 *   edge_open → edge_publish → edge_attach → { edge_drain_netlink, edge_heartbeat,
 *                                              edge_publish … } → edge_close
 *
 * Everything here belongs to one thread, logs nothing and blocks only for short netlink and bpf(2)
 * calls. Pointers in inputs are borrowed for the call; names and contents are copied.
 *
 * While an edge is open its process holds pin_root locked; a second one is refused.
 *
 * Under pin_root, where whatever else lies is left alone:
 *   <layout digest>/<map>   the maps; in <layout digest>_new/ while edge_attach() is under way
 *   links/<interface>       the XDP links
 *   stages                  the program of the next stage, which whoever shares interfaces puts
 * there sysctls                 the values of the sysctls that attaching changed, for undoing it
 */
#ifndef FAIRLEAD_DATAPLANE_EDGE_H
#define FAIRLEAD_DATAPLANE_EDGE_H

#include "abi/drop.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/netaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EDGE_PORT_RANGES 8 /* of one version */
#define EDGE_POOLS 8 /* of each family */
#define EDGE_INTERFACES 16
#define EDGE_RING_PAGE 4096 /* a ring's length is a multiple of this */
#define EDGE_RING_PAGES 16 /* of one ring at most */
#define EDGE_MOST_PAGES (1u << 17) /* ring pages of all versions: 1 GiB */
#define EDGE_MOST_ADDRESSES ((1u << 18) - 1) /* bound */

#define EDGE_HEARTBEAT_MS 500 /* how often to call edge_heartbeat() */
#define EDGE_STALE_MS 3000 /* without one for so long, the program asks the kernel's FIB */
#define EDGE_UNRESOLVED_MS                                                                         \
	4000 /* finding a neighbour may take so long; then something is wrong                      \
	      */
#define EDGE_GRACE_MS 1000 /* a freed record is not given to another use before this */

struct edge;

struct edge_options {
	const char *pin_root; /* a folder on a BPF file system; made if absent */
	const char *const *interfaces;
	size_t interface_count; /* 1 … EDGE_INTERFACES */
	/* Those of them, by name, on which the program in <pin_root>/stages takes what is not the
	 * edge's. */
	const char *const *shared;
	size_t shared_count;
	/* One of these gets the edge's program in a moment: whoever is on it becomes the next
	 * stage. NULL: nobody is. */
	int (*yield)(void *context, const char *interface, struct error *err);
	void *yield_context;
	bool own_calls; /* what this machine sends to the pools goes through this edge */
	bool lands_here; /* a backend at an address of this machine gets its packets bare */
	bool force_generic; /* generic XDP even where the driver could do native */
	/* Of this machine: the outer sources of tunnels to IPv4 and to IPv6 backends; IP_NONE if
	 * there are none of that kind. */
	struct ip_address source_v4, source_v6;
	const struct clock *clock; /* NULL: clock_system */
	uint32_t most_pages; /* of all rings together; 0: EDGE_MOST_PAGES */
	uint32_t most_addresses; /* bound; 0: EDGE_MOST_ADDRESSES */
};

struct edge_port {
	uint16_t low, high; /* both included */
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	bool quic; /* UDP that carries QUIC: its Initial packets open flows */
};

struct edge_backend {
	struct ip_address address; /* outer destination */
};

/* A version as the edge needs it. What `digest` and `ejections` name never changes (invariant 2):
 * arrays that were published once are not looked into when they come again under the same names. */
struct edge_version {
	struct digest digest;
	struct digest ejections; /* names the set of backends that `ring` leaves out; 0: none */
	const char *service;
	uint64_t number;
	const struct edge_port *ports;
	size_t port_count; /* 1 … EDGE_PORT_RANGES */
	uint8_t seed[16];
	uint8_t algorithm; /* enum pick_algorithm of abi/pick.h */
	bool by_source; /* a client's address alone decides; not under algorithm 1 */
	const struct edge_backend *backends;
	size_t backend_count;
	size_t ring_length; /* a multiple of EDGE_RING_PAGE */
	const uint16_t *ring; /* the effective one: ring_length ordinals into `backends` */
};

struct edge_pool {
	struct ip_prefix prefix; /* IPv6: at least /64 */
	uint8_t site_bits; /* 0 … 12: the bits after the prefix; the slot is the rest */
};

struct edge_binding {
	struct ip_address address; /* of one of the pools */
	const struct edge_version *version;
	uint64_t number; /* of the binding; a new meaning has a new number */
	bool refuse_new; /* closing: drop what opens a flow */
	bool late; /* DNS no longer answers it: count what opens a flow as late */
};

/* All that shall be forwarded. What is not in it is withdrawn. */
struct edge_desired {
	const struct edge_pool *pools;
	size_t pool_count;
	const struct edge_binding *bindings;
	size_t binding_count;
};

/*
 * Load the program and its maps, and read what an earlier process's maps hold that are in force.
 * Nothing is attached or pinned, and nothing that is changes. Errors, each with a sentence:
 * -FL_EPRIVILEGE (which capability is missing), -FL_EUNSUPPORTED (the kernel refuses the program),
 * -FL_EUNAVAILABLE (pin_root is not on a BPF file system), -EBUSY (an edge of another process,
 * which the sentence names, is open on pin_root), -EADDRNOTAVAIL (a source is no address of this
 * machine), -FL_EINVALID.
 */
must_check int edge_open(const struct edge_options *options, struct edge **ret_edge,
			 struct error *err);

/* Free the process's side. Everything pinned stays and goes on forwarding. NULL is fine. */
void edge_close(struct edge *edge);

/*
 * Make the maps say `desired`: backends, rings, descriptors are written and read back, then the
 * addresses are switched, one aligned 64-bit store each; what is withdrawn goes in the reverse
 * order. A version that comes again with other ejections keeps its descriptor and its pages: the
 * entries that differ are written in place, one aligned 16-bit store each. Only differences are
 * written, so that publishing the same again writes nothing. All of `desired` is checked, and all
 * room is found, before the first address changes: on failure every address means what it meant
 * before. -FL_EINVALID; -FL_EEXHAUSTED (a table is full, or full until EDGE_GRACE_MS after the last
 * withdrawal); -FL_ECORRUPT (the read-back differs).
 */
must_check int edge_publish(struct edge *edge, const struct edge_desired *desired,
			    struct error *err);

/*
 * Set the sysctls that the slow path needs, put this edge's program on each interface (replacing an
 * older one without a gap), pin this edge's maps, and remove those of earlier processes. An
 * interface that is missing is not an error if another one is there: it is attached by
 * edge_drain_netlink() when it appears. -FL_EUNAVAILABLE when none is there, or when one carries
 * somebody else's XDP program.
 */
must_check int edge_attach(struct edge *edge, struct error *err);

#define EDGE_PASSING_PEERS 16 /* that one edge passes on to at most */
#define EDGE_PASSING_FENCE 2048 /* edges that may pass on to one at most */

/* An edge that this one may pass on to. */
struct edge_peer {
	struct ip_address address; /* its tunnel source */
	uint64_t token; /* that it believes; as it lies in memory */
};

/*
 * What edges pass to each other (abi/edge.h): packets for addresses that this edge has no word for
 * go to a peer while it knows that it is behind, and also while nobody has beaten its heart for
 * EDGE_STALE_MS. What comes from an edge inside the fence with one of `tokens` is taken for a
 * client's, and dropped if it is not known here either. All is borrowed for the call.
 */
struct edge_passing {
	bool is_behind;
	/* Of these, those whose next hop is known, while one's is; so call it again and again. */
	const struct edge_peer *peers;
	size_t peer_count; /* at most EDGE_PASSING_PEERS */
	uint64_t tokens[2]; /* 0: none */
	const struct ip_address *fence;
	size_t fence_count; /* at most EDGE_PASSING_FENCE */
};

/* Only differences are written. -FL_EINVALID, -FL_EEXHAUSTED; then all is as it was, or passing is
 * off. */
must_check int edge_set_passing(struct edge *edge, const struct edge_passing *passing,
				struct error *err);

struct edge_passes {
	uint64_t passed; /* packets, to peers */
	uint64_t taken; /* packets, from peers; also those that were dropped then */
};

/* Since this process's maps are in force; the sum over all CPUs. */
must_check int edge_passes(const struct edge *edge, struct edge_passes *ret_passes);

/*
 * Whether packets are forwarded, or may be, by what is attached now: its maps hold addresses, or
 * cannot be read (they are another layout's, or were unpinned). Who has no desired state of its own
 * then leaves all of it as it is (invariant 6).
 */
bool edge_is_forwarding(const struct edge *edge);

/* Whether new flows for the address go by the version of this digest, by the maps in force. */
bool edge_holds(const struct edge *edge, const struct ip_address *address,
		const struct digest *version);

/* One address of the maps in force that an earlier process published, and the digest of the version
 * by which they forward it. */
typedef void edge_held_fn(void *context, const struct ip_address *address,
			  const struct digest *version);
/* Each of them, by rising addresses. False: this process published already, or they cannot be
 * read. */
bool edge_each_held(const struct edge *edge, edge_held_fn *each, void *context);

/*
 * The newest ledger entry that this node acknowledged, kept with the maps that do what it says: the
 * state folder may be put back to an older one, and they are not.
 */
struct edge_mark {
	uint64_t sequence; /* 0: none */
	struct digest digest;
	bool has_peers; /* other nodes forward, answer or decide */
};

/* Needs no open edge. -ENOENT when nothing is pinned there, or no mark is. */
must_check int edge_mark_get(const char *pin_root, struct edge_mark *ret_mark);
must_check int edge_mark_set(const struct edge *edge, const struct edge_mark *mark,
			     struct error *err);

/* Readable when edge_drain_netlink() has something to do. Owned by the edge. */
int edge_fd(const struct edge *edge);

/*
 * Take in all pending news of links, addresses, routes and neighbours, and bring next hops,
 * attachments and the knowledge of missing sources up to date. Never blocks. A failure leaves the
 * heartbeat to grow old, so that the program turns to the kernel's FIB; call again.
 */
must_check int edge_drain_netlink(struct edge *edge, struct error *err);

/* What edge_selfcheck() found. */
struct edge_selfcheck {
	unsigned repaired; /* differences that were set back */
	unsigned standing; /* differences that cannot be */
	char text[256]; /* the first of them; "" if there is none */
};

#define EDGE_SELFCHECK_MS 250 /* call edge_selfcheck() about this often */

/*
 * Compare the program on each interface, the links and the pins with what this process has
 * attached; set back what somebody else changed. A program that cannot be put back is in the
 * interface's `problem`. What is in the maps is not looked at: who may write to them may do
 * anything.
 */
must_check int edge_selfcheck(struct edge *edge, struct edge_selfcheck *ret_result,
			      struct error *err);

/* Tell the program that next hops are fresh. Only right after edge_drain_netlink() returned 0. */
void edge_heartbeat(struct edge *edge);

/*
 * Counts since the address was bound to its version by this process; the sum over all CPUs. Until
 * it attaches, what is forwarded is not counted here.
 */
struct edge_counters {
	uint64_t packets; /* forwarded */
	uint64_t bytes; /* forwarded; of IP packets before encapsulation */
	uint64_t new_flows; /* forwarded TCP SYNs and, on QUIC ports, Initials */
	uint64_t late_flows; /* those of them that came while the binding was late */
	uint64_t refused; /* dropped as DROP_REFUSED */
	uint64_t wrong_port; /* dropped as DROP_PORT */
	uint64_t asked_fib; /* of `packets`: next hop taken from the kernel's FIB */
	uint64_t to_kernel; /* of `packets`: encapsulated, then left to the kernel */
};

/* -FL_ENOTFOUND if the address is not bound. */
must_check int edge_counters(const struct edge *edge, const struct ip_address *address,
			     struct edge_counters *ret_counters);

/* Dropped packets by enum drop_reason, summed over all CPUs and over time. */
must_check int edge_drops(const struct edge *edge, uint64_t ret_drops[DROP_REASONS]);

/* The label and the text of a reason of any hook; NULL if the number names none. */
const char *drop_label(unsigned reason);
const char *drop_text(unsigned reason);

enum edge_mode { EDGE_DETACHED, EDGE_NATIVE, EDGE_GENERIC };
enum edge_link { EDGE_LINK_UP, EDGE_LINK_DOWN, EDGE_LINK_NO_CARRIER };

struct edge_interface_status {
	char name[16];
	uint32_t ifindex; /* 0: there is no such interface now */
	enum edge_mode mode;
	uint32_t program_id; /* of the XDP program on it, whosoever's; 0: none */
	enum edge_link link; /* of one that is there */
	char problem[160]; /* why it is not attached; "" if it is or if it is absent */
	int refused; /* why its driver did not take the program; 0 if it did, or was not asked */
	/* A device below this one, which runs the program generically, that merges packets (GRO)
	 * before the program sees them; "" if there is none. */
	char merging[16];
};

struct edge_backend_status {
	struct ip_address address;
	bool no_route; /* packets to it go nowhere */
	bool resolved; /* the next hop is known; else the kernel is asked per packet */
	bool here; /* it is this machine, whose own landing gets the packets bare */
	uint64_t unresolved_ms; /* for so long now; finding a neighbour takes a moment */
	char interface[16];
	uint8_t link_address[6];
	uint32_t mtu; /* of the path to it, as far as known; bytes */
};

struct edge_status {
	char build_id[17]; /* hex; of the BPF object of this build */
	char layout[17]; /* hex; of the maps' layout */
	uint32_t program_id; /* of this process's program */
	size_t addresses; /* bound, by the maps in force */
	size_t rings;
	const struct edge_interface_status *interfaces; /* borrowed until the next call */
	size_t interface_count;
	const struct edge_backend_status *backends; /* borrowed until the next call */
	size_t backend_count;
	struct ip_address missing_sources[2]; /* no addresses of this machine any more */
	size_t missing_source_count;
	bool
	    neighbours_full[2]; /* v4, v6; within EDGE_NEIGHBOURS_FULL_MS the kernel took no more */
};

#define EDGE_NEIGHBOURS_FULL_MS 60000u

must_check int edge_status(struct edge *edge, struct edge_status *ret_status);

/* The first interface that is not there, or does not carry an edge's program; NULL: all do. */
const char *edge_detached(const struct edge *edge);

/* Why this machine's own calls do not go through the edge; "": they do, or nobody wants it.
 * Borrowed until the next call. */
const char *edge_own_calls_problem(const struct edge *edge);

/* The largest packet that the way to the backend carries, in bytes; 0: not known. */
uint32_t edge_path_mtu(const struct edge *edge, const struct ip_address *backend);

/* Read what routers say of tunnels that were too big for a link; call it every tick. */
void edge_hear_routers(struct edge *edge);

/* Backends that packets cannot be sent to by a known next hop, sorted; -ENOMEM. The caller owns the
 * array (free()). */
must_check int edge_unreached(const struct edge *edge, struct ip_address **ret_addresses,
			      size_t *ret_count);

/* The program, for BPF_PROG_TEST_RUN in fixtures and benches. Owned by the edge. */
int edge_program_fd(const struct edge *edge);

/*
 * Undo everything below `pin_root`, of whatever layout: detach, put the sysctls back, remove the
 * neighbours we installed and the pins. Nothing pinned is fine. -EBUSY while an edge is open on it,
 * in this process too.
 */
must_check int edge_remove(const char *pin_root, struct error *err);

#endif
