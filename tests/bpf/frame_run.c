/* SPDX-License-Identifier: Apache-2.0 */
#include "frame_run.h"

#include <bpf/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

uint32_t frame_run(int program_fd, const void *context, size_t context_bytes,
		   const struct frame *frame, struct frame *ret_out)
{
	struct bpf_test_run_opts options = {.sz = sizeof(options),
					    .data_in = frame->bytes,
					    .data_size_in = (uint32_t)frame->length,
					    .data_out = ret_out->bytes,
					    .data_size_out = sizeof(ret_out->bytes),
					    .ctx_in = context,
					    .ctx_size_in = (uint32_t)context_bytes,
					    .repeat = 1};
	assert_int_equal(bpf_prog_test_run_opts(program_fd, &options), 0);
	ret_out->length = options.data_size_out;
	return options.retval;
}
