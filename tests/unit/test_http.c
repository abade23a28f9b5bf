/* SPDX-License-Identifier: Apache-2.0 */
/* What is read over HTTP, by real sockets: and what a client that means harm can do to the loop. */
#include "api/http.h"
#include "api/http_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE_BYTES (32u << 20) /* more than sockets take */
#define LIFE_MS 300u
#define MANY (HTTP_CLIENTS + 4u)

static struct world {
	uv_loop_t loop;
	struct api_http *http;
	unsigned pages;
	size_t page_bytes;
	uint64_t skipped_ms; /* by which the clock is ahead */
} world;

static uint64_t now_ms(void *context)
{
	(void)context;
	return clock_now_ms(&clock_system) + world.skipped_ms;
}

static uint64_t wall_ms(void *context)
{
	(void)context;
	return clock_wall_ms(&clock_system);
}

static void make_page(void *context, struct buffer *text)
{
	(void)context;
	world.pages++;
	buffer_printf(text, "page %u\n", world.pages);
	while (text->length < world.page_bytes && !text->status)
		buffer_puts(text, "it goes on and on and on and on and on and on and on and on\n");
}

static int start(void **state)
{
	static const struct clock clock = {.now_ms = now_ms, .wall_ms = wall_ms};
	struct error err = {0};
	(void)state;
	world = (struct world){0};
	struct api_http_options options = {.loop = &world.loop,
					   .clock = &clock,
					   .life_ms = LIFE_MS,
					   .front = "the front\n",
					   .metrics = make_page};
	uv_loop_init(&world.loop);
	if (ip_address_parse("127.0.0.1", &options.address) < 0)
		return -1;
	return api_http_open(&options, &world.http, &err);
}

static int stop(void **state)
{
	(void)state;
	api_http_close(world.http);
	return uv_loop_close(&world.loop);
}

static int visit(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(api_http_port(world.http)),
				 .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int little = 4096;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void turn(void)
{
	uv_run(&world.loop, UV_RUN_NOWAIT);
}

static void wait_ms(uint64_t ms)
{
	uint64_t end_ms = clock_now_ms(&clock_system) + ms;
	while (clock_now_ms(&clock_system) <= end_ms) {
		turn();
		poll(NULL, 0, 1);
	}
}

/* All that comes until the other side closes; "" when nothing does within the turns. */
static size_t hear(int fd, char *text, size_t size)
{
	size_t length = 0;
	for (unsigned turns = 0; turns < 200000; turns++) {
		turn();
		ssize_t got = recv(fd, text + length, size - 1 - length, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			break;
		length += got > 0 ? (size_t)got : 0;
		if (got < 0)
			poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1);
		if (length == size - 1)
			break;
	}
	text[length] = '\0';
	return length;
}

static void ask(const char *request, char *text, size_t size)
{
	int fd = visit();
	say(fd, request);
	hear(fd, text, size);
	close(fd);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: here\r\n\r\n"

static void what_is_there_and_what_is_not(void **state)
{
	char text[4096];
	(void)state;
	ask(GET("/metrics"), text, sizeof(text));
	assert_non_null(strstr(text, "HTTP/1.1 200"));
	assert_non_null(strstr(text, "text/plain; version=0.0.4; charset=utf-8"));
	assert_non_null(strstr(text, "\r\n\r\npage 1\n"));
	ask(GET("/"), text, sizeof(text));
	assert_non_null(strstr(text, "\r\n\r\nthe front\n"));
	ask("HEAD /metrics HTTP/1.1\r\nHost: here\r\n\r\n", text, sizeof(text));
	assert_non_null(strstr(text, "HTTP/1.1 200"));
	assert_null(strstr(text, "page"));
	static const char *const nowhere[] = {GET("/metrics/"), GET("/metricsx"),
					      GET("//"),        GET("/../metrics"),
					      GET("/%2e"),      GET("/favicon.ico")};
	for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
		ask(nowhere[i], text, sizeof(text));
		assert_non_null(strstr(text, "HTTP/1.1 404"));
	}
	ask("POST /metrics HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nhello", text,
	    sizeof(text));
	assert_non_null(strstr(text, "HTTP/1.1 405"));
	assert_non_null(strstr(text, "Allow: GET, HEAD"));
	assert_int_equal(world.pages, 1);
}

/* However often it is asked for. */
static void a_page_is_made_once_a_second(void **state)
{
	char text[4096];
	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		ask(GET("/metrics"), text, sizeof(text));
		assert_non_null(strstr(text, "200 OK"));
	}
	assert_true(world.pages <= 3);
	unsigned before = world.pages;
	world.skipped_ms += HTTP_PAGE_MS;
	ask(GET("/metrics"), text, sizeof(text));
	assert_int_equal(world.pages, before + 1);
}

