/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fabric in one process: nodes, landings, clients and an operator, over a wire and a clock that
 * the simulator owns. All that happens is an event at a moment; events run one after another, in
 * the order of their moments, and draw what they decide from one seeded source. So a seed plays the
 * same history every time.
 *
 * What is the product's own code: the store with its ledger, replica, mark, image, changes and
 * publication, what a node does by its replica, observations with their merge, reports, what
 * landings shall be, membership, the driver with the model below it, rings, and the pick function.
 * What stands for something else: maps and DNS are tables in memory that nodes fill from their
 * images; machines, sockets and the wire are below.
 *
 * Node 0 is the only voter. The others follow its store, and tell it what they saw; while it is not
 * reached, they follow whoever has more.
 */
#ifndef FAIRLEAD_TESTS_FABRIC_WORLD_H
#define FAIRLEAD_TESTS_FABRIC_WORLD_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/random.h"
#include "dataplane/pick_key.h"
#include "fabric/acting.h"
#include "fabric/driver.h"
#include "fabric/membership.h"
#include "fabric/observation.h"
#include "fabric/reports.h"
#include "fabric/standing.h"
#include "state/changes.h"
#include "state/image.h"
#include "state/replica.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#define MOST_NODES 100
#define SITES 2
#define SERVICES 2
#define BACKENDS 5
#define MACHINES (2 * BACKENDS) /* a name may move from one to another */
#define CLIENTS 12
#define FLOWS 48
#define POOLS 2
#define SLOTS 32 /* of a pool at one site, at most */
#define MOST_ENTRIES 64 /* addresses with a meaning */
#define MOST_VERSIONS 512
#define MOST_LEDGER 2048 /* entries */
#define TRACE_LINES 60
#define TRACE_BYTES 160

#define TICK_MS 500u
#define QUIET_MS 2000u
#define STALE_MS 3000u
#define QUARANTINE_MS 8000u
#define COOKIE_MS 120000u /* so long a SYN cookie's last ACK may be on its way */
#define HANDSHAKE_MS                                                                               \
	2500u /* a packet's longest way: below CLOSING_SETTLE_MS, which allows for it */

struct fence;
struct follower;
struct line;
struct power_copy;
struct store_session;
struct world;
struct event;

typedef void event_fn(struct world *world, void *context, uint64_t number);

struct event {
	uint64_t at_ms;
	uint64_t order; /* of two at one moment, the one that was planned first runs first */
	event_fn *run;
	void *context;
	uint64_t number;
};

/* Of a service, as clients see it: place in the pool at one site. */
struct address {
	uint8_t pool;
	uint8_t site;
	uint32_t slot;
};

/* One committed version, as the first node that published it decoded it. */
struct known_version {
	uint8_t service;
	uint32_t number;
	uint64_t sequence; /* ledger entry that committed it */
	bool served; /* DNS answered it once, by the voter's image */
	enum version_state state; /* by the same */
	uint64_t changed; /* the entry of that state */
	uint64_t unanswered_ms; /* since when all name servers have acknowledged that; 0: not yet */
	bool has_udp;
	struct version *version; /* in the world's arena */
	struct pick_key key;
	struct pick_key6 key6;
	uint8_t machines[BACKENDS]; /* by ordinal */
};

/* What others build on. */
enum { TOLD_AS_EDGE, TOLD_AS_NAMES, TOLD_AS_VOTER, TOLD_AS };

/* What a node's maps say of one slot. */
struct entry {
	uint8_t pool;
	uint32_t slot;
	uint32_t known; /* index of the world's versions */
	uint64_t number; /* of the binding */
	uint64_t sequence; /* of the binding */
	bool refusing;
	bool is_late;
};

/* When an address was last used at an edge, since its process started; 0: never. */
struct activity_times {
	uint64_t new_flow_ms;
	uint64_t packet_ms;
};

