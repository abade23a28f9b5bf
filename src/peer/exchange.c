/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/exchange.h"

#include "base/memory.h"
#include "peer/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TICKS_OF_COUNTERS 10u
#define TAKEN_STEP (256u << 10) /* bytes, between two tellings */
#define TELLINGS 10u /* of refusals, in a second */
#define SPARE_FILES 32u

int peer_side_of(struct evp_pkey_st *pair, const struct channel_identity *identity,
		 struct random *random, uint64_t now_s, struct peer_side **ret_side,
		 struct error *err)
{
	struct wire_bytes cas[PEER_TRUSTED_MAX];
	size_t count = identity->authorities.count;
	if (!count) {
		*ret_side = peer_side_new_joiner(pair, identity->fabric, &identity->token_ca,
						 random, now_s);
		return 0;
	}
	for (size_t i = 0; i < count && i < PEER_TRUSTED_MAX; i++)
		cas[i] = identity->authorities.items[i].certificate;
	return peer_side_new(pair, identity->fabric, &identity->certificate, cas, count, ret_side,
			     err);
}

static void tell(struct peer_exchange *exchange, const struct channel_message *message)
{
	peer_pipe_send(exchange->pipe, message);
}

static struct wire_bytes key_bytes(const struct peer_connection *connection)
{
	return (struct wire_bytes){.data = peer_tls_key(peer_session_tls(connection->session)),
				   .length = KEY_BYTES};
}

static struct peer_connection *next_connection(const struct peer_exchange *exchange,
					       const struct peer_connection *connection)
{
	return (struct peer_connection *)peer_ids_next(&exchange->connections,
						       connection ? &connection->id : NULL);
}

/* --- who gets in ------------------------------------------------------------------------------ */

static void tell_turned_away(struct peer_exchange *exchange,
			     const struct peer_connection *connection, uint64_t reason,
			     const char *sentence)
{
	if (exchange->tellings >= TELLINGS || connection->address.family == IP_NONE)
		return;
	exchange->tellings++;
	const char *node = peer_session_other(connection->session)->node;
	tell(exchange, &(struct channel_message){.number = CHANNEL_TURNED_AWAY,
						 .turned_away = {.address = connection->address,
								 .port = connection->port,
								 .reason = reason,
								 .node = node,
								 .sentence = sentence}});
}

static void refuse(struct peer_exchange *exchange, struct peer_connection *connection,
		   enum peer_parting_reason reason, const char *sentence,
		   const struct wire_bytes *proof)
{
	exchange->counts.removed += reason == PEER_PARTING_REMOVED;
	exchange->counts.copied += reason == PEER_PARTING_COPIED;
	exchange->counts.names += reason == PEER_PARTING_NAME;
	tell_turned_away(exchange, connection, reason, sentence);
	peer_session_part(connection->session, reason, sentence, proof, peer_now_read());
}

/* A newer session of the same process takes the place of one that goes the same way; of two that
 * the two sides began at once, both keep the one that the lower name began. */
static bool takes_place(const struct peer_exchange *exchange, const struct peer_connection *newer,
			const struct peer_connection *older)
{
	const char *node = peer_session_other(newer->session)->node;
	return newer->outgoing == older->outgoing ||
	       newer->outgoing == (strcmp(exchange->greeting->node, node) < 0);
}

