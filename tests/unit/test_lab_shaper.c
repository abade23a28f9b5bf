/* SPDX-License-Identifier: Apache-2.0 */
/* What a shaped link does to frames, with a clock of the test's own. */
#include "lab/shaper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS SHAPE_NS_PER_MS
#define NONE UINT64_MAX

struct line {
	struct shaper shaper;
	struct shaper_counts counts;
};

static void line_init(struct line *line, struct shape shape)
{
	*line = (struct line){0};
	if (!shape.mtu)
		shape.mtu = 1500;
	shaper_init(&line->shaper, &shape, 1, &line->counts);
}

/* Frames are told apart by their first byte. */
static void put(struct line *line, uint64_t now, unsigned char mark, size_t length)
{
	unsigned char bytes[4096] = {0};
	assert_true(length > 0 && length <= sizeof(bytes));
	bytes[0] = mark;
	bytes[length - 1] = mark;
	shaper_put(&line->shaper, now, bytes, length);
}

/* The mark of the frame that is due, or -1. */
static int take(struct line *line, uint64_t now)
{
	struct shaper_frame *frame = shaper_take(&line->shaper, now);
	if (!frame)
		return -1;
	int mark = frame->bytes[0];
	assert_int_equal(frame->bytes[frame->length - 1], mark);
	free(frame);
	return mark;
}

static void check_counts(const struct line *line, struct shaper_counts wanted)
{
	assert_memory_equal(&line->counts, &wanted, sizeof(wanted));
}

static void a_frame_comes_out_after_the_delay(void **state)
{
	struct line line;
	(void)state;
	line_init(&line, (struct shape){.delay_ns = 20 * MS});
	assert_int_equal(shaper_next_ns(&line.shaper), NONE);
	put(&line, 5 * MS, 1, 100);
	put(&line, 7 * MS, 2, 1514);
	assert_int_equal(shaper_next_ns(&line.shaper), 25 * MS);
	assert_int_equal(take(&line, 25 * MS - 1), -1);
	assert_int_equal(take(&line, 25 * MS), 1);
	assert_int_equal(shaper_next_ns(&line.shaper), 27 * MS);
	assert_int_equal(take(&line, 27 * MS - 1), -1);
	assert_int_equal(take(&line, 99 * MS), 2);
	assert_int_equal(take(&line, 99 * MS), -1);
	assert_int_equal(shaper_next_ns(&line.shaper), NONE);
	check_counts(&line, (struct shaper_counts){.sent = 2, .passed = 2});
	shaper_done(&line.shaper);
}

static void frames_take_turns_at_the_rate(void **state)
{
	struct line line;
	(void)state;
	/* 1000 bytes take 8 ms at 1 Mbit/s. */
	line_init(&line, (struct shape){.rate = 1000000, .queue_ns = 100 * MS, .delay_ns = MS});
	put(&line, 0, 1, 1000);
	put(&line, 0, 2, 500);
	put(&line, 0, 3, 1000);
	assert_int_equal(shaper_next_ns(&line.shaper), 9 * MS);
	assert_int_equal(take(&line, 9 * MS), 1);
	assert_int_equal(shaper_next_ns(&line.shaper), 13 * MS);
	assert_int_equal(take(&line, 13 * MS), 2);
	assert_int_equal(shaper_next_ns(&line.shaper), 21 * MS);
	assert_int_equal(take(&line, 21 * MS), 3);
	/* A link that was idle owes nothing. */
	put(&line, 1000 * MS, 4, 1000);
	assert_int_equal(shaper_next_ns(&line.shaper), 1009 * MS);
	shaper_done(&line.shaper);
}

static void a_full_queue_drops_what_comes(void **state)
{
	struct line line;
	(void)state;
	line_init(&line, (struct shape){.rate = 1000000, .queue_ns = 16 * MS});
	for (unsigned char mark = 1; mark <= 5; mark++)
		put(&line, 0, mark, 1000);
	/* The first needs no wait, the second 8 ms, the third 16; the fourth would have to wait 24.
	 */
	check_counts(&line, (struct shaper_counts){.sent = 5, .full = 2});
	put(&line, 8 * MS, 6, 1000);
	check_counts(&line, (struct shaper_counts){.sent = 6, .full = 2});
	assert_int_equal(take(&line, 8 * MS), 1);
	assert_int_equal(take(&line, 16 * MS), 2);
	assert_int_equal(take(&line, 24 * MS), 3);
	assert_int_equal(take(&line, 32 * MS), 6);
	shaper_done(&line.shaper);
}

