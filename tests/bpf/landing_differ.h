/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One frame through landing's program and through its reference: the verdict, the whole frame that
 * comes out, and every counter must be the same.
 */
#ifndef FAIRLEAD_TESTS_LANDING_DIFFER_H
#define FAIRLEAD_TESTS_LANDING_DIFFER_H

#include "abi/landing.h"
#include "landing_reference.h"

#include <stdio.h>

struct landing_bpf;

struct landing_differ {
	struct landing_bpf *program;
	struct landing_counts expected; /* what has been counted since the start */
	uint64_t frames;
};

/* Load the program and fill its maps; false, with a word on stderr, without root. */
bool landing_differ_enter(struct landing_differ *differ);
void landing_differ_leave(struct landing_differ *differ);

/* Whether both agree on the frame; if not, `report` says in what they do not. */
bool landing_differ_agrees(struct landing_differ *differ, const struct frame *frame, FILE *report);

#endif
