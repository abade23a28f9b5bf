/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include "base/clock.h"
#include "base/memory.h"
#include "cli/output.h"
#include "control/protocol.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define QUEUE_POLL_MS 100 /* while the daemon's queue is full */

static int explain_silence(const char *path, struct error *err)
{
	return error_set(err, -ETIMEDOUT,
			 "%s: the daemon is there, but has said nothing for %d s: is it stopped "
			 "('ps' shows T), or the machine overloaded? Packets are forwarded without "
			 "it",
			 path, CLIENT_PATIENCE_MS / 1000);
}

static int explain_interrupt(struct error *err)
{
	return error_set(err, -EINTR, "interrupted");
}

static int explain_connect(const char *path, int code, struct error *err)
{
	switch (code) {
	case ENOENT:
	case ECONNREFUSED:
		return error_set(err, -code,
				 "nothing answers on %s: is `fairlead run` running? --socket names "
				 "another place",
				 path);
	case EACCES:
	case EPERM:
		return error_set(err, -FL_EPRIVILEGE,
				 "%s: only root may ask the daemon; try again with sudo", path);
	case ETIMEDOUT:
		return explain_silence(path, err);
	case EINTR:
		return explain_interrupt(err);
	default:
		return error_set(err, -code, "%s: cannot connect: %s", path, error_text(-code));
	}
}

/* Connect without standing still where nobody could interrupt: the queue of a daemon that is
 * stopped fills up. */
static int connect_patiently(int fd, const struct sockaddr_un *address, int interrupt_fd)
{
	uint64_t begin_ms = clock_now_ms(&clock_system);
	struct pollfd interrupt = {.fd = interrupt_fd, .events = POLLIN};
	while (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (clock_now_ms(&clock_system) - begin_ms >= CLIENT_PATIENCE_MS)
			return -ETIMEDOUT;
		if (poll(&interrupt, 1, QUEUE_POLL_MS) > 0)
			return -EINTR;
	}
	return 0;
}

int client_open(const char *path, int interrupt_fd, struct client *ret_client, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);
	if (length >= sizeof(address.sun_path))
		return error_set(err, -FL_EUSAGE,
				 "%s: the path of a Unix socket has at most %zu bytes", path,
				 sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, length);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set(err, -errno, "cannot make a Unix socket: %s", error_text(-errno));
	int result = connect_patiently(fd, &address, interrupt_fd);
	if (result < 0) {
		close(fd);
		return explain_connect(path, -result, err);
	}
	*ret_client = (struct client){.path = path, .fd = fd, .interrupt_fd = interrupt_fd};
	buffer_init(&ret_client->input, CLIENT_MAX_ANSWER);
	return 0;
}

void client_close(struct client *client)
{
	close(client->fd);
	buffer_done(&client->input);
}

/* Can the answer be given up? That of a change cannot: somebody must hear how it ended. */
static bool only_shows(const struct client *client)
{
	return client->command->repeatable || client->command->streams;
}

static int explain_loss(const struct client *client, struct error *err)
{
	if (client->command->streams)
		return error_set(err, -ECONNRESET, "the daemon went away");
	if (only_shows(client))
		return error_set(err, -ECONNRESET, "the daemon went away before it answered");
	return error_set(err, -ECONNRESET,
			 "the daemon went away: the change may or may not be committed; look at "
			 "`fairlead log`");
}

/* A line that lacks its end is no request: whatever it orders, giving up changes nothing. */
static int wait_for_room(const struct client *client, struct error *err)
{
	struct pollfd fds[] = {{.fd = client->fd, .events = POLLOUT},
			       {.fd = client->interrupt_fd, .events = POLLIN}};
	int ready = poll(fds, sizeof(fds) / sizeof(fds[0]), CLIENT_PATIENCE_MS);
	if (ready == 0)
		return explain_silence(client->path, err);
	return ready > 0 && fds[1].revents ? explain_interrupt(err) : 0;
}

