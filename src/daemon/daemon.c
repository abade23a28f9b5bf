/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/daemon.h"

#include "api/unix.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "daemon/edge_plane.h"
#include "daemon/good_copy.h"
#include "daemon/landing/landing_api.h"
#include "daemon/landing/own_landing.h"
#include "daemon/member/authority.h"
#include "daemon/member/credentials.h"
#include "daemon/member/first_token.h"
#include "daemon/member/passing_on.h"
#include "daemon/member/peers.h"
#include "daemon/member/return_path.h"
#include "daemon/metrics/metrics.h"
#include "daemon/names_plane.h"
#include "daemon/routing_plane.h"
#include "fabric/burned.h"
#include "fabric/driver.h"
#include "fabric/fence.h"
#include "fabric/landings.h"
#include "fabric/membership.h"
#include "fabric/passing_renewal.h"
#include "fabric/reports.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS EDGE_SELFCHECK_MS
#define DECIDED_ELSEWHERE                                                                          \
	"this node decides nothing: a voter does, and it cannot be reached from here now"
#define RETURN_MS 2000u /* how often it is asked whether a lost store is back */

/* Nothing begins any more: no request, no change, no tick. */
static void halt(struct daemon *daemon)
{
	store_watch_cancel(daemon->watch);
	daemon->watch = NULL;
	changes_stop(daemon->changes);
	api_unix_stop(daemon->api);
	landing_api_stop(daemon->landing_api);
	if (daemon->tick.data) {
		uv_timer_stop(&daemon->tick);
		uv_timer_stop(&daemon->heard_timer);
	}
}

/* The image may show half a revision now: nothing may be done by it. What is forwarded and
 * answered stays as it is; the next start reads the store anew. */
static void end_of_image(struct daemon *daemon, int result, const struct error *err)
{
	const char *why = *err->text ? err->text : error_text(result);
	log_event(LOG_LEVEL_ERROR, "daemon.failed", "error", why, "forwarding", "goes on", NULL);
	error_set(&daemon->failure, result, "the daemon stopped: %.1900s", why);
	halt(daemon);
	uv_stop(&daemon->loop);
}

static void image_moved(struct daemon *daemon)
{
	daemon_used_memory(daemon);
	replica_moved(&daemon->replica, &daemon->image);
	if (daemon->decides)
		daemon_listen(daemon);
	daemon_carry_out(daemon);
	changes_image_moved(daemon->changes);
	if (daemon->decides)
		driver_run(daemon->driver);
	if (daemon->peers)
		peers_image_moved(daemon->peers);
}

/* Tell what a revision's ledger entries say. */
static void announce(struct daemon *daemon, const struct store_event *events, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct ledger_entry entry;
		if (!ledger_entry_of_event(&events[i], &entry))
			continue;
		daemon_event(daemon, entry.kind,
			     json_pack("{s:I, s:s, s:s, s:O}", "sequence",
				       (json_int_t)entry.sequence, "who", entry.who, "why",
				       entry.why, "what", entry.what));
		ledger_entry_done(&entry);
	}
}

static void on_store_events(void *context, int result, const struct error *err, uint64_t revision,
			    const struct store_event *events, size_t count)
{
	struct daemon *daemon = context;
	struct error own = {0};
	if (result == -FL_ECOMPACTED && daemon->authority) {
		daemon->lost_track = true;
		return;
	}
	if (result == 0)
		result = image_update(&daemon->image, revision, events, count,
				      clock_now_ms(daemon->clock), &own);
	else if (err)
		own = *err;
	if (result < 0) {
		end_of_image(daemon, result, &own);
		return;
	}
	announce(daemon, events, count);
	image_moved(daemon);
}

/* --- the loop --- */

static struct replica_options replica_options(const struct daemon *daemon)
{
	return (struct replica_options){.folder = daemon->options->state_folder,
					.node = daemon->options->node,
					.clock = daemon->clock,
					.disk = &disk_system,
					.follows = !daemon->decides};
}

static void arm_store_timer(struct daemon *daemon);

