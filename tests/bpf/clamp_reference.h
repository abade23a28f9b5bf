/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clamp of the MSS once more, in plain C and written from docs/design/landing.md, for a machine
 * with the pools of landing_reference.h.
 */
#ifndef FAIRLEAD_TESTS_CLAMP_REFERENCE_H
#define FAIRLEAD_TESTS_CLAMP_REFERENCE_H

#include "frame.h"

enum clamp_outcome {
	CLAMP_UNTOUCHED,
	CLAMP_LOWERED,
	CLAMP_UNSEEN, /* untouched, and counted */
};

/* What becomes of the frame, in place, if segments may be `v4` and `v6` bytes long. After
 * landing_reference_init(). */
enum clamp_outcome clamp_judge(struct frame *frame, unsigned v4, unsigned v6);

#endif
