/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sysctls that landing needs, and the values that were there before, in a file.
 *
 * A previous value is on the disk before ours is written, and only a value that we wrote is put
 * back, so a crash at any point neither loses the previous value nor takes ours for it. A value
 * that serves as well as ours is left alone and not recorded.
 *
 * File `sysctls` in the state folder:
 *	fairlead landing sysctls 1
 *	life BOOT-ID NAMESPACE-COOKIE
 *	PATH PREVIOUS OURS IFINDEX      (one line each; IFINDEX 0: of no interface)
 * A file of another boot or network namespace speaks of values that are gone, and is ignored.
 */
#ifndef FAIRLEAD_LANDING_SYSCTLS_H
#define FAIRLEAD_LANDING_SYSCTLS_H

#include "landing/landing_alarms.h"

#include <limits.h>

struct buffer;

enum {
	SYSCTLS_MAX = 3 + 2 * LANDING_INTERFACES_MAX,
	SYSCTL_PATH_BYTES = 80, /* "net/ipv4/conf/<15 bytes>/accept_local" and some */
	SYSCTL_LIFE_BYTES = 64,
};

struct sysctl_record {
	char path[SYSCTL_PATH_BYTES]; /* below /proc/sys */
	int previous;
	int ours;
	unsigned ifindex;
};

struct sysctls {
	char file[PATH_MAX];
	char life[SYSCTL_LIFE_BYTES]; /* boot id and namespace cookie */
	struct sysctl_record records[SYSCTLS_MAX];
	unsigned count;
};

struct sysctl_interface {
	const char *name;
	unsigned ifindex; /* 0: it is not there */
	bool is_new; /* made anew since the last time: its values are nobody's doing */
};

/* What to look after. */
struct sysctl_wish {
	bool v4, v6; /* families of the pools */
	const struct sysctl_interface *interfaces;
	unsigned interface_count;
};

/* Read what an earlier run recorded. */
must_check int sysctls_open(struct sysctls *sysctls, const char *state_folder, struct error *err);

/*
 * Set what is wished and not so, put back what is recorded and no longer wished. With `alarms`,
 * every value that had to be set is an alarm.
 */
must_check int sysctls_apply(struct sysctls *sysctls, const struct sysctl_wish *wish,
			     struct landing_alarms *alarms, struct error *err);

/* Put everything back and remove the file. Goes on after a failure and returns the first. */
must_check int sysctls_undo(struct sysctls *sysctls, struct error *err);

/* The file's text to records: -FL_ECORRUPT unless it is whole. `text` is NUL-terminated. Pure. */
must_check int sysctls_parse(const char *text, struct sysctls *ret_sysctls);
/* Records to the file's text. */
void sysctls_format(const struct sysctls *sysctls, struct buffer *ret_text);

#endif