/* All that the replica held was replaced in one step by what the authority holds. */
static void find_track(struct daemon *daemon)
{
	struct error err = {0};
	daemon->lost_track = false;
	store_watch_cancel(daemon->watch);
	daemon->watch = NULL;
	image_done(&daemon->image);
	int result = image_load(&daemon->image, daemon->store, clock_now_ms(daemon->clock), &err);
	if (result == 0)
		result = replica_judge(&daemon->replica, &daemon->image, &err);
	if (result == 0)
		result = store_watch(daemon->store, "", daemon->image.revision + 1, on_store_events,
				     daemon, &daemon->watch, &err);
	if (result == 0 && daemon->peers)
		peers_lost_track(daemon->peers);
	if (result < 0)
		end_of_image(daemon, result, &err);
	else
		image_moved(daemon);
}

static void dispatch(struct daemon *daemon)
{
	store_dispatch(daemon->store);
	if (daemon->lost_track)
		find_track(daemon);
	arm_store_timer(daemon);
}

static void on_store_readable(uv_poll_t *poll, int status, int events)
{
	(void)status; /* the dispatch meets the same failure and says so */
	(void)events;
	dispatch(poll->data);
}

static void on_store_timer(uv_timer_t *timer)
{
	dispatch(timer->data);
}

static void arm_store_timer(struct daemon *daemon)
{
	int timeout_ms = store_timeout_ms(daemon->store);
	if (timeout_ms < 0)
		uv_timer_stop(&daemon->store_timer);
	else
		uv_timer_start(&daemon->store_timer, on_store_timer, (uint64_t)timeout_ms, 0);
}

static void check_edge(struct daemon *daemon, uint64_t now_ms)
{
	if (edge_plane_check(daemon->edge, now_ms))
		daemon_tell_alarm(daemon, edge_plane_interference(daemon->edge, now_ms));
}

static void tick_names(struct daemon *daemon, uint64_t now_ms)
{
	if (names_plane_tick(daemon->names, now_ms)) {
		daemon_event(daemon, "dns.opened", json_object());
		daemon_carry_out(daemon);
	}
}

/* The machine's clock was set, or this process did not run for a while: told as events, so that
 * the log explains what people see around that time. */
static void tick_time(struct daemon *daemon, uint64_t now_ms)
{
	struct alarm alarm = {0};
	uint64_t still_ms = now_ms - daemon->ticked_ms;
	if (daemon->ticked_ms && still_ms >= EDGE_STALE_MS)
		daemon_event(daemon, "daemon.stood_still",
			     json_pack("{s:s, s:I}", "warning",
				       "this process was stopped, or the machine overloaded; "
				       "packets were forwarded by the kernel's routes",
				       "ms", (json_int_t)still_ms));
	daemon->ticked_ms = now_ms;
	if (wall_watch_look(&daemon->wall, now_ms, clock_wall_ms(daemon->clock))) {
		ALARM_SET(&alarm, now_ms, CLOCK_JUMPED, daemon->options->node,
			  daemon->wall.jump_ms < 0 ? "back" : "forward",
			  llabs((long long)daemon->wall.jump_ms) / 1000);
		daemon_tell_alarm(daemon, &alarm);
	}
}

/* It ran well for as long as a state has to, to be called good. */
static void prove(struct daemon *daemon, bool well, uint64_t now_ms)
{
	if (!well)
		daemon->well_since_ms = 0;
	else if (!daemon->well_since_ms)
		daemon->well_since_ms = now_ms;
	if (!well || daemon->proven || daemon->replica.crashed ||
	    now_ms - daemon->well_since_ms < good_copy_ms())
		return;
	daemon->proven = true;
	crashes_forget(&daemon->replica.crashes);
}

/* A store that was lost is back: the whole start is done again, in this process. */
static void look_for_store(struct daemon *daemon, uint64_t now_ms)
{
	const struct replica_options options = replica_options(daemon);
	if (now_ms - daemon->returned_ms < RETURN_MS)
		return;
	daemon->returned_ms = now_ms;
	if (!replica_may_return(&daemon->replica, &options))
		return;
	daemon_event(daemon, "store.returned", json_object());
	daemon->again = true;
	uv_stop(&daemon->loop);
}

static void trim_memory(struct daemon *daemon)
{
	if (!daemon->trim_ticks)
		return;
	daemon->trim_ticks--;
	if (!daemon->trim_ticks)
		malloc_trim(0);
}

