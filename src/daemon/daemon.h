/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon of a node in any mix of roles: one libuv loop that owns all state.
 *
 *   store ─watch→ image ─→ edge plane (forward), names plane (answer) ─→ observation
 *                   ├────→ driver (what is due?) ─→ changes ─txn→ store      │
 *                   │        └←─ all nodes' observations, landings' reports ─┘
 *   local API ─→ verbs ─→ changes
 *
 * Where another node decides, the replica follows that one's (authority.h), observations and
 * reports go there, and so do the local API's calls.
 *
 * Nothing acts on what it wants to be true: a change is committed first, comes back through the
 * watch, and only then is forwarded, answered and acknowledged. A restart is the same path.
 */
#ifndef FAIRLEAD_DAEMON_DAEMON_H
#define FAIRLEAD_DAEMON_DAEMON_H

#include "api/host.h"
#include "base/alarms.h"
#include "base/clock.h"
#include "base/random.h"
#include "daemon/member/removal.h"
#include "daemon/open_files.h"
#include "daemon/options.h"
#include "daemon/signals.h"
#include "daemon/wall_watch.h"
#include "fabric/acting.h"
#include "fabric/observation.h"
#include "fabric/passing.h"
#include "fabric/standing.h"
#include "fabric/wants.h"
#include "state/changes.h"
#include "state/image.h"
#include "state/replica.h"

#include <jansson.h>
#include <uv.h>

struct api_http;
struct api_unix;
struct authority;
struct burned;
struct driver;
struct edge_plane;
struct fence;
struct good_copy;
struct landing_api;
struct landings;
struct membership;
struct names_plane;
struct observations;
struct own_landing;
struct peers;
struct reports;
struct return_paths;
struct routing_plane;

struct daemon {
	const struct daemon_options *options;
	const struct clock *clock;
	/* What states are stamped with: the wall clock as it was at the start plus the time that
	 * has passed since. So whoever sets the clock neither cuts a pause or a drain short nor
	 * keeps an address closed. */
	struct clock steady;
	uint64_t start_wall_ms;
	struct random random; /* the kernel's */
	uv_loop_t loop;
	struct replica replica;
	bool decides; /* this node is the fabric's voter: its replica is the authority */
	struct store *store; /* the replica's */
	struct authority *authority; /* whom the replica follows, while it does */
	struct standings standings; /* where the others are in the ledger */
	bool is_sure; /* of a voter: nobody has more, by what was heard or by the operator's word */
	struct peers *peers; /* the node channel; NULL: this node is alone */
	bool lost_track; /* all of the replica was replaced, and the image must be read anew */
	struct store_watch *watch;
	struct ledger_signer *signer;
	unsigned trim_ticks; /* until memory is given back; 0: it was */
	struct image image;
	struct changes *changes;
	struct edge_plane *edge; /* NULL without the role */
	struct names_plane *names; /* NULL without the role */
	struct routing_plane *routing; /* NULL: this node announces nothing */
	struct own_landing *own_landing; /* NULL without the role */
	struct reports *reports;
	struct landings *landings; /* what each landing is to be */
	struct observations *observations; /* of all nodes, this one among them */
	struct wants wants; /* of slots, by orders given here */
	struct membership *membership;
	struct passing_renewal *passing_renewal;
	struct passing_told foremost; /* how far other edges are, as a voter told */
	struct burned *burned; /* addresses that a recovery holds back */
	struct fence *fence; /* edges that were removed */
	struct removal removal; /* of this node */
	struct member self; /* what the options make of this node */
	char instance[OBSERVATION_INSTANCE_BYTES]; /* of this process */
	struct good_copy *good_copy; /* NULL while the replica is none to be kept */
	struct driver *driver;
	struct api_host host;
	struct api_unix *api;
	struct landing_api *landing_api;
	struct return_paths *return_paths;
	struct api_http *metrics; /* NULL: nobody can read them */
	uint64_t metrics_ms; /* when that is tried again */
	struct alarm metrics_alarm; /* why not */
	uv_poll_t store_poll;
	uv_timer_t store_timer;
	uv_timer_t tick;
	uv_timer_t heard_timer;
	uv_timer_t watchdog;
	struct signals_watch signals;
	uint64_t start_ms;
	uint64_t ticked_ms;
	struct wall_watch wall;
	struct open_files files;
	struct acting acting; /* what is forwarded, answered and acknowledged of it */
	struct alarm alarm; /* why the latest change could not be carried out */
	struct alarm upgrade_alarm; /* why the first release's state was not taken over */
	struct alarm mark_alarm; /* why it could not be noted lately */
	struct alarm store_alarm; /* why the store took no change lately */
	struct alarm passing_alarm; /* why it could not be set what is passed on */
	struct alarm channel_alarm; /* why the node channel is not open */
	uint64_t store_failed_ms; /* when that was last */
	bool probing; /* a write is under way that finds out whether it does again */
	uint64_t well_since_ms; /* what the image says is carried out since then; 0: it is not */
	bool proven; /* it was so for long enough: this start was no crash */
	uint64_t returned_ms; /* when it was last asked whether the store is back */
	bool again; /* the loop ended to start anew */
	unsigned renew_ticks; /* until it does, by order; 0: no */
	const char *exchange; /* the copy that takes the store's place before that; NULL: none */
	struct ledger_position pinned; /* what the pinned maps did at the start */
	char status_line[512]; /* what systemd was last told */
	struct error failure; /* why the loop ended, if not on a signal */
};

