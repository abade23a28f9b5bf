/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/channel.h"

#include "base/clock.h"
#include "base/memory.h"
#include "peer/exchange.h"
#include "peer/ids.h"
#include "peer/listener.h"
#include "peer/pipe.h"
#include "peer/worker.h"

#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT_BYTES 65536u /* of a buffer's memory, when it holds nothing */

struct peer_remote {
	struct peer_id id;
	struct peer_channel *channel;
	void *context;
	bool is_up;
	bool asks; /* by our question: it gets an answer */
	bool is_asked; /* it asked: it is owed one */
	bool is_cut;
	uint64_t sent, taken; /* bytes of frames */
};

struct peer_channel {
	struct peer_channel_options options;
	int listen_fd; /* -1: it does not listen */
	uint16_t port;
	struct peer_pipe pipe;
	uv_process_t process;
	uv_timer_t stop_timer;
	uv_prepare_t turn; /* before the loop waits: what is pending is handed over */
	unsigned open_handles; /* of the process that runs: pipe, process, timer, turn */
	bool runs, stops;
	bool hung_up; /* by the process: its status says more */
	char why[512]; /* it ended */
	struct peer_ids remotes;
	uint64_t next_number; /* even */
	struct buffer identity, members; /* frames, for the next process */
	/* What was queued last, and for whom: the same frame for many is handed over once. */
	struct buffer pending;
	struct channel_recipient *recipients; /* owned */
	size_t recipient_count, recipient_room;
};

/* --- remotes ---------------------------------------------------------------------------------- */

static struct peer_remote *remote_new(struct peer_channel *channel, uint64_t number)
{
	struct peer_remote *remote = must_alloc(1, sizeof(*remote));
	remote->channel = channel;
	peer_ids_put(&channel->remotes, &remote->id, number);
	return remote;
}

static struct peer_remote *find(const struct peer_channel *channel, uint64_t number)
{
	return (struct peer_remote *)peer_ids_find(&channel->remotes, number);
}

static void remote_down(struct peer_remote *remote, const struct channel_down *down)
{
	struct peer_channel *channel = remote->channel;
	peer_ids_remove(&channel->remotes, &remote->id);
	remote->is_cut = true;
	channel->options.calls->on_down(channel->options.context, remote, down);
	free(remote);
	if (channel->stops && !channel->remotes.count)
		peer_pipe_end(&channel->pipe, "it was stopped");
}

void *peer_remote_context(const struct peer_remote *remote)
{
	return remote->context;
}

void peer_remote_set_context(struct peer_remote *remote, void *context)
{
	remote->context = context;
}

static void put(struct peer_channel *channel, const struct channel_message *message)
{
	if (!channel->runs)
		return;
	peer_pipe_send(&channel->pipe, message);
	if (channel->pipe.unsent > PEER_CHANNEL_BACKLOG)
		peer_pipe_end(&channel->pipe, "the channel's process does not read");
}

static void hand_over(struct peer_channel *channel)
{
	const struct channel_message message = {
	    .number = CHANNEL_SEND,
	    .send = {.peers = {.items = channel->recipients, .count = channel->recipient_count},
		     .frame = wire_bytes_of(&channel->pending)}};
	if (!channel->recipient_count)
		return;
	channel->recipient_count = 0;
	put(channel, &message);
	if (channel->pending.capacity > KEPT_BYTES)
		buffer_done(&channel->pending);
}

static void tell(struct peer_channel *channel, const struct channel_message *message)
{
	hand_over(channel);
	put(channel, message);
}

static void on_turn(uv_prepare_t *turn)
{
	hand_over(turn->data);
}

static void queue_for(struct peer_channel *channel, uint64_t number, const void *frame,
		      size_t length)
{
	if (channel->recipient_count == CHANNEL_MEMBERS_MAX || channel->pending.length != length ||
	    memcmp(channel->pending.data, frame, length) != 0)
		hand_over(channel);
	if (!channel->recipient_count) {
		buffer_clear(&channel->pending);
		buffer_append(&channel->pending, frame, length);
		must_succeed(channel->pending.status);
	}
	if (channel->recipient_count == channel->recipient_room) {
		channel->recipient_room = channel->recipient_room ? 2 * channel->recipient_room : 8;
		channel->recipients = must_have(realloc(
		    channel->recipients, channel->recipient_room * sizeof(*channel->recipients)));
	}
	channel->recipients[channel->recipient_count++].peer = number;
}

