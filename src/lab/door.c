/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/door.h"

#include "base/memory.h"
#include "base/text.h"
#include "control/protocol.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define PREFIX "fairlead-lab/"
#define BACKLOG 16
#define PATIENCE_SECONDS 5 /* with a peer that says nothing */
#define MAX_QUESTION 4096u

/* What is wrong with these `length` bytes as a name; NULL: nothing, and they are in `name`. */
static const char *take_name(const char *text, size_t length, char name[LAB_NAME_BYTES])
{
	if (length >= LAB_NAME_BYTES)
		return "it is too long";
	snprintf(name, LAB_NAME_BYTES, "%.*s", (int)length, text);
	return text_check_label(name);
}

int door_name(const char *topology, char name[LAB_NAME_BYTES], struct error *err)
{
	const char *slash = strrchr(topology, '/');
	const char *base = slash ? slash + 1 : topology;
	const char *dot = strrchr(base, '.');
	size_t length = dot ? (size_t)(dot - base) : strlen(base);
	const char *fault = take_name(base, length, name);
	if (fault)
		return error_set(err, -FL_EUSAGE,
				 "%s: \"%.*s\" cannot be the name of a lab: %s; --name gives it "
				 "another",
				 topology, (int)length, base, fault);
	return 0;
}

int door_plain_name(const char *text, char name[LAB_NAME_BYTES], struct error *err)
{
	const char *fault = take_name(text, strlen(text), name);
	if (fault)
		return error_set(err, -FL_EUSAGE, "--name: \"%s\" cannot be the name of a lab: %s",
				 text, fault);
	return 0;
}

/* The address begins with a NUL and is not ended by one. */
static socklen_t address_of(const char *name, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	int length =
	    snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1, PREFIX "%s", name);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1) + (socklen_t)length;
}

static void set_patience(int fd)
{
	const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

/* --- the lab's side --- */

int door_listen(const char *name, int *ret_fd, struct error *err)
{
	struct sockaddr_un address;
	socklen_t length = address_of(name, &address);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, length) == 0 &&
	    listen(fd, BACKLOG) == 0) {
		*ret_fd = fd;
		return 0;
	}
	int result = -errno;
	if (fd >= 0)
		close(fd);
	if (result == -EADDRINUSE)
		return error_set(err, -FL_ESTATE,
				 "the lab %s is up already; `fairlead lab down %s` takes it down, "
				 "--name gives a second one another name",
				 name, name);
	return error_set(err, result, "cannot take the name %s: %s", name, error_text(result));
}

static bool is_root(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == 0;
}

static json_t *read_line(int fd)
{
	struct buffer line;
	char chunk[1024];
	ssize_t got = 1;
	buffer_init(&line, MAX_QUESTION);
	while (got > 0 && !(line.length && memchr(line.data, '\n', line.length))) {
		got = recv(fd, chunk, sizeof(chunk), 0);
		if (got > 0)
			buffer_append(&line, chunk, (size_t)got);
	}
	json_t *question = got > 0 && !must_succeed(line.status)
			       ? json_loadb(line.data, line.length, 0, NULL)
			       : NULL;
	buffer_done(&line);
	return question;
}

int door_accept(int listener, int *ret_fd, json_t **ret_question)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return -errno;
	set_patience(fd);
	json_t *question = is_root(fd) ? read_line(fd) : NULL;
	if (!question) {
		close(fd);
		return -FL_EINVALID;
	}
	*ret_fd = fd;
	*ret_question = question;
	return 0;
}

static void send_all(int fd, const struct buffer *bytes)
{
	size_t sent = 0;
	while (sent < bytes->length) {
		ssize_t put = send(fd, bytes->data + sent, bytes->length - sent, MSG_NOSIGNAL);
		if (put <= 0)
			return; /* the asker has gone, and will say so */
		sent += (size_t)put;
	}
}

void door_answer(int fd, int result, const json_t *data, const struct error *err)
{
	struct buffer bytes;
	buffer_init(&bytes, 0);
	if (result < 0)
		protocol_put_error(&bytes, err);
	else
		protocol_put_data(&bytes, data);
	send_all(fd, &bytes);
	buffer_done(&bytes);
	close(fd);
}

/* --- from outside --- */

/* Who listens there; nobody but root is asked or told anything. */
static int check_holder(int fd, const char *name, pid_t *ret_pid, struct error *err)
{
	struct ucred holder;
	socklen_t length = sizeof(holder);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &holder, &length) < 0)
		return error_set(err, -errno, "the lab %s: %s", name, error_text(-errno));
	if (holder.uid != 0)
		return error_set(err, -FL_EPRIVILEGE,
				 "the name %s is held by process %d of user %u, which is no lab",
				 name, (int)holder.pid, holder.uid);
	*ret_pid = holder.pid;
	return 0;
}

/* A connection, or a negative code. */
static int open_door(const char *name, pid_t *ret_pid, struct error *err)
{
	struct sockaddr_un address;
	socklen_t length = address_of(name, &address);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set(err, -errno, "the lab %s: %s", name, error_text(-errno));
	int result = connect(fd, (struct sockaddr *)&address, length) < 0 ? -errno : 0;
	if (result == -ECONNREFUSED)
		result = error_set(err, -ENOENT,
				   "the lab %s is not up; `fairlead lab status` lists those that "
				   "are",
				   name);
	else if (result < 0)
		error_set(err, result, "the lab %s: %s", name, error_text(result));
	else
		result = check_holder(fd, name, ret_pid, err);
	if (result == 0)
		return fd;
	close(fd);
	return result;
}

int door_find(const char *name, pid_t *ret_pid, struct error *err)
{
	int fd = open_door(name, ret_pid, err);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int read_answer(int fd, json_t **ret_data, struct error *err)
{
	struct buffer line;
	char chunk[65536];
	ssize_t got;
	buffer_init(&line, PROTOCOL_MAX_LINE);
	while ((got = recv(fd, chunk, sizeof(chunk), 0)) > 0)
		buffer_append(&line, chunk, (size_t)got);
	int result = got < 0 || !line.length || must_succeed(line.status)
			 ? error_set(err, -ECONNRESET, "the lab went away before it answered")
			 : protocol_parse_answer(line.data, line.length, ret_data, err);
	buffer_done(&line);
	return result;
}

int door_ask(const char *name, const char *verb, const json_t *parameters, json_t **ret_data,
	     struct error *err)
{
	struct buffer bytes;
	pid_t holder;
	int fd = open_door(name, &holder, err);
	if (fd < 0)
		return fd;
	buffer_init(&bytes, 0);
	protocol_put_request(&bytes, verb, parameters);
	send_all(fd, &bytes);
	int result = read_answer(fd, ret_data, err);
	buffer_done(&bytes);
	close(fd);
	return result;
}

/* /proc/net/unix shows abstract names with an `@`, at the end of the line (proc(5)). A listener
 * has a line of its own, its connections more. */
json_t *door_list(void)
{
	char line[512];
	json_t *names = json_object(), *list = json_array();
	FILE *file = fopen("/proc/net/unix", "re");
	while (file && names && fgets(line, sizeof(line), file)) {
		char *at = strstr(line, " @" PREFIX);
		if (!at)
			continue;
		at += strlen(" @" PREFIX);
		at[strcspn(at, "\n")] = '\0';
		if (!text_check_label(at))
			json_object_set_new(names, at, json_true());
	}
	if (file)
		(void)fclose(file);
	const char *name;
	json_t *value;
	json_object_foreach (names, name, value)
		json_array_append_new(list, json_string(name));
	json_decref(names);
	return list;
}
