/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Membership: keeps this node's own record in the ledger true. The flags of `fairlead run` say what
 * the node is to be; the record says what all others take it for, and who waits for whom is decided
 * by records alone. While the node is the fabric's only voter it writes the record itself, by a
 * ledger entry; whatever it cannot make true is told, with what to do.
 *
 * A role is given up only when nothing on the machine acts in it any more: maps that forward go on
 * being waited for, whether or not a process looks after them.
 */
#ifndef FAIRLEAD_FABRIC_MEMBERSHIP_H
#define FAIRLEAD_FABRIC_MEMBERSHIP_H

#include "base/alarms.h"
#include "model/member.h"
#include "state/changes.h"
#include "state/image.h"

struct membership;

struct membership_options {
	const struct image *image; /* all pointers are borrowed until membership_free() */
	struct changes *changes;
	const struct member *self; /* what the flags say */
	/* Does something on this machine still act in a role that the flags do not give? */
	bool (*acts)(void *context, enum member_role role);
	/* Should it leave the store alone for now? */
	bool (*rests)(void *context);
	void *context;
};

must_check int membership_new(const struct membership_options *options,
			      struct membership **ret_membership);
void membership_free(struct membership *membership);

/* Look whether the record is true, and mend it; call it every tick. */
void membership_run(struct membership *membership);

/* How the record differs from the flags where this node must not mend it. */
const struct alarm *membership_alarm(const struct membership *membership);

#endif
