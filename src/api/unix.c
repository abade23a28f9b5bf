/* SPDX-License-Identifier: Apache-2.0 */
#include "api/unix.h"
#include "api/verbs.h"

#include "api/call.h"
#include "base/buffer.h"
#include "base/memory.h"
#include "control/protocol.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUESTS_PER_TURN 16 /* of one client, before the others have their turn */
#define BLOCK_BYTES (64u << 10)

/* It outlives its client when the client goes before the answer is there. */
struct unix_call {
	struct api_call call;
	struct unix_client *client; /* NULL once the client has gone */
};

struct unix_client {
	struct api_unix *api;
	uv_pipe_t pipe;
	struct buffer input;
	struct unix_call *call; /* being worked on */
	bool following;
	bool reading;
	bool ended; /* it sends no more; what it asked is still answered */
	bool closing;
	bool close_after_write;
	bool proceeding; /* guards against recursion through verbs that answer at once */
	bool waiting; /* has had its turn: other clients come first */
	size_t unsent;
	struct unix_client *next;
};

struct api_unix {
	struct api_host *host;
	uv_pipe_t listener;
	uv_idle_t turns; /* runs while a client waits for its next turn */
	bool stopped;
	struct unix_client *clients;
	size_t client_count;
	unsigned max_clients;
	int open_handles;
	char path[108]; /* "" until it is ours */
	char block[BLOCK_BYTES]; /* what was just read, of any client */
};

/* --- clients --- */

static void on_client_closed(uv_handle_t *handle)
{
	struct unix_client *client = handle->data;
	client->api->open_handles--;
	buffer_done(&client->input);
	free(client);
}

static void client_close(struct unix_client *client)
{
	if (client->closing)
		return;
	client->closing = true;
	if (client->call)
		client->call->client = NULL;
	for (struct unix_client **at = &client->api->clients; *at; at = &(*at)->next) {
		if (*at == client) {
			*at = client->next;
			break;
		}
	}
	client->api->client_count--;
	uv_close((uv_handle_t *)&client->pipe, on_client_closed);
}

struct unix_write {
	uv_write_t request;
	struct unix_client *client;
	size_t length;
	char *bytes;
};

static void on_written(uv_write_t *request, int status)
{
	struct unix_write *write = (struct unix_write *)request;
	struct unix_client *client = write->client;
	client->unsent -= write->length;
	if (status < 0 || (client->close_after_write && !client->unsent))
		client_close(client);
	free(write->bytes);
	free(write);
}

/* Moves the bytes. A client that does not read is dropped rather than buffered for ever. */
static void client_send(struct unix_client *client, struct buffer *bytes)
{
	size_t length = bytes->length;
	if (client->closing || client->unsent > API_UNIX_MAX_BACKLOG) {
		client_close(client);
		return;
	}
	char *data = buffer_take(bytes);
	struct unix_write *write = must_alloc(1, sizeof(*write));
	*write = (struct unix_write){.client = client, .length = length, .bytes = data};
	client->unsent += length;
	uv_buf_t part = uv_buf_init(data, (unsigned)length);
	if (uv_write(&write->request, (uv_stream_t *)&client->pipe, &part, 1, on_written) < 0) {
		client->unsent -= length;
		free(data);
		free(write);
		client_close(client);
	}
}

static void client_send_error(struct unix_client *client, const struct error *error)
{
	struct buffer bytes;
	buffer_init(&bytes, 0);
	protocol_put_error(&bytes, error);
	client_send(client, &bytes);
	buffer_done(&bytes);
}

static void client_send_data(struct unix_client *client, const json_t *data)
{
	struct buffer bytes;
	buffer_init(&bytes, 0);
	protocol_put_data(&bytes, data);
	client_send(client, &bytes);
	buffer_done(&bytes);
}

static void client_proceed(struct unix_client *client);
static void set_reading(struct unix_client *client);

/* --- calls --- */

static void call_free(struct unix_call *call)
{
	json_decref(call->call.parameters);
	free(call);
}

/* The answer is on its way, and the client's next request may begin. */
static void call_end(struct api_call *base, const json_t *data, const struct error *error)
{
	struct unix_call *call = (struct unix_call *)base;
	if (call->client && data)
		client_send_data(call->client, data);
	else if (call->client)
		client_send_error(call->client, error);
	/* Sending may have found that the client is gone. */
	struct unix_client *client = call->client;
	call_free(call);
	if (!client)
		return;
	client->call = NULL;
	if (!client->closing)
		client_proceed(client);
}

static void call_follow(struct api_call *base)
{
	struct unix_call *call = (struct unix_call *)base;
	if (call->client) {
		call->client->following = true;
		call->client->call = NULL;
	}
	call_free(call);
}

void api_unix_publish(struct api_unix *api, const json_t *item)
{
	struct unix_client *next;
	for (struct unix_client *client = api->clients; client; client = next) {
		next = client->next;
		if (client->following)
			client_send_data(client, item);
	}
}

