/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/wants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void wants_done(struct wants *wants)
{
	free(wants->list);
	*wants = (struct wants){0};
}

static struct slot_want *find(const struct wants *wants, const char *service)
{
	for (size_t i = 0; i < wants->count; i++) {
		if (strcmp(wants->list[i].service, service) == 0)
			return &wants->list[i];
	}
	return NULL;
}

int wants_note(struct wants *wants, const char *service, uint64_t now_ms)
{
	struct slot_want *want = find(wants, service);
	if (!want) {
		struct slot_want *list = realloc(wants->list, (wants->count + 1) * sizeof(*list));
		if (!list)
			return -ENOMEM;
		wants->list = list;
		want = &list[wants->count++];
		snprintf(want->service, sizeof(want->service), "%s", service);
	}
	want->left_ms = now_ms + WANT_MS;
	return 0;
}

void wants_drop(struct wants *wants, const char *service)
{
	struct slot_want *want = find(wants, service);
	if (want)
		*want = wants->list[--wants->count];
}

size_t wants_tell(struct wants *wants, uint64_t now_ms, struct slot_want *ret_list)
{
	size_t kept = 0;
	for (size_t i = 0; i < wants->count; i++) {
		if (wants->list[i].left_ms <= now_ms)
			continue;
		wants->list[kept] = wants->list[i];
		ret_list[kept] = wants->list[i];
		ret_list[kept++].left_ms -= now_ms;
	}
	wants->count = kept;
	return kept;
}