static int send_all(const struct client *client, const struct buffer *bytes, struct error *err)
{
	size_t sent = 0;
	while (sent < bytes->length) {
		ssize_t put =
		    send(client->fd, bytes->data + sent, bytes->length - sent, MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		/* The daemon may have said why before it closed; reading will tell. */
		if (put < 0 && (errno == EPIPE || errno == ECONNRESET))
			return 0;
		if (put < 0 && errno == EAGAIN) {
			int result = wait_for_room(client, err);
			if (result < 0)
				return result;
			continue;
		}
		if (put < 0)
			return error_set(err, -errno, "%s: cannot send: %s", client->path,
					 error_text(-errno));
		sent += (size_t)put;
	}
	return 0;
}

int client_ask(struct client *client, const struct command *command, const json_t *parameters,
	       struct error *err)
{
	struct buffer bytes;
	client->command = command;
	buffer_init(&bytes, 0);
	protocol_put_request(&bytes, command->name, parameters);
	int result;
	if (bytes.length > PROTOCOL_MAX_LINE)
		result = error_set(err, -FL_ELIMIT,
				   "the request has %zu bytes, but the daemon takes at most %u",
				   bytes.length, PROTOCOL_MAX_LINE);
	else
		result = send_all(client, &bytes, err);
	buffer_done(&bytes);
	return result;
}

/* How a change ends somebody must hear; the person may still go. */
static void tell_silence(void)
{
	char text[256];
	snprintf(text, sizeof(text),
		 "fairlead: the daemon has said nothing for %d s, and is waited for: what was "
		 "ordered may still be done; Ctrl-C ends the waiting only, and `fairlead log` "
		 "tells later what was\n",
		 CLIENT_PATIENCE_MS / 1000);
	output_message(text);
}

/* Wait until the daemon says something; for what only shows, with limited patience. */
static int wait_for_bytes(const struct client *client, struct error *err)
{
	/* Nobody reads from standard output, so it is asked for nothing but its errors: a pipe
	 * whose reader has gone. */
	struct pollfd fds[] = {
	    {.fd = client->fd, .events = POLLIN},
	    {.fd = client->interrupt_fd, .events = POLLIN},
	    {.fd = only_shows(client) ? STDOUT_FILENO : -1},
	};
	int patience_ms = client->command->streams ? -1 : CLIENT_PATIENCE_MS;
	for (;;) {
		int ready = poll(fds, sizeof(fds) / sizeof(fds[0]), patience_ms);
		if (ready == 0 && client->command->repeatable)
			return explain_silence(client->path, err);
		if (ready == 0) {
			tell_silence();
			patience_ms = -1;
			continue;
		}
		if (ready < 0 && errno != EINTR)
			return error_set(err, -errno, "cannot wait for the daemon: %s",
					 error_text(-errno));
		if (ready < 0)
			continue;
		if (fds[0].revents)
			return 0;
		if (fds[1].revents)
			return explain_interrupt(err);
		if (fds[2].revents & POLLERR)
			return error_set(err, -EPIPE, "nobody reads the answer");
		/* A terminal that hung up, for one: SIGHUP will come. */
		fds[2].fd = -1;
	}
}

static int read_more(struct client *client, struct error *err)
{
	char chunk[65536];
	int result = wait_for_bytes(client, err);
	if (result < 0)
		return result;
	ssize_t got = read(client->fd, chunk, sizeof(chunk));
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (got < 0 && errno != ECONNRESET)
		return error_set(err, -errno, "%s: cannot read: %s", client->path,
				 error_text(-errno));
	if (got <= 0)
		return explain_loss(client, err);
	buffer_append(&client->input, chunk, (size_t)got);
	if (must_succeed(client->input.status))
		return error_set(err, client->input.status,
				 "the daemon's answer has more than %u bytes", CLIENT_MAX_ANSWER);
	return 0;
}

int client_answer(struct client *client, json_t **ret_data, struct error *err)
{
	size_t searched = 0;
	for (;;) {
		size_t length = client->input.length;
		const char *end = length > searched ? memchr(client->input.data + searched, '\n',
							     length - searched)
						    : NULL;
		if (end) {
			size_t line = (size_t)(end - client->input.data);
			int result = protocol_parse_answer(client->input.data, line, ret_data, err);
			buffer_consume(&client->input, line + 1);
			return result;
		}
		searched = length;
		int result = read_more(client, err);
		if (result < 0)
			return result;
	}
}

int client_call(const char *path, int interrupt_fd, const struct command *command,
		const json_t *parameters, json_t **ret_answer, struct error *err)
{
	struct client client = {0};
	int result = client_open(path, interrupt_fd, &client, err);
	if (result < 0)
		return result;
	result = client_ask(&client, command, parameters, err);
	if (result == 0)
		result = client_answer(&client, ret_answer, err);
	client_close(&client);
	return result;
}
