/* SPDX-License-Identifier: Apache-2.0 */
#include "peer_wire.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

struct wire_frame {
	struct wire_frame *next;
	uint64_t due; /* the turn in which it arrives */
	size_t length;
	char bytes[];
};

static void way_init(struct wire_way *way)
{
	*way = (struct wire_way){0};
	way->last = &way->first;
}

static void way_clear(struct wire_way *way)
{
	while (way->first) {
		struct wire_frame *frame = way->first;
		way->first = frame->next;
		free(frame);
	}
	way->last = &way->first;
	way->bytes = 0;
}

static void way_put(struct peer_wire *wire, struct wire_way *way, const void *bytes, size_t length)
{
	struct wire_frame *frame = malloc(sizeof(*frame) + length);
	ASSERT(frame);
	*frame = (struct wire_frame){.due = wire->turn +
					    random_below(&wire->random, wire->most_turns + 1),
				     .length = length};
	memcpy(frame->bytes, bytes, length);
	*way->last = frame;
	way->last = &frame->next;
	way->bytes += length;
}

/* NULL when none is due. The caller frees it. */
static struct wire_frame *way_take(const struct peer_wire *wire, struct wire_way *way)
{
	struct wire_frame *frame = way->first;
	if (!frame || frame->due > wire->turn || way->stalled)
		return NULL;
	way->first = frame->next;
	if (!way->first)
		way->last = &way->first;
	way->bytes -= frame->length;
	return frame;
}

static bool send_to_server(void *context, const void *frame, size_t length)
{
	struct peer_wire *wire = context;
	way_put(wire, &wire->to_server, frame, length);
	return true;
}

static bool send_to_client(void *context, const void *frame, size_t length)
{
	struct peer_wire *wire = context;
	way_put(wire, &wire->to_client, frame, length);
	return true;
}

static size_t queued_to_server(void *context)
{
	return ((const struct peer_wire *)context)->to_server.bytes;
}

static size_t queued_to_client(void *context)
{
	return ((const struct peer_wire *)context)->to_client.bytes;
}

static void ask_for_cut(void *context)
{
	((struct peer_wire *)context)->wants_cut = true;
}

void peer_wire_connect(struct peer_wire *wire)
{
	ASSERT(!wire->session);
	const struct peer_line of_server = {.send = send_to_client,
					    .queued = queued_to_client,
					    .cut = ask_for_cut,
					    .context = wire};
	const struct peer_line of_client = {.send = send_to_server,
					    .queued = queued_to_server,
					    .cut = ask_for_cut,
					    .context = wire};
	wire->wants_cut = false;
	int result =
	    store_session_up(wire->served, &of_server, wire->refusal, &wire->session, NULL);
	ASSERT(result == 0);
	store_peer_up(wire->client, &of_client);
}

void peer_wire_cut(struct peer_wire *wire)
{
	ASSERT(wire->session);
	way_clear(&wire->to_client);
	way_clear(&wire->to_server);
	store_peer_down(wire->client);
	store_session_down(wire->session);
	wire->session = NULL;
	wire->cuts++;
}

static void cut_and_connect(struct peer_wire *wire)
{
	peer_wire_cut(wire);
	peer_wire_connect(wire);
}

static bool chance(struct peer_wire *wire, unsigned of_1000)
{
	return of_1000 && random_below(&wire->random, 1000) < of_1000;
}

void peer_wire_turn(struct peer_wire *wire)
{
	struct wire_frame *frame;
	wire->turn++;
	store_dispatch(wire->served);
	while (wire->session && (frame = way_take(wire, &wire->to_server))) {
		store_session_take(wire->session, frame->bytes, frame->length);
		free(frame);
	}
	while (wire->session && (frame = way_take(wire, &wire->to_client))) {
		store_peer_take(wire->client, frame->bytes, frame->length);
		free(frame);
	}
	if (wire->session && (wire->wants_cut || chance(wire, wire->cuts_at_turns)))
		cut_and_connect(wire);
	store_dispatch(wire->client);
}

static bool is_readable(const struct store *store)
{
	struct pollfd event = {.fd = store_fd(store), .events = POLLIN};
	return poll(&event, 1, 0) > 0;
}

