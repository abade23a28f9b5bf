/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "base/memory.h"
#include "daemon/landing/own_landing.h"
#include "daemon/member/credentials.h"
#include "daemon/member/peers_internal.h"
#include "daemon/member/removal.h"
#include "daemon/member/return_path.h"
#include "fabric/observation_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_MS 500u /* after the channel's process ended, or a voter was not reached */
#define SEEK_MS 1000u /* without a voter that decides, until others are asked */
#define SETTLED_MS 10000u /* with one, until they are left again */
#define FILES 4096u

static uint64_t now_of(const struct peers *peers)
{
	return clock_now_ms(peers->daemon->clock);
}

/* --- sessions --------------------------------------------------------------------------------- */

static void fellow_free(struct fellow *fellow)
{
	relay_lost(fellow);
	stand_down(fellow);
	if (fellow->landing.daemon)
		landing_session_done(&fellow->landing);
	free(fellow);
}

/* Not from within a call on a session. */
static void reap(struct peers *peers)
{
	struct fellow **at = &peers->fellows;
	while (*at) {
		struct fellow *fellow = *at;
		if (fellow->remote) {
			at = &fellow->next;
			continue;
		}
		*at = fellow->next;
		fellow_free(fellow);
	}
}

/* --- what others say -------------------------------------------------------------------------- */

static void send_to_landing(void *context, const struct peer_message *message)
{
	(void)fellow_send(context, message);
}

static void take_report(struct fellow *fellow, const struct peer_message *message,
			struct arena *arena)
{
	if (!fellow->landing.daemon) {
		struct arena none;
		const struct peer_message hello = {.number = PEER_HELLO,
						   .hello = {.level = PEER_LEVEL,
							     .node = fellow->node,
							     .boot_id = fellow->boot_id,
							     .instance = fellow->instance}};
		arena_init(&none, 0);
		landing_session_init(&fellow->landing, fellow->peers->daemon, send_to_landing,
				     fellow);
		fellow->landing.replicates = true;
		(void)landing_session_take(&fellow->landing, &hello, &none);
	}
	(void)landing_session_take(&fellow->landing, message, arena);
}

static void take_observation(struct fellow *fellow, const struct peer_observation *message,
			     struct arena *arena)
{
	struct daemon *daemon = fellow->peers->daemon;
	struct observation observation;
	int result =
	    observation_from_message(message, fellow->node, fellow->instance, arena, &observation);
	if (must_succeed(result) < 0) {
		peer_channel_cut(fellow->remote, PEER_PARTING_OTHER,
				 "an observation's lists are not in order", NULL);
		return;
	}
	/* Whom the ledger does not name is not listened to. */
	uint64_t news = observations_news(daemon->observations);
	(void)must_succeed(observations_take(daemon->observations, &daemon->image, &observation,
					     clock_now_ms(daemon->clock)));
	json_decref(observation.alarms);
	if (observations_news(daemon->observations) != news)
		daemon_heard(daemon);
}

/* To a node that decides. */
static bool take_from_member(struct fellow *fellow, const struct peer_message *message,
			     struct arena *arena)
{
	switch ((int)message->number) {
	case PEER_OBSERVATION:
		take_observation(fellow, &message->observation, arena);
		return true;
	case PEER_REPORT:
		take_report(fellow, message, arena);
		return true;
	case PEER_API_CALL:
		relay_take_call(fellow, &message->api_call);
		return true;
	case PEER_PATH_SEEN:
		return_path_seen(fellow->peers->daemon->return_paths, fellow, &message->path_seen);
		return true;
	default:
		return false;
	}
}

static bool take_from_voter(struct fellow *fellow, const struct peer_message *message)
{
	struct own_landing *own = fellow->peers->daemon->own_landing;
	switch ((int)message->number) {
	case PEER_HEARD:
	case PEER_REFUSED:
		if (own)
			own_landing_answered(own, message);
		return true;
	case PEER_API_ANSWER:
		relay_take_answer(fellow, &message->api_answer);
		return true;
	case PEER_WARNING:
		peers_take_warning(fellow->peers, &message->warning);
		return true;
	case PEER_PATH_TRY:
		return_path_try(fellow->peers->daemon->return_paths, fellow, &message->path_try);
		return true;
	case PEER_FOREMOST:
		passing_take(&fellow->peers->daemon->foremost, &message->foremost,
			     now_of(fellow->peers));
		return true;
	default:
		return false;
	}
}