static bool find_peer(const uv_pipe_t *pipe, struct ucred *ret_peer)
{
	uv_os_fd_t fd;
	socklen_t length = sizeof(*ret_peer);
	return uv_fileno((const uv_handle_t *)pipe, &fd) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret_peer, &length) == 0;
}

/* What `sudo` keeps in loginuid names the person; else the process's user. */
static uid_t login_of(const struct ucred *peer)
{
	char path[64];
	unsigned login = 0;
	snprintf(path, sizeof(path), "/proc/%d/loginuid", (int)peer->pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return peer->uid;
	bool known = fscanf(file, "%u", &login) == 1 && login != (unsigned)-1;
	fclose(file);
	return known ? login : peer->uid;
}

static void call_who(const struct api_call *base, char who[API_WHO_BYTES])
{
	const struct unix_call *call = (const struct unix_call *)base;
	struct ucred peer;
	snprintf(who, API_WHO_BYTES, "unknown");
	if (!call->client || !find_peer(&call->client->pipe, &peer))
		return;
	uid_t uid = login_of(&peer);
	struct passwd entry;
	struct passwd *found;
	char text[1024];
	if (getpwuid_r(uid, &entry, text, sizeof(text), &found) == 0 && found)
		snprintf(who, API_WHO_BYTES, "%s", found->pw_name);
	else
		snprintf(who, API_WHO_BYTES, "uid %u", (unsigned)uid);
}

static const struct api_transport transport = {
    .who = call_who, .end = call_end, .follow = call_follow};

static void begin_call(struct unix_client *client, const struct command *command,
		       json_t *parameters)
{
	struct unix_call *call = must_alloc(1, sizeof(*call));
	*call = (struct unix_call){
	    .call = {.transport = &transport, .command = command, .parameters = parameters},
	    .client = client};
	client->call = call;
	api_begin(client->api->host, &call->call);
}

/* Malformed input ends the connection, after it was told why. */
static void client_refuse(struct unix_client *client, const struct error *error)
{
	client->close_after_write = true;
	set_reading(client);
	client_send_error(client, error);
}

/* One line, without its end. */
static void take_line(struct unix_client *client, const char *line, size_t length)
{
	const struct command *command;
	json_t *parameters;
	struct error err = {0};
	int result = protocol_parse_request(line, length, &command, &parameters, &err);
	buffer_consume(&client->input, length + 1);
	if (result == -FL_EINVALID)
		client_refuse(client, &err);
	else if (result < 0)
		client_send_error(client, &err);
	else
		begin_call(client, command, parameters);
}

static bool may_proceed(const struct unix_client *client)
{
	return !client->api->stopped && !client->call && !client->closing &&
	       !client->close_after_write && client->input.length;
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_part);
static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *part);

/* Nothing is read while a request is worked on or waits for its turn: what a client may pile up
 * here is bounded by one line and one read. */
static void set_reading(struct unix_client *client)
{
	bool wanted =
	    !client->call && !client->waiting && !client->ended && !client->close_after_write;
	if (client->closing || wanted == client->reading)
		return;
	client->reading = wanted;
	if (!wanted)
		uv_read_stop((uv_stream_t *)&client->pipe);
	else if (uv_read_start((uv_stream_t *)&client->pipe, on_allocate, on_read) < 0)
		client_close(client);
}

static void on_turn(uv_idle_t *turns)
{
	struct api_unix *api = turns->data;
	struct unix_client *next;
	uv_idle_stop(turns);
	for (struct unix_client *client = api->clients; client; client = next) {
		next = client->next;
		if (client->waiting)
			client_proceed(client);
	}
}