struct peer_remote *peer_channel_connect(struct peer_channel *channel,
					 const struct ip_address *address, uint16_t port,
					 const char *node, const struct wire_bytes *question,
					 void *context)
{
	if (!channel->runs || channel->pipe.ended || channel->stops)
		return NULL;
	struct channel_message message = {.number = CHANNEL_CONNECT,
					  .connect = {.peer = channel->next_number,
						      .address = *address,
						      .port = port,
						      .node = node ? node : ""}};
	if (question)
		message.connect.question = *question;
	struct peer_remote *remote = remote_new(channel, channel->next_number);
	remote->asks = question != NULL;
	remote->context = context;
	channel->next_number += 2;
	tell(channel, &message);
	return remote;
}

bool peer_channel_send(struct peer_remote *remote, const void *frame, size_t length)
{
	if (remote->is_cut || (!remote->is_up && !remote->is_asked))
		return false;
	if (peer_channel_queued(remote) + length > PEER_QUEUE_BYTES) {
		peer_channel_cut(remote, PEER_PARTING_SLOW, "it does not read what it is sent",
				 NULL);
		return false;
	}
	remote->sent += length;
	queue_for(remote->channel, remote->id.number, frame, length);
	return true;
}

size_t peer_channel_queued(const struct peer_remote *remote)
{
	return (size_t)(remote->sent - remote->taken);
}

void peer_channel_cut(struct peer_remote *remote, enum peer_parting_reason reason,
		      const char *sentence, const struct wire_bytes *proof)
{
	struct channel_message message = {
	    .number = CHANNEL_PART,
	    .part = {.peer = remote->id.number, .reason = reason, .sentence = sentence}};
	if (remote->is_cut)
		return;
	if (proof)
		message.part.proof = *proof;
	remote->is_cut = true;
	tell(remote->channel, &message);
}

/* --- what the process says -------------------------------------------------------------------- */

/* True when it makes sense. */
static bool take_frame(struct peer_channel *channel, const struct channel_frame *told)
{
	struct peer_remote *remote = find(channel, told->peer);
	struct arena arena;
	struct peer_message message = {0};
	if (!remote || (!remote->is_up && !remote->asks))
		return false;
	if (remote->is_cut)
		return true;
	arena_init(&arena, 0);
	int result =
	    must_succeed(peer_decode(told->frame.data, told->frame.length, &arena, &message, NULL));
	bool answers = message.number == PEER_JOIN_TAKE || message.number == PEER_JOIN_REFUSE;
	bool good = result == 0 && answers == remote->asks && message.number != PEER_HELLO &&
		    message.number != PEER_JOIN_ASK;
	if (good)
		channel->options.calls->on_frame(channel->options.context, remote, &told->frame,
						 &message, &arena);
	arena_done(&arena);
	return good;
}

static bool take_up(struct peer_channel *channel, const struct channel_up *up)
{
	struct peer_remote *remote = find(channel, up->peer);
	bool ours = up->peer % 2 == 0;
	if (up->outgoing != ours || ours != (remote != NULL) ||
	    (remote && (remote->is_up || remote->asks)))
		return false;
	if (!remote)
		remote = remote_new(channel, up->peer);
	remote->is_up = true;
	channel->options.calls->on_up(channel->options.context, remote, up);
	return true;
}

static bool take_join(struct peer_channel *channel, const struct channel_join *join)
{
	struct arena arena;
	struct peer_message message;
	if (join->peer % 2 == 0 || find(channel, join->peer))
		return false;
	arena_init(&arena, 0);
	int result =
	    must_succeed(peer_decode(join->frame.data, join->frame.length, &arena, &message, NULL));
	bool good = result == 0 && message.number == PEER_JOIN_ASK;
	if (good) {
		struct peer_remote *remote = remote_new(channel, join->peer);
		remote->is_asked = true;
		channel->options.calls->on_join(channel->options.context, remote, join,
						&message.join_ask);
	}
	arena_done(&arena);
	return good;
}

static void on_message(struct peer_pipe *pipe, const struct channel_message *message)
{
	struct peer_channel *channel = pipe->context;
	const struct peer_channel_calls *calls = channel->options.calls;
	struct peer_remote *remote = NULL;
	bool good = true;
	switch (message->number) {
	case CHANNEL_READY:
		calls->on_ready(channel->options.context);
		break;
	case CHANNEL_UP:
		good = take_up(channel, &message->up);
		break;
	case CHANNEL_FRAME:
		good = take_frame(channel, &message->frame);
		break;
	case CHANNEL_TAKEN:
		remote = find(channel, message->taken.peer);
		good = remote && message->taken.bytes <= remote->sent &&
		       message->taken.bytes >= remote->taken;
		if (good)
			remote->taken = message->taken.bytes;
		break;
	case CHANNEL_DOWN:
		remote = find(channel, message->down.peer);
		good = remote != NULL;
		if (good)
			remote_down(remote, &message->down);
		break;
	case CHANNEL_JOIN:
		good = take_join(channel, &message->join);
		break;
	case CHANNEL_TURNED_AWAY:
		if (calls->on_turned_away)
			calls->on_turned_away(channel->options.context, &message->turned_away);
		break;
	case CHANNEL_COUNTERS:
		if (calls->on_counters)
			calls->on_counters(channel->options.context, &message->counters);
		break;
	case CHANNEL_IDENTITY:
	case CHANNEL_MEMBERS:
	case CHANNEL_CONNECT:
	case CHANNEL_SEND:
	case CHANNEL_PART:
		good = false;
		break;
	}
	if (!good)
		peer_pipe_end(pipe, "the channel's process says what makes no sense");
}

