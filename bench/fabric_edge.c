/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/fabric_edge.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/member.h"

#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WATCH 1u /* its number, alike for all: the view compares whole frames */
#define OUTPUT_BYTES 65536u
#define AGAIN_MS 500u /* after a session that ended */

struct edge {
	struct edges *edges;
	unsigned number;
	char name[16];
	char instance[33];
	char ledger_key[KEY_TEXT_BYTES];
	struct evp_pkey_st *key;
	struct peer_side *side; /* a joiner's, then a member's; owned */
	struct peer_token token;
	bool is_member, told_joined;
	struct peer_greeting greeting;
	struct peer_session *session; /* NULL: none */
	uv_tcp_t tcp;
	uv_connect_t dial;
	bool open, connected, writing; /* the handle; its socket; uv_write() is under way */
	uint64_t last_call;
	struct ledger_position head; /* of what it has taken in */
	uint64_t revision; /* the last that it has taken in */
	bool has_head, follows, told_follows;
	uint64_t observe_ms; /* when it says how quiet its addresses are */
	uint64_t again_ms; /* when it begins a new session; 0: it has one, or needs none */
};

__attribute__((noreturn, format(printf, 2, 3))) static void fail(const struct edge *edge,
								 const char *format, ...)
{
	va_list arguments;
	fprintf(stderr, "%s: ", edge->name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	exit(1);
}

struct edge *edge_new(struct edges *edges, unsigned number)
{
	struct edge *edge = must_alloc(1, sizeof(*edge));
	struct evp_pkey_st *ledger;
	uint8_t bytes[KEY_BYTES];
	edge->edges = edges;
	edge->number = number;
	snprintf(edge->name, sizeof(edge->name), "edge%04u", number);
	random_fill(&edges->random, bytes, 16);
	hex_encode(bytes, 16, edge->instance);
	edge->greeting = (struct peer_greeting){
	    .node = edge->name, .boot_id = "bench", .instance = edge->instance};
	must_succeed(key_pair_make(&edge->key));
	must_succeed(key_pair_make(&ledger));
	key_pair_public(ledger, bytes);
	key_text_format(bytes, edge->ledger_key);
	key_pair_free(ledger);
	return edge;
}

void edge_free(struct edge *edge)
{
	peer_session_free(edge->session);
	peer_side_unref(edge->side);
	key_pair_free(edge->key);
	free(edge);
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void take_event(struct edge *edge, const struct peer_session_event *event);

struct output {
	uv_write_t request;
	char bytes[OUTPUT_BYTES];
};

static void pump(struct edge *edge);

static void on_written(uv_write_t *request, int status)
{
	struct edge *edge = request->handle->data;
	free(request);
	edge->writing = false;
	if (status == 0)
		pump(edge);
}

/* The socket is full: the loop goes on with a copy. */
static void write_later(struct edge *edge, const void *bytes, size_t length)
{
	struct output *output = must_alloc(1, sizeof(*output));
	length = length < OUTPUT_BYTES ? length : OUTPUT_BYTES;
	memcpy(output->bytes, bytes, length);
	uv_buf_t part = uv_buf_init(output->bytes, (unsigned)length);
	if (uv_write(&output->request, (uv_stream_t *)&edge->tcp, &part, 1, on_written) < 0)
		fail(edge, "it cannot write");
	edge->writing = true;
	peer_session_sent(edge->session, length);
}

static void flush(struct edge *edge, struct peer_now now)
{
	size_t length;
	const void *bytes;
	while (edge->connected && !edge->writing &&
	       (bytes = peer_session_output(edge->session, now, &length))) {
		uv_buf_t part = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)length);
		int sent = uv_try_write((uv_stream_t *)&edge->tcp, &part, 1);
		if (sent > 0)
			peer_session_sent(edge->session, (size_t)sent);
		else if (sent == UV_EAGAIN)
			write_later(edge, bytes, length);
		else
			return; /* reading tells why */
	}
}

static void on_closed(uv_handle_t *handle)
{
	struct edge *edge = handle->data;
	edge->open = false;
	edge->follows = false;
	peer_session_free(edge->session);
	edge->session = NULL;
	if (!edge->is_member || edge->told_joined) {
		edge->again_ms = peer_now_read().now_ms + AGAIN_MS;
		edge->edges->lost++;
		return;
	}
	edge->told_joined = true;
	edge->edges->on_joined(edge);
}

