/* SPDX-License-Identifier: Apache-2.0 */
/* image → what is forwarded, what is answered, and what this node then says that it has applied. */
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/edge_plane.h"
#include "daemon/names_plane.h"

#include <stdio.h>
#include <string.h>

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

static int answer(struct daemon *daemon, struct error *err)
{
	/* Other name servers answer. */
	if (!is_current(daemon) && !is_alone(daemon))
		return 0;
	int result = names_plane_publish(daemon->names, &daemon->image, err);
	if (result == 0 && is_current(daemon))
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

void daemon_observe_self(struct daemon *daemon, bool activity)
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

/* Publishing is: ring, then descriptor, then route, then DNS. Each step stands on the one before,
 * and one that fails leaves everything as it was. */
static int publish(struct daemon *daemon, bool *ret_forwards, struct error *err)
{
	int result = daemon->edge ? forward(daemon, err) : 0;
	*ret_forwards = result == 0;
	return result == 0 && daemon->names ? answer(daemon, err) : result;
}

void daemon_carry_out(struct daemon *daemon)
{
	struct error err = {0};
	bool forwards;
	bool is_new = false;
	uint64_t now_ms = clock_now_ms(daemon->clock);
	if (publish(daemon, &forwards, &err) == 0)
		alarm_end(&daemon->alarm);
	else if (forwards)
		is_new = ALARM_SET(&daemon->alarm, now_ms, DNS_BEHIND, "", err.text);
	else
		is_new =
		    ALARM_SET(&daemon->alarm, now_ms, EDGE_BEHIND, daemon->options->node, err.text);
	if (is_new)
		daemon_tell_alarm(daemon, &daemon->alarm);
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
	int result = publish(daemon, &forwards, err);
	if (daemon->edge && forwards)
		tell_forwarding(daemon);
	tell_status(daemon);
	return result;
}