/* --- the process ------------------------------------------------------------------------------ */

/* When the last handle is closed the process is gone. */
static void one_closed(struct peer_channel *channel)
{
	if (--channel->open_handles)
		return;
	channel->runs = false;
	channel->stops = false;
	channel->options.calls->on_end(channel->options.context, channel->why);
}

static void on_handle_closed(uv_handle_t *handle)
{
	one_closed(handle->data);
}

static void on_pipe_closed(struct peer_pipe *pipe)
{
	one_closed(pipe->context);
}

/* Whoever ends first, pipe or process, takes the other one along. */
static void on_pipe_end(struct peer_pipe *pipe, const char *why)
{
	struct peer_channel *channel = pipe->context;
	struct channel_down down = {.how = PEER_END_LEFT,
				    .sentence = "the channel's process ended"};
	struct peer_id *id;
	snprintf(channel->why, sizeof(channel->why), "%.400s", why);
	channel->hung_up = strcmp(why, uv_strerror(UV_EOF)) == 0;
	channel->stops = false;
	channel->recipient_count = 0;
	if (uv_is_active((uv_handle_t *)&channel->process))
		uv_process_kill(&channel->process, SIGKILL);
	uv_close((uv_handle_t *)&channel->stop_timer, on_handle_closed);
	uv_close((uv_handle_t *)&channel->turn, on_handle_closed);
	while ((id = peer_ids_next(&channel->remotes, NULL))) {
		down.peer = id->number;
		remote_down((struct peer_remote *)id, &down);
	}
}

static void on_exit_of(uv_process_t *process, int64_t status, int signal)
{
	struct peer_channel *channel = process->data;
	char why[128];
	snprintf(why, sizeof(why), "the channel's process ended, with %s %d",
		 signal ? "signal" : "status", signal ? signal : (int)status);
	peer_pipe_end(&channel->pipe, why);
	if (channel->hung_up)
		snprintf(channel->why, sizeof(channel->why), "%s", why);
	uv_close((uv_handle_t *)process, on_handle_closed);
}

static void send_kept(struct peer_channel *channel, const struct buffer *frame)
{
	struct arena arena;
	struct channel_message message;
	if (!frame->length || !channel->runs)
		return;
	arena_init(&arena, 0);
	int result =
	    must_succeed(channel_decode(frame->data, frame->length, &arena, &message, NULL));
	ASSERT(result == 0);
	tell(channel, &message);
	arena_done(&arena);
}

static void keep(struct buffer *frame, const struct channel_message *message)
{
	if (frame->data)
		OPENSSL_cleanse(frame->data, frame->length);
	buffer_clear(frame);
	int result = must_succeed(channel_encode(message, frame, NULL));
	ASSERT(result == 0);
}

int peer_channel_identity(struct peer_channel *channel, const struct channel_identity *identity,
			  struct error *err)
{
	struct random random;
	struct evp_pkey_st *pair;
	struct peer_side *side = NULL;
	random_init_system(&random);
	must_succeed(key_pair_from(identity->key.data, &pair));
	int result =
	    peer_side_of(pair, identity, &random, clock_wall_ms(&clock_system) / 1000, &side, err);
	peer_side_unref(side);
	key_pair_free(pair);
	if (result < 0)
		return result;
	keep(&channel->identity,
	     &(struct channel_message){.number = CHANNEL_IDENTITY, .identity = *identity});
	send_kept(channel, &channel->identity);
	return 0;
}

void peer_channel_members(struct peer_channel *channel, const struct channel_members *members)
{
	keep(&channel->members,
	     &(struct channel_message){.number = CHANNEL_MEMBERS, .members = *members});
	send_kept(channel, &channel->members);
}