/* Run until a signal; signals are held (signals.h). Prints what goes wrong at the start to `err`.
 */
must_check int daemon_run(const struct daemon_options *options, struct error *err);

/* Make this machine the first node of a fabric; let it join one. Each tells on standard output what
 * to type next. */
must_check int daemon_init(const json_t *parameters, struct error *err);
must_check int daemon_join(const json_t *parameters, struct error *err);

/* The same for a backend without a replica, which reports to a node's socket. */
must_check int landing_node_run(const struct daemon_options *options, struct error *err);

/*
 * Take away what `run` set on this machine, in either role; forwarding and landing stop. Says on
 * standard output when there is nothing to undo.
 */
must_check int daemon_detach(const json_t *parameters, struct error *err);
/* The same, for who has options. */
must_check int daemon_empty(const struct daemon_options *options, struct error *err);

/* --- tell.c --- */

/* Something happened: log it and tell those who follow `fairlead events`. `fields` is moved. */
void daemon_event(struct daemon *daemon, const char *name, json_t *fields);

/* The same when an alarm begins, or says something else than before. */
void daemon_tell_alarm(struct daemon *daemon, const struct alarm *alarm);

/* systemd's READY, STOPPING or STATUS; nothing outside systemd. */
void daemon_notify(const char *state);

/* systemd's watchdog, where it wants one, is fed while the loop turns. Inits `timer`, which is the
 * caller's to close. */
void daemon_watchdog_start(uv_loop_t *loop, uv_timer_t *timer);

/* --- store_health.c --- */

/*
 * What a txn came to: a store that does not take changes is an alarm, once, until it does again.
 * Call it for each that is not to be answered by the image.
 */
void daemon_store_result(struct daemon *daemon, int result, const struct error *err);

/* Should what the daemon wants of its own accord wait? The replica takes no orders, or the disk
 * failed a moment ago. */
bool daemon_store_rests(const struct daemon *daemon);

/* Nothing is asked of a store that failed but a write that does no harm; call it every tick. */
void daemon_probe_store(struct daemon *daemon);

/* --- deciding.c --- */

/* The driver and all that membership needs; says what this node is. */
must_check int daemon_open_fabric(struct daemon *daemon);
/* A state of the first release is taken over as soon as it takes changes. */
void daemon_upgrade_state(struct daemon *daemon);
/* Do what is due; call it every tick of a node that decides. */
void daemon_decide(struct daemon *daemon);
/* A member said something new: do what is due by that, soon. */
void daemon_heard(struct daemon *daemon);
/* The entry that everyone who is waited for has applied; `context` is the daemon. */
uint64_t daemon_applied_by_all(void *context);

/* --- member/stand.c --- */

/* Does this voter know by now that nobody has more than it has? Until then, and when somebody does,
 * it takes no orders. Call it every tick of a node that decides, and before its first. */
void daemon_listen(struct daemon *daemon);
struct voter_verdict daemon_verdict(const struct daemon *daemon);

/* --- carry_out.c --- */

/* The replica is open, and nothing was done by it. */
void daemon_act(struct daemon *daemon);

/*
 * Publish what the image says, to the maps and then to DNS. What cannot be done is an alarm; call
 * it again every tick while that stands.
 */
void daemon_carry_out(struct daemon *daemon);

/*
 * The same at the start, where a fault of the options or of the machine ends the daemon: its
 * supervisor shows it and tries again, and what is pinned goes on forwarding. A store that lost its
 * configuration, or is lost itself, is an alarm all the same.
 */
must_check int daemon_carry_out_first(struct daemon *daemon, struct error *err);

/* Say what this node has applied; with `activity` also how long each address has been quiet. */
void daemon_observe_self(struct daemon *daemon, bool activity);

/* --- host.c --- */

/* The alarms of this node itself: a new reference. */
json_t *daemon_own_alarms(const struct daemon *daemon);

/* Append all alarms and notes that this node tells of. */
void daemon_put_alarms(struct daemon *daemon, json_t *alarms);

/* What the local API sees of this process. */
void daemon_host(struct daemon *daemon, struct api_host *ret_host);

/* --- doctor_facts.c --- */

/* What `fairlead doctor` is told; `context` is the daemon. */
void daemon_put_doctor(void *context, json_t *facts);

#define DAEMON_TRIM_TICKS 2u /* without much work, until memory is given back */

/* Much was needed for a moment: reading the store or a file takes many times what is kept of it,
 * and what is freed lies between what is kept. It goes back to the system some ticks later. */
static inline void daemon_used_memory(struct daemon *daemon)
{
	daemon->trim_ticks = DAEMON_TRIM_TICKS;
}

#endif
