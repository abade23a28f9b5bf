/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any frame through landing's BPF program and through its reference in C, which must agree in the
 * verdict, in every byte and in every counter. The input is the frame. As with the edge, the
 * reference's coverage guides the fuzzer, whose mutations know what a tunnel is. Needs root.
 */
#include "tests/bpf/landing_differ.h"
#include "tests/bpf/landing_frames.h"

#include <stdlib.h>
#include <string.h>

#define DAMAGES 4

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t length, size_t capacity, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t length, size_t capacity);

static struct landing_differ differ;

static void leave(void)
{
	landing_differ_leave(&differ);
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
	(void)count;
	(void)arguments;
	if (!landing_differ_enter(&differ))
		exit(1);
	atexit(leave);
	return 0;
}

/* False if there are too few bytes for a frame, or too many. */
static bool read_input(const uint8_t *bytes, size_t length, struct frame *ret_frame)
{
	if (length < FRAME_LINK || length > FRAME_BYTES)
		return false;
	memcpy(ret_frame->bytes, bytes, length);
	ret_frame->length = length;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static struct frame frame;
	if (!read_input(bytes, length, &frame))
		return -1; /* not for the corpus */
	if (!landing_differ_agrees(&differ, &frame, stderr))
		abort();
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t length, size_t capacity, unsigned seed)
{
	static struct frame frame;
	struct random random;
	random_init_seeded(&random, seed);
	if (capacity < FRAME_BYTES || random_below(&random, 8) == 0)
		return LLVMFuzzerMutate(bytes, length, capacity);
	if (!read_input(bytes, length, &frame) || random_below(&random, 8) == 0)
		landing_frames_make(&random, &frame);
	for (uint64_t i = random_below(&random, DAMAGES + 1); i > 0; i--)
		landing_frames_damage(&random, &frame);
	memcpy(bytes, frame.bytes, frame.length);
	return frame.length;
}