/* Without its channel a node forwards all the same, and takes the port when it comes free. */
static void open_peers(struct daemon *daemon, uint64_t now_ms)
{
	struct error err = {0};
	if (!daemon->options->channel || daemon->peers || daemon->removal.is_over)
		return;
	if (peers_open(daemon, &daemon->peers, &err) < 0) {
		if (ALARM_SET(&daemon->channel_alarm, now_ms, CHANNEL_CLOSED, "", err.text))
			daemon_tell_alarm(daemon, &daemon->channel_alarm);
		return;
	}
	alarm_end(&daemon->channel_alarm);
	peers_start(daemon->peers);
	if (daemon->decides)
		first_token_submit(daemon);
}

static void on_tick(uv_timer_t *timer)
{
	struct daemon *daemon = timer->data;
	uint64_t now_ms = clock_now_ms(daemon->clock);
	tick_time(daemon, now_ms);
	if (daemon->edge) {
		edge_plane_sample(daemon->edge, &daemon->image, now_ms);
		check_edge(daemon, now_ms);
	}
	passing_on_run(daemon);
	if (daemon->names)
		tick_names(daemon, now_ms);
	daemon_probe_store(daemon);
	if (alarm_stands(&daemon->alarm))
		daemon_carry_out(daemon);
	acting_ask(&daemon->acting, now_ms);
	if (daemon->routing)
		routing_plane_run(daemon->routing);
	daemon_observe_self(daemon, true);
	if (daemon->decides) {
		daemon_listen(daemon);
		daemon_decide(daemon);
	}
	if (daemon->authority)
		authority_run(daemon->authority, now_ms);
	open_peers(daemon, now_ms);
	metrics_open(daemon, now_ms);
	if (daemon->peers)
		peers_tick(daemon->peers, now_ms);
	removal_tick(daemon, now_ms);
	trim_memory(daemon);
	bool well = !alarm_stands(&daemon->alarm) && daemon->image.fabric;
	prove(daemon, well, now_ms);
	if (daemon->good_copy && !*daemon->replica.awaits)
		good_copy_run(daemon->good_copy, well, now_ms);
	if (daemon->renew_ticks) {
		daemon->renew_ticks--;
		if (!daemon->renew_ticks) {
			daemon->again = true;
			uv_stop(&daemon->loop);
		}
	}
	if (daemon->replica.kind != REPLICA_STORE)
		look_for_store(daemon, now_ms);
	arm_store_timer(daemon);
}

/* --- starting --- */

static int begin_edge(struct daemon *daemon, struct error *err)
{
	if (daemon->edge || !daemon->options->edge)
		return 0;
	return edge_plane_new(daemon->options, daemon->clock, &daemon->edge, err);
}

/* The state is ours; so are the pins. They are opened while the store is read. */
static void on_owned(void *context)
{
	struct error err;
	(void)begin_edge(context, &err); /* tried again, and told of, when the state is there */
}

static void tell_replica(struct daemon *daemon)
{
	const struct replica *replica = &daemon->replica;
	struct alarm alarm = {0};
	if (*replica->why) {
		(void)ALARM_SET(&alarm, 0, STATE_READ_ONLY, replica_kind_name(replica->kind),
				replica->why);
		daemon_tell_alarm(daemon, &alarm);
	}
	if (*replica->behind) {
		(void)ALARM_SET(&alarm, 0, STATE_BEHIND, replica_kind_name(replica->kind),
				replica->behind);
		daemon_tell_alarm(daemon, &alarm);
	}
}

static int open_state(struct daemon *daemon, struct error *err)
{
	struct replica_options options = replica_options(daemon);
	struct edge_mark pinned;
	options.owned = on_owned;
	options.context = daemon;
	/* Maps that forward are there in whatever role the node is started. */
	if (edge_mark_get(daemon->options->edge_pins, &pinned) == 0)
		options.pinned = (struct mark_note){
		    .position = {.sequence = pinned.sequence, .digest = pinned.digest},
		    .has_peers = pinned.has_peers};
	daemon->pinned = options.pinned.position;
	int result = replica_open(&options, &daemon->replica, &daemon->image, err);
	if (result < 0)
		return result;
	daemon->store = daemon->replica.store;
	daemon->signer = daemon->replica.signer;
	daemon_act(daemon);
	return begin_edge(daemon, err);
}