int peer_channel_start(struct peer_channel *channel, struct error *err)
{
	char files[16];
	char program[] = "fairlead", verb[] = PEER_WORKER_VERB, listens[] = "listen",
	     connects[] = "connect";
	char *user = must_have(strdup(channel->options.user));
	char *arguments[] = {
	    program, verb, user, files, channel->listen_fd < 0 ? connects : listens, NULL};
	uv_stdio_container_t files_of_child[] = {
	    {.flags = UV_IGNORE},
	    {.flags = UV_IGNORE},
	    {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
	    {.flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_READABLE_PIPE | UV_WRITABLE_PIPE),
	     .data.stream = (uv_stream_t *)&channel->pipe.handle},
	    {.flags = UV_INHERIT_FD, .data.fd = channel->listen_fd},
	};
	const uv_process_options_t options = {.file = "/proc/self/exe",
					      .args = arguments,
					      .stdio = files_of_child,
					      .stdio_count = channel->listen_fd < 0 ? 4 : 5,
					      .exit_cb = on_exit_of};
	ASSERT(!channel->runs && !channel->open_handles);
	snprintf(files, sizeof(files), "%u", channel->options.files);
	peer_pipe_init(&channel->pipe, channel->options.loop);
	channel->pipe.on_message = on_message;
	channel->pipe.on_sent = NULL;
	channel->pipe.on_end = on_pipe_end;
	channel->pipe.on_closed = on_pipe_closed;
	channel->pipe.context = channel;
	uv_timer_init(channel->options.loop, &channel->stop_timer);
	channel->stop_timer.data = channel;
	uv_prepare_init(channel->options.loop, &channel->turn);
	channel->turn.data = channel;
	channel->process.data = channel;
	channel->open_handles = 4;
	channel->recipient_count = 0;
	int result = uv_spawn(channel->options.loop, &channel->process, &options);
	free(user);
	if (result < 0) {
		error_set(err, result, "the channel's process cannot be started: %s",
			  uv_strerror(result));
		uv_close((uv_handle_t *)&channel->process, on_handle_closed);
		peer_pipe_end(&channel->pipe, err ? err->text : uv_strerror(result));
		return result;
	}
	channel->runs = true;
	uv_prepare_start(&channel->turn, on_turn);
	peer_pipe_start(&channel->pipe);
	send_kept(channel, &channel->identity);
	send_kept(channel, &channel->members);
	return 0;
}

static void on_stop_timer(uv_timer_t *timer)
{
	struct peer_channel *channel = timer->data;
	peer_pipe_end(&channel->pipe, "it was stopped");
}

void peer_channel_stop(struct peer_channel *channel)
{
	if (!channel->runs || channel->pipe.ended || channel->stops)
		return;
	if (!channel->remotes.count) {
		peer_pipe_end(&channel->pipe, "it was stopped");
		return;
	}
	channel->stops = true;
	uv_timer_start(&channel->stop_timer, on_stop_timer, PEER_CHANNEL_STOP_MS, 0);
	for (struct peer_id *id = peer_ids_next(&channel->remotes, NULL);
	     id && !channel->pipe.ended; id = peer_ids_next(&channel->remotes, id))
		peer_channel_cut((struct peer_remote *)id, PEER_PARTING_STOP, "this node stops",
				 NULL);
}

/* --- making and freeing ----------------------------------------------------------------------- */

int peer_channel_new(const struct peer_channel_options *options, struct peer_channel **ret_channel,
		     struct error *err)
{
	int fd = -1;
	uint16_t port = 0;
	if (options->listens) {
		int result = peer_listener_open(&options->address, options->port, &fd, &port, err);
		if (result < 0)
			return result;
	}
	struct peer_channel *channel = must_alloc(1, sizeof(*channel));
	channel->options = *options;
	channel->listen_fd = fd;
	channel->next_number = 2;
	buffer_init(&channel->identity, 0);
	buffer_init(&channel->members, 0);
	buffer_init(&channel->pending, 0);
	channel->port = port;
	*ret_channel = channel;
	return 0;
}

void peer_channel_free(struct peer_channel *channel)
{
	if (!channel)
		return;
	ASSERT(!channel->open_handles);
	if (channel->listen_fd >= 0)
		close(channel->listen_fd);
	if (channel->identity.data)
		OPENSSL_cleanse(channel->identity.data, channel->identity.length);
	buffer_done(&channel->identity);
	buffer_done(&channel->members);
	buffer_done(&channel->pending);
	free(channel->recipients);
	free(channel);
}

uint16_t peer_channel_port(const struct peer_channel *channel)
{
	return channel->port;
}

int peer_channel_pid(const struct peer_channel *channel)
{
	return channel->runs ? uv_process_get_pid(&channel->process) : 0;
}