static bool is_of_store(const struct peer_message *message)
{
	return message->number >= PEER_STORE_SERVES && message->number <= PEER_STORE_WATCH_OVER;
}

static void on_frame(void *context, struct peer_remote *remote, const struct wire_bytes *frame,
		     const struct peer_message *message, struct arena *arena)
{
	struct fellow *fellow = peer_remote_context(remote);
	struct peers *peers = context;
	if (!fellow || peers->closing)
		return;
	if (fellow->asks)
		renewal_take(peers, message);
	else if (is_of_store(message))
		stand_take_store_frame(fellow, frame, message->number);
	else if (message->number == PEER_STANDING)
		stand_take(fellow, &message->standing);
	else if (!(fellow->is_voter         ? take_from_voter(fellow, message)
		   : peers->daemon->decides ? take_from_member(fellow, message, arena)
					    : false) &&
		 fellow->remote)
		peer_channel_cut(fellow->remote, PEER_PARTING_OTHER,
				 "this node takes no such message", NULL);
	reap(peers);
}

/* --- sessions come and go --------------------------------------------------------------------- */

static bool is_voter(const struct peers *peers, const char *node)
{
	const struct member *member = image_member(&peers->daemon->image, node);
	if (member)
		return member_has(member, MEMBER_VOTER);
	const struct credentials *own = peers->daemon->options->channel;
	for (size_t i = 0; i < own->door_count; i++) {
		if (strcmp(own->doors[i].node, node) == 0)
			return true;
	}
	return false;
}

static void on_up(void *context, struct peer_remote *remote, const struct channel_up *up)
{
	struct peers *peers = context;
	struct fellow *fellow = peer_remote_context(remote);
	if (!fellow)
		fellow = fellow_new(peers);
	peer_remote_set_context(remote, fellow);
	fellow->remote = remote;
	fellow->is_up = true;
	fellow->outgoing = up->outgoing;
	snprintf(fellow->node, sizeof(fellow->node), "%s", up->node);
	snprintf(fellow->boot_id, sizeof(fellow->boot_id), "%s", up->boot_id);
	snprintf(fellow->instance, sizeof(fellow->instance), "%s", up->instance);
	ip_address_format(&up->address, fellow->address);
	log_event(LOG_LEVEL_INFO, "peer.up", "node", fellow->node, "address", fellow->address,
		  NULL);
	fellow->is_voter = !peers->daemon->decides && is_voter(peers, fellow->node);
	if (fellow->is_voter)
		peers->unreached[0] = '\0';
	stand_up(fellow);
	reap(peers);
}

static void on_down(void *context, struct peer_remote *remote, const struct channel_down *down)
{
	struct peers *peers = context;
	struct fellow *fellow = peer_remote_context(remote);
	if (!fellow) {
		join_asker_gone(peers, remote);
		return;
	}
	fellow->remote = NULL;
	if (fellow->is_up)
		log_event(LOG_LEVEL_INFO, "peer.down", "node", fellow->node, "why", down->sentence,
			  NULL);
	fellow->is_up = false;
	if (down->reason == PEER_PARTING_REMOVED && !peers->closing && !peers->daemon->decides)
		removal_take(peers->daemon, fellow->node, down->proof.data, down->proof.length);
	if (fellow->is_voter)
		peers->lost_ms = now_of(peers);
	if (!fellow->asks && (fellow->outgoing || fellow->is_voter))
		snprintf(peers->unreached, sizeof(peers->unreached), "%s: %.400s", fellow->node,
			 down->sentence);
	peers->connect_ms = now_of(peers) + AGAIN_MS;
}

static void on_join(void *context, struct peer_remote *remote, const struct channel_join *join,
		    const struct peer_join_ask *ask)
{
	join_answer(context, remote, join, ask);
}