static void on_change(void *context, int result, const struct error *err)
{
	daemon_store_result(context, result, err);
}

/* A node that forwards does so rather without its names than not at all, and takes the port when it
 * comes free. One that has nothing to forward yet, or no such role, is left to its supervisor. */
static int open_names(struct daemon *daemon, struct error *err)
{
	uint64_t now_ms = clock_now_ms(daemon->clock);
	daemon->names =
	    names_plane_new(daemon->options, daemon->files.tcp_connections, &daemon->random);
	int result = names_plane_open(daemon->names, now_ms, err);
	if (result == 0 || !daemon->options->edge || !daemon->image.fabric)
		return result;
	daemon_tell_alarm(daemon, names_plane_alarm(daemon->names));
	return 0;
}

static int open_parts(struct daemon *daemon, struct error *err)
{
	const struct daemon_options *options = daemon->options;
	int result = options->names ? open_names(daemon, err) : 0;
	if (result == 0 && options->edge)
		result = edge_plane_start(daemon->edge, &daemon->loop, err);
	/* Invariant 6: a store that holds no configuration may be one that was lost. */
	if (result == 0 && options->edge && !daemon->image.fabric &&
	    !image_unread_meaning(&daemon->image) && edge_plane_forwards(daemon->edge))
		replica_set_behind_maps(&daemon->replica);
	tell_replica(daemon);
	if (result == 0)
		result = reports_new(&daemon->reports);
	if (result == 0)
		result = landings_new(&daemon->landings);
	/* Else the copy that is there may be the newest state that there is. */
	if (replica_is_writable(&daemon->replica))
		daemon->good_copy = good_copy_new(daemon);
	if (result == 0)
		result = observations_new(&daemon->observations);
	const struct changes_options changes = {.authority = daemon->store,
						.image = &daemon->image,
						.signer = daemon->signer,
						.clock = daemon->clock,
						.steady = &daemon->steady,
						.random = &daemon->random,
						.applied = daemon_applied_by_all,
						.refusal = daemon->decides ? daemon->replica.refusal
									   : DECIDED_ELSEWHERE,
						.told = on_change,
						.context = daemon};
	if (result == 0)
		result = changes_new(&changes, &daemon->changes);
	if (result == 0)
		result = daemon_open_fabric(daemon);
	if (result == 0) {
		daemon_host(daemon, &daemon->host);
		daemon->return_paths = return_paths_new(daemon);
		result = api_unix_open(&daemon->host, &daemon->loop, options->socket_path,
				       daemon->files.api_clients, &daemon->api, err);
	}
	if (result == 0 && !daemon->removal.is_over)
		result = landing_api_open(daemon, options->peers_path, daemon->files.landings,
					  &daemon->landing_api, err);
	if (result == 0 && options->channel && !daemon->removal.is_over &&
	    daemon->replica.kind == REPLICA_STORE)
		result = authority_open(daemon, &daemon->authority, err);
	if (result == 0 && options->backend)
		result = own_landing_open(daemon, &daemon->own_landing, err);
	if (result == 0 && options->announces)
		result = routing_plane_open(daemon, &daemon->routing, err);
	if (result == 0)
		result = store_watch(daemon->store, "", daemon->image.revision + 1, on_store_events,
				     daemon, &daemon->watch, err);
	if (result == 0 && daemon->decides)
		daemon_listen(daemon);
	if (result == 0)
		daemon_upgrade_state(daemon);
	return result;
}

static bool withdraws_first(void *context)
{
	struct daemon *daemon = context;
	/* A supervisor is told when the end begins, however long it takes. */
	daemon_notify("STOPPING=1");
	return daemon->routing && routing_plane_leave(daemon->routing);
}