static void look_at_hello(struct peer_exchange *exchange, struct peer_connection *connection)
{
	const struct peer_session_other *other = peer_session_other(connection->session);
	const uint8_t *key = peer_tls_key(peer_session_tls(connection->session));
	char sentence[512];
	struct wire_bytes proof;
	switch (peer_roll_look(exchange->roll, other->node, key, &proof)) {
	case PEER_ROLL_KNOWN:
	case PEER_ROLL_NOT_KNOWN:
		break;
	case PEER_ROLL_REMOVED:
		snprintf(sentence, sizeof(sentence),
			 "%s was removed from the fabric: its keys are good for nothing any more",
			 other->node);
		refuse(exchange, connection, PEER_PARTING_REMOVED, sentence, &proof);
		return;
	case PEER_ROLL_OTHER_KEY:
		snprintf(
		    sentence, sizeof(sentence),
		    "the name %s and this channel key do not belong together: the fabric knows "
		    "another key of it, or another name of the key",
		    other->node);
		refuse(exchange, connection, PEER_PARTING_NAME, sentence, NULL);
		return;
	}
	struct peer_connection *older = next_connection(exchange, NULL);
	while (older && (older == connection || !older->is_up ||
			 memcmp(key_bytes(older).data, key, KEY_BYTES) != 0))
		older = next_connection(exchange, older);
	bool same =
	    older && strcmp(peer_session_other(older->session)->instance, other->instance) == 0;
	if (memcmp(key, exchange->own_key, KEY_BYTES) == 0 || (older && !same)) {
		snprintf(sentence, sizeof(sentence),
			 "another process speaks by the key of %s: if its disk was copied, remove "
			 "the copy's state folder and let it join under a name of its own",
			 other->node);
		refuse(exchange, connection, PEER_PARTING_COPIED, sentence, NULL);
		return;
	}
	if (older && !takes_place(exchange, connection, older)) {
		peer_session_part(connection->session, PEER_PARTING_REPLACED,
				  "the session that the other side began is kept", NULL,
				  peer_now_read());
		return;
	}
	if (older) {
		peer_session_part(older->session, PEER_PARTING_REPLACED,
				  "a newer session of the same process takes its place", NULL,
				  peer_now_read());
		peer_connection_pump(older);
	}
	peer_session_accept(connection->session, peer_now_read());
}

static void tell_up(struct peer_exchange *exchange, struct peer_connection *connection)
{
	const struct peer_session_other *other = peer_session_other(connection->session);
	struct wire_bytes proof;
	struct wire_bytes key = key_bytes(connection);
	connection->is_up = true;
	connection->is_told = true;
	tell(exchange, &(struct channel_message){
			   .number = CHANNEL_UP,
			   .up = {.peer = connection->id.number,
				  .address = connection->address,
				  .port = connection->port,
				  .outgoing = connection->outgoing,
				  .node = other->node,
				  .key = key,
				  .known = peer_roll_look(exchange->roll, other->node, key.data,
							  &proof) == PEER_ROLL_KNOWN,
				  .boot_id = other->boot_id,
				  .instance = other->instance,
				  .level = other->level}});
}

/* An answer that the daemon need not think about. */
static void put_off_join(struct peer_connection *connection, const char *sentence)
{
	const struct peer_message refusal = {
	    .number = PEER_JOIN_REFUSE,
	    .join_refuse = {.reason = PEER_JOIN_LATER, .sentence = sentence, .command = ""}};
	struct buffer frame;
	struct peer_now now = peer_now_read();
	buffer_init(&frame, 0);
	int result = must_succeed(peer_encode(&refusal, &frame, NULL));
	ASSERT(result == 0);
	peer_session_send(connection->session, frame.data, frame.length, now);
	peer_session_finish(connection->session, now);
	buffer_done(&frame);
}

static void take_join(struct peer_exchange *exchange, struct peer_connection *connection,
		      const struct peer_session_event *event)
{
	struct peer_now now = peer_now_read();
	exchange->counts.joins++;
	if (!peer_limits_allow(&exchange->limits, PEER_LIMIT_JOIN, &connection->address,
			       now.now_ms)) {
		exchange->counts.joins_limited++;
		put_off_join(connection,
			     "too many joins were asked for from this address; try again "
			     "in a minute");
		return;
	}
	peer_limits_count(&exchange->limits, PEER_LIMIT_JOIN, &connection->address, now.now_ms);
	connection->is_told = true;
	tell(exchange, &(struct channel_message){
			   .number = CHANNEL_JOIN,
			   .join = {.peer = connection->id.number,
				    .address = connection->address,
				    .port = connection->port,
				    .key = key_bytes(connection),
				    .frame = {.data = event->frame, .length = event->length}}});
}

/* --- how sessions end ------------------------------------------------------------------------- */