static void without_a_rate_bytes_under_way_are_bounded(void **state)
{
	struct line line;
	(void)state;
	line_init(&line, (struct shape){.delay_ns = 1000 * MS});
	for (size_t bytes = 0; bytes + 1500 <= SHAPER_MAX_BYTES; bytes += 1500)
		put(&line, 0, 1, 1500);
	assert_int_equal(line.counts.full, 0);
	put(&line, 0, 2, 1500);
	assert_int_equal(line.counts.full, 1);
	assert_int_equal(take(&line, 1000 * MS), 1);
	put(&line, 1000 * MS, 3, 1500);
	assert_int_equal(line.counts.full, 1);
	shaper_done(&line.shaper);
}

static void what_exceeds_the_mtu_is_dropped(void **state)
{
	struct line line;
	(void)state;
	line_init(&line, (struct shape){.mtu = 1400});
	put(&line, 0, 1, 1400 + SHAPER_HEADER_BYTES);
	put(&line, 0, 2, 1400 + SHAPER_HEADER_BYTES + 1);
	assert_int_equal(take(&line, 0), 1);
	assert_int_equal(take(&line, 0), -1);
	check_counts(&line, (struct shaper_counts){.sent = 2, .passed = 1, .too_big = 1});
}

static uint64_t lost_of(uint32_t loss, uint64_t seed, unsigned frames, uint64_t *ret_pattern)
{
	struct shaper_counts counts = {0};
	struct shaper shaper;
	const struct shape shape = {.loss = loss, .mtu = 1500};
	shaper_init(&shaper, &shape, seed, &counts);
	*ret_pattern = 0;
	for (unsigned i = 0; i < frames; i++) {
		shaper_put(&shaper, 0, "x", 1);
		struct shaper_frame *frame = shaper_take(&shaper, 0);
		*ret_pattern = *ret_pattern * 31 + (frame ? 1 : 2);
		free(frame);
	}
	assert_int_equal(counts.sent, frames);
	assert_int_equal(counts.passed + counts.lost, frames);
	shaper_done(&shaper);
	return counts.lost;
}

static void losses_follow_the_share_and_the_seed(void **state)
{
	uint64_t one, again, other;
	(void)state;
	uint64_t lost = lost_of(SHAPE_LOSS_ALL / 20, 7, 100000, &one);
	assert_in_range(lost, 4500, 5500); /* 5 %, and seven standard deviations around it */
	assert_int_equal(lost_of(SHAPE_LOSS_ALL / 20, 7, 100000, &again), lost);
	assert_int_equal(one, again);
	lost_of(SHAPE_LOSS_ALL / 20, 8, 100000, &other);
	assert_int_not_equal(one, other);
	assert_int_equal(lost_of(0, 7, 1000, &one), 0);
	assert_int_equal(lost_of(SHAPE_LOSS_ALL, 7, 1000, &one), 1000);
}

static void what_is_lost_had_its_turn(void **state)
{
	struct line line;
	(void)state;
	line_init(&line,
		  (struct shape){.rate = 1000000, .queue_ns = 4 * MS, .loss = SHAPE_LOSS_ALL});
	put(&line, 0, 1, 1000);
	put(&line, 0, 2, 1000);
	check_counts(&line, (struct shaper_counts){.sent = 2, .lost = 1, .full = 1});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_frame_comes_out_after_the_delay),
	    cmocka_unit_test(frames_take_turns_at_the_rate),
	    cmocka_unit_test(a_full_queue_drops_what_comes),
	    cmocka_unit_test(without_a_rate_bytes_under_way_are_bounded),
	    cmocka_unit_test(what_exceeds_the_mtu_is_dropped),
	    cmocka_unit_test(losses_follow_the_share_and_the_seed),
	    cmocka_unit_test(what_is_lost_had_its_turn),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
