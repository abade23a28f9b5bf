/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/connection.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/sockaddr.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_BYTES 65536u /* handed to the loop at once, when the socket is full */

struct peer_now peer_now_read(void)
{
	return (struct peer_now){.now_ms = clock_now_ms(&clock_system),
				 .wall_ms = clock_wall_ms(&clock_system)};
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct peer_connection *connection = handle->data;
	connection->calls->on_closed(connection);
	peer_session_free(connection->session);
	free(connection);
}

void peer_connection_close(struct peer_connection *connection)
{
	if (connection->closing)
		return;
	connection->closing = true;
	uv_close((uv_handle_t *)&connection->tcp, on_handle_closed);
}

/* --- writing ---------------------------------------------------------------------------------- */

struct connection_write {
	uv_write_t request;
	char bytes[WRITE_BYTES];
};

static void on_written(uv_write_t *request, int status)
{
	struct peer_connection *connection = request->handle->data;
	free(request);
	connection->writing = false;
	if (connection->closing)
		return;
	connection->mute = status < 0;
	peer_connection_pump(connection);
}

/* The socket is full: the loop goes on with a copy, when it can. */
static void write_later(struct peer_connection *connection, const void *bytes, size_t length)
{
	struct connection_write *write = must_alloc(1, sizeof(*write));
	length = length < WRITE_BYTES ? length : WRITE_BYTES;
	memcpy(write->bytes, bytes, length);
	uv_buf_t part = uv_buf_init(write->bytes, (unsigned)length);
	int result =
	    uv_write(&write->request, (uv_stream_t *)&connection->tcp, &part, 1, on_written);
	if (result < 0) {
		free(write);
		connection->mute = true;
		return;
	}
	connection->writing = true;
	peer_session_sent(connection->session, length);
}

static void flush(struct peer_connection *connection, struct peer_now now)
{
	size_t length;
	const void *bytes;
	/* Why nothing can be written the reading side learns, after the other side's last word. */
	while (connection->connected && !connection->writing && !connection->mute &&
	       (bytes = peer_session_output(connection->session, now, &length))) {
		uv_buf_t part = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)length);
		int sent = uv_try_write((uv_stream_t *)&connection->tcp, &part, 1);
		if (sent > 0) {
			peer_session_sent(connection->session, (size_t)sent);
		} else if (sent == UV_EAGAIN) {
			write_later(connection, bytes, length);
		} else {
			connection->mute = true;
		}
	}
}

void peer_connection_pump(struct peer_connection *connection)
{
	struct peer_session_event event;
	struct peer_now now = peer_now_read();
	if (connection->closing)
		return;
	flush(connection, now);
	while (peer_session_next(connection->session, now, &event)) {
		connection->calls->on_event(connection, &event);
		flush(connection, now);
	}
	connection->calls->on_moved(connection);
	if (peer_session_over(connection->session, now))
		peer_connection_close(connection);
}

void peer_connection_tick(struct peer_connection *connection, struct peer_now now)
{
	if (connection->closing || now.now_ms < peer_session_due_ms(connection->session))
		return;
	if (connection->connected)
		peer_session_tick(connection->session, now);
	else
		peer_session_gone(
		    connection->session,
		    "nobody answers there: is the machine off, the address right, or a "
		    "firewall between?",
		    now);
	peer_connection_pump(connection);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_part)
{
	/* One for all: it is read from before the next one is. */
	static char chunk[65536];
	(void)handle;
	(void)suggested;
	*ret_part = uv_buf_init(chunk, sizeof(chunk));
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *part)
{
	struct peer_connection *connection = stream->data;
	struct peer_now now = peer_now_read();
	if (length == 0)
		return;
	if (length > 0) {
		peer_session_take(connection->session, part->base, (size_t)length, now);
	} else {
		uv_read_stop(stream);
		peer_session_gone(connection->session, uv_strerror((int)length), now);
	}
	peer_connection_pump(connection);
}

static void read_start(struct peer_connection *connection)
{
	uv_tcp_nodelay(&connection->tcp, 1);
	if (!connection->held)
		uv_read_start((uv_stream_t *)&connection->tcp, on_allocate, on_read);
}

void peer_connection_hold(struct peer_connection *connection, bool held)
{
	if (connection->closing || connection->held == held)
		return;
	connection->held = held;
	peer_session_hold(connection->session, held, peer_now_read());
	if (!connection->connected)
		return;
	if (held)
		uv_read_stop((uv_stream_t *)&connection->tcp);
	else
		uv_read_start((uv_stream_t *)&connection->tcp, on_allocate, on_read);
}

/* --- beginning -------------------------------------------------------------------------------- */

static struct peer_connection *
connection_new(uv_loop_t *loop, const struct peer_connection_calls *calls, void *owner)
{
	struct peer_connection *connection = must_alloc(1, sizeof(*connection));
	connection->calls = calls;
	connection->owner = owner;
	uv_tcp_init(loop, &connection->tcp);
	connection->tcp.data = connection;
	return connection;
}

static void on_dialled(uv_connect_t *request, int status)
{
	struct peer_connection *connection = request->data;
	if (connection->closing)
		return;
	if (status < 0) {
		peer_session_gone(connection->session, uv_strerror(status), peer_now_read());
	} else {
		connection->connected = true;
		read_start(connection);
	}
	peer_connection_pump(connection);
}

struct peer_connection *peer_connection_dial(uv_loop_t *loop,
					     const struct peer_connection_calls *calls, void *owner,
					     struct peer_session *session,
					     const struct ip_address *address, uint16_t port)
{
	struct peer_connection *connection = connection_new(loop, calls, owner);
	union sockaddr_ip place;
	(void)sockaddr_ip_set(&place, address, port);
	connection->session = session;
	connection->outgoing = true;
	connection->address = *address;
	connection->port = port;
	connection->dial.data = connection;
	int result = uv_tcp_connect(&connection->dial, &connection->tcp, &place.any, on_dialled);
	if (result < 0)
		peer_session_gone(session, uv_strerror(result), peer_now_read());
	return connection;
}

static void learn_address(struct peer_connection *connection)
{
	struct sockaddr_storage name;
	int size = sizeof(name);
	if (uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)&name, &size) < 0)
		return;
	if (name.ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)&name;
		connection->address.family = IP_V4;
		memcpy(connection->address.bytes, &v4->sin_addr, 4);
		connection->port = ntohs(v4->sin_port);
	} else if (name.ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&name;
		bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
		connection->address.family = mapped ? IP_V4 : IP_V6;
		memcpy(connection->address.bytes, (const char *)&v6->sin6_addr + (mapped ? 12 : 0),
		       mapped ? 4 : 16);
		connection->port = ntohs(v6->sin6_port);
	}
}

struct peer_connection *peer_connection_accept(uv_loop_t *loop,
					       const struct peer_connection_calls *calls,
					       void *owner, uv_stream_t *listener)
{
	struct peer_connection *connection = connection_new(loop, calls, owner);
	int result = uv_accept(listener, (uv_stream_t *)&connection->tcp);
	if (result < 0) {
		peer_connection_close(connection);
		return NULL;
	}
	learn_address(connection);
	return connection;
}

void peer_connection_start(struct peer_connection *connection, struct peer_session *session)
{
	connection->session = session;
	connection->connected = true;
	read_start(connection);
}
