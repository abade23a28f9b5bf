/* SPDX-License-Identifier: Apache-2.0 */
#include "api/http.h"

#include "api/http_request.h"
#include "base/memory.h"
#include "base/sockaddr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG 16
#define TEXT "text/plain; charset=utf-8"
#define METRICS_TEXT "text/plain; version=0.0.4; charset=utf-8"

/* What is sent, by as many as ask for it. */
struct page {
	unsigned refs;
	unsigned status;
	const char *type;
	char *text;
	size_t length;
};

struct visitor {
	struct api_http *http;
	struct visitor *next;
	uv_tcp_t socket;
	uv_timer_t life;
	int open_handles;
	bool closing;
	bool answered; /* what comes from now on is thrown away */
	char head[HTTP_HEAD_BYTES];
	size_t length;
	char front[256]; /* of the answer */
	struct page *page;
	uv_write_t write;
	uv_shutdown_t shutdown;
};

struct api_http {
	struct api_http_options options;
	uv_tcp_t listener;
	struct visitor *visitors;
	size_t count;
	struct page *metrics; /* the latest; NULL: none was made */
	uint64_t metrics_ms;
	bool waiting; /* somebody came while all places were taken */
	bool closing;
	bool listener_open;
};

/* --- pages ------------------------------------------------------------------------------------ */

static struct page *page_new(unsigned status, const char *type, char *text, size_t length)
{
	struct page *page = must_alloc(1, sizeof(*page));
	*page = (struct page){
	    .refs = 1, .status = status, .type = type, .text = text, .length = length};
	return page;
}

static struct page *page_of_text(unsigned status, const char *text)
{
	return page_new(status, TEXT, must_have(strdup(text)), strlen(text));
}

static void page_unref(struct page *page)
{
	if (!page || --page->refs)
		return;
	free(page->text);
	free(page);
}

static struct page *metrics(struct api_http *http)
{
	uint64_t now_ms = clock_now_ms(http->options.clock);
	struct buffer text;
	if (http->metrics && now_ms - http->metrics_ms < HTTP_PAGE_MS) {
		http->metrics->refs++;
		return http->metrics;
	}
	page_unref(http->metrics);
	buffer_init(&text, HTTP_PAGE_BYTES);
	http->options.metrics(http->options.context, &text);
	size_t length = text.length;
	char *bytes = buffer_take(&text);
	buffer_done(&text);
	http->metrics =
	    bytes ? page_new(200, METRICS_TEXT, bytes, length)
		  : page_of_text(500, "the metrics of this node are too many for one page\n");
	http->metrics_ms = now_ms;
	http->metrics->refs++;
	return http->metrics;
}

static struct page *find_page(struct api_http *http, const struct http_request *request)
{
	if (request->method == HTTP_OTHER)
		return page_of_text(405, "this is only to be read\n");
	if (strcmp(request->path, "/") == 0)
		return page_of_text(200, http->options.front);
	if (strcmp(request->path, "/metrics") == 0)
		return metrics(http);
	return page_of_text(404, "there is nothing here; /metrics has the metrics\n");
}

/* --- visitors --------------------------------------------------------------------------------- */

static void accept_one(struct api_http *http);

static void on_closed(uv_handle_t *handle)
{
	struct visitor *visitor = handle->data;
	struct api_http *http = visitor->http;
	struct visitor **at = &http->visitors;
	if (--visitor->open_handles)
		return;
	while (*at != visitor)
		at = &(*at)->next;
	*at = visitor->next;
	http->count--;
	page_unref(visitor->page);
	free(visitor);
	if (http->waiting && !http->closing)
		accept_one(http);
}

static void leave(struct visitor *visitor)
{
	if (visitor->closing)
		return;
	visitor->closing = true;
	uv_close((uv_handle_t *)&visitor->socket, on_closed);
	uv_close((uv_handle_t *)&visitor->life, on_closed);
}

static void on_late(uv_timer_t *timer)
{
	leave(timer->data);
}

/* A socket that is closed while bytes of the other side lie unread breaks off what it still has to
 * take: so it is first heard to its end. */
static void on_written(uv_write_t *write, int status)
{
	struct visitor *visitor = write->data;
	if (visitor->closing)
		return;
	if (status < 0 ||
	    uv_shutdown(&visitor->shutdown, (uv_stream_t *)&visitor->socket, NULL) < 0)
		leave(visitor);
}

static const char *reason_of(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed\r\nAllow: GET, HEAD";
	default:
		return "Internal Server Error";
	}
}