static int start_handles(struct daemon *daemon, struct error *err)
{
	int result = uv_poll_init(&daemon->loop, &daemon->store_poll, store_fd(daemon->store));
	if (result < 0)
		return error_set(err, result, "cannot watch the store: %s", uv_strerror(result));
	daemon->store_poll.data = daemon;
	uv_timer_init(&daemon->loop, &daemon->store_timer);
	daemon->store_timer.data = daemon;
	uv_timer_init(&daemon->loop, &daemon->heard_timer);
	daemon->heard_timer.data = daemon;
	uv_timer_init(&daemon->loop, &daemon->tick);
	daemon->tick.data = daemon;
	uv_poll_start(&daemon->store_poll, UV_READABLE, on_store_readable);
	uv_timer_start(&daemon->tick, on_tick, TICK_MS, TICK_MS);
	daemon_watchdog_start(&daemon->loop, &daemon->watchdog);
	daemon->signals = (struct signals_watch){.event = "daemon.stopping",
						 .key = "forwarding",
						 .value = "goes on",
						 .delays = withdraws_first,
						 .context = daemon};
	signals_watch_start(&daemon->signals, &daemon->loop);
	if (daemon->authority)
		authority_start(daemon->authority);
	open_peers(daemon, daemon->start_ms);
	metrics_open(daemon, daemon->start_ms);
	if (daemon->own_landing)
		own_landing_start(daemon->own_landing);
	return 0;
}

/* From here on nothing of ours is called any more by the loop, which others still need to run. */
static void stop_handles(struct daemon *daemon)
{
	if (!daemon->tick.data)
		return;
	uv_close((uv_handle_t *)&daemon->store_poll, NULL);
	uv_close((uv_handle_t *)&daemon->store_timer, NULL);
	uv_close((uv_handle_t *)&daemon->heard_timer, NULL);
	uv_close((uv_handle_t *)&daemon->tick, NULL);
	uv_close((uv_handle_t *)&daemon->watchdog, NULL);
	uv_close((uv_handle_t *)&daemon->signals.poll, NULL);
}

/* The store first, since its last completions still answer clients, who get no further request
 * through; then everything else in the reverse order of opening. Forwarding goes on without us. */
static void close_all(struct daemon *daemon)
{
	halt(daemon);
	stop_handles(daemon);
	return_paths_close(daemon->return_paths);
	metrics_close(daemon);
	own_landing_close(daemon->own_landing);
	routing_plane_stop(daemon->routing);
	peers_close(daemon->peers);
	authority_stop(daemon->authority);
	store_close(daemon->store);
	changes_free(daemon->changes);
	peers_free(daemon->peers);
	daemon->peers = NULL;
	good_copy_free(daemon->good_copy);
	daemon->good_copy = NULL;
	api_unix_close(daemon->api);
	daemon->api = NULL;
	landing_api_close(daemon->landing_api);
	driver_free(daemon->driver);
	membership_free(daemon->membership);
	burned_free(daemon->burned);
	fence_free(daemon->fence);
	passing_renewal_free(daemon->passing_renewal);
	observations_free(daemon->observations);
	wants_done(&daemon->wants);
	landings_free(daemon->landings);
	reports_free(daemon->reports);
	edge_plane_free(daemon->edge);
	names_plane_free(daemon->names);
	ledger_signer_free(daemon->signer);
	image_done(&daemon->image);
	uv_run(&daemon->loop, UV_RUN_DEFAULT);
	uv_loop_close(&daemon->loop);
	routing_plane_free(daemon->routing);
	return_paths_free(daemon->return_paths);
	authority_free(daemon->authority);
	standings_done(&daemon->standings);
}

static int start(struct daemon *daemon, struct error *err)
{
	const struct daemon_options *options = daemon->options;
	int result = file_make_folders(options->state_folder, 0700, err);
	if (result == 0)
		result = file_make_folders(options->run_folder, 0755, err);
	if (result == 0)
		result = open_state(daemon, err);
	if (result == 0 && !signals_end_wanted())
		result = open_parts(daemon, err);
	if (result == 0 && !signals_end_wanted())
		result = start_handles(daemon, err);
	return must_succeed(result);
}

static uint64_t steady_now_ms(void *context)
{
	const struct daemon *daemon = context;
	return clock_now_ms(daemon->clock);
}

static uint64_t steady_wall_ms(void *context)
{
	const struct daemon *daemon = context;
	return daemon->start_wall_ms + (clock_now_ms(daemon->clock) - daemon->start_ms);
}

/* An end in order is no crash, however soon it comes. After a fall back to the last good copy it is
 * how the operator says: try the newer state again. */
