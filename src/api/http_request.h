/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1.x request (RFC 9112), as far as who only shows pages needs it: the request
 * line. Fields are looked through for their end and not read, and so is no body: an answer closes
 * the connection.
 *
 * Pure; any thread.
 */
#ifndef FAIRLEAD_API_HTTP_REQUEST_H
#define FAIRLEAD_API_HTTP_REQUEST_H

#include <stddef.h>

#define HTTP_PATH_BYTES 128u /* with its NUL; a longer one is nowhere */

enum http_head {
	HTTP_HEAD_PART, /* more is to come */
	HTTP_HEAD_WHOLE,
	HTTP_HEAD_BAD, /* nothing that could follow makes it a request */
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_OTHER };

struct http_request {
	enum http_method method;
	char path[HTTP_PATH_BYTES]; /* without a query; "" when it is too long */
};

/* Look at all bytes that came so far. Fills `ret_request` when the head is whole. */
enum http_head http_request_read(const char *bytes, size_t length,
				 struct http_request *ret_request);

#endif
