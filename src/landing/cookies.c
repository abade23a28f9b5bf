/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/cookies.h"

#include "base/buffer.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>

#define NETSTAT_PATH "/proc/thread-self/net/netstat"
#define GROUP "TcpExt: "
#define NAME "SyncookiesSent"

/* Lines come in pairs: "TcpExt: NAME NAME …" and "TcpExt: NUMBER NUMBER …". */
int cookies_parse(const char *text, uint64_t *ret_sent)
{
	const char *names = strstr(text, GROUP);
	const char *numbers = names ? strstr(names + sizeof(GROUP) - 1, GROUP) : NULL;
	if (!numbers)
		return -FL_ENOTFOUND;
	names += sizeof(GROUP) - 1;
	numbers += sizeof(GROUP) - 1;
	for (;;) {
		size_t name = strcspn(names, " \n");
		size_t number = strcspn(numbers, " \n");
		if (!name || !number)
			return -FL_ENOTFOUND;
		if (name == sizeof(NAME) - 1 && memcmp(names, NAME, name) == 0) {
			char *end;
			uint64_t sent = strtoull(numbers, &end, 10);
			if (end != numbers + number)
				return -FL_ENOTFOUND;
			*ret_sent = sent;
			return 0;
		}
		if (names[name] != ' ' || numbers[number] != ' ')
			return -FL_ENOTFOUND;
		names += name + 1;
		numbers += number + 1;
	}
}

void cookies_look(struct cookie_watch *watch, uint64_t now_ms)
{
	struct buffer text;
	uint64_t sent = 0;
	buffer_init(&text, 0);
	bool known =
	    file_read(NETSTAT_PATH, &text, NULL) == 0 && cookies_parse(text.data, &sent) == 0;
	buffer_done(&text);
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