static void nonsense_is_answered_and_closed(void **state)
{
	char text[4096];
	char *large = malloc(HTTP_HEAD_BYTES * 2 + 1);
	(void)state;
	static const char *const nonsense[] = {"\r\n\r\nhello\r\n\r\n", "GET\r\n\r\n",
					       "\x16\x03\x01\x02\x01\x01\xfc\x03\x03",
					       "GET / HTTP/2.0\r\n\r\n"};
	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		ask(nonsense[i], text, sizeof(text));
		assert_non_null(strstr(text, "HTTP/1.1 400"));
	}
	assert_non_null(large);
	memset(large, 'a', HTTP_HEAD_BYTES * 2);
	memcpy(large, "GET /", 5);
	large[HTTP_HEAD_BYTES * 2] = '\0';
	ask(large, text, sizeof(text));
	assert_non_null(strstr(text, "HTTP/1.1 400"));
	free(large);
	ask(GET("/metrics"), text, sizeof(text));
	assert_non_null(strstr(text, "200 OK"));
}

/* Who reads nothing holds nothing up: the loop turns, others are served, and he is cut in time. */
static void who_does_not_read_is_cut(void **state)
{
	char text[4096];
	(void)state;
	world.page_bytes = PAGE_BYTES;
	int slow = visit();
	say(slow, GET("/metrics"));
	while (!world.pages)
		turn();
	ask(GET("/"), text, sizeof(text));
	assert_non_null(strstr(text, "the front"));
	wait_ms(LIFE_MS);
	ask(GET("/"), text, sizeof(text));
	assert_non_null(strstr(text, "the front"));
	char *all = malloc(PAGE_BYTES * 2);
	assert_non_null(all);
	size_t got = hear(slow, all, PAGE_BYTES * 2);
	assert_true(got > 0 && got < PAGE_BYTES);
	free(all);
	close(slow);
}

/* Who only connects keeps others waiting until he is cut, and no longer. */
static void a_crowd_of_the_silent_is_cut(void **state)
{
	int crowd[MANY];
	char text[4096];
	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		crowd[i] = visit();
		say(crowd[i], "GET /metr");
		turn();
	}
	for (unsigned i = 0; i < 100; i++)
		turn();
	int late = visit();
	say(late, GET("/metrics"));
	for (unsigned i = 0; i < 100; i++)
		turn();
	assert_int_equal(recv(late, text, sizeof(text), MSG_DONTWAIT), -1);
	/* As many as there are places at a time. */
	assert_true(hear(late, text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "200 OK"));
	for (size_t i = 0; i < MANY; i++)
		close(crowd[i]);
	close(late);
}

static void what_is_too_large_is_an_error(void **state)
{
	char text[4096];
	(void)state;
	world.page_bytes = HTTP_PAGE_BYTES + 1;
	ask(GET("/metrics"), text, sizeof(text));
	assert_non_null(strstr(text, "HTTP/1.1 500"));
	assert_non_null(strstr(text, "too many"));
}

static void a_port_that_is_taken_is_told(void **state)
{
	struct api_http *other;
	struct error err = {0};
	(void)state;
	struct api_http_options options = {.loop = &world.loop,
					   .clock = &clock_system,
					   .port = api_http_port(world.http),
					   .front = "",
					   .metrics = make_page};
	assert_int_equal(ip_address_parse("127.0.0.1", &options.address), 0);
	assert_int_equal(api_http_open(&options, &other, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "127.0.0.1 port "));
	assert_int_equal(ip_address_parse("192.0.2.77", &options.address), 0);
	assert_int_equal(api_http_open(&options, &other, &err), -EADDRNOTAVAIL);
}

