/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going on from an older state: no number and no address that the lost entries may have given out
 * gets a second meaning.
 */
#include "config/config.h"
#include "state/recovery.h"
#include "state_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define LOST_ENTRIES 3u

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	assert_non_null(world);
	world_init(world);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	world_done(*state);
	free(*state);
	return 0;
}

#define FILE(weight)                                                                               \
	"fabric: example\nzone: svc.example.net\n"                                                 \
	"settings: {quiet: 1h, stale: 1d, quarantine: 7d, report_interval: 1s}\n"                  \
	"pools: [{prefix: \"2001:db8:f::/108\", site_bits: 4}]\nsites: {fra: {}}\nservices:\n"     \
	"  web: {ports: [tcp/80], backends: [{name: web1, site: fra, address: 10.0.1.11, "         \
	"weight: " #weight "}]}\n"

static struct world_apply apply_text(struct world *world, const char *text)
{
	struct arena arena;
	arena_init(&arena, 0);
	struct world_apply outcome = world_apply(world, world_parse(text, &arena));
	arena_done(&arena);
	return outcome;
}

struct recovering {
	struct change change;
	const struct recovery_knowledge *knowledge;
	bool done;
};

static int build(struct change *change, struct change_draft *draft, struct error *err)
{
	struct recovering *recovering = (struct recovering *)change;
	return recovery_build(draft, recovering->knowledge, err);
}

static void done(struct change *change, int result, const struct error *err, uint64_t sequence)
{
	struct recovering *recovering = (struct recovering *)change;
	if (result < 0)
		fail_msg("%s", err->text);
	assert_true(sequence > recovering->knowledge->lost.sequence);
	recovering->done = true;
}

/* By entries after the present one, which are lost; the maps forward by `held`, or it is not known
 * what they do. */
static void recover(struct world *world, const struct recovery_held *held, size_t count)
{
	const struct recovery_knowledge knowledge = {
	    .lost = {.sequence = world->image.head.sequence + LOST_ENTRIES, .digest.bytes = {7}},
	    .has_held = held != NULL,
	    .held = held,
	    .held_count = count};
	struct recovering recovering = {
	    .change = {.kind = LEDGER_KIND_RECOVER, .build = build, .done = done, .recovers = true},
	    .knowledge = &knowledge};
	changes_submit(world->changes, &recovering.change);
	world_settle(world);
	assert_true(recovering.done);
	const struct placement_recovery *recovery = &world->image.placement->recovery;
	assert_int_equal(recovery->sequence, world->image.head.sequence);
	assert_int_equal(recovery->lost_sequence, knowledge.lost.sequence);
	assert_true(recovery->numbers > LOST_ENTRIES);
}

static const struct service_state *web(const struct world *world)
{
	return image_service(&world->image, "web")->state;
}

static struct ip_address address_of_slot(const struct world *world, uint32_t slot)
{
	const struct binding binding = {.slot = slot};
	return placement_address(world->image.placement, &binding, "fra");
}

static void an_address_that_only_the_maps_know_is_held_back(void **state)
{
	struct world *world = *state;
	assert_int_equal(apply_text(world, FILE(10)).result, 0);
	const struct binding own = web(world)->bindings[0];
	const struct recovery_held held[] = {
	    {.address = address_of_slot(world, own.slot),
	     .version = web(world)->versions[0].digest},
	    {.address = address_of_slot(world, own.slot + 1), .version.bytes = {1}}};
	recover(world, held, 2);
	const struct placement_recovery *recovery = &world->image.placement->recovery;
	assert_int_equal(recovery->address_count, 1);
	assert_memory_equal(&recovery->addresses[0], &held[1].address, sizeof(struct ip_address));
	assert_false(recovery->all_rest);
	assert_int_equal(web(world)->binding_count, 1);
	uint32_t numbers = recovery->numbers;
	/* The next version skips it, and all numbers that the lost entries may have used. */
	assert_int_equal(apply_text(world, FILE(20)).result, 0);
	assert_int_equal(web(world)->rollout.target, 2 + numbers);
	assert_int_equal(web(world)->bindings[1].slot, own.slot + 2);
	assert_int_equal(web(world)->bindings[1].number, 1 + numbers);
	/* Once: what is published after counts on as ever. */
	assert_int_equal(apply_text(world, FILE(30)).result, 0);
	assert_int_equal(web(world)->rollout.target, 3 + numbers);
	/* A second recovery forgets nothing of the first. */
	recover(world, held, 1);
	assert_int_equal(world->image.placement->recovery.address_count, 1);
}

static void an_own_address_that_means_something_else_is_given_up(void **state)
{
	struct world *world = *state;
	assert_int_equal(apply_text(world, FILE(10)).result, 0);
	uint32_t slot = web(world)->bindings[0].slot;
	const struct recovery_held held = {.address = address_of_slot(world, slot),
					   .version.bytes = {1}};
	recover(world, &held, 1);
	uint32_t numbers = world->image.placement->recovery.numbers;
	assert_int_equal(world->image.placement->recovery.address_count, 1);
	assert_int_equal(web(world)->versions[0].state, VERSION_RETIRED);
	assert_int_equal(web(world)->rollout.target, 2 + numbers);
	assert_int_equal(web(world)->rollout.base, 0);
	assert_int_equal(web(world)->binding_count, 1);
	assert_int_not_equal(web(world)->bindings[0].slot, slot);
	/* It is read again as it was written. */
	world_restart(world);
	assert_int_equal(world->image.placement->recovery.numbers, numbers);
	assert_int_equal(world->image.placement->recovery.address_count, 1);
}

static void without_knowledge_all_slots_rest(void **state)
{
	struct world *world = *state;
	assert_int_equal(apply_text(world, FILE(10)).result, 0);
	recover(world, NULL, 0);
	struct world_apply outcome = apply_text(world, FILE(20));
	assert_int_equal(outcome.result, -FL_EEXHAUSTED);
	if (!strstr(outcome.err.text, "rest for `quarantine`"))
		fail_msg("%s", outcome.err.text);
	/* What needs no slot is done. */
	assert_int_equal(apply_text(world, FILE(10)).result, 0);
}

static void a_number_above_all_that_any_entry_can_have(void **state)
{
	struct world *world = *state;
	assert_int_equal(apply_text(world, FILE(10)).result, 0);
	uint64_t head = world->image.head.sequence;
	struct arena arena;
	struct recovery recovery;
	arena_init(&arena, 0);
	struct recovery_knowledge knowledge = {.lost.sequence = head + 50};
	assert_int_equal(recovery_work_out(&world->image, &knowledge, &arena, &recovery, NULL), 0);
	assert_int_equal(recovery.sequence, head + 50 + RECOVERY_MARGIN);
	/* Another history that ends before this one. */
	knowledge.lost.sequence = head - 1;
	assert_int_equal(recovery_work_out(&world->image, &knowledge, &arena, &recovery, NULL), 0);
	assert_int_equal(recovery.sequence, head + RECOVERY_MARGIN);
	knowledge.lost.sequence = 0;
	assert_int_equal(recovery_work_out(&world->image, &knowledge, &arena, &recovery, NULL), 0);
	assert_int_equal(recovery.sequence, head + RECOVERY_UNKNOWN);
	arena_done(&arena);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(an_address_that_only_the_maps_know_is_held_back),
	    CASE(an_own_address_that_means_something_else_is_given_up),
	    CASE(without_knowledge_all_slots_rest),
	    CASE(a_number_above_all_that_any_entry_can_have),
	};
	return cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
}