static void end_in_order(struct daemon *daemon)
{
	struct crashes *crashes = &daemon->replica.crashes;
	if (daemon->replica.crashed)
		crashes_forget(crashes);
	else if (daemon->store && !daemon->proven)
		crashes_take_back(crashes);
}

static int run_once(struct daemon *daemon, struct error *err)
{
	const struct daemon_options *options = daemon->options;
	int result = uv_loop_init(&daemon->loop);
	if (result < 0)
		return error_set(err, result, "cannot start the event loop: %s",
				 uv_strerror(result));
	result = start(daemon, err);
	if (result == 0 && !signals_end_wanted())
		result = daemon_carry_out_first(daemon, err);
	if (result == 0 && signals_end_wanted()) {
		log_event(LOG_LEVEL_INFO, "daemon.stopping", "signal", "during the start",
			  "forwarding", "goes on", NULL);
	} else if (result == 0) {
		log_event(LOG_LEVEL_INFO, "daemon.started", "node", options->node, "site",
			  options->site, "socket", options->socket_path, "state",
			  replica_kind_name(daemon->replica.kind), NULL);
		if (daemon->routing)
			routing_plane_start(daemon->routing);
		daemon_notify("READY=1");
		uv_run(&daemon->loop, UV_RUN_DEFAULT);
		if (daemon->again)
			daemon_notify("RELOADING=1");
		else if (!daemon->signals.came)
			daemon_notify("STOPPING=1");
		result = daemon->failure.code;
		if (result < 0)
			*err = daemon->failure;
	}
	end_in_order(daemon);
	close_all(daemon);
	return result;
}

/* Nobody has the store open. One that cannot be exchanged is what the next start goes by. */
static void exchange_store(struct daemon *daemon)
{
	struct error err;
	if (copy_take_place(daemon->options->state_folder, &disk_system, daemon->exchange,
			    clock_wall_ms(daemon->clock), &err) < 0)
		log_event(LOG_LEVEL_ERROR, "store.failed", "error", err.text, NULL);
	else
		log_event(LOG_LEVEL_INFO, "store.exchanged", "for", daemon->exchange, NULL);
}

static int run(const struct daemon_options *options, struct error *err)
{
	size_t threads = options->names ? naming_server_threads(options->dns_threads) : 0;
	struct open_files files = open_files_share(open_files_raise(), threads, options->dns_count);
	int result;
	bool again;
	/* Large blocks get a mapping of their own, whatever came before: freed, they are gone. */
	(void)mallopt(M_MMAP_THRESHOLD, 64 << 10);
	log_set_level(options->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	do {
		struct daemon_options now;
		struct removal removal;
		result = removal_begin(options, &now, &removal, err);
		if (result < 0)
			break;
		struct daemon daemon = {.options = &now,
					.removal = removal,
					.clock = &clock_system,
					.decides = !options->channel || options->channel->voter};
		daemon_used_memory(&daemon);
		daemon.start_ms = clock_now_ms(daemon.clock);
		daemon.start_wall_ms = clock_wall_ms(daemon.clock);
		wall_watch_init(&daemon.wall, daemon.start_ms, daemon.start_wall_ms);
		daemon.steady = (struct clock){
		    .now_ms = steady_now_ms, .wall_ms = steady_wall_ms, .context = &daemon};
		random_init_system(&daemon.random);
		daemon.files = files;
		result = run_once(&daemon, err);
		again = daemon.again && !daemon.signals.came;
		if (result == 0 && daemon.exchange)
			exchange_store(&daemon);
	} while (again && result == 0);
	return result;
}

int daemon_run(const struct daemon_options *options, struct error *err)
{
	struct daemon_options own = *options;
	struct credentials credentials;
	bool is_node;
	int result = credentials_load(options->state_folder, &is_node, &credentials, err);
	if (result < 0)
		return result;
	if (is_node && !own.channel_port)
		result = error_set(err, -FL_ECORRUPT,
				   "%s/node.json is missing: it says where this node's channel "
				   "listens",
				   options->state_folder);
	own.channel = is_node ? &credentials : NULL;
	if (result == 0)
		result = run(&own, err);
	if (is_node)
		credentials_done(&credentials);
	return result;
}
