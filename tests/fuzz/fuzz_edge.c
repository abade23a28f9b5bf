/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any frame, in any state of the edge's world, through the BPF program and through its reference in
 * C, which must agree in the verdict, in every byte and in every counter. The input's first bytes
 * are the knobs of tests/bpf/edge_world.h, the rest is the frame. What guides the fuzzer is the
 * coverage of the reference, since the program runs in the kernel; its mutations know what a packet
 * is. Needs root.
 */
#include "tests/bpf/edge_differ.h"
#include "tests/bpf/edge_frames.h"

#include <stdlib.h>
#include <string.h>

#define DAMAGES 4

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t length, size_t capacity, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t length, size_t capacity);

static struct differ differ;

static void leave(void)
{
	differ_leave(&differ);
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
	(void)count;
	(void)arguments;
	if (!differ_enter(&differ))
		exit(1);
	atexit(leave);
	return 0;
}

/* False if there are too few bytes for a frame, or too many. */
static bool read_input(const uint8_t *bytes, size_t length, struct world_knobs *ret_knobs,
		       struct frame *ret_frame)
{
	if (length < sizeof(*ret_knobs) + FRAME_LINK || length > sizeof(*ret_knobs) + FRAMES_MAX)
		return false;
	memcpy(ret_knobs, bytes, sizeof(*ret_knobs));
	ret_knobs->flags &= WORLD_FLAGS;
	ret_frame->length = length - sizeof(*ret_knobs);
	memcpy(ret_frame->bytes, bytes + sizeof(*ret_knobs), ret_frame->length);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static struct frame frame;
	struct world_knobs knobs;
	if (!read_input(bytes, length, &knobs, &frame))
		return -1; /* not for the corpus */
	world_turn(&differ.world, &knobs);
	if (!differ_agrees(&differ, &frame, stderr))
		abort();
	return 0;
}

static void mutate(struct random *random, struct world_knobs *knobs, struct frame *frame)
{
	switch (random_below(random, 8)) {
	case 0:
		*knobs = world_random_knobs(random);
		break;
	case 1:
		frames_make(random, &differ.world, frame);
		break;
	default:
		for (uint64_t i = 1 + random_below(random, DAMAGES); i > 0; i--)
			frames_damage(random, &differ.world, frame);
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t length, size_t capacity, unsigned seed)
{
	static struct frame frame;
	struct world_knobs knobs = {0};
	struct random random;
	random_init_seeded(&random, seed);
	if (capacity < sizeof(knobs) + FRAMES_MAX || random_below(&random, 8) == 0)
		return LLVMFuzzerMutate(bytes, length, capacity);
	if (read_input(bytes, length, &knobs, &frame))
		mutate(&random, &knobs, &frame);
	else
		frames_make(&random, &differ.world, &frame);
	memcpy(bytes, &knobs, sizeof(knobs));
	memcpy(bytes + sizeof(knobs), frame.bytes, frame.length);
	return sizeof(knobs) + frame.length;
}