static int wire_timeout_ms(const struct store *store)
{
	const struct peer_wire *wire = (const struct peer_wire *)store;
	if ((wire->to_client.first && !wire->to_client.stalled) ||
	    (wire->to_server.first && !wire->to_server.stalled) || wire->wants_cut ||
	    is_readable(wire->client) || is_readable(wire->served))
		return 0;
	return store_timeout_ms(wire->served);
}

void peer_wire_settle(struct peer_wire *wire)
{
	while (wire_timeout_ms(&wire->base) == 0)
		peer_wire_turn(wire);
}

/* --- as a store ------------------------------------------------------------------------------- */

static struct peer_wire *wire_of(struct store *store)
{
	return (struct peer_wire *)store;
}

/* The client through which the next call goes, maybe by another line than the last one. */
static struct store *client_of(struct store *store)
{
	struct peer_wire *wire = wire_of(store);
	struct store_peer_state state;
	store_peer_state_read(wire->client, &state);
	if (!state.calls && !state.unsettled && wire->session && chance(wire, wire->cuts_when_idle))
		cut_and_connect(wire);
	return wire->client;
}

static int wire_range(struct store *store, const struct store_range *range, store_range_fn *done,
		      void *context, struct error *err)
{
	return store_range(client_of(store), range, done, context, err);
}

static int wire_txn(struct store *store, const struct store_txn *txn, store_txn_fn *done,
		    void *context, struct error *err)
{
	return store_txn(client_of(store), txn, done, context, err);
}

static int wire_watch(struct store *store, const char *prefix, uint64_t from_revision,
		      store_watch_fn *on_events, void *context, struct store_watch **ret_watch,
		      struct error *err)
{
	return store_watch(client_of(store), prefix, from_revision, on_events, context, ret_watch,
			   err);
}

static int wire_lease_grant(struct store *store, uint64_t ttl_ms, store_lease_fn *done,
			    void *context, struct error *err)
{
	return store_lease_grant(client_of(store), ttl_ms, done, context, err);
}

static int wire_lease_keep_alive(struct store *store, uint64_t lease, store_lease_fn *done,
				 void *context, struct error *err)
{
	return store_lease_keep_alive(client_of(store), lease, done, context, err);
}

static int wire_lease_revoke(struct store *store, uint64_t lease, store_lease_fn *done,
			     void *context, struct error *err)
{
	return store_lease_revoke(client_of(store), lease, done, context, err);
}

static struct store_id wire_id(const struct store *store)
{
	return store_id(((const struct peer_wire *)store)->client);
}

static int wire_fd(const struct store *store)
{
	return store_fd(((const struct peer_wire *)store)->client);
}

static void wire_dispatch(struct store *store)
{
	peer_wire_turn(wire_of(store));
}

static void wire_close(struct store *store)
{
	peer_wire_done(wire_of(store));
}

/* Watches are the client's own, whose engine cancels them. */
static const struct store_engine wire_engine = {
    .range = wire_range,
    .txn = wire_txn,
    .watch = wire_watch,
    .lease_grant = wire_lease_grant,
    .lease_keep_alive = wire_lease_keep_alive,
    .lease_revoke = wire_lease_revoke,
    .id = wire_id,
    .fd = wire_fd,
    .timeout_ms = wire_timeout_ms,
    .dispatch = wire_dispatch,
    .close = wire_close,
};

void peer_wire_init(struct peer_wire *wire, struct store *served, uint64_t seed)
{
	*wire = (struct peer_wire){
	    .base = {&wire_engine}, .served = served, .refusal = "", .most_turns = 3};
	random_init_seeded(&wire->random, seed);
	way_init(&wire->to_client);
	way_init(&wire->to_server);
	int result = store_open_peer(&wire->client, NULL);
	ASSERT(result == 0);
	peer_wire_connect(wire);
}

void peer_wire_done(struct peer_wire *wire)
{
	store_close(wire->client);
	store_session_down(wire->session);
	store_close(wire->served);
	way_clear(&wire->to_client);
	way_clear(&wire->to_server);
	*wire = (struct peer_wire){0};
}
