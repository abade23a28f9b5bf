/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP, to be read only: `/metrics`, a short page at `/`, and nothing else. On the daemon's loop,
 * so that a page shows one moment; what a client can do to that is bounded: HTTP_CLIENTS
 * connections, HTTP_HEAD_BYTES of a request, one request for each connection, HTTP_LIFE_MS for all
 * of it, and a page is made at most once in HTTP_PAGE_MS, however often it is asked for. A write
 * never waits for who does not read; who comes when all places are taken waits to be accepted.
 *
 * One thread, the loop's.
 */
#ifndef FAIRLEAD_API_HTTP_H
#define FAIRLEAD_API_HTTP_H

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/netaddr.h"

#include <uv.h>

#define HTTP_CLIENTS 8u
#define HTTP_HEAD_BYTES 8192u
#define HTTP_LIFE_MS 10000u
#define HTTP_PAGE_MS 1000u
#define HTTP_PAGE_BYTES (64u << 20) /* of the largest page; one that is larger is an error 500 */

struct api_http;

struct api_http_options {
	uv_loop_t *loop; /* borrowed, like all of this, until api_http_close() */
	const struct clock *clock;
	struct ip_address address;
	uint16_t port; /* 0: one that is free */
	unsigned life_ms; /* 0: HTTP_LIFE_MS */
	const char *front; /* what `/` shows: plain text */
	/* Make the page: `text` is empty, and has HTTP_PAGE_BYTES as its limit. */
	void (*metrics)(void *context, struct buffer *text);
	void *context;
};

/* What the kernel says (-EADDRINUSE, -EADDRNOTAVAIL), with a sentence. */
must_check int api_http_open(const struct api_http_options *options, struct api_http **ret_http,
			     struct error *err);

uint16_t api_http_port(const struct api_http *http);

/* Cuts who is connected. Runs the loop until its handles are closed. NULL is fine. */
void api_http_close(struct api_http *http);

#endif
