/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wants: the services for which an order found no slot at this node, lately. A node tells of them
 * in its observation, so that whoever drives has slots given up that lie idle; the order itself is
 * over, and is given again. A want ends by itself: nobody gives up slots for an order that nobody
 * repeats.
 *
 * One thread.
 */
#ifndef FAIRLEAD_FABRIC_WANTS_H
#define FAIRLEAD_FABRIC_WANTS_H

#include "base/error.h"
#include "model/fabric.h"

#include <stddef.h>
#include <stdint.h>

/* Longer than an address takes to be closed, re-bound and reclaimed, with a retry of it. */
#define WANT_MS 180000u

struct slot_want {
	char service[MODEL_NAME_BYTES];
	uint64_t left_ms; /* as told; by the clock of whoever keeps it: until when */
};

struct wants {
	struct slot_want *list; /* owned; until when, by this node's clock */
	size_t count;
};

void wants_done(struct wants *wants);

/* An order wants a slot of each family for `service`. -ENOMEM: it is not noted. */
must_check int wants_note(struct wants *wants, const char *service, uint64_t now_ms);

/* The service got a version. */
void wants_drop(struct wants *wants, const char *service);

/* Those that have not ended, for an observation: `ret_list` has room for all of them. */
size_t wants_tell(struct wants *wants, uint64_t now_ms, struct slot_want *ret_list);

#endif