static void count_end(struct peer_exchange *exchange, const struct peer_connection *connection,
		      const struct peer_session_event *event)
{
	const struct peer_tls *tls = peer_session_tls(connection->session);
	enum peer_verdict verdict = peer_tls_verdict(tls);
	exchange->counts.late += event->end == PEER_END_LATE;
	exchange->counts.silent += event->end == PEER_END_SILENT;
	exchange->counts.slow += event->end == PEER_END_SLOW;
	exchange->counts.nonsense += event->end == PEER_END_NONSENSE;
	if (event->end != PEER_END_TLS)
		return;
	exchange->counts.refused += peer_tls_fault(tls) == PEER_TLS_FAULT_REFUSED;
	exchange->counts.expired += verdict == PEER_VERDICT_EXPIRED;
	exchange->counts.not_yet += verdict == PEER_VERDICT_NOT_YET;
	exchange->counts.other_fabric += verdict == PEER_VERDICT_STRANGER;
	exchange->counts.garbage +=
	    verdict == PEER_VERDICT_GOOD && peer_tls_fault(tls) != PEER_TLS_FAULT_REFUSED;
}

static void add_counts(struct channel_counters *sum, const struct peer_session_counts *counts)
{
	sum->frames_in += counts->frames_in;
	sum->frames_out += counts->frames_out;
	sum->bytes_in += counts->bytes_in;
	sum->bytes_out += counts->bytes_out;
	sum->skipped += counts->skipped;
}

static void take_end(struct peer_exchange *exchange, struct peer_connection *connection,
		     const struct peer_session_event *event)
{
	count_end(exchange, connection, event);
	add_counts(&exchange->counts, peer_session_counts(connection->session));
	connection->is_over = true;
	connection->is_up = false;
	if (connection->is_told) {
		tell(exchange, &(struct channel_message){.number = CHANNEL_DOWN,
							 .down = {.peer = connection->id.number,
								  .how = event->end,
								  .reason = event->parting,
								  .sentence = event->sentence,
								  .proof = event->proof}});
		return;
	}
	/* Who is gone after a word of ours was told of when that was said. */
	peer_limits_count(&exchange->limits, PEER_LIMIT_FAILURE, &connection->address,
			  peer_now_read().now_ms);
	if (event->end != PEER_END_OWN && event->end != PEER_END_DONE)
		tell_turned_away(exchange, connection, 0, event->sentence);
}

static void on_event(struct peer_connection *connection, const struct peer_session_event *event)
{
	struct peer_exchange *exchange = connection->owner;
	switch (event->kind) {
	case PEER_EVENT_HELLO:
		look_at_hello(exchange, connection);
		break;
	case PEER_EVENT_UP:
		tell_up(exchange, connection);
		break;
	case PEER_EVENT_FRAME:
		tell(exchange,
		     &(struct channel_message){
			 .number = CHANNEL_FRAME,
			 .frame = {.peer = connection->id.number,
				   .frame = {.data = event->frame, .length = event->length}}});
		break;
	case PEER_EVENT_JOIN:
		take_join(exchange, connection, event);
		break;
	case PEER_EVENT_ENDED:
		take_end(exchange, connection, event);
		break;
	}
}

static void hold_all(struct peer_exchange *exchange, bool held)
{
	exchange->held = held;
	exchange->counts.held += held;
	for (struct peer_connection *connection = next_connection(exchange, NULL); connection;
	     connection = next_connection(exchange, connection))
		peer_connection_hold(connection, held);
}

static void on_moved(struct peer_connection *connection)
{
	struct peer_exchange *exchange = connection->owner;
	uint64_t out = peer_session_counts(connection->session)->bytes_out;
	size_t queued = peer_session_queued(connection->session);
	uint64_t taken = queued < out ? out - queued : 0;
	if (connection->is_up && taken > connection->told_taken &&
	    (taken == out || taken >= connection->told_taken + TAKEN_STEP)) {
		connection->told_taken = taken;
		tell(exchange, &(struct channel_message){
				   .number = CHANNEL_TAKEN,
				   .taken = {.peer = connection->id.number, .bytes = taken}});
	}
	if (!exchange->held && exchange->pipe->unsent > PEER_HOLD_BYTES)
		hold_all(exchange, true);
}

static void on_connection_closed(struct peer_connection *connection)
{
	struct peer_exchange *exchange = connection->owner;
	if (connection->id.number)
		peer_ids_remove(&exchange->connections, &connection->id);
}

