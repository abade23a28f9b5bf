/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name server while the kernel refuses what it asks for: each call fails that can, is counted
 * or told, and what is owed to the other clients is still done.
 */
#include "naming/server.h"
#include "tests/addresses.h"
#include "wire/dns.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 10000 /* for anything that must happen */

/* ---- faults ---- */

/* The linker passes the house's calls through wrappers (--wrap), here by one line for each:
 * X(what it returns, name, parameters, arguments). A failing one returns -1 and sets errno. */
#define WRAPPED(X)                                                                                 \
	X(int, socket, (int domain, int type, int protocol), (domain, type, protocol))             \
	X(int, setsockopt, (int fd, int level, int option, const void *value, socklen_t length),   \
	  (fd, level, option, value, length))                                                      \
	X(int, bind, (int fd, const struct sockaddr *address, socklen_t length),                   \
	  (fd, address, length))                                                                   \
	X(int, listen, (int fd, int backlog), (fd, backlog))                                       \
	X(int, eventfd, (unsigned count, int flags), (count, flags))                               \
	X(int, epoll_create1, (int flags), (flags))                                                \
	X(int, epoll_ctl, (int epoll, int op, int fd, struct epoll_event *event),                  \
	  (epoll, op, fd, event))                                                                  \
	X(int, accept4, (int fd, struct sockaddr *address, socklen_t *length, int flags),          \
	  (fd, address, length, flags))                                                            \
	X(ssize_t, send, (int fd, const void *bytes, size_t length, int flags),                    \
	  (fd, bytes, length, flags))                                                              \
	X(int, sendmmsg, (int fd, struct mmsghdr *messages, unsigned count, int flags),            \
	  (fd, messages, count, flags))

#define X(type, name, ...) CALL_##name,
enum call { WRAPPED(X) CALL_pthread_create, CALL_poll, CALL_ANY };
#undef X

/* The `after`-th call from now on fails with `number`, and so do the `more` ones behind it. */
static struct {
	enum call call;
	int number;
	int after; /* 0: none fails */
	int more;
} fault;
static bool failed;
static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;

static int fault_of(enum call call)
{
	int number = 0;
	pthread_mutex_lock(&fault_lock);
	if (fault.after > 0 && (fault.call == CALL_ANY || fault.call == call)) {
		if (fault.after > 1) {
			fault.after--;
		} else {
			number = fault.number;
			failed = true;
			if (fault.more-- == 0)
				fault.after = 0;
		}
	}
	pthread_mutex_unlock(&fault_lock);
	return number;
}

static void arrange(enum call call, int number, int after, int more)
{
	pthread_mutex_lock(&fault_lock);
	fault.call = call;
	fault.number = number;
	fault.after = after;
	fault.more = more;
	failed = false;
	pthread_mutex_unlock(&fault_lock);
}

static bool has_failed(void)
{
	pthread_mutex_lock(&fault_lock);
	bool result = failed;
	pthread_mutex_unlock(&fault_lock);
	return result;
}

#define X(type, name, parameters, arguments)                                                       \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		int number = fault_of(CALL_##name);                                                \
		if (number == 0)                                                                   \
			return __real_##name arguments;                                            \
		errno = number;                                                                    \
		return -1;                                                                         \
	}
WRAPPED(X)
#undef X

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
			  void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
			  void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
			  void *argument)
{
	int number = fault_of(CALL_pthread_create);
	return number ? number : __real_pthread_create(thread, attributes, run, argument);
}

/* A fault of poll is that nothing is ready. */
int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	return fault_of(CALL_poll) ? 0 : __real_poll(fds, count, timeout_ms);
}

/* ---- a server and its clients ---- */

static int open_server(struct naming_server **ret_server, struct error *err)
{
	struct ip_address addresses[] = {address("127.0.0.1"), address("::1")};
	struct naming_server_options options = {
	    .addresses = addresses, .address_count = 2, .threads = 2};
	return naming_server_open(&options, ret_server, err);
}

/* One thread of each kind, so that it is known which one a fault meets. */
static struct naming_server *open_one(void)
{
	struct ip_address loopback = address("127.0.0.1");
	struct naming_server_options options = {
	    .addresses = &loopback, .address_count = 1, .threads = 1};
	struct naming_server *server = NULL;
	assert_int_equal(naming_server_open(&options, &server, NULL), 0);
	return server;
}

static uint64_t drops(const struct naming_server *server, enum naming_drop drop)
{
	struct naming_counters counters;
	naming_server_counters(server, &counters);
	return counters.drops[drop];
}

static uint64_t open_connections(const struct naming_server *server)
{
	struct naming_counters counters;
	naming_server_counters(server, &counters);
	return counters.tcp_open;
}