struct table {
	bool is_there;
	bool attracts; /* by an image in which the node is a member */
	bool is_older; /* than what the node acknowledged: it was alone and had no maps */
	struct ledger_position position; /* the entry that it carries out */
	struct entry entries[MOST_ENTRIES];
	size_t count;
};

/* What a name server answers for one service. */
struct answer {
	bool is_there;
	uint32_t share; /* of the clients that the target has */
	bool has[2][POOLS]; /* 0: target, 1: base */
	uint32_t slots[2][POOLS];
	uint32_t versions[2];
};

struct node {
	struct world *world;
	size_t index;
	char name[24];
	struct member self; /* by the flags of its process */
	size_t site;
	bool has_power;
	bool runs; /* the process */
	uint64_t process; /* counts the machine's processes */
	char instance[32];
	uint64_t started_ms;
	uint64_t start_wall_ms;
	int64_t wall_offset_ms;
	struct clock clock;
	struct clock steady;
	struct replica replica; /* closed while no process runs; node 0's is the authority */
	struct image image;
	struct acting acting;
	char folder[96]; /* its state: on a disk of its own */
	struct store_watch *watch;
	struct store *peer; /* how it reaches another one's store; NULL by a copy */
	struct follower *follower;
	const struct node *source; /* whose store that is, while there is a line */
	struct standings standings; /* of the process: where the others are */
	uint64_t stood_ms[MOST_NODES]; /* when each said so last */
	bool is_sure; /* of the voter: it has heard enough */
	uint64_t sought_ms; /* since when it follows no voter; 0: it does */
	bool dispatches;
	bool lost_track; /* its watch ended: everything is read again */
	struct line *line; /* to the one that it follows; NULL while it is down */
	uint64_t stuck_until_ms; /* until then no plane takes a change */
	uint64_t paused_until_ms; /* until then the process does not run */
	uint64_t cut_until_ms; /* its links, all of them */
	uint64_t apart_until_ms; /* the link to the voter */
	bool is_foreign; /* it goes by another chain of the ledger */
	bool is_removed; /* by an entry of the ledger: nobody speaks to it, and it forwards on */
	bool is_fenced; /* an entry says that no landing takes its tunnels */
	struct table maps; /* outlive the process, not the power */
	struct mark_note pinned; /* the mark beside them */
	uint64_t told_until_ms; /* when the last message that was sent arrives */
	struct activity_times activity[POOLS][SLOTS]; /* seen by this process */
	uint64_t packet_ms[POOLS][SLOTS]; /* when the machine last forwarded one */
	struct answer answers[SERVICES];
	bool does_answer;

	/* Its start, and what may stand in for its replica. */
	uint64_t well_since_ms;
	bool is_proven;
	bool crashes_wanted; /* as soon as it has a copy that is good */
	unsigned crashes_due; /* so many processes more end soon after their start */
	struct power_copy *older; /* what the operator kept of the disk; owned */
	uint64_t older_sequence; /* the newest entry in it */
	struct power_copy *newest; /* as it was before that was put back; owned */

	/* What the checks know. */
	uint64_t told[TOLD_AS]; /* the newest entry that it ever acknowledged, or decided */
	uint64_t published; /* the newest that it ever published, by the replica on its disk */
	bool is_set_back; /* an older state was put back, and it has not caught up yet */
	bool is_unaware; /* and neither its disk nor its maps could tell */
	uint64_t was_unaware; /* the latest process that was */
	uint64_t heard_head; /* the newest entry that others named soon after its process began */
	bool announces; /* a router was told that it takes traffic; outlives the process */
};

/* What reached the voter's process of one node: what the checks go by. */
struct heard {
	uint64_t process; /* the latest that was heard; 0: none */
	uint64_t at_ms;
	uint64_t edge_acked; /* the entry */
	uint64_t names_acked;
	/* Of the last message that said how long addresses were quiet: when it came, when it was
	 * sent, what had been acknowledged in it, and when packets really came last. */
	uint64_t quiet_at_ms;
	uint64_t quiet_sent_ms;
	uint64_t quiet_acked;
	uint64_t packet_ms[POOLS][SLOTS];
};

