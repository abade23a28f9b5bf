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

/* A number in the text of /proc/net/netstat or /proc/net/snmp, by its group ("TcpExt: ") and name
 * ("SyncookiesSent"); -FL_ENOTFOUND. Pure. */
must_check int kernel_count_parse(const char *text, const char *group, const char *name,
				  uint64_t *ret_count);

/* The same from `file` ("netstat" or "snmp") of this thread's network namespace; false: it is not
 * known. */
bool kernel_count_read(const char *file, const char *group, const char *name, uint64_t *ret_count);

/* Look at the count of this thread's network namespace. */
void cookies_look(struct cookie_watch *watch, uint64_t now_ms);

/* For how long none was sent, at least; UINT64_MAX: none ever was. False: it is not known. */
bool cookies_age(const struct cookie_watch *watch, uint64_t now_ms, uint64_t *ret_ms);

#endif
