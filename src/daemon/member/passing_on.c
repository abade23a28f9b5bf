/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/member/passing_on.h"

#include "base/growth.h"
#include "base/memory.h"
#include "daemon/daemon.h"
#include "daemon/edge_plane.h"
#include "fabric/passing.h"

#include <string.h>

_Static_assert(PASSING_PEERS == EDGE_PASSING_PEERS, "the program knows as many peers");

static struct passing_plan decide(const struct daemon *daemon)
{
	const struct daemon_options *options = daemon->options;
	const struct passing_sight sight = {.image = &daemon->image,
					    .node = options->node,
					    .decides = daemon->decides,
					    .is_current =
						daemon->replica.standing == REPLICA_CURRENT,
					    .forwarded = daemon->acting.forwarded.sequence,
					    .told = &daemon->foremost,
					    .now_ms = clock_now_ms(daemon->clock),
					    .has_v4 = options->source_v4.family != IP_NONE,
					    .has_v6 = options->source_v6.family != IP_NONE};
	return passing_decide(&sight);
}

static bool is_own(const struct daemon_options *options, const struct ip_address *address)
{
	return ip_address_equal(address, &options->source_v4) ||
	       ip_address_equal(address, &options->source_v6);
}

/* Who may pass on to this edge: `fence` has room for EDGE_PASSING_FENCE. */
static size_t list_fence(const struct daemon *daemon, struct ip_address *fence)
{
	const struct image *image = &daemon->image;
	size_t count = 0;
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *member = image->members[i].member;
		if (!member_has(member, MEMBER_EDGE) ||
		    strcmp(member->name, daemon->options->node) == 0)
			continue;
		for (size_t s = 0; s < member->source_count && count < EDGE_PASSING_FENCE; s++)
			fence[count++] = member->sources[s];
	}
	return count;
}

void passing_on_run(struct daemon *daemon)
{
	if (!daemon->edge)
		return;
	const struct passing_plan plan = decide(daemon);
	const struct passing_secret *secret = &daemon->image.passing;
	const char *node = daemon->options->node;
	struct error err = {0};
	struct edge_peer peers[EDGE_PASSING_PEERS];
	struct ip_address *fence = must_alloc(EDGE_PASSING_FENCE, sizeof(*fence));
	struct edge_passing passing = {.is_behind = plan.is_behind,
				       .peers = peers,
				       .fence = fence,
				       .fence_count = list_fence(daemon, fence)};
	if (secret->sequence) {
		passing.tokens[0] = passing_secret_token(secret->secret, node);
		for (size_t i = 0; i < plan.peer_count; i++) {
			const struct passing_peer *peer = &plan.peers[i];
			if (!is_own(daemon->options, &peer->address))
				peers[passing.peer_count++] =
				    (struct edge_peer){.address = peer->address,
						       .token = passing_secret_token(
							   secret->secret, peer->member->name)};
		}
	}
	if (secret->has_former)
		passing.tokens[1] = passing_secret_token(secret->former, node);
	int result = edge_plane_pass(daemon->edge, &passing, &err);
	const uint64_t now_ms = clock_now_ms(daemon->clock);
	if (result == 0)
		alarm_end(&daemon->passing_alarm);
	else if (ALARM_SET(&daemon->passing_alarm, now_ms, PASSING_FAILED, node, err.text))
		daemon_tell_alarm(daemon, &daemon->passing_alarm);
	free(fence);
}

void passing_on_status(const struct daemon *daemon, json_t *status)
{
	struct edge_passes passes;
	const struct passing_plan plan = decide(daemon);
	if (!daemon->edge || edge_plane_passes(daemon->edge, &passes) < 0)
		return;
	json_object_set_new(status, "passing",
			    json_pack("{s:b, s:i, s:I, s:I}", "behind", (int)plan.is_behind,
				      "peers", (int)plan.peer_count, "passed",
				      (json_int_t)passes.passed, "taken",
				      (json_int_t)passes.taken));
}

void passing_on_alarms(const struct daemon *daemon, json_t *alarms)
{
	const char *node = daemon->options->node;
	const uint64_t passed = edge_plane_growth(daemon->edge).passed;
	if (passed > 0)
		ALARM_PUT(alarms, NULL, 0, PASSING_ON, node, (unsigned long long)passed,
			  GROWTH_WINDOW_MS / 1000);
	if (alarm_stands(&daemon->passing_alarm))
		json_array_append_new(alarms,
				      alarm_json(&daemon->passing_alarm, "", daemon->clock));
}