static void client_proceed(struct unix_client *client)
{
	if (client->proceeding)
		return;
	client->proceeding = true;
	client->waiting = false;
	const char *end = NULL;
	for (unsigned turn = 0; may_proceed(client); turn++) {
		end = memchr(client->input.data, '\n', client->input.length);
		if (!end)
			break;
		if (turn == REQUESTS_PER_TURN) {
			client->waiting = true;
			uv_idle_start(&client->api->turns, on_turn);
			break;
		}
		take_line(client, client->input.data, (size_t)(end - client->input.data));
	}
	client->proceeding = false;
	/* What is left of a client that sends no more is at most a broken line. */
	if (client->ended && !client->call && !client->waiting) {
		client->close_after_write = true;
		if (!client->unsent)
			client_close(client);
	}
	set_reading(client);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_part)
{
	const struct unix_client *client = handle->data;
	(void)suggested;
	*ret_part = uv_buf_init(client->api->block, BLOCK_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *part)
{
	struct unix_client *client = stream->data;
	if (length > 0)
		buffer_append(&client->input, part->base, (size_t)length);
	must_succeed(client->input.status);
	if (length < 0 && length != UV_EOF) {
		client_close(client);
		return;
	}
	client->ended = length == UV_EOF;
	client_proceed(client);
	/* A whole line would have been taken. */
	if (client->input.length > PROTOCOL_MAX_LINE && !client->call && !client->waiting) {
		struct error err;
		error_set(&err, -FL_ELIMIT, "the request is longer than %u bytes",
			  PROTOCOL_MAX_LINE);
		client_refuse(client, &err);
	}
}

bool api_unix_is_trusted(const uv_pipe_t *pipe)
{
	struct ucred peer;
	return find_peer(pipe, &peer) && (peer.uid == 0 || peer.uid == geteuid());
}

/* Whom the door is open to: 0, or why not. */
static int check_client(const struct unix_client *client, struct error *err)
{
	if (!api_unix_is_trusted(&client->pipe))
		return error_set(err, -FL_EPRIVILEGE, "only root may use this socket");
	if (client->api->client_count > client->api->max_clients)
		return error_set(err, -FL_ELIMIT, "%u clients are connected already",
				 client->api->max_clients);
	return 0;
}

/* At once, since many may come in one turn of the loop, and each of them holds a file. */
static void turn_away(struct unix_client *client, const struct error *error)
{
	struct buffer line;
	buffer_init(&line, 0);
	protocol_put_error(&line, error);
	uv_buf_t part = uv_buf_init(line.data, (unsigned)line.length);
	(void)uv_try_write((uv_stream_t *)&client->pipe, &part, 1);
	client_close(client);
	buffer_done(&line);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct api_unix *api = listener->data;
	if (status < 0)
		return;
	struct unix_client *client = must_alloc(1, sizeof(*client));
	client->api = api;
	client->pipe.data = client;
	buffer_init(&client->input, 0);
	uv_pipe_init(listener->loop, &client->pipe, 0);
	api->open_handles++;
	client->next = api->clients;
	api->clients = client;
	api->client_count++;
	struct error err;
	if (uv_accept(listener, (uv_stream_t *)&client->pipe) < 0)
		client_close(client);
	else if (check_client(client, &err) < 0)
		turn_away(client, &err);
	else
		set_reading(client);
}

/* --- the socket --- */

/* Does anybody listen? Never waits: one that does not accept any more is there all the same. */
static int ask_path(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int result =
	    connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
	close(fd);
	return result;
}

int api_unix_claim(const char *path, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat found;
	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, -ENAMETOOLONG,
				 "%s: the path of a Unix socket has at most %zu characters; choose "
				 "a shorter --run-dir",
				 path, sizeof(address.sun_path) - 1);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (lstat(path, &found) < 0)
		return errno == ENOENT ? 0
				       : error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISSOCK(found.st_mode))
		return error_set(err, -EEXIST,
				 "%s is in the way: it is not a socket; move it, or choose another "
				 "--run-dir",
				 path);
	int result = ask_path(&address);
	if (result == 0 || result == -EAGAIN)
		return error_set(err, -EADDRINUSE,
				 "%s: another fairlead answers here; stop it first, or give this "
				 "one a --run-dir and --state of its own",
				 path);
	if (result != -ECONNREFUSED)
		return error_set(err, result, "%s: cannot see who listens here: %s", path,
				 strerror(-result));
	if (unlink(path) < 0)
		return error_set(err, -errno, "%s: cannot remove the stale socket: %s", path,
				 strerror(errno));
	return 0;
}

int api_unix_listen(uv_pipe_t *pipe, const char *path, int backlog, uv_connection_cb on_connected,
		    struct error *err)
{
	/* No moment at which others could open it. */
	mode_t old = umask(0177);
	int result = uv_pipe_bind(pipe, path);
	umask(old);
	if (result == 0) {
		result = uv_listen((uv_stream_t *)pipe, backlog, on_connected);
		if (result < 0)
			unlink(path);
	}
	return result < 0
		   ? error_set(err, result, "%s: cannot listen: %s", path, uv_strerror(result))
		   : 0;
}

int api_unix_open(struct api_host *host, uv_loop_t *loop, const char *path, unsigned max_clients,
		  struct api_unix **ret_api, struct error *err)
{
	int result = api_unix_claim(path, err);
	if (result < 0)
		return result;
	struct api_unix *api = must_alloc(1, sizeof(*api));
	api->host = host;
	api->max_clients = max_clients;
	api->listener.data = api;
	api->turns.data = api;
	uv_pipe_init(loop, &api->listener, 0);
	uv_idle_init(loop, &api->turns);
	api->open_handles = 2;

	result = api_unix_listen(&api->listener, path, API_UNIX_MAX_CLIENTS, on_connection, err);
	if (result < 0) {
		api_unix_close(api);
		return result;
	}
	snprintf(api->path, sizeof(api->path), "%s", path);
	*ret_api = api;
	return 0;
}

void api_unix_stop(struct api_unix *api)
{
	if (api)
		api->stopped = true;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct api_unix *api = handle->data;
	api->open_handles--;
}

void api_unix_close(struct api_unix *api)
{
	if (!api)
		return;
	uv_loop_t *loop = api->listener.loop;
	while (api->clients)
		client_close(api->clients);
	uv_close((uv_handle_t *)&api->listener, on_handle_closed);
	uv_close((uv_handle_t *)&api->turns, on_handle_closed);
	while (api->open_handles)
		uv_run(loop, UV_RUN_NOWAIT);
	if (*api->path)
		unlink(api->path);
	free(api);
}
