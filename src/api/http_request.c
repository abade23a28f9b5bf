/* SPDX-License-Identifier: Apache-2.0 */
#include "api/http_request.h"

#include <string.h>

/* Letters of a method, of a target, or of what a line may hold at all. */
static size_t span(const char *bytes, size_t length, unsigned char least)
{
	size_t at = 0;
	while (at < length && (unsigned char)bytes[at] >= least && bytes[at] != 0x7f)
		at++;
	return at;
}

static enum http_method method_of(const char *bytes, size_t length)
{
	if (length == 3 && memcmp(bytes, "GET", 3) == 0)
		return HTTP_GET;
	if (length == 4 && memcmp(bytes, "HEAD", 4) == 0)
		return HTTP_HEAD;
	return HTTP_OTHER;
}

static void take_path(const char *target, size_t length, char path[HTTP_PATH_BYTES])
{
	const char *query = memchr(target, '?', length);
	if (query)
		length = (size_t)(query - target);
	if (length >= HTTP_PATH_BYTES)
		length = 0;
	memcpy(path, target, length);
	path[length] = '\0';
}

/* "METHOD SP TARGET SP HTTP/1.N" (section 3); the end of the line is not in it. */
static enum http_head read_line(const char *line, size_t length, struct http_request *request)
{
	static const char version[] = "HTTP/1.";
	size_t method = span(line, length, '!');
	if (!method || method == length || line[method] != ' ')
		return HTTP_HEAD_BAD;
	const char *target = line + method + 1;
	size_t rest = length - method - 1;
	size_t target_length = span(target, rest, '!');
	if (!target_length || target_length == rest || target[target_length] != ' ')
		return HTTP_HEAD_BAD;
	const char *after = target + target_length + 1;
	rest -= target_length + 1;
	if (rest != sizeof(version) || memcmp(after, version, sizeof(version) - 1) != 0 ||
	    after[rest - 1] < '0' || after[rest - 1] > '9')
		return HTTP_HEAD_BAD;
	request->method = method_of(line, method);
	take_path(target, target_length, request->path);
	return HTTP_HEAD_WHOLE;
}

enum http_head http_request_read(const char *bytes, size_t length, struct http_request *ret_request)
{
	struct http_request request;
	const char *end = memchr(bytes, '\r', length);
	size_t line = end ? (size_t)(end - bytes) : length;
	/* What is no text will be none. */
	if (span(bytes, line, ' ') < line)
		return HTTP_HEAD_BAD;
	if (!end)
		return HTTP_HEAD_PART;
	if (read_line(bytes, line, &request) == HTTP_HEAD_BAD)
		return HTTP_HEAD_BAD;
	if (!memmem(end, length - line, "\r\n\r\n", 4))
		return HTTP_HEAD_PART;
	*ret_request = request;
	return HTTP_HEAD_WHOLE;
}