/* What reached the voter's process of one machine: by its own name, and asked for its address. */
struct counted {
	bool is_there;
	uint64_t begun_ms; /* when it began to count */
	uint64_t cookie_ms; /* when it had sent the last SYN cookie; 0: never */
	uint64_t at_ms; /* when the report arrived */
	uint64_t process; /* that began it */
	uint64_t disputed_ms; /* when another one of the machine was last refused; 0: never */
};

/* Nodes, a bit each. */
struct node_set {
	uint64_t bits[(MOST_NODES + 63) / 64];
};

static inline void node_set_add(struct node_set *set, size_t node)
{
	set->bits[node / 64] |= UINT64_C(1) << node % 64;
}

static inline bool node_set_has(const struct node_set *set, size_t node)
{
	return set->bits[node / 64] >> node % 64 & 1;
}

struct landing {
	size_t index;
	char name[8];
	char said[8]; /* the name that its process was started with, by mistake another one */
	bool is_told; /* that tunnels to its address end here */
	bool has_power;
	uint64_t boot;
	uint64_t process;
	uint64_t silent_until_ms;
	bool awaits; /* an answer */
	uint64_t report; /* number of the report that it waits for */
	uint64_t sent_ms; /* when that was sent */
	struct ledger_position closing; /* that the last answer named */
	struct digest generation; /* of what it carried out; zero for nothing */
	struct node_set fence; /* nodes whose tunnels it takes */
	uint64_t cookies_until_ms; /* so long it sends SYN cookies */
	uint64_t cookie_ms; /* when it sent the last one; 0: never */
};

struct flow {
	bool is_there;
	uint64_t serial; /* a flow's place is used again */
	struct address address;
	uint32_t known; /* version where it began */
	uint8_t machine; /* backend where it began */
	uint64_t boot;
	uint64_t hash_seed;
	bool is_udp;
	bool is_misled; /* by maps that are older than what the node acknowledged */
	bool is_socket; /* the handshake has reached the backend */
	uint64_t ends_ms;
};

struct client {
	uint32_t place; /* 0…SHARE_WHOLE-1: which clients come first */
	enum { EAGER, KEEPER, SLEEPER } habit; /* what it does with answers that grow old */
	size_t which; /* of services and pools, for one that sleeps */
	struct {
		bool is_there;
		struct address address;
		uint64_t until_ms;
	} known[SERVICES][POOLS];
};

/* What an address means by the ledger's head. */
struct meaning {
	bool is_there;
	uint32_t known; /* index of the world's versions */
	struct binding binding;
	bool is_closing; /* the version */
	uint64_t refused_ms; /* since when all have acknowledged that it refuses; 0: one has not */
	uint64_t countable_ms; /* when that was so for long enough; 0: never yet */
};

/* A slot that was freed. */
struct rest {
	bool is_there;
	uint8_t service; /* whose it was */
	uint64_t wall_ms; /* by the clock that the driver goes by */
};

struct tally {
	uint64_t most_nodes; /* of a seed; summed up as the greatest */
	uint64_t steps;
	uint64_t entries; /* of the ledger */
	uint64_t flows, late, cut, packets, passed, lost;
	uint64_t starts, closings, rebound, reopened, frees, lifts;
	uint64_t restarts, power_losses, kills, foreign, detached;
	uint64_t renamed, readdressed;
	uint64_t cookies, set_back, caught_up, copies, older, misled, idle, moved;
	uint64_t listened, behind, taken_back, by_peer, learned, unaware;
	uint64_t wanted; /* orders for several services that found too few slots */
	uint64_t emptied; /* slots freed because their pool left the file */
	uint64_t removed, fenced; /* nodes */
	uint64_t refused; /* packets of removed nodes that a landing did not take */
};

