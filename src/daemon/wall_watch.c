/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/wall_watch.h"

void wall_watch_init(struct wall_watch *watch, uint64_t now_ms, uint64_t wall_ms)
{
	*watch = (struct wall_watch){.offset_ms = (int64_t)(wall_ms - now_ms)};
}

bool wall_watch_look(struct wall_watch *watch, uint64_t now_ms, uint64_t wall_ms)
{
	int64_t offset_ms = (int64_t)(wall_ms - now_ms);
	int64_t jump_ms = offset_ms - watch->offset_ms;
	bool far = jump_ms >= WALL_JUMP_MS || jump_ms <= -WALL_JUMP_MS;
	bool accepted = far && watch->since_ms && now_ms - watch->since_ms >= WALL_TOLD_MS;
	if (!far || accepted) {
		*watch = (struct wall_watch){.offset_ms = offset_ms};
		return false;
	}
	bool is_new = watch->since_ms == 0;
	if (is_new)
		watch->since_ms = now_ms;
	watch->jump_ms = jump_ms;
	return is_new;
}