/* `page` is moved. */
static void answer(struct visitor *visitor, struct page *page, bool with_body)
{
	visitor->answered = true;
	visitor->page = page;
	int length = snprintf(visitor->front, sizeof(visitor->front),
			      "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
			      "Connection: close\r\n\r\n",
			      page->status, reason_of(page->status), page->type, page->length);
	const uv_buf_t parts[] = {uv_buf_init(visitor->front, (unsigned)length),
				  uv_buf_init(page->text, (unsigned)page->length)};
	visitor->write.data = visitor;
	if (uv_write(&visitor->write, (uv_stream_t *)&visitor->socket, parts, with_body ? 2 : 1,
		     on_written) < 0)
		leave(visitor);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_room)
{
	struct visitor *visitor = handle->data;
	(void)suggested;
	if (visitor->answered)
		visitor->length = 0;
	*ret_room = uv_buf_init(visitor->head + visitor->length,
				(unsigned)(sizeof(visitor->head) - visitor->length));
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *room)
{
	struct visitor *visitor = stream->data;
	struct http_request request;
	(void)room;
	if (got < 0) {
		leave(visitor);
		return;
	}
	if (visitor->answered)
		return;
	visitor->length += (size_t)got;
	switch (http_request_read(visitor->head, visitor->length, &request)) {
	case HTTP_HEAD_WHOLE:
		answer(visitor, find_page(visitor->http, &request), request.method != HTTP_HEAD);
		return;
	case HTTP_HEAD_PART:
		if (visitor->length < sizeof(visitor->head))
			return;
		break;
	case HTTP_HEAD_BAD:
		break;
	}
	answer(visitor, page_of_text(400, "this is no request, or too long for one\n"), true);
}

/* --- who comes -------------------------------------------------------------------------------- */

static void accept_one(struct api_http *http)
{
	struct visitor *visitor = must_alloc(1, sizeof(*visitor));
	const unsigned life_ms = http->options.life_ms ? http->options.life_ms : HTTP_LIFE_MS;
	http->waiting = false;
	visitor->http = http;
	visitor->next = http->visitors;
	http->visitors = visitor;
	http->count++;
	uv_tcp_init(http->options.loop, &visitor->socket);
	uv_timer_init(http->options.loop, &visitor->life);
	visitor->open_handles = 2;
	visitor->socket.data = visitor;
	visitor->life.data = visitor;
	uv_timer_start(&visitor->life, on_late, life_ms, 0);
	if (uv_accept((uv_stream_t *)&http->listener, (uv_stream_t *)&visitor->socket) < 0 ||
	    uv_read_start((uv_stream_t *)&visitor->socket, on_room, on_read) < 0)
		leave(visitor);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct api_http *http = listener->data;
	if (status < 0 || http->closing)
		return;
	/* The loop takes no further one before this one is accepted. */
	http->waiting = true;
	if (http->count < HTTP_CLIENTS)
		accept_one(http);
}

/* --- life ------------------------------------------------------------------------------------- */

static int listen_at(struct api_http *http, struct error *err)
{
	const struct api_http_options *options = &http->options;
	char text[IP_TEXT_BYTES];
	union sockaddr_ip place;
	(void)sockaddr_ip_set(&place, &options->address, options->port);
	int result = uv_tcp_bind(&http->listener, &place.any,
				 place.any.sa_family == AF_INET6 ? UV_TCP_IPV6ONLY : 0);
	if (result == 0)
		result = uv_listen((uv_stream_t *)&http->listener, BACKLOG, on_connection);
	return result < 0 ? error_set(err, result, "%s port %u: %s",
				      ip_address_format(&options->address, text), options->port,
				      uv_strerror(result))
			  : 0;
}

int api_http_open(const struct api_http_options *options, struct api_http **ret_http,
		  struct error *err)
{
	struct api_http *http = must_alloc(1, sizeof(*http));
	http->options = *options;
	http->listener.data = http;
	uv_tcp_init(options->loop, &http->listener);
	http->listener_open = true;
	int result = listen_at(http, err);
	if (result < 0)
		api_http_close(http);
	else
		*ret_http = http;
	return result;
}

uint16_t api_http_port(const struct api_http *http)
{
	union sockaddr_ip name = {0};
	int length = sizeof(name);
	if (uv_tcp_getsockname(&http->listener, &name.any, &length) < 0)
		return 0;
	return sockaddr_port(&name.any);
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct api_http *http = handle->data;
	http->listener_open = false;
}

void api_http_close(struct api_http *http)
{
	if (!http)
		return;
	http->closing = true;
	for (struct visitor *visitor = http->visitors; visitor; visitor = visitor->next)
		leave(visitor);
	uv_close((uv_handle_t *)&http->listener, on_listener_closed);
	while (http->listener_open || http->visitors)
		uv_run(http->options.loop, UV_RUN_NOWAIT);
	page_unref(http->metrics);
	free(http);
}
