/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/cookies.h"

#include "base/buffer.h"
#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Lines come in pairs: "TcpExt: NAME NAME …" and "TcpExt: NUMBER NUMBER …". */
int kernel_count_parse(const char *text, const char *group, const char *name, uint64_t *ret_count)
{
	const size_t group_bytes = strlen(group);
	const char *names = strstr(text, group);
	const char *numbers = names ? strstr(names + group_bytes, group) : NULL;
	if (!numbers)
		return -FL_ENOTFOUND;
	names += group_bytes;
	numbers += group_bytes;
	for (;;) {
		size_t length = strcspn(names, " \n");
		size_t number = strcspn(numbers, " \n");
		if (!length || !number)
			return -FL_ENOTFOUND;
		if (length == strlen(name) && memcmp(names, name, length) == 0) {
			char *end;
			uint64_t count = strtoull(numbers, &end, 10);
			if (end != numbers + number)
				return -FL_ENOTFOUND;
			*ret_count = count;
			return 0;
		}
		if (names[length] != ' ' || numbers[number] != ' ')
			return -FL_ENOTFOUND;
		names += length + 1;
		numbers += number + 1;
	}
}

bool kernel_count_read(const char *file, const char *group, const char *name, uint64_t *ret_count)
{
	char path[64];
	struct buffer text;
	snprintf(path, sizeof(path), "/proc/thread-self/net/%s", file);
	buffer_init(&text, 0);
	bool known = file_read(path, &text, NULL) == 0 &&
		     kernel_count_parse(text.data, group, name, ret_count) == 0;
	buffer_done(&text);
	return known;
}

void cookies_look(struct cookie_watch *watch, uint64_t now_ms)
{
	uint64_t sent = 0;
	bool known = kernel_count_read("netstat", "TcpExt: ", "SyncookiesSent", &sent);
	/* The first look does not tell when the cookies were sent that there are. */
	if (known && (!watch->known || sent != watch->sent))
		watch->changed_ms = now_ms;
	watch->known = known;
	watch->sent = sent;
}

bool cookies_age(const struct cookie_watch *watch, uint64_t now_ms, uint64_t *ret_ms)
{
	*ret_ms = watch->sent ? now_ms - watch->changed_ms : UINT64_MAX;
	return watch->known;
}