static void on_turned_away(void *context, const struct channel_turned_away *who)
{
	char address[IP_TEXT_BYTES];
	peers_note_turned_away(context, who);
	log_event(LOG_LEVEL_WARNING, "peer.refused", "address",
		  ip_address_format(&who->address, address), "node", who->node, "why",
		  who->sentence, NULL);
}

static void on_counters(void *context, const struct channel_counters *counters)
{
	struct peers *peers = context;
	peers->counters = *counters;
}

static void on_ready(void *context)
{
	struct peers *peers = context;
	peers->connect_ms = 0;
}

static void on_end(void *context, const char *why)
{
	struct peers *peers = context;
	peers->runs = false;
	peers->start_ms = now_of(peers) + AGAIN_MS;
	if (!peers->closing)
		log_event(LOG_LEVEL_ERROR, "channel.ended", "why", why, NULL);
}

/* --- whom to talk to -------------------------------------------------------------------------- */

void peers_lost_track(struct peers *peers)
{
	stand_serve_anew(peers);
}

static void seek(struct peers *peers, uint64_t now_ms)
{
	bool seeks = stand_seeks(peers);
	if (seeks && !peers->sought_ms)
		peers->sought_ms = now_ms;
	if (!seeks && peers->sought_ms) {
		peers->sought_ms = 0;
		peers->settled_ms = now_ms;
	}
	if (seeks && (peers->daemon->decides || now_ms - peers->sought_ms >= SEEK_MS))
		peers_seek_others(peers);
	else if (!seeks && peers->settled_ms && now_ms - peers->settled_ms >= SETTLED_MS) {
		peers->settled_ms = 0;
		peers_leave_others(peers);
	}
}

void peers_tick(struct peers *peers, uint64_t now_ms)
{
	struct error err = {0};
	reap(peers);
	if (!peers->runs && now_ms >= peers->start_ms) {
		peers->runs = peer_channel_start(peers->channel, &err) == 0;
		peers->start_ms = now_ms + AGAIN_MS;
	}
	stand_tick(peers);
	if (peers->runs && now_ms >= peers->connect_ms) {
		peers->connect_ms = now_ms + AGAIN_MS;
		if (!peers->daemon->decides)
			peers_connect_to_voters(peers);
		seek(peers, now_ms);
	}
	peers_forget_turned_away(peers, now_ms);
	if (peers->runs)
		renewal_run(peers, now_ms);
	if (peers->daemon->decides)
		peers_tell_foremost(peers, now_ms);
}

/* --- life ------------------------------------------------------------------------------------- */

int peers_open(struct daemon *daemon, struct peers **ret_peers, struct error *err)
{
	static const struct peer_channel_calls calls = {.on_ready = on_ready,
							.on_up = on_up,
							.on_frame = on_frame,
							.on_join = on_join,
							.on_down = on_down,
							.on_turned_away = on_turned_away,
							.on_counters = on_counters,
							.on_end = on_end};
	struct peers *peers = must_alloc(1, sizeof(*peers));
	peers->daemon = daemon;
	peers->lost_ms = daemon->start_ms;
	const struct peer_channel_options options = {.loop = &daemon->loop,
						     .user = "fairlead",
						     .files = FILES,
						     .listens = true,
						     .port = daemon->options->channel_port,
						     .calls = &calls,
						     .context = peers};
	int result = peer_channel_new(&options, &peers->channel, err);
	if (result == 0)
		result = peers_show_identity(peers, daemon->options->channel, err);
	if (result < 0) {
		peer_channel_free(peers->channel);
		free(peers);
		return result;
	}
	*ret_peers = peers;
	return 0;
}

void peers_start(struct peers *peers)
{
	peers_image_moved(peers);
	peers_tick(peers, now_of(peers));
}

void peers_close(struct peers *peers)
{
	if (!peers)
		return;
	peers->closing = true;
	if (peers->runs)
		peer_channel_stop(peers->channel);
	while (peers->runs)
		uv_run(&peers->daemon->loop, UV_RUN_ONCE);
	for (struct fellow *fellow = peers->fellows; fellow; fellow = fellow->next)
		fellow->remote = NULL;
	reap(peers);
	peer_channel_free(peers->channel);
	peers->channel = NULL;
}

void peers_free(struct peers *peers)
{
	if (peers)
		roll_call_done(peers);
	free(peers);
}