static const struct peer_connection_calls calls = {
    .on_event = on_event, .on_moved = on_moved, .on_closed = on_connection_closed};

/* --- who comes -------------------------------------------------------------------------------- */

/* Is there room for one more whom nobody knows yet, from this source? The oldest gives way. */
static bool makes_room(struct peer_exchange *exchange, const struct peer_connection *newcomer)
{
	size_t strangers = 0, of_one = 0;
	struct peer_connection *oldest = NULL;
	if (exchange->connections.count + SPARE_FILES >= exchange->files ||
	    !peer_limits_allow(&exchange->limits, PEER_LIMIT_FAILURE, &newcomer->address,
			       peer_now_read().now_ms))
		return false;
	for (struct peer_connection *other = next_connection(exchange, NULL); other;
	     other = next_connection(exchange, other)) {
		if (other->is_told || other->closing)
			continue;
		strangers++;
		of_one += ip_address_equal(&other->address, &newcomer->address);
		if (!oldest || other->id.number < oldest->id.number)
			oldest = other;
	}
	if (of_one >= PEER_STRANGERS_OF_ONE)
		return false;
	if (oldest && strangers >= PEER_STRANGERS) {
		exchange->counts.limited++;
		peer_connection_close(oldest);
	}
	return true;
}

void peer_exchange_newcomer(struct peer_exchange *exchange, uv_stream_t *listener)
{
	struct peer_connection *connection =
	    peer_connection_accept(exchange->loop, &calls, exchange, listener);
	if (!connection)
		return;
	exchange->counts.accepted++;
	if (!exchange->is_member || !makes_room(exchange, connection)) {
		exchange->counts.limited++;
		peer_connection_close(connection);
		return;
	}
	peer_ids_put(&exchange->connections, &connection->id, exchange->next_number);
	exchange->next_number += 2;
	peer_connection_start(connection, peer_session_new_server(
					      exchange->side, exchange->greeting, peer_now_read()));
	peer_connection_hold(connection, exchange->held);
	peer_connection_pump(connection);
}

/* --- what the daemon says --------------------------------------------------------------------- */

void peer_exchange_members(struct peer_exchange *exchange, const struct channel_members *members)
{
	peer_roll_free(exchange->roll);
	exchange->roll = peer_roll_new(members);
	for (struct peer_connection *connection = next_connection(exchange, NULL); connection;
	     connection = next_connection(exchange, connection)) {
		struct wire_bytes proof;
		if (!connection->is_up)
			continue;
		enum peer_roll_verdict verdict =
		    peer_roll_look(exchange->roll, peer_session_other(connection->session)->node,
				   key_bytes(connection).data, &proof);
		if (verdict == PEER_ROLL_REMOVED)
			refuse(exchange, connection, PEER_PARTING_REMOVED,
			       "this node was removed from the fabric", &proof);
		else if (verdict == PEER_ROLL_OTHER_KEY)
			refuse(exchange, connection, PEER_PARTING_NAME,
			       "this node's name belongs to another key", NULL);
		peer_connection_pump(connection);
	}
}

void peer_exchange_connect(struct peer_exchange *exchange, const struct channel_connect *wanted)
{
	enum peer_way way = wanted->question.length ? PEER_WAY_JOIN : PEER_WAY_MEMBER;
	struct peer_now now = peer_now_read();
	if (!exchange->side || (way == PEER_WAY_MEMBER && !exchange->is_member) ||
	    exchange->connections.count + SPARE_FILES >= exchange->files) {
		tell(exchange,
		     &(struct channel_message){
			 .number = CHANNEL_DOWN,
			 .down = {.peer = wanted->peer,
				  .how = PEER_END_OWN,
				  .sentence = "this node cannot begin a session now: it is "
					      "no member yet, or has too many"}});
		return;
	}
	struct peer_session *session = peer_session_new_client(
	    exchange->side, way, *wanted->node ? wanted->node : NULL, exchange->greeting, now);
	if (way == PEER_WAY_JOIN)
		peer_session_send(session, wanted->question.data, wanted->question.length, now);
	struct peer_connection *connection = peer_connection_dial(
	    exchange->loop, &calls, exchange, session, &wanted->address, (uint16_t)wanted->port);
	connection->is_told = true;
	peer_ids_put(&exchange->connections, &connection->id, wanted->peer);
	peer_connection_hold(connection, exchange->held);
	peer_connection_pump(connection);
}

