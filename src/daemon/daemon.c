/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/daemon.h"

#include "api/unix.h"
#include "base/file.h"
#include "base/log.h"
#include "daemon/edge_plane.h"
#include "daemon/good_copy.h"
#include "daemon/landing_api.h"
#include "daemon/names_plane.h"
#include "fabric/driver.h"
#include "fabric/landings.h"
#include "fabric/membership.h"
#include "fabric/reports.h"
#include "state/records.h"
#include "state/upgrade.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define TICK_MS EDGE_CHECK_MS
#define STORE_RETRY_MS 1000u /* after the store failed to take a change */
#define TRIM_TICKS 2u /* without much work, until memory is given back */
#define RETURN_MS 2000u /* how often it is asked whether a lost store is back */

void daemon_used_memory(struct daemon *daemon)
{
	daemon->trim_ticks = TRIM_TICKS;
}

void daemon_notify(const char *state)
{
	sd_notify(0, state);
}

/* --- events --- */

/* Plain fields only: what is an object here stands in full in the ledger and the event stream. */
static void log_fields(enum log_level level, const char *name, const json_t *fields)
{
	const char *pairs[2 * LOG_MAX_PAIRS + 1];
	char numbers[LOG_MAX_PAIRS][32];
	size_t count = 0;
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)fields, key, value) {
		if (count == LOG_MAX_PAIRS)
			break;
		if (!json_is_string(value) && !json_is_integer(value))
			continue;
		pairs[2 * count] = key;
		if (json_is_string(value)) {
			pairs[2 * count + 1] = json_string_value(value);
		} else {
			snprintf(numbers[count], sizeof(numbers[count]), "%lld",
				 (long long)json_integer_value(value));
			pairs[2 * count + 1] = numbers[count];
		}
		count++;
	}
	pairs[2 * count] = NULL;
	log_pairs(level, name, pairs);
}

static enum log_level level_of(const json_t *fields)
{
	if (json_object_get(fields, "error"))
		return LOG_LEVEL_ERROR;
	return json_object_get(fields, "warning") ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO;
}

void daemon_event(struct daemon *daemon, const char *name, json_t *fields)
{
	if (!fields) {
		log_event(LOG_LEVEL_ERROR, name, "error", "there was no memory to say more", NULL);
		return;
	}
	log_fields(level_of(fields), name, fields);
	if (daemon->api) {
		char time[CLOCK_TEXT_BYTES];
		clock_format(clock_wall_ms(daemon->clock), time, sizeof(time));
		json_t *item = json_pack("{s:s, s:s}", "time", time, "event", name);
		json_object_update(item, fields);
		api_unix_publish(daemon->api, item);
		json_decref(item);
	}
	json_decref(fields);
}

void daemon_tell_alarm(struct daemon *daemon, const struct alarm *alarm)
{
	char advice[512];
	const struct alarm_row *row = &alarm_rows[alarm->code];
	alarm_advice(alarm->code, alarm->subject, advice, sizeof(advice));
	daemon_event(daemon, row->code,
		     json_pack("{s:s, s:s, s:s}", "subject", alarm->subject,
			       row->severity == ALARM_IS_ALARM ? "error" : "warning", alarm->text,
			       "advice", advice));
}

/* --- what the store is fit for --- */

/* Is it the store's fault, or its disk's, and not that of what it was asked? */
static bool is_failure_of_store(int result)
{
	switch (result) {
	case -ENOSPC:
	case -EROFS:
	case -EIO:
	case -EACCES:
	case -EBUSY:
	case -FL_ECORRUPT:
	case -FL_EUNAVAILABLE:
		return true;
	default:
		return false;
	}
}

static void store_failed(struct daemon *daemon, const struct error *err)
{
	daemon->store_failed_ms = clock_now_ms(daemon->clock);
	if (ALARM_SET(&daemon->store_alarm, daemon->store_failed_ms, STORE_FAILED, "", err->text))
		daemon_tell_alarm(daemon, &daemon->store_alarm);
}

void daemon_store_result(struct daemon *daemon, int result, const struct error *err)
{
	if (is_failure_of_store(result) && err) {
		store_failed(daemon, err);
	} else if (result == 0 && alarm_stands(&daemon->store_alarm)) {
		alarm_end(&daemon->store_alarm);
		daemon_event(daemon, "store.recovered", json_object());
	}
}

