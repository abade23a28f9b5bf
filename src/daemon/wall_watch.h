/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices that somebody sets the machine's clock. Nothing here depends on it (`steady` of the
 * daemon paces states), but what people read is stamped with it, and a clock that is set by an hour
 * is seldom right both before and after. Pure: times are passed in, in milliseconds.
 */
#ifndef FAIRLEAD_DAEMON_WALL_WATCH_H
#define FAIRLEAD_DAEMON_WALL_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#define WALL_JUMP_MS 10000 /* less is what time daemons correct in small steps */
#define WALL_TOLD_MS 60000 /* a clock that stays so long is taken for right */

struct wall_watch {
	int64_t offset_ms; /* wall clock less steady clock, while nobody sets it */
	uint64_t
	    since_ms; /* when it jumped; 0: it did not, or has come back, or is taken for right */
	int64_t jump_ms; /* by how much; 0 likewise */
};

void wall_watch_init(struct wall_watch *watch, uint64_t now_ms, uint64_t wall_ms);

/* Look; call it every tick. True when the clock has just jumped. */
bool wall_watch_look(struct wall_watch *watch, uint64_t now_ms, uint64_t wall_ms);

#endif