/* NULL when it is over, which the daemon knows or learns. */
static struct peer_connection *find(const struct peer_exchange *exchange, uint64_t number)
{
	struct peer_connection *connection =
	    (struct peer_connection *)peer_ids_find(&exchange->connections, number);
	return connection && !connection->closing ? connection : NULL;
}

void peer_exchange_send(struct peer_exchange *exchange, const struct channel_send *message)
{
	const struct wire_bytes *frame = &message->frame;
	for (size_t i = 0; i < message->peers.count; i++) {
		struct peer_connection *connection = find(exchange, message->peers.items[i].peer);
		struct peer_now now = peer_now_read();
		if (!connection)
			continue;
		peer_session_send(connection->session, frame->data, frame->length, now);
		if (!connection->is_up && !connection->outgoing)
			peer_session_finish(connection->session, now); /* a join's answer */
		peer_connection_pump(connection);
	}
}

void peer_exchange_part(struct peer_exchange *exchange, const struct channel_part *message)
{
	struct peer_connection *connection = find(exchange, message->peer);
	if (!connection)
		return;
	peer_session_part(connection->session, (enum peer_parting_reason)message->reason,
			  message->sentence, &message->proof, peer_now_read());
	peer_connection_pump(connection);
}

/* --- time ------------------------------------------------------------------------------------- */

void peer_exchange_sent(struct peer_exchange *exchange)
{
	if (exchange->held && exchange->pipe->unsent < PEER_GO_ON_BYTES)
		hold_all(exchange, false);
}

static void tell_counters(struct peer_exchange *exchange)
{
	struct channel_message message = {.number = CHANNEL_COUNTERS, .counters = exchange->counts};
	for (const struct peer_connection *connection = next_connection(exchange, NULL); connection;
	     connection = next_connection(exchange, connection)) {
		message.counters.sessions += connection->is_up;
		message.counters.strangers += !connection->is_told && !connection->closing;
		if (!connection->is_over && connection->session)
			add_counts(&message.counters, peer_session_counts(connection->session));
	}
	if (memcmp(&message.counters, &exchange->told_counts, sizeof(exchange->told_counts)) == 0)
		return;
	exchange->told_counts = message.counters;
	tell(exchange, &message);
}

/* A session goes on for as long as the certificate does that it was let in by; the other side comes
 * back with its next one. */
static void judge_sessions(struct peer_exchange *exchange, bool all)
{
	const struct peer_now now = peer_now_read();
	for (struct peer_connection *connection = next_connection(exchange, NULL); connection;
	     connection = next_connection(exchange, connection)) {
		if (!connection->is_up || connection->closing || !exchange->side)
			continue;
		const struct peer_tls *tls = peer_session_tls(connection->session);
		if (!all && peer_tls_certificate(tls)->ends_s > now.wall_ms / 1000)
			continue;
		enum peer_verdict verdict = peer_tls_judge(tls, exchange->side, now.wall_ms / 1000);
		if (verdict == PEER_VERDICT_GOOD)
			continue;
		exchange->counts.expired += verdict == PEER_VERDICT_EXPIRED;
		exchange->counts.other_fabric += verdict == PEER_VERDICT_STRANGER;
		peer_session_part(connection->session, PEER_PARTING_OTHER,
				  peer_verdict_text(verdict), NULL, now);
		peer_connection_pump(connection);
	}
}

void peer_exchange_side_changed(struct peer_exchange *exchange)
{
	judge_sessions(exchange, true);
}

void peer_exchange_tick(struct peer_exchange *exchange)
{
	struct peer_now now = peer_now_read();
	for (struct peer_connection *connection = next_connection(exchange, NULL); connection;
	     connection = next_connection(exchange, connection))
		peer_connection_tick(connection, now);
	if (++exchange->ticks % TICKS_OF_COUNTERS)
		return;
	exchange->tellings = 0;
	judge_sessions(exchange, false);
	tell_counters(exchange);
}
