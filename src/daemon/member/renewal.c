/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Renewal: this node's certificate is issued anew when two thirds of its life are gone, and also
 * when it has ended meanwhile: who asks is known by the channel key, which stays. A voter issues
 * its own; everybody else asks one, as a joiner does, and without a token.
 */
#include "base/log.h"
#include "base/memory.h"
#include "daemon/member/credentials.h"
#include "daemon/member/peers_internal.h"
#include "daemon/member/removal.h"
#include "peer/ca.h"

#include <stdio.h>
#include <string.h>

#define LOOK_MS 5000u /* how often it is looked whether it is time */
#define AGAIN_MS 5000u /* after nobody was reached */

static void copy(struct buffer *buffer, const struct wire_bytes *bytes)
{
	buffer_init(buffer, 0);
	buffer_append(buffer, bytes->data, bytes->length);
	must_succeed(buffer->status);
}

/* Shown first, which checks that it fits; then on the disk; then it is the node's. */
static void adopt(struct peers *peers, const struct wire_bytes *certificate,
		  const struct wire_bytes *cas, size_t ca_count)
{
	struct credentials *own = peers->daemon->options->channel;
	struct credentials next = *own;
	struct error err = {0};
	copy(&next.certificate, certificate);
	next.ca_count = ca_count;
	for (size_t i = 0; i < ca_count; i++)
		copy(&next.cas[i], &cas[i]);
	int result = peers_show_identity(peers, &next, &err);
	if (result == 0)
		result = credentials_write(peers->daemon->options->state_folder, certificate, cas,
					   ca_count, next.doors, next.door_count, &err);
	struct credentials *former = result == 0 ? own : &next;
	buffer_done(&former->certificate);
	for (size_t i = 0; i < former->ca_count; i++)
		buffer_done(&former->cas[i]);
	if (result == 0)
		*own = next;
	if (result < 0)
		log_event(LOG_LEVEL_ERROR, "certificate.not_renewed", "error", err.text, NULL);
	else
		log_event(LOG_LEVEL_INFO, "certificate.renewed", NULL);
}

static void issue_own(struct peers *peers, uint64_t wall_s)
{
	const struct credentials *own = peers->daemon->options->channel;
	struct buffer certificate;
	struct wire_bytes cas[2];
	uint8_t key[KEY_BYTES];
	struct error err = {0};
	buffer_init(&certificate, 0);
	for (size_t i = 0; i < own->ca_count; i++)
		cas[i] = wire_bytes_of(&own->cas[i]);
	key_pair_public(own->key, key);
	if (peer_ca_issue(own->ca_key, &cas[own->ca_count - 1], peers->daemon->options->node, key,
			  &peers->daemon->random, wall_s, &certificate, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "certificate.not_renewed", "error", err.text, NULL);
	} else {
		const struct wire_bytes bytes = wire_bytes_of(&certificate);
		adopt(peers, &bytes, cas, own->ca_count);
	}
	buffer_done(&certificate);
}

/* As a join's question, but that no token comes with it. */
static void ask(struct peers *peers, uint64_t wall_ms)
{
	const struct daemon *daemon = peers->daemon;
	const struct peer_message message = {
	    .number = PEER_JOIN_ASK,
	    .join_ask = {.fabric = daemon->options->channel->fabric,
			 .node = daemon->options->node,
			 .roles = daemon->self.roles ? daemon->self.roles : MEMBER_BACKEND,
			 .site = "",
			 .ledger_key = *daemon->self.key ? daemon->self.key : "none",
			 .boot_id = daemon->instance,
			 .clock_ms = wall_ms}};
	struct buffer frame;
	struct error err = {0};
	buffer_init(&frame, 0);
	must_succeed(peer_encode(&message, &frame, &err));
	const struct wire_bytes question = wire_bytes_of(&frame);
	peers_ask_voter(peers, &question);
	buffer_done(&frame);
}

void renewal_run(struct peers *peers, uint64_t now_ms)
{
	const struct credentials *own = peers->daemon->options->channel;
	const struct wire_bytes der = wire_bytes_of(&own->certificate);
	struct peer_certificate certificate;
	const uint64_t wall_ms = clock_wall_ms(peers->daemon->clock);
	if (now_ms < peers->renew_ms)
		return;
	peers->renew_ms = now_ms + LOOK_MS;
	if (peer_certificate_read(&der, &certificate, NULL) < 0 ||
	    wall_ms / 1000 < peer_certificate_renew_s(&certificate))
		return;
	if (own->voter) {
		issue_own(peers, wall_ms / 1000);
		return;
	}
	peers->renew_ms = now_ms + AGAIN_MS;
	ask(peers, wall_ms);
}

void renewal_take(struct peers *peers, const struct peer_message *message)
{
	struct wire_bytes cas[2];
	size_t count = 0;
	if (message->number == PEER_JOIN_REFUSE) {
		if (message->join_refuse.reason == PEER_JOIN_REMOVED)
			removal_take(peers->daemon, "a voter", message->join_refuse.proof.data,
				     message->join_refuse.proof.length);
		log_event(LOG_LEVEL_ERROR, "certificate.not_renewed", "error",
			  message->join_refuse.sentence, NULL);
		return;
	}
	if (message->number != PEER_JOIN_TAKE)
		return;
	const struct peer_join_take *answer = &message->join_take;
	for (; count < answer->authorities.count && count < 2; count++)
		cas[count] = answer->authorities.items[count].certificate;
	adopt(peers, &answer->certificate, cas, count);
}
