/* SPDX-License-Identifier: Apache-2.0 */
/* What this node says to others of its own accord. */
#include "base/memory.h"
#include "daemon/member/peers_internal.h"
#include "fabric/driver.h"
#include "fabric/observation_message.h"
#include "fabric/passing.h"

#include <string.h>

#define FOREMOST_MS 1000u
#define BEHIND_BYTES (4u << 20) /* queued; what something newer replaces is not said then */

bool fellow_send(struct fellow *fellow, const struct peer_message *message)
{
	struct buffer frame;
	struct error err = {0};
	if (!fellow->is_up || !fellow->remote)
		return false;
	buffer_init(&frame, PEER_FRAME_MAX);
	must_succeed(peer_encode(message, &frame, &err));
	bool queued = frame.length && peer_channel_send(fellow->remote, frame.data, frame.length);
	buffer_done(&frame);
	return queued;
}

struct fellow *peers_voter(const struct peers *peers)
{
	for (struct fellow *fellow = peers->fellows; fellow; fellow = fellow->next) {
		if (fellow->is_voter && fellow->is_up && fellow->remote)
			return fellow;
	}
	return NULL;
}

void peers_observe(struct peers *peers, const struct observation *observation, bool news)
{
	struct fellow *voter = peers_voter(peers);
	uint64_t now_ms = clock_now_ms(peers->daemon->clock);
	struct peer_message message;
	struct arena arena;
	if (!voter)
		peers->observe_ms = 0; /* the next one knows nothing */
	if (!voter || (!news && now_ms < peers->observe_ms) ||
	    peer_channel_queued(voter->remote) > BEHIND_BYTES)
		return;
	/* News leave it at that: they do not say how quiet addresses are. */
	if (observation->activity)
		peers->observe_ms = now_ms + observation_interval_ms(&peers->daemon->image);
	arena_init(&arena, 0);
	must_succeed(observation_to_message(observation, &arena, &message));
	(void)fellow_send(voter, &message);
	arena_done(&arena);
}

bool peers_tell_voter(struct peers *peers, const struct peer_message *message)
{
	struct fellow *voter = peers_voter(peers);
	return voter && peer_channel_queued(voter->remote) <= BEHIND_BYTES &&
	       fellow_send(voter, message);
}

uint64_t peers_voter_silent_ms(const struct peers *peers)
{
	if (peers->daemon->decides || peers_voter(peers))
		return 0;
	return clock_now_ms(peers->daemon->clock) - peers->lost_ms;
}

const struct channel_counters *peers_counters(const struct peers *peers)
{
	return &peers->counters;
}

static bool is_edge(const struct fellow *fellow)
{
	const struct member *member = image_member(&fellow->peers->daemon->image, fellow->node);
	return member && member_has(member, MEMBER_EDGE);
}

void peers_tell_foremost(struct peers *peers, uint64_t now_ms)
{
	const struct sights sights = driver_sights(peers->daemon->driver);
	for (struct fellow *fellow = peers->fellows; fellow; fellow = fellow->next) {
		struct peer_holder rows[PASSING_PEERS];
		if (!fellow->is_up || !fellow->remote || fellow->asks || !is_edge(fellow))
			continue;
		const struct peer_message message = {
		    .number = PEER_FOREMOST,
		    .foremost = passing_foremost(&sights, fellow->node, rows)};
		if (fellow->foremost_ms && now_ms - fellow->foremost_ms < FOREMOST_MS &&
		    fellow->foremost == message.foremost.sequence)
			continue;
		if (peer_channel_queued(fellow->remote) > BEHIND_BYTES ||
		    !fellow_send(fellow, &message))
			continue;
		fellow->foremost_ms = now_ms;
		fellow->foremost = message.foremost.sequence;
	}
}

const char *peers_last_failure(const struct peers *peers)
{
	return peers->unreached;
}

const char *peers_unreached(const struct peers *peers)
{
	if (peers->daemon->decides || peers_voter(peers))
		return "";
	return *peers->unreached ? peers->unreached : "no voter was reached yet";
}
