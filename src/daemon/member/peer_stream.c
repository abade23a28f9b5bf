/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/member/peer_stream.h"

#include "base/memory.h"

#include <stdlib.h>

void peer_stream_init(struct peer_stream *stream, uv_loop_t *loop)
{
	buffer_init(&stream->input, 0);
	stream->unsent = 0;
	stream->ended = false;
	uv_pipe_init(loop, &stream->pipe, 0);
	stream->pipe.data = stream;
}

static void on_closed(uv_handle_t *handle)
{
	struct peer_stream *stream = handle->data;
	buffer_done(&stream->input);
	stream->on_closed(stream);
}

void peer_stream_end(struct peer_stream *stream, const char *why)
{
	if (stream->ended)
		return;
	stream->ended = true;
	uv_close((uv_handle_t *)&stream->pipe, on_closed);
	stream->on_end(stream, why);
}

/* False when the stream has ended by it. */
static bool take_frame(struct peer_stream *stream, size_t length)
{
	struct arena arena;
	struct peer_message message;
	struct error err = {0};
	arena_init(&arena, 0);
	int result = must_succeed(peer_decode(stream->input.data, length, &arena, &message, &err));
	buffer_consume(&stream->input, length);
	if (result == 0)
		stream->on_message(stream, &message, &arena);
	else if (result == -FL_EUNSUPPORTED)
		stream->skipped++;
	else
		peer_stream_end(stream, err.text);
	arena_done(&arena);
	return !stream->ended;
}

static void take_frames(struct peer_stream *stream)
{
	size_t length = 0;
	struct error err = {0};
	do {
		if (peer_frame_bytes(stream->input.data, stream->input.length, &length, &err) < 0) {
			peer_stream_end(stream, err.text);
			return;
		}
	} while (length && length <= stream->input.length && take_frame(stream, length));
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_part)
{
	(void)handle;
	*ret_part = uv_buf_init(must_have(malloc(suggested)), (unsigned)suggested);
}

static void on_read(uv_stream_t *pipe, ssize_t length, const uv_buf_t *part)
{
	struct peer_stream *stream = pipe->data;
	if (length > 0)
		buffer_append(&stream->input, part->base, (size_t)length);
	free(part->base);
	must_succeed(stream->input.status);
	if (length < 0)
		peer_stream_end(stream, uv_strerror((int)length));
	else
		take_frames(stream);
}

void peer_stream_start(struct peer_stream *stream)
{
	int result = uv_read_start((uv_stream_t *)&stream->pipe, on_allocate, on_read);
	if (result < 0)
		peer_stream_end(stream, uv_strerror(result));
}

struct peer_write {
	uv_write_t request;
	struct peer_stream *stream;
	size_t length;
	char *bytes;
};

static void on_written(uv_write_t *request, int status)
{
	struct peer_write *write = (struct peer_write *)request;
	struct peer_stream *stream = write->stream;
	stream->unsent -= write->length;
	free(write->bytes);
	free(write);
	if (status < 0 && status != UV_ECANCELED)
		peer_stream_end(stream, uv_strerror(status));
}

void peer_stream_send(struct peer_stream *stream, const struct peer_message *message)
{
	struct buffer frame;
	struct error err = {0};
	if (stream->ended)
		return;
	if (stream->unsent > PEER_STREAM_BACKLOG) {
		peer_stream_end(stream, "it does not read what it is sent");
		return;
	}
	buffer_init(&frame, 0);
	int result = must_succeed(peer_encode(message, &frame, &err));
	ASSERT(result != -FL_EINVALID);
	if (result < 0) {
		buffer_done(&frame);
		peer_stream_end(stream, err.text);
		return;
	}
	size_t length = frame.length;
	char *bytes = buffer_take(&frame);
	struct peer_write *write = must_alloc(1, sizeof(*write));
	*write = (struct peer_write){.stream = stream, .length = length, .bytes = bytes};
	uv_buf_t part = uv_buf_init(bytes, (unsigned)length);
	result = uv_write(&write->request, (uv_stream_t *)&stream->pipe, &part, 1, on_written);
	if (result < 0) {
		free(bytes);
		free(write);
		peer_stream_end(stream, uv_strerror(result));
		return;
	}
	stream->unsent += length;
}