void edge_close(struct edge *edge)
{
	if (edge->open && !uv_is_closing((uv_handle_t *)&edge->tcp))
		uv_close((uv_handle_t *)&edge->tcp, on_closed);
}

static void pump(struct edge *edge)
{
	struct peer_session_event event;
	struct peer_now now = peer_now_read();
	if (!edge->open || uv_is_closing((uv_handle_t *)&edge->tcp))
		return;
	flush(edge, now);
	while (peer_session_next(edge->session, now, &event)) {
		take_event(edge, &event);
		flush(edge, now);
	}
	if (peer_session_over(edge->session, now))
		edge_close(edge);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_part)
{
	static char chunk[OUTPUT_BYTES]; /* read from before the next one is */
	(void)handle;
	(void)suggested;
	*ret_part = uv_buf_init(chunk, sizeof(chunk));
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *part)
{
	struct edge *edge = stream->data;
	struct peer_now now = peer_now_read();
	if (length > 0) {
		peer_session_take(edge->session, part->base, (size_t)length, now);
	} else if (length < 0) {
		uv_read_stop(stream);
		peer_session_gone(edge->session, uv_strerror((int)length), now);
	}
	pump(edge);
}

static void on_connected(uv_connect_t *request, int status)
{
	struct edge *edge = request->data;
	if (status == UV_ECANCELED)
		return;
	if (status < 0)
		fail(edge, "it cannot connect: %s", uv_strerror(status));
	edge->connected = true;
	uv_tcp_nodelay(&edge->tcp, 1);
	uv_read_start((uv_stream_t *)&edge->tcp, on_allocate, on_read);
	pump(edge);
}

/* From an address of its own, since the voter bounds what comes from one: 127.1.0.0 upwards. */
static void dial(struct edge *edge)
{
	struct edges *edges = edge->edges;
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(0x7f010000u + edge->number)};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(edges->port)};
	memcpy(&to.sin_addr, edges->voter.bytes, sizeof(to.sin_addr));
	uv_tcp_init(edges->loop, &edge->tcp);
	edge->tcp.data = edge;
	edge->dial.data = edge;
	edge->open = true;
	edge->connected = edge->writing = false;
	int result = uv_tcp_bind(&edge->tcp, (const struct sockaddr *)&from, 0);
	if (result == 0)
		result = uv_tcp_connect(&edge->dial, &edge->tcp, (const struct sockaddr *)&to,
					on_connected);
	if (result < 0)
		fail(edge, "it cannot connect: %s", uv_strerror(result));
}

static void ask_to_join(struct edge *edge);

static void begin_session(struct edge *edge, enum peer_way way)
{
	edge->again_ms = 0;
	edge->last_call = 0;
	edge->session =
	    peer_session_new_client(edge->side, way, NULL, &edge->greeting, peer_now_read());
	if (way == PEER_WAY_JOIN)
		ask_to_join(edge);
	dial(edge);
}

void edge_tick(struct edge *edge, struct peer_now now)
{
	if (edge->again_ms && now.now_ms >= edge->again_ms)
		begin_session(edge, edge->is_member ? PEER_WAY_MEMBER : PEER_WAY_JOIN);
	if (!edge->connected || !edge->open || uv_is_closing((uv_handle_t *)&edge->tcp))
		return;
	if (edge->follows && edge->edges->acknowledges && now.now_ms >= edge->observe_ms) {
		struct wire_bytes frame = view_observation(edge->edges->view, &edge->head, true);
		edge->observe_ms = now.now_ms + view_interval_ms(edge->edges->view);
		peer_session_send(edge->session, frame.data, frame.length, now);
	} else if (now.now_ms < peer_session_due_ms(edge->session)) {
		return;
	}
	peer_session_tick(edge->session, now);
	pump(edge);
}

