/* SPDX-License-Identifier: Apache-2.0 */
/* image → what is forwarded, what is answered, and what this node then says that it has applied. */
#include "base/log.h"
#include "base/memory.h"
#include "daemon/daemon.h"
#include "daemon/edge_plane.h"
#include "daemon/member/passing_on.h"
#include "daemon/member/peers.h"
#include "daemon/names_plane.h"
#include "daemon/routing_plane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the planes, for fabric/acting.h --- */

static bool maps_forward(void *context)
{
	const struct daemon *daemon = context;
	return edge_plane_forwards(daemon->edge);
}

/* Whom to pass on to is known before the first packet comes. */
static int publish_pools(void *context, const struct image *image, struct error *err)
{
	struct daemon *daemon = context;
	passing_on_run(daemon);
	return edge_plane_await(daemon->edge, image, err);
}

static int publish_maps(void *context, const struct image *image, struct error *err)
{
	struct daemon *daemon = context;
	passing_on_run(daemon);
	return edge_plane_publish(daemon->edge, image, err);
}

static int keep_maps(void *context, const struct image *image, struct error *err)
{
	const struct daemon *daemon = context;
	return edge_plane_keep(daemon->edge, image, err);
}

static int pin_mark(void *context, const struct mark_note *note, struct error *err)
{
	struct daemon *daemon = context;
	return edge_plane_mark(daemon->edge, note, err);
}

static int publish_names(void *context, const struct image *image, struct error *err)
{
	struct daemon *daemon = context;
	return names_plane_publish(daemon->names, image, err);
}

void daemon_act(struct daemon *daemon)
{
	static const struct acting_planes planes = {.forwards = maps_forward,
						    .publish_maps = publish_maps,
						    .publish_pools = publish_pools,
						    .keep_maps = keep_maps,
						    .pin_mark = pin_mark,
						    .publish_names = publish_names};
	daemon->acting = (struct acting){.options = {.node = daemon->options->node,
						     .image = &daemon->image,
						     .replica = &daemon->replica,
						     .decides = daemon->decides,
						     .is_edge = daemon->options->edge,
						     .is_names = daemon->options->names,
						     .kept_maps = daemon->pinned.sequence != 0,
						     .planes = &planes,
						     .context = daemon}};
}

/* --- doing, and telling of it --- */

static bool note_mark(struct daemon *daemon, uint64_t now_ms)
{
	struct error err = {0};
	if (acting_note(&daemon->acting, &err) == 0) {
		alarm_end(&daemon->mark_alarm);
		return true;
	}
	if (ALARM_SET(&daemon->mark_alarm, now_ms, MARK_FAILED, "", err.text))
		daemon_tell_alarm(daemon, &daemon->mark_alarm);
	return false;
}

void daemon_observe_self(struct daemon *daemon, bool activity)
{
	if (!note_mark(daemon, clock_now_ms(daemon->clock)))
		return;
	uint64_t now_ms = clock_now_ms(daemon->clock);
	struct slot_want *wants = must_alloc(daemon->wants.count + 1, sizeof(*wants));
	struct observation observation = acting_observation(&daemon->acting);
	observation.instance = daemon->instance;
	observation.want_count = wants_tell(&daemon->wants, now_ms, wants);
	observation.wants = wants;
	if (daemon->edge && activity)
		observation.activity =
		    edge_plane_activity(daemon->edge, &observation.activity_count);
	struct ip_address *unreached = NULL;
	if (daemon->edge)
		must_succeed(
		    edge_plane_unreached(daemon->edge, &unreached, &observation.unreached_count));
	observation.unreached = unreached;
	if (activity)
		observation.alarms = daemon_own_alarms(daemon);
	/* Before its first start is recorded, the node is a stranger to itself, too. */
	uint64_t news = observations_news(daemon->observations);
	int result = observations_take(daemon->observations, &daemon->image, &observation, now_ms);
	if (daemon->peers)
		peers_observe(daemon->peers, &observation,
			      result < 0 || observations_news(daemon->observations) != news);
	json_decref(observation.alarms);
	free(wants);
	free(unreached);
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

void daemon_carry_out(struct daemon *daemon)
{
	struct error err = {0};
	bool forwards;
	bool is_new = false;
	uint64_t now_ms = clock_now_ms(daemon->clock);
	if (acting_carry_out(&daemon->acting, &forwards, &err) == 0)
		alarm_end(&daemon->alarm);
	else if (forwards)
		is_new = ALARM_SET(&daemon->alarm, now_ms, DNS_BEHIND, "", err.text);
	else
		is_new =
		    ALARM_SET(&daemon->alarm, now_ms, EDGE_BEHIND, daemon->options->node, err.text);
	if (is_new)
		daemon_tell_alarm(daemon, &daemon->alarm);
	passing_on_run(daemon);
	if (daemon->routing)
		routing_plane_run(daemon->routing);
	daemon_observe_self(daemon, false);
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

int daemon_carry_out_first(struct daemon *daemon, struct error *err)
{
	bool forwards;
	if (!replica_is_writable(&daemon->replica) || image_unread_meaning(&daemon->image)) {
		daemon_carry_out(daemon);
		return 0;
	}
	int result = acting_carry_out(&daemon->acting, &forwards, err);
	if (daemon->edge && forwards)
		tell_forwarding(daemon);
	tell_status(daemon);
	return result;
}