bool daemon_store_rests(const struct daemon *daemon)
{
	return !replica_is_writable(&daemon->replica) ||
	       (alarm_stands(&daemon->store_alarm) &&
		clock_now_ms(daemon->clock) - daemon->store_failed_ms < STORE_RETRY_MS);
}

/* --- carrying out what the store says --- */

static struct ledger_position head_of(const struct image *image)
{
	return (struct ledger_position){.sequence = image->head.sequence,
					.digest = image->head.digest};
}

static bool is_current(const struct daemon *daemon)
{
	return daemon->replica.standing == REPLICA_CURRENT;
}

/* No other node forwards, answers or decides: nothing moves but what this one does. */
static bool is_alone(const struct daemon *daemon)
{
	const struct image *image = &daemon->image;
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *member = image->members[i].member;
		if (strcmp(member->name, daemon->options->node) != 0 &&
		    (member->roles & (MEMBER_EDGE | MEMBER_NAMES | MEMBER_VOTER)))
			return false;
	}
	return true;
}

/*
 * Below its mark a node publishes nothing over maps that forward: that would withdraw addresses
 * which only they know, or give one back the meaning that it had before its closing was proven
 * (invariants 3 and 6). Where nothing is forwarded and nobody else is there to forward, what it has
 * is better than nothing.
 */
static int forward(struct daemon *daemon, struct error *err)
{
	const struct image *image = &daemon->image;
	bool alone = is_alone(daemon);
	if (daemon->forwarded_revision == image->revision)
		return 0;
	if (!is_current(daemon) && (edge_plane_forwards(daemon->edge) || !alone))
		return edge_plane_keep(daemon->edge, alone ? image : NULL, err);
	int result = edge_plane_publish(daemon->edge, image, err);
	if (result < 0)
		return result;
	daemon->forwarded_revision = image->revision;
	if (is_current(daemon))
		daemon->forwarded = head_of(image);
	return 0;
}

/* 1 when DNS answers by something newer than before. */
static int answer(struct daemon *daemon, struct error *err)
{
	/* Other name servers answer. */
	if (!is_current(daemon) && !is_alone(daemon))
		return 0;
	int result = names_plane_publish(daemon->names, &daemon->image, err);
	if (result >= 0 && is_current(daemon))
		daemon->answered = head_of(&daemon->image);
	return result;
}

/* Others build on what is told: so it is noted before, beside the replica and in the pinned maps.
 */
static bool note_mark(struct daemon *daemon, uint64_t now_ms)
{
	struct error err = {0};
	const struct ledger_position *newest =
	    daemon->forwarded.sequence > daemon->answered.sequence ? &daemon->forwarded
								   : &daemon->answered;
	if (newest->sequence <= daemon->marked)
		return true;
	int result = daemon->edge ? edge_plane_mark(daemon->edge, newest, &err) : 0;
	if (result == 0)
		result = replica_acknowledge(&daemon->replica, newest, &err);
	if (result < 0) {
		if (ALARM_SET(&daemon->mark_alarm, now_ms, MARK_FAILED, "", err.text))
			daemon_tell_alarm(daemon, &daemon->mark_alarm);
		return false;
	}
	alarm_end(&daemon->mark_alarm);
	daemon->marked = newest->sequence;
	return true;
}

/* Say what this node has applied; with `activity` also how long each address has been quiet. */
static void observe_self(struct daemon *daemon, bool activity)
{
	struct observation observation = {.node = daemon->options->node,
					  .instance = daemon->instance,
					  .is_edge = daemon->edge != NULL,
					  .edge_applied = daemon->forwarded,
					  .is_names = daemon->names != NULL,
					  .names_applied = daemon->answered};
	if (!note_mark(daemon, clock_now_ms(daemon->clock)))
		return;
	if (daemon->edge && activity)
		observation.activity =
		    edge_plane_activity(daemon->edge, &observation.activity_count);
	/* Before its first start is recorded, the node is a stranger to itself, too. */
	int result = observations_take(daemon->observations, &daemon->image, &observation,
				       clock_now_ms(daemon->clock));
	(void)result;
}