struct edge_traffic edge_traffic(const struct edge *edge)
{
	if (!edge->session)
		return (struct edge_traffic){0};
	const struct peer_session_counts *counts = peer_session_counts(edge->session);
	return (struct edge_traffic){.frames_in = counts->frames_in,
				     .frames_out = counts->frames_out,
				     .bytes_in = counts->bytes_in,
				     .bytes_out = counts->bytes_out};
}

/* --- joining ---------------------------------------------------------------------------------- */

static void send_message(struct edge *edge, const struct peer_message *message)
{
	struct buffer frame;
	struct error err = {0};
	buffer_init(&frame, 0);
	if (peer_encode(message, &frame, &err) < 0)
		fail(edge, "%s", err.text);
	peer_session_send(edge->session, frame.data, frame.length, peer_now_read());
	buffer_done(&frame);
}

static void ask_to_join(struct edge *edge)
{
	struct peer_source source = {
	    .address = {.family = IP_V4,
			.bytes = {10, 64, (uint8_t)(edge->number >> 8), (uint8_t)edge->number}}};
	send_message(edge, &(struct peer_message){
			       .number = PEER_JOIN_ASK,
			       .join_ask = {.secret = {.data = edge->token.secret,
						       .length = sizeof(edge->token.secret)},
					    .fabric = edge->token.fabric,
					    .node = edge->name,
					    .roles = MEMBER_EDGE,
					    .site = edge->token.site,
					    .features = MEMBER_FEATURES,
					    .ledger_key = edge->ledger_key,
					    .sources = {.items = &source, .count = 1},
					    .address = source.address,
					    .port = edge->edges->port,
					    .boot_id = edge->greeting.boot_id,
					    .clock_ms = clock_wall_ms(&clock_system)}});
}

void edge_join(struct edge *edge, const char *text)
{
	struct error err = {0};
	struct peer_now now = peer_now_read();
	if (peer_token_parse(text, &edge->token, &err) < 0)
		fail(edge, "%s", err.text);
	edge->side = peer_side_new_joiner(edge->key, edge->token.fabric, &edge->token.ca,
					  &edge->edges->random, now.wall_ms / 1000);
	begin_session(edge, PEER_WAY_JOIN);
}

static void take_join_answer(struct edge *edge, const struct peer_message *message)
{
	const struct peer_join_take *taken = &message->join_take;
	struct wire_bytes cas[PEER_TRUSTED_MAX];
	struct error err = {0};
	if (message->number == PEER_JOIN_REFUSE)
		fail(edge, "it is not let in: %s", message->join_refuse.sentence);
	if (message->number != PEER_JOIN_TAKE)
		fail(edge, "its join is answered by something else");
	for (size_t i = 0; i < taken->authorities.count; i++)
		cas[i] = taken->authorities.items[i].certificate;
	peer_side_unref(edge->side);
	if (peer_side_new(edge->key, edge->token.fabric, &taken->certificate, cas,
			  taken->authorities.count, &edge->side, &err) < 0)
		fail(edge, "%s", err.text);
	edge->is_member = true;
}

/* --- following -------------------------------------------------------------------------------- */

void edge_connect(struct edge *edge)
{
	begin_session(edge, PEER_WAY_MEMBER);
}

static void ask_for(struct edge *edge, const char *key, bool prefix, const char *after,
		    uint64_t revision)
{
	send_message(edge, &(struct peer_message){.number = PEER_STORE_RANGE,
						  .store_range = {.call = ++edge->last_call,
								  .prefix = prefix,
								  .key = key,
								  .after = after,
								  .revision = revision}});
}

static void watch(struct edge *edge)
{
	send_message(edge, &(struct peer_message){.number = PEER_STORE_WATCH,
						  .store_watch = {.watch = WATCH,
								  .prefix = "",
								  .revision = edge->revision + 1}});
}

static void begin_to_follow(struct edge *edge, const struct peer_store_page *page)
{
	struct ledger_head head;
	struct error err = {0};
	const struct peer_record *row = page->records.count ? &page->records.items[0] : NULL;
	const struct store_record record = {.key = row ? row->key : "",
					    .value = row ? row->value.data : "",
					    .value_length = row ? row->value.length : 0,
					    .create_revision = row ? row->create_revision : 0,
					    .mod_revision = row ? row->mod_revision : 0};
	if (ledger_head_parse(row ? &record : NULL, &head, &err) < 0)
		fail(edge, "%s", err.text);
	edge->head = (struct ledger_position){.sequence = head.sequence, .digest = head.digest};
	edge->has_head = true;
	edge->revision = page->revision;
	watch(edge);
}

