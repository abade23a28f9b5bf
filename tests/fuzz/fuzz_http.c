/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a request, as it comes: whole, and in parts. What is whole stays so with more behind
 * it, and what is bad with more in front of its end. */
#include "api/http_request.h"
#include "base/error.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct http_request request = {.path = "none"};
	enum http_head before = HTTP_HEAD_PART;
	for (size_t part = 0; part <= length && part <= 512; part++) {
		enum http_head head = http_request_read((const char *)bytes, part, &request);
		ASSERT(before == HTTP_HEAD_PART || head == before);
		before = head;
	}
	enum http_head head = http_request_read((const char *)bytes, length, &request);
	ASSERT(before == HTTP_HEAD_PART || head == before);
	ASSERT(head != HTTP_HEAD_WHOLE || memchr(request.path, '\0', sizeof(request.path)));
	return 0;
}