/* The last steps that led where a seed is. */
struct history {
	uint64_t seed;
	size_t count;
	char lines[TRACE_LINES][TRACE_BYTES];
};

struct world {
	struct random random;
	struct random secrets; /* what the product draws */
	struct arena arena;
	uint64_t now_ms;
	uint64_t step;
	bool is_calm;
	bool has_cookies; /* some landing may send SYN cookies */
	uint64_t alone_until_ms; /* until then nobody joins */
	uint64_t report_ms; /* between two reports */
	uint64_t astray_until_ms; /* until then landings name a closing of another chain */
	uint64_t fault_ms; /* from one to the next, on average */
	struct event *events; /* a heap */
	size_t event_count;
	size_t event_room;
	uint64_t planned;

	/* What the operator wants. */
	struct fabric fabric;
	struct service services[SERVICES];
	struct backend backends[SERVICES][BACKENDS];
	struct site sites[SITES];
	struct pool pools[POOLS];
	bool wants[SERVICES];
	size_t left_out; /* 1 + the pool that the file does not have; 0: it has all */
	struct wants slot_wants; /* of orders that found too few slots */
	size_t site_count;

	struct node *nodes; /* owned */
	size_t node_count;
	struct landing landings[MACHINES];
	struct client clients[CLIENTS];
	struct flow flows[FLOWS];

	/* The voter's process. */
	const char *voter_key; /* borrowed */
	struct observations *observations;
	struct reports *reports;
	struct landings *wanted; /* what each landing is to be */
	struct changes *changes;
	struct driver *driver;
	struct membership *membership;
	struct fence *fence;
	bool dispatching;
	uint64_t ended_ms; /* when its last process ended, until the next one has begun; 0 */
	uint64_t ended_wall_ms; /* the same, by the clock that it went by */

	/* What the checks know. */
	uint64_t told_revision; /* the newest that the voter's store told of */
	struct digest chain[MOST_LEDGER]; /* the hash of each entry that was committed */
	uint64_t head; /* the newest of them */
	unsigned members[MOST_NODES]; /* their roles by it */
	bool has_others; /* it has members besides the voter */
	struct known_version *versions;
	size_t version_count;
	struct meaning meanings[POOLS][SLOTS];
	struct rest rests[POOLS][SLOTS];
	struct heard heard[MOST_NODES];
	struct counted counted[MACHINES];
	struct tally *tally;
	struct history *history;
};

/* --- sim_fabric.c: the seed's own --- */