/* The first edge reads everything, as a node with an empty replica does; the others stand where the
 * voter stands, as one that was away for a moment. */
static void take_page(struct edge *edge, const struct peer_store_page *page)
{
	struct view *view = edge->edges->view;
	if (view_is_loaded(view)) {
		begin_to_follow(edge, page);
		return;
	}
	view_take_page(view, page);
	if (page->more) {
		ask_for(edge, "", true, page->records.items[page->records.count - 1].key,
			page->revision);
		return;
	}
	view_loaded(view, page->revision);
	ask_for(edge, LEDGER_HEAD_KEY, false, "", page->revision);
}

static void acknowledge(struct edge *edge)
{
	if (!edge->edges->acknowledges)
		return;
	struct wire_bytes frame = view_observation(edge->edges->view, &edge->head, false);
	peer_session_send(edge->session, frame.data, frame.length, peer_now_read());
}

static void take_events(struct edge *edge, const void *frame, size_t length)
{
	const struct view_revision *told = view_take_events(edge->edges->view, frame, length);
	edge->revision = told->revision;
	if (!told->has_entry)
		return;
	if (told->before.sequence != edge->head.sequence ||
	    memcmp(told->before.digest.bytes, edge->head.digest.bytes, DIGEST_BYTES) != 0)
		fail(edge, "entry %llu does not continue its chain",
		     (unsigned long long)told->entry.sequence);
	edge->head = told->entry;
	acknowledge(edge);
	edge->edges->on_held(edge, told);
}

static void take_frame(struct edge *edge, const void *frame, size_t length)
{
	struct arena arena;
	struct peer_message message;
	struct error err = {0};
	/* The number is the header's second half. */
	uint16_t number;
	memcpy(&number, (const char *)frame + 4, sizeof(number));
	if (ntohs(number) == PEER_STORE_EVENTS) {
		take_events(edge, frame, length);
		return;
	}
	arena_init(&arena, 0);
	if (peer_decode(frame, length, &arena, &message, &err) < 0)
		fail(edge, "%s", err.text);
	if (!edge->is_member)
		take_join_answer(edge, &message);
	else if (message.number == PEER_STORE_SERVES && edge->has_head)
		watch(edge);
	else if (message.number == PEER_STORE_SERVES)
		ask_for(edge, view_is_loaded(edge->edges->view) ? LEDGER_HEAD_KEY : "",
			!view_is_loaded(edge->edges->view), "", 0);
	else if (message.number == PEER_STORE_PAGE)
		take_page(edge, &message.store_page);
	else if (message.number == PEER_STORE_FAILED)
		fail(edge, "a call failed: %s", message.store_failed.sentence);
	else if (message.number == PEER_STORE_WATCH_OVER)
		fail(edge, "its watch ended: %s", message.store_watch_over.sentence);
	else if (message.number == PEER_STORE_WATCHING) {
		edge->follows = true;
		acknowledge(edge);
		if (!edge->told_follows)
			edge->edges->on_follows(edge);
		edge->told_follows = true;
	}
	arena_done(&arena);
}

static void take_event(struct edge *edge, const struct peer_session_event *event)
{
	switch (event->kind) {
	case PEER_EVENT_HELLO:
		peer_session_accept(edge->session, peer_now_read());
		break;
	case PEER_EVENT_UP:
		/* Not all at once. */
		edge->observe_ms = peer_now_read().now_ms + edge->number % 250;
		break;
	case PEER_EVENT_FRAME:
		take_frame(edge, event->frame, event->length);
		break;
	case PEER_EVENT_ENDED:
		/* A machine that stands still for a moment loses sessions; the refusals are
		 * another matter. */
		if (event->end == PEER_END_TLS || event->end == PEER_END_NONSENSE ||
		    event->end == PEER_END_PARTED)
			fail(edge, "its session ended: %s", event->sentence);
		break;
	case PEER_EVENT_JOIN:
		fail(edge, "nobody can join here");
	}
}
