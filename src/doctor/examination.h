/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An examination: what is known before the looking, and what was found. One process, one thread,
 * one pass; out of memory ends it.
 */
#ifndef FAIRLEAD_DOCTOR_EXAMINATION_H
#define FAIRLEAD_DOCTOR_EXAMINATION_H

#include "base/netaddr.h"
#include "doctor/doctor.h"
#include "doctor/findings.h"
#include "kernel/netlink.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct examination {
	const json_t *parameters; /* borrowed: what `fairlead run` would go by here */
	const struct doctor_folders *folders; /* borrowed */
	const char *socket; /* of the local API */
	json_t *facts; /* what the daemon says of itself; NULL: it does not answer */
	json_t *status; /* the voter's; NULL: it does not answer */
	int64_t offset_ms; /* of this machine's clock against the voter's */
	bool offset_known;
	struct netlink route; /* NETLINK_ROUTE */
	json_t *findings; /* array; finding_put() and alarms */
	json_t *unknown; /* array of texts: what could not be looked at, and why */
	unsigned looked; /* checks made */
};

/* Of the daemon, or of the node's file where no daemon answers. */
bool examination_has_role(const struct examination *seen, const char *role);
/* The names in an array, or what the node's file has; NULL: none. Borrowed. */
const json_t *examination_list(const struct examination *seen, const char *key);
const char *examination_text(const struct examination *seen, const char *key);

/* One more thing that is not known. */
void examination_unknown(struct examination *seen, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Pid of a process whose program has this name; 0: there is none. A walk through /proc. */
long examination_find_process(const char *name);

/* --- the checks, a file each -------------------------------------------------------------------
 */

void check_daemon(struct examination *seen); /* process, build, alarms */
void check_machine(struct examination *seen); /* clock, disk, keys, certificate, pins */
void check_sysctls(struct examination *seen);
void check_routing(struct examination *seen); /* rules, local routes, who deletes them */
void check_links(struct examination *seen); /* XDP, offloads */
void check_ways(struct examination *seen); /* MTU to each backend, by probes */
void check_firewall(struct examination *seen);

#endif