uint64_t below(struct world *world, uint64_t bound);
bool chance(struct world *world, unsigned per_mille);
void plan(struct world *world, uint64_t in_ms, event_fn *run, void *context, uint64_t number);
/* A line of what led here; the last ones are printed with a violation. */
void trace(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints seed, moment and trace, and ends the process. */
void violation(const struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

#define CHECK(world, condition, ...)                                                               \
	do {                                                                                       \
		if (!(condition))                                                                  \
			violation(world, __VA_ARGS__);                                             \
	} while (0)

/* --- fabric_voter.c: the node that decides --- */

/* Its parts, once there is an image. */
void voter_start(struct world *world);
/* After changes_stop(), and after its store was closed. */
void voter_stop(struct world *world);
/* The image of node 0 has moved. */
void voter_moved(struct world *world, uint64_t revision);
void voter_tick(struct world *world);
/* False when it was not taken in. */
bool voter_hear(struct world *world, const struct observation *observation, const struct node *node,
		uint64_t process);
bool voter_runs(const struct world *world);

/* --- fabric_line.c: between a node and the one that it follows --- */

bool is_cut(const struct world *world, const struct node *a, const struct node *b);
/* Bring it up if both ends run. */
void line_open(struct world *world, struct node *node, struct node *server);
/* What is under way is lost, and the node follows nobody. */
void line_cut(struct world *world, struct node *node);

/* --- fabric_stand.c: who is where in the ledger --- */

/* A process begins and knows of nobody. */
void stand_begin(struct node *node);
void stand_tick(struct world *world, struct node *node);
/* May the voter decide? */
void voter_listen(struct world *world);

/* --- fabric_node.c: processes, and how others follow --- */

void nodes_init(struct world *world);
void nodes_done(struct world *world);
void node_start(struct world *world, struct node *node);
/* In order. */
void node_stop(struct world *world, struct node *node);
/* Not so, and what it wrote is kept. */
void node_kill(struct world *world, struct node *node);
void node_lose_power(struct world *world, struct node *node);
/* Let its stores do what is due; the machine is off after that if its disk lost power. */
void node_dispatch(struct world *world, struct node *node);
bool node_has_disk(const struct node *node);

/* --- fabric_planes.c: what they do --- */

/* The process that begins has done nothing yet. */
void node_act(struct node *node);
/* Publish what the image says: first the maps, then the answers. */
void node_carry_out(struct world *world, struct node *node);
/* Tell the voter what this node saw. */
void node_observe(struct world *world, struct node *node, bool activity);
/* Does it draw traffic for service addresses? */
bool node_attracts(const struct node *node);
struct entry *table_find(struct table *table, uint8_t pool, uint32_t slot);

/* --- fabric_disk.c: copies of disks --- */

/* Now and then an operator keeps a copy: the process has ended in order at this entry. */
void disk_keep(struct world *world, struct node *node, uint64_t sequence);
/* An older copy is put back, if there is one that the node can notice. */
void disk_set_back(struct world *world, struct node *node);
/* Before a start: what nothing here could notice any more is set right. */
void disk_see_to(struct world *world, struct node *node);
/* A voter gets its newest state back. */
void disk_set_right(struct world *world, struct node *node);

/* --- fabric_traffic.c: clients, flows, landings --- */

void traffic_init(struct world *world);
/* Another process of the landing: what the machine carries out stays. */
void landing_restart(struct world *world, struct landing *landing);
void landing_lose_power(struct world *world, struct landing *landing);
/* The same, with a name; another one than the machine's is a mistake. */
void landing_rename(struct world *world, struct landing *landing, const char *name);
struct ip_address machine_address(size_t machine);
struct ip_address address_of(const struct world *world, uint8_t pool, uint8_t site, uint32_t slot);

/* --- fabric_orders.c: the operator --- */

void orders_init(struct world *world);
void order_join(struct world *world, const struct node *node);
/* A backend that was declared gone reports again. */
void order_return(struct world *world, const char *backend, const struct ip_address *address);
void order_resume_all(struct world *world);
void order_at_random(struct world *world);

/* --- fabric_check.c: the invariants --- */

/* The version of a node's image in the list of all; checks that it is what it always was. */
uint32_t check_version(struct world *world, const struct version *version, uint64_t sequence);
/* Before and after what reaches the voter: who refuses what, and for how long. */
void check_refusals(struct world *world);
/* The voter's image has moved. */
void check_commit(struct world *world);
/* At the end, when all is well for long enough. */
void check_ended(struct world *world);

/* --- fabric_check_node.c: what one node does --- */

/* The newest entry that others build on. */
uint64_t node_told(const struct node *node);
/* Its process has opened its replica. */
void check_opened(struct world *world, struct node *node);
/* Its image has moved. */
void check_image(struct world *world, struct node *node);
/* Its maps, its answers were published. */
void check_table(struct world *world, struct node *node, const struct table *before);
void check_answers(struct world *world, struct node *node);
/* It has tried to publish all that its image says. */
void check_carried_out(struct world *world, struct node *node, int result);
/* It acknowledges this. */
void check_told(struct world *world, struct node *node, const struct observation *observation);
/* After each step. */
void check_step(struct world *world);

#endif