/* What `systemctl status` shows. */
static void tell_status(struct daemon *daemon)
{
	char line[sizeof(daemon->status_line)];
	const char *alarm = alarm_stands(&daemon->alarm) ? daemon->alarm.text
			    : *daemon->replica.refusal   ? daemon->replica.refusal
			    : *daemon->store_alarm.text  ? daemon->store_alarm.text
			    : daemon->names              ? names_plane_alarm(daemon->names)->text
							 : "";
	if (*alarm)
		snprintf(line, sizeof(line), "STATUS=alarm: %.400s", alarm);
	else if (!daemon->image.fabric)
		snprintf(line, sizeof(line), "STATUS=nothing was applied yet");
	else
		snprintf(line, sizeof(line), "STATUS=%zu services, ledger entry %llu, %s",
			 daemon->image.state_count, (unsigned long long)daemon->image.head.sequence,
			 daemon->names && names_plane_answers(daemon->names) ? "DNS answers"
									     : "no DNS");
	if (strcmp(line, daemon->status_line) != 0)
		daemon_notify(line);
	memcpy(daemon->status_line, line, sizeof(line));
}

/* Publishing is: ring, then descriptor, then route, then DNS. Each step stands on the one before;
 * a step that fails leaves everything as it was, says so, and is tried again every tick. */
static void carry_out(struct daemon *daemon)
{
	struct error err = {0};
	int swapped = 0;
	bool is_new = false;
	uint64_t now_ms = clock_now_ms(daemon->clock);
	const char *node = daemon->options->node;
	if (daemon->edge && forward(daemon, &err) < 0)
		is_new = ALARM_SET(&daemon->alarm, now_ms, EDGE_BEHIND, node, err.text);
	else if (daemon->names && (swapped = answer(daemon, &err)) < 0)
		is_new = ALARM_SET(&daemon->alarm, now_ms, DNS_BEHIND, "", err.text);
	else
		alarm_end(&daemon->alarm);
	if (is_new)
		daemon_tell_alarm(daemon, &daemon->alarm);
	if (swapped > 0) {
		char serial[16];
		snprintf(serial, sizeof(serial), "%u", names_plane_serial(daemon->names));
		log_event(LOG_LEVEL_DEBUG, "dns.published", "serial", serial, NULL);
	}
	observe_self(daemon, false);
	tell_status(daemon);
}

/* From here on this process answers for what is forwarded; packets of pinned maps went on before.
 */
static void tell_forwarding(const struct daemon *daemon)
{
	struct edge_status status;
	char addresses[24];
	if (edge_plane_status(daemon->edge, &status) < 0)
		return;
	snprintf(addresses, sizeof(addresses), "%zu", status.addresses);
	log_event(LOG_LEVEL_INFO, "edge.forwarding", "addresses", addresses, NULL);
}

/* At the start a fault of the options or of the machine ends the daemon: its supervisor shows it
 * and tries again, and what is pinned goes on forwarding. Later the same would be an alarm, as is a
 * store that lost its configuration (it needs a daemon that takes a new one) or is lost itself. */
static int carry_out_first(struct daemon *daemon, struct error *err)
{
	int swapped = 0;
	if (!replica_is_writable(&daemon->replica) || image_unread_meaning(&daemon->image)) {
		carry_out(daemon);
		return 0;
	}
	int result = daemon->edge ? forward(daemon, err) : 0;
	if (result == 0 && daemon->edge)
		tell_forwarding(daemon);
	if (result == 0 && daemon->names)
		swapped = answer(daemon, err);
	tell_status(daemon);
	return result < 0 ? result : swapped < 0 ? swapped : 0;
}

/* Nothing begins any more: no request, no change, no tick. */
static void halt(struct daemon *daemon)
{
	store_watch_cancel(daemon->watch);
	daemon->watch = NULL;
	changes_stop(daemon->changes);
	api_unix_stop(daemon->api);
	landing_api_stop(daemon->landing_api);
	if (daemon->tick.data)
		uv_timer_stop(&daemon->tick);
}

/* The image may show half a revision now: nothing may be done by it. What is forwarded and
 * answered stays as it is; the next start reads the store anew. */
static void fail(struct daemon *daemon, int result, const struct error *err)
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
	carry_out(daemon);
	changes_image_moved(daemon->changes);
	driver_run(daemon->driver);
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
	if (result == 0)
		result = image_update(&daemon->image, revision, events, count,
				      clock_now_ms(daemon->clock), &own);
	else if (err)
		own = *err;
	if (result < 0) {
		fail(daemon, result, &own);
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
					.disk = &disk_system};
}

static void arm_store_timer(struct daemon *daemon);

