/* SPDX-License-Identifier: Apache-2.0 */
/* One frame through a BPF program; a test fails where the kernel cannot run it. */
#ifndef FAIRLEAD_TESTS_FRAME_RUN_H
#define FAIRLEAD_TESTS_FRAME_RUN_H

#include "frame.h"

/* Returns what the program returned, and what came out. `context` is the program's, NULL for none.
 */
uint32_t frame_run(int program_fd, const void *context, size_t context_bytes,
		   const struct frame *frame, struct frame *ret_out);

#endif