/* Each whole head, and at every length before its end that it is not. */
static void heads_are_read(void **state)
{
	static const struct {
		const char *bytes;
		enum http_head head;
		enum http_method method;
		const char *path;
	} cases[] = {
	    {"GET / HTTP/1.1\r\n\r\n", HTTP_HEAD_WHOLE, HTTP_GET, "/"},
	    {"GET /metrics HTTP/1.0\r\nA: b\r\n\r\n", HTTP_HEAD_WHOLE, HTTP_GET, "/metrics"},
	    {"HEAD /metrics?x=1&y=/ HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_HEAD_WHOLE, HTTP_HEAD,
	     "/metrics"},
	    {"get / HTTP/1.1\r\n\r\n", HTTP_HEAD_WHOLE, HTTP_OTHER, "/"},
	    {"OPTIONS * HTTP/1.1\r\n\r\n", HTTP_HEAD_WHOLE, HTTP_OTHER, "*"},
	    {"GET ? HTTP/1.1\r\n\r\n", HTTP_HEAD_WHOLE, HTTP_GET, ""},
	    {"GET  / HTTP/1.1\r\n\r\n", HTTP_HEAD_BAD, HTTP_GET, ""},
	    {"GET / HTTP/1.1 \r\n\r\n", HTTP_HEAD_BAD, HTTP_GET, ""},
	    {"GET / HTTP/1.x\r\n\r\n", HTTP_HEAD_BAD, HTTP_GET, ""},
	    {"GET / HTTP/1.\r\n\r\n", HTTP_HEAD_BAD, HTTP_GET, ""},
	    {"GET / HTTP/2.0\r\n\r\n", HTTP_HEAD_BAD, HTTP_GET, ""},
	    {"GET /\r\n\r\n", HTTP_HEAD_BAD, HTTP_GET, ""},
	    {"GET\r\n\r\n", HTTP_HEAD_BAD, HTTP_GET, ""},
	    {" GET / HTTP/1.1\r\n\r\n", HTTP_HEAD_BAD, HTTP_GET, ""},
	    {"\r\n\r\n", HTTP_HEAD_BAD, HTTP_GET, ""},
	    {"GET /\x7f HTTP/1.1\r\n\r\n", HTTP_HEAD_BAD, HTTP_GET, ""},
	    {"GET /\n HTTP/1.1\r\n\r\n", HTTP_HEAD_BAD, HTTP_GET, ""},
	    {"GET / HTTP/1.1\n\n", HTTP_HEAD_BAD, HTTP_GET, ""},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_request request = {.path = "untouched"};
		size_t length = strlen(cases[i].bytes);
		for (size_t part = 0; cases[i].head == HTTP_HEAD_WHOLE && part < length; part++)
			assert_int_equal(http_request_read(cases[i].bytes, part, &request),
					 HTTP_HEAD_PART);
		assert_string_equal(request.path, "untouched");
		assert_int_equal(http_request_read(cases[i].bytes, length, &request),
				 cases[i].head);
		if (cases[i].head != HTTP_HEAD_WHOLE)
			continue;
		assert_int_equal(request.method, cases[i].method);
		assert_string_equal(request.path, cases[i].path);
	}
}

static void a_path_has_a_limit(void **state)
{
	char text[HTTP_PATH_BYTES + 64];
	char path[HTTP_PATH_BYTES + 2];
	struct http_request request;
	(void)state;
	for (size_t length = HTTP_PATH_BYTES - 2; length <= HTTP_PATH_BYTES + 1; length++) {
		memset(path, 'a', length);
		path[length] = '\0';
		int size = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n\r\n", path);
		assert_int_equal(http_request_read(text, (size_t)size, &request), HTTP_HEAD_WHOLE);
		assert_string_equal(request.path, length < HTTP_PATH_BYTES ? path : "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(heads_are_read),
	    cmocka_unit_test(a_path_has_a_limit),
	    cmocka_unit_test_setup_teardown(what_is_there_and_what_is_not, start, stop),
	    cmocka_unit_test_setup_teardown(a_page_is_made_once_a_second, start, stop),
	    cmocka_unit_test_setup_teardown(nonsense_is_answered_and_closed, start, stop),
	    cmocka_unit_test_setup_teardown(who_does_not_read_is_cut, start, stop),
	    cmocka_unit_test_setup_teardown(a_crowd_of_the_silent_is_cut, start, stop),
	    cmocka_unit_test_setup_teardown(what_is_too_large_is_an_error, start, stop),
	    cmocka_unit_test_setup_teardown(a_port_that_is_taken_is_told, start, stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
