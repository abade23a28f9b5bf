/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYN cookies: a handshake that is no socket until its last ACK comes. Two minutes later it still
 * may come, and makes a connection that no count has seen (PROTOCOL.md, rule 14). The kernel
 * counts the cookies that it sent, not when; so the count is looked at again and again.
 */
#ifndef FAIRLEAD_LANDING_COOKIES_H
#define FAIRLEAD_LANDING_COOKIES_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct cookie_watch {
	bool known; /* the kernel's count was read */
	uint64_t sent; /* it, at the last look */
	uint64_t changed_ms; /* the last cookie was sent at or before this */
};

/* `SyncookiesSent` in the text of /proc/net/netstat; -FL_ENOTFOUND. */
must_check int cookies_parse(const char *text, uint64_t *ret_sent);

/* Look at the count of this thread's network namespace. */
void cookies_look(struct cookie_watch *watch, uint64_t now_ms);

/* For how long none was sent, at least; UINT64_MAX: none ever was. False: it is not known. */
bool cookies_age(const struct cookie_watch *watch, uint64_t now_ms, uint64_t *ret_ms);

#endif
