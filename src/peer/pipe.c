/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/pipe.h"

#include "base/memory.h"

#include <stdlib.h>

void peer_pipe_init(struct peer_pipe *pipe, uv_loop_t *loop)
{
	buffer_init(&pipe->input, 0);
	pipe->unsent = 0;
	pipe->ended = false;
	uv_pipe_init(loop, &pipe->handle, 0);
	pipe->handle.data = pipe;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct peer_pipe *pipe = handle->data;
	buffer_done(&pipe->input);
	pipe->on_closed(pipe);
}

void peer_pipe_end(struct peer_pipe *pipe, const char *why)
{
	if (pipe->ended)
		return;
	pipe->ended = true;
	uv_close((uv_handle_t *)&pipe->handle, on_handle_closed);
	pipe->on_end(pipe, why);
}

static void take_frame(struct peer_pipe *pipe, const char *frame, size_t length)
{
	struct arena arena;
	struct channel_message message;
	struct error err = {0};
	arena_init(&arena, 0);
	int result = must_succeed(channel_decode(frame, length, &arena, &message, &err));
	if (result == 0)
		pipe->on_message(pipe, &message);
	else
		peer_pipe_end(pipe, err.text);
	arena_done(&arena);
}

static void take_frames(struct peer_pipe *pipe)
{
	size_t done = 0;
	while (!pipe->ended) {
		size_t length = 0;
		struct error err = {0};
		const char *frame = pipe->input.data + done;
		size_t here = pipe->input.length - done;
		if (channel_frame_bytes(frame, here, &length, &err) < 0)
			peer_pipe_end(pipe, err.text);
		else if (!length || length > here)
			break;
		else
			take_frame(pipe, frame, length);
		done += length;
	}
	if (!pipe->ended)
		buffer_consume(&pipe->input, done);
	if (!pipe->ended && !pipe->input.length && pipe->input.capacity > PEER_PIPE_CHUNK)
		buffer_done(&pipe->input);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_part)
{
	struct peer_pipe *pipe = handle->data;
	(void)suggested;
	*ret_part = uv_buf_init(pipe->chunk, sizeof(pipe->chunk));
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *part)
{
	struct peer_pipe *pipe = stream->data;
	if (length < 0) {
		peer_pipe_end(pipe, uv_strerror((int)length));
	} else if (length > 0) {
		buffer_append(&pipe->input, part->base, (size_t)length);
		must_succeed(pipe->input.status);
		take_frames(pipe);
	}
}

void peer_pipe_start(struct peer_pipe *pipe)
{
	int result = uv_read_start((uv_stream_t *)&pipe->handle, on_allocate, on_read);
	if (result < 0)
		peer_pipe_end(pipe, uv_strerror(result));
}

struct pipe_write {
	uv_write_t request;
	size_t length;
	char *bytes;
};

static void on_written(uv_write_t *request, int status)
{
	struct pipe_write *write = (struct pipe_write *)request;
	struct peer_pipe *pipe = request->handle->data;
	pipe->unsent -= write->length;
	free(write->bytes);
	free(write);
	if (status < 0 && status != UV_ECANCELED)
		peer_pipe_end(pipe, uv_strerror(status));
	else if (!pipe->ended && pipe->on_sent)
		pipe->on_sent(pipe);
}

void peer_pipe_send(struct peer_pipe *pipe, const struct channel_message *message)
{
	struct buffer frame;
	struct error err = {0};
	if (pipe->ended)
		return;
	buffer_init(&frame, 0);
	int result = must_succeed(channel_encode(message, &frame, &err));
	ASSERT(result == 0);
	size_t length = frame.length;
	struct pipe_write *write = must_alloc(1, sizeof(*write));
	*write = (struct pipe_write){.length = length, .bytes = buffer_take(&frame)};
	uv_buf_t part = uv_buf_init(write->bytes, (unsigned)length);
	result = uv_write(&write->request, (uv_stream_t *)&pipe->handle, &part, 1, on_written);
	if (result < 0) {
		free(write->bytes);
		free(write);
		peer_pipe_end(pipe, uv_strerror(result));
		return;
	}
	pipe->unsent += length;
}