static void dispatch(struct daemon *daemon)
{
	store_dispatch(daemon->store);
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
	if (names_plane_open_again(daemon->names, now_ms)) {
		daemon_event(daemon, "dns.opened", json_object());
		carry_out(daemon);
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

/* Nothing is asked of a store that failed but a write that does no harm: once it succeeds, the
 * alarm ends. */
static void on_probed(void *context, int result, const struct error *err,
		      const struct store_txn_outcome *outcome)
{
	struct daemon *daemon = context;
	(void)outcome;
	daemon->probing = false;
	daemon_store_result(daemon, result, err);
}

static void probe_store(struct daemon *daemon)
{
	const struct store_op op = {.kind = STORE_PUT, .key = RECORD_PROBE_KEY, .value = ""};
	const struct store_txn txn = {.ops = &op, .op_count = 1};
	struct error err = {0};
	if (!alarm_stands(&daemon->store_alarm) || daemon->probing || daemon_store_rests(daemon))
		return;
	int result = store_txn(daemon->store, &txn, on_probed, daemon, &err);
	daemon->probing = result == 0;
	if (result < 0)
		daemon_store_result(daemon, result, &err);
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

/* A store of the first release is taken over as soon as it takes changes. */
static void on_upgraded(void *context, int result, const struct error *err)
{
	struct daemon *daemon = context;
	if (result == 0 || result == -ECANCELED)
		alarm_end(&daemon->upgrade_alarm);
	else if (ALARM_SET(&daemon->upgrade_alarm, clock_now_ms(daemon->clock), STATE_OLD, "",
			   err->text))
		daemon_tell_alarm(daemon, &daemon->upgrade_alarm);
}

static void upgrade_state(struct daemon *daemon)
{
	if (!daemon->image.is_old || daemon_store_rests(daemon) ||
	    changes_pending(daemon->changes, UPGRADE_KIND))
		return;
	struct error err;
	int result = upgrade_begin(daemon->changes, on_upgraded, daemon);
	if (result < 0) {
		error_set(&err, result, "out of memory");
		on_upgraded(daemon, result, &err);
	}
}

static void trim_memory(struct daemon *daemon)
{
	if (!daemon->trim_ticks)
		return;
	daemon->trim_ticks--;
	if (!daemon->trim_ticks)
		malloc_trim(0);
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
	if (daemon->names)
		tick_names(daemon, now_ms);
	probe_store(daemon);
	if (alarm_stands(&daemon->alarm))
		carry_out(daemon);
	observe_self(daemon, true);
	upgrade_state(daemon);
	membership_run(daemon->membership);
	driver_run(daemon->driver);
	trim_memory(daemon);
	bool well = !alarm_stands(&daemon->alarm) && daemon->image.fabric;
	prove(daemon, well, now_ms);
	if (daemon->good_copy)
		good_copy_run(daemon->good_copy, well, now_ms);
	if (daemon->replica.kind != REPLICA_STORE)
		look_for_store(daemon, now_ms);
	arm_store_timer(daemon);
}

static void on_signal(uv_signal_t *handle, int number)
{
	log_event(LOG_LEVEL_INFO, "daemon.stopping", "signal", strsignal(number), "forwarding",
		  "goes on", NULL);
	uv_stop(handle->loop);
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
	if (daemon->options->edge && edge_mark_get(daemon->options->edge_pins, &pinned) == 0)
		options.pinned =
		    (struct ledger_position){.sequence = pinned.sequence, .digest = pinned.digest};
	int result = replica_open(&options, &daemon->replica, &daemon->image, err);
	if (result < 0)
		return result;
	daemon->store = daemon->replica.store;
	daemon->signer = daemon->replica.signer;
	return begin_edge(daemon, err);
}

static void on_change(void *context, int result, const struct error *err)
{
	daemon_store_result(context, result, err);
}

static uint64_t applied_by_all(void *context)
{
	const struct daemon *daemon = context;
	const struct sights sights = driver_sights(daemon->driver);
	return merge_applied(&sights);
}

static bool rests(void *context)
{
	return daemon_store_rests(context);
}

static void tell(void *context, const char *event, json_t *fields)
{
	daemon_event(context, event, fields);
}

/* Pinned maps go on forwarding without a process. A name server ends with its process. */
static bool acts(void *context, enum member_role role)
{
	const struct daemon *daemon = context;
	return role == MEMBER_EDGE && !daemon->options->edge &&
	       access(daemon->options->edge_pins, F_OK) == 0;
}

/* What the flags make of this node. */
static void describe_self(struct daemon *daemon)
{
	const struct daemon_options *options = daemon->options;
	struct member *self = &daemon->self;
	uint8_t bytes[16];
	*self =
	    (struct member){.name = options->node,
			    .site = options->site,
			    .key = daemon->signer ? ledger_signer_public_key(daemon->signer) : "",
			    .roles = MEMBER_VOTER | (options->edge ? MEMBER_EDGE : 0u) |
				     (options->names ? MEMBER_NAMES : 0u),
			    .features = MEMBER_FEATURES};
	if (options->edge && options->source_v4.family)
		self->sources[self->source_count++] = options->source_v4;
	if (options->edge && options->source_v6.family)
		self->sources[self->source_count++] = options->source_v6;
	random_fill(&daemon->random, bytes, sizeof(bytes));
	hex_encode(bytes, sizeof(bytes), daemon->instance);
}

static int open_fabric(struct daemon *daemon)
{
	const char *unsafe = getenv(DRIVER_UNSAFE_VARIABLE);
	const struct driver_options driver = {.image = &daemon->image,
					      .changes = daemon->changes,
					      .observations = daemon->observations,
					      .reports = daemon->reports,
					      .landings = daemon->landings,
					      .clock = daemon->clock,
					      .steady = &daemon->steady,
					      .unsafe = unsafe &&
							strcmp(unsafe, DRIVER_UNSAFE_VALUE) == 0,
					      .rests = rests,
					      .tell = tell,
					      .context = daemon};
	const struct membership_options membership = {.image = &daemon->image,
						      .changes = daemon->changes,
						      .self = &daemon->self,
						      .acts = acts,
						      .rests = rests,
						      .context = daemon};
	describe_self(daemon);
	int result = driver_new(&driver, &daemon->driver);
	return result < 0 ? result : membership_new(&membership, &daemon->membership);
}

/* A node that forwards does so rather without its names than not at all, and takes the port when it
 * comes free. One that has nothing to forward yet, or no such role, is left to its supervisor. */
static int open_names(struct daemon *daemon, struct error *err)
{
	uint64_t now_ms = clock_now_ms(daemon->clock);
	int result =
	    names_plane_new(daemon->options, daemon->files.tcp_connections, &daemon->names, err);
	if (result < 0)
		return result;
	result = names_plane_open(daemon->names, now_ms, err);
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
	if (result == 0 && replica_is_writable(&daemon->replica))
		result = good_copy_new(daemon, &daemon->good_copy);
	if (result == 0)
		result = observations_new(&daemon->observations);
	const struct changes_options changes = {.authority = daemon->store,
						.image = &daemon->image,
						.signer = daemon->signer,
						.clock = daemon->clock,
						.steady = &daemon->steady,
						.random = &daemon->random,
						.applied = applied_by_all,
						.refusal = daemon->replica.refusal,
						.told = on_change,
						.context = daemon};
	if (result == 0)
		result = changes_new(&changes, &daemon->changes);
	if (result == 0)
		result = open_fabric(daemon);
	if (result == 0) {
		daemon_host(daemon, &daemon->host);
		result = api_unix_open(&daemon->host, &daemon->loop, options->socket_path,
				       daemon->files.api_clients, &daemon->api, err);
	}
	if (result == 0)
		result = landing_api_open(daemon, options->peers_path, daemon->files.landings,
					  &daemon->landing_api, err);
	if (result == 0)
		result = store_watch(daemon->store, "", daemon->image.revision + 1, on_store_events,
				     daemon, &daemon->watch, err);
	if (result == 0)
		upgrade_state(daemon);
	return result;
}

static int start_handles(struct daemon *daemon, struct error *err)
{
	static const int numbers[2] = {SIGTERM, SIGINT};
	int result = uv_poll_init(&daemon->loop, &daemon->store_poll, store_fd(daemon->store));
	if (result < 0)
		return error_set(err, result, "cannot watch the store: %s", uv_strerror(result));
	daemon->store_poll.data = daemon;
	uv_timer_init(&daemon->loop, &daemon->store_timer);
	daemon->store_timer.data = daemon;
	uv_timer_init(&daemon->loop, &daemon->tick);
	daemon->tick.data = daemon;
	for (int i = 0; i < 2; i++)
		uv_signal_init(&daemon->loop, &daemon->signals[i]);
	uv_poll_start(&daemon->store_poll, UV_READABLE, on_store_readable);
	uv_timer_start(&daemon->tick, on_tick, TICK_MS, TICK_MS);
	for (int i = 0; i < 2; i++)
		uv_signal_start(&daemon->signals[i], on_signal, numbers[i]);
	return 0;
}

/* From here on nothing of ours is called any more by the loop, which others still need to run. */
static void stop_handles(struct daemon *daemon)
{
	if (!daemon->tick.data)
		return;
	uv_close((uv_handle_t *)&daemon->store_poll, NULL);
	uv_close((uv_handle_t *)&daemon->store_timer, NULL);
	uv_close((uv_handle_t *)&daemon->tick, NULL);
	for (int i = 0; i < 2; i++)
		uv_close((uv_handle_t *)&daemon->signals[i], NULL);
}

/* The store first, since its last completions still answer clients, who get no further request
 * through; then everything else in the reverse order of opening. Forwarding goes on without us. */
static void close_all(struct daemon *daemon)
{
	halt(daemon);
	stop_handles(daemon);
	store_close(daemon->store);
	changes_free(daemon->changes);
	good_copy_free(daemon->good_copy);
	daemon->good_copy = NULL;
	api_unix_close(daemon->api);
	daemon->api = NULL;
	landing_api_close(daemon->landing_api);
	driver_free(daemon->driver);
	membership_free(daemon->membership);
	observations_free(daemon->observations);
	landings_free(daemon->landings);
	reports_free(daemon->reports);
	edge_plane_free(daemon->edge);
	names_plane_free(daemon->names);
	ledger_signer_free(daemon->signer);
	image_done(&daemon->image);
	uv_run(&daemon->loop, UV_RUN_DEFAULT);
	uv_loop_close(&daemon->loop);
}

static int start(struct daemon *daemon, struct error *err)
{
	const struct daemon_options *options = daemon->options;
	int result = file_make_folders(options->state_folder, 0700, err);
	if (result == 0)
		result = file_make_folders(options->run_folder, 0755, err);
	if (result == 0)
		result = open_state(daemon, err);
	if (result == 0)
		result = open_parts(daemon, err);
	if (result == 0)
		result = start_handles(daemon, err);
	if (result == -ENOMEM && !err->code)
		error_set(err, result, "out of memory");
	return result;
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
	if (result == 0)
		result = carry_out_first(daemon, err);
	if (result == 0) {
		log_event(LOG_LEVEL_INFO, "daemon.started", "node", options->node, "site",
			  options->site, "socket", options->socket_path, "state",
			  replica_kind_name(daemon->replica.kind), NULL);
		daemon_notify("READY=1");
		uv_run(&daemon->loop, UV_RUN_DEFAULT);
		if (!daemon->again)
			daemon_notify("STOPPING=1");
		result = daemon->failure.code;
		if (result < 0)
			*err = daemon->failure;
	}
	end_in_order(daemon);
	close_all(daemon);
	return result;
}

int daemon_run(const struct daemon_options *options, struct error *err)
{
	size_t threads = options->names ? naming_server_threads(options->dns_threads) : 0;
	struct open_files files = open_files_share(open_files_raise(), threads, options->dns_count);
	int result;
	bool again;
	/* Large blocks get a mapping of their own, whatever came before: freed, they are gone. */
	(void)mallopt(M_MMAP_THRESHOLD, 64 << 10);
	log_set_level(options->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	signal(SIGPIPE, SIG_IGN);
	do {
		struct daemon daemon = {
		    .options = options, .clock = &clock_system, .forwarded_revision = UINT64_MAX};
		daemon_used_memory(&daemon);
		daemon.start_ms = clock_now_ms(daemon.clock);
		daemon.start_wall_ms = clock_wall_ms(daemon.clock);
		wall_watch_init(&daemon.wall, daemon.start_ms, daemon.start_wall_ms);
		daemon.steady = (struct clock){
		    .now_ms = steady_now_ms, .wall_ms = steady_wall_ms, .context = &daemon};
		random_init_system(&daemon.random);
		daemon.files = files;
		result = run_once(&daemon, err);
		again = daemon.again;
	} while (again && result == 0);
	return result;
}