static int client(const struct naming_server *server, int type)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(naming_server_port(server)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = __real_socket(AF_INET, type | SOCK_CLOEXEC, 0);
	struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
	if (fd < 0) {
		fail_msg("socket: %s", error_text(-errno));
		abort(); /* not reached; for the analyzer */
	}
	assert_int_equal(
	    __real_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* Without a zone each query is answered by SERVFAIL, which is answer enough here. */
static const uint8_t query[] = {0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'z', 0, 0, 1, 0, 1};

static void ask_udp(int fd, uint8_t id)
{
	uint8_t bytes[sizeof(query)];
	memcpy(bytes, query, sizeof(query));
	bytes[1] = id;
	assert_int_equal(__real_send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
}

/* The identifier of the next answer. */
static unsigned read_udp(int fd)
{
	uint8_t answer[512];
	assert_int_equal(recv(fd, answer, sizeof(answer), 0), sizeof(query));
	assert_int_equal(answer[3] & 0xf, DNS_SERVFAIL);
	return answer[1];
}

static void ask_tcp(int fd)
{
	uint8_t bytes[2 + sizeof(query)] = {0, sizeof(query)};
	memcpy(bytes + 2, query, sizeof(query));
	assert_int_equal(__real_send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL), sizeof(bytes));
}

static ssize_t read_tcp(int fd)
{
	uint8_t answer[512];
	return recv(fd, answer, 2 + sizeof(query), MSG_WAITALL);
}

static unsigned open_descriptors(void)
{
	unsigned count = 0;
	DIR *folder = opendir("/proc/self/fd");
	while (folder && readdir(folder))
		count++;
	if (folder)
		closedir(folder);
	assert_true(count > 0);
	return count;
}

/* ---- opening ---- */

static void opening_survives_every_refusal(void **state)
{
	(void)state;
	unsigned before = open_descriptors(), refusals = 0;
	for (int n = 1;; n++) {
		struct naming_server *server = NULL;
		struct error err = {0};
		arrange(CALL_ANY, ENOBUFS, n, 0);
		int result = open_server(&server, &err);
		bool refused = has_failed();
		arrange(CALL_ANY, 0, 0, 0);
		if (!refused) {
			assert_int_equal(result, 0);
			naming_server_close(server);
			break;
		}
		/* A bigger buffer is a wish: the smaller one that is left does, too. */
		if (result == 0) {
			naming_server_close(server);
			continue;
		}
		refusals++;
		assert_null(server);
		assert_int_equal(result, -ENOBUFS);
		assert_int_equal(err.code, -ENOBUFS);
		assert_non_null(strstr(err.text, error_text(-ENOBUFS)));
		assert_int_equal(open_descriptors(), before);
	}
	/* Two threads and two addresses: 8 sockets with 3 calls at least, 2 epoll sets with 4, 6
	 * threads, and the event. */
	assert_true(refusals > 8 * 3 + 2 * 4 + 6);
	assert_int_equal(open_descriptors(), before);
}

static void a_port_that_is_not_ours_to_take_is_told_so(void **state)
{
	(void)state;
	struct naming_server *server = NULL;
	struct error err = {0};
	arrange(CALL_bind, EACCES, 1, 0);
	assert_int_equal(open_server(&server, &err), -FL_EPRIVILEGE);
	assert_non_null(strstr(err.text, "CAP_NET_BIND_SERVICE"));
	arrange(CALL_bind, EADDRINUSE, 2, 1000);
	assert_int_equal(open_server(&server, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "a process that cannot be seen from here has it"));
	arrange(CALL_ANY, 0, 0, 0);
}

/* ---- UDP ---- */

static void an_answer_that_is_refused_is_passed_over(void **state)
{
	(void)state;
	struct naming_server *server = open_one();
	int fd = client(server, SOCK_DGRAM);
	arrange(CALL_sendmmsg, EPERM, 1, 0);
	ask_udp(fd, 1);
	ask_udp(fd, 2);
	assert_int_equal(read_udp(fd), 2);
	assert_int_equal(drops(server, NAMING_DROP_SEND), 1);
	close(fd);
	naming_server_close(server);
}

static void an_answer_waits_for_room(void **state)
{
	(void)state;
	struct naming_server *server = open_one();
	int fd = client(server, SOCK_DGRAM);
	arrange(CALL_sendmmsg, EAGAIN, 1, 2);
	ask_udp(fd, 1);
	assert_int_equal(read_udp(fd), 1);
	assert_true(has_failed());
	arrange(CALL_sendmmsg, EINTR, 1, 0);
	ask_udp(fd, 2);
	assert_int_equal(read_udp(fd), 2);
	assert_true(has_failed());
	assert_int_equal(drops(server, NAMING_DROP_SEND), 0);
	close(fd);
	naming_server_close(server);
}

static void answers_for_which_there_is_no_room_are_dropped(void **state)
{
	(void)state;
	struct naming_server *server = open_one();
	int fd = client(server, SOCK_DGRAM);
	/* The first call for room, and the look whether there is some. */
	arrange(CALL_ANY, EAGAIN, 1, 1);
	ask_udp(fd, 1);
	while (drops(server, NAMING_DROP_SEND) == 0)
		sched_yield();
	ask_udp(fd, 2);
	assert_int_equal(read_udp(fd), 2);
	assert_int_equal(drops(server, NAMING_DROP_SEND), 1);
	close(fd);
	naming_server_close(server);
}

/* ---- TCP ---- */

static void a_connection_waits_for_descriptors(void **state)
{
	(void)state;
	static const int numbers[] = {EMFILE, ENFILE, ENOMEM, ENOBUFS};
	struct naming_server *server = open_one();
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		arrange(CALL_accept4, numbers[i], 1, 0);
		int fd = client(server, SOCK_STREAM);
		ask_tcp(fd);
		assert_int_equal(read_tcp(fd), 2 + sizeof(query));
		assert_int_equal(drops(server, NAMING_DROP_TCP_ACCEPT), i + 1);
		close(fd);
	}
	naming_server_close(server);
}

static void a_connection_that_is_gone_is_not_in_the_way(void **state)
{
	(void)state;
	struct naming_server *server = open_one();
	arrange(CALL_accept4, ECONNABORTED, 1, 0);
	int fd = client(server, SOCK_STREAM);
	ask_tcp(fd);
	assert_int_equal(read_tcp(fd), 2 + sizeof(query));
	assert_true(has_failed());
	assert_int_equal(drops(server, NAMING_DROP_TCP_ACCEPT), 0);
	close(fd);
	naming_server_close(server);
}

static void a_connection_that_cannot_be_served_is_closed(void **state)
{
	(void)state;
	static const enum call calls[] = {CALL_setsockopt, CALL_epoll_ctl};
	struct naming_server *server = open_one();
	for (unsigned i = 0; i < 2; i++) {
		arrange(calls[i], ENOMEM, 1, 0);
		int fd = client(server, SOCK_STREAM);
		assert_int_equal(read_tcp(fd), 0);
		assert_int_equal(drops(server, NAMING_DROP_TCP_ACCEPT), i + 1);
		close(fd);
	}
	int fd = client(server, SOCK_STREAM);
	ask_tcp(fd);
	assert_int_equal(read_tcp(fd), 2 + sizeof(query));
	close(fd);
	naming_server_close(server);
}

static void a_client_that_is_gone_before_its_answer_is_counted(void **state)
{
	(void)state;
	struct naming_server *server = open_one();
	int fd = client(server, SOCK_STREAM);
	arrange(CALL_send, EPIPE, 1, 0);
	ask_tcp(fd);
	assert_true(read_tcp(fd) <= 0);
	assert_int_equal(drops(server, NAMING_DROP_TCP_RESET), 1);
	while (open_connections(server) > 0)
		sched_yield();
	close(fd);
	naming_server_close(server);
}

static void an_answer_that_is_not_taken_is_kept(void **state)
{
	(void)state;
	static const int numbers[] = {EAGAIN, EINTR};
	struct naming_server *server = open_one();
	int fd = client(server, SOCK_STREAM);
	for (unsigned i = 0; i < 2; i++) {
		arrange(CALL_send, numbers[i], 1, 1); /* also when it is sent again */
		ask_tcp(fd);
		assert_int_equal(read_tcp(fd), 2 + sizeof(query));
		assert_true(has_failed());
	}
	assert_int_equal(drops(server, NAMING_DROP_TCP_RESET), 0);
	close(fd);
	naming_server_close(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(opening_survives_every_refusal),
	    cmocka_unit_test(a_port_that_is_not_ours_to_take_is_told_so),
	    cmocka_unit_test(an_answer_that_is_refused_is_passed_over),
	    cmocka_unit_test(an_answer_waits_for_room),
	    cmocka_unit_test(answers_for_which_there_is_no_room_are_dropped),
	    cmocka_unit_test(a_connection_waits_for_descriptors),
	    cmocka_unit_test(a_connection_that_is_gone_is_not_in_the_way),
	    cmocka_unit_test(a_connection_that_cannot_be_served_is_closed),
	    cmocka_unit_test(a_client_that_is_gone_before_its_answer_is_counted),
	    cmocka_unit_test(an_answer_that_is_not_taken_is_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
