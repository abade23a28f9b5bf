/* SPDX-License-Identifier: Apache-2.0 */
/* The fence: a removal counts when every landing that a version names refuses the edge's tunnels,
 * and no restart of the voter forgets one that does not count yet. */
#include "fabric/fence.h"

#include "../addresses.h"
#include "fabric/merge.h"
#include "state_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTERVAL_MS 10000u /* the default, for want of a configuration */
#define REMOVED_AT 7u /* the revision of the removal */

/* One service, whose version names two backends; edge b was removed. */
struct bench {
	struct backend backends[3];
	struct version version;
	struct image_version image_version;
	struct image_version *version_list;
	struct version_status status;
	struct binding binding;
	struct service_state state;
	const struct service_state *states[1];
	struct image_service service;
	struct image_service *services[1];
	struct image_forgotten forgotten[2];
	struct removed_member removed;
	struct image image;
	struct reports *reports;
	uint64_t now_ms;
};

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	bench->now_ms = 1000000;
	bench->backends[0] = (struct backend){.name = "web1", .address = address("10.0.0.1")};
	bench->backends[1] = (struct backend){.name = "web2", .address = address("10.0.0.2")};
	bench->version =
	    (struct version){.number = 1, .backends = bench->backends, .backend_count = 2};
	bench->image_version.version = &bench->version;
	bench->version_list = &bench->image_version;
	bench->status = (struct version_status){.number = 1, .sequence = 5};
	bench->binding = (struct binding){.slot = 1, .version = 1};
	bench->state = (struct service_state){.name = "web",
					      .versions = &bench->status,
					      .version_count = 1,
					      .bindings = &bench->binding,
					      .binding_count = 1};
	bench->states[0] = &bench->state;
	bench->service = (struct image_service){.name = "web",
						.state = &bench->state,
						.versions = &bench->version_list,
						.version_count = 1};
	bench->services[0] = &bench->service;
	bench->removed = (struct removed_member){.sequence = 9,
						 .name = "b",
						 .roles = MEMBER_EDGE,
						 .learned_ms = bench->now_ms,
						 .mod_revision = REMOVED_AT};
	bench->image = (struct image){.services = bench->services,
				      .service_count = 1,
				      .states = bench->states,
				      .state_count = 1,
				      .forgotten = bench->forgotten,
				      .removed = {.items = &bench->removed, .count = 1}};
	assert_int_equal(reports_new(&bench->reports), 0);
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	reports_free(bench->reports);
	free(bench);
	return 0;
}

/* A landing reports, and what it carried out is a fence of the members of that revision; 0: it has
 * not carried out what it was told. */
static void report(struct bench *bench, const char *name, const char *owns, const char *instance,
		   uint64_t revision)
{
	const struct report_moment moment = {
	    .now_ms = bench->now_ms, .interval_ms = INTERVAL_MS, .image = &bench->image};
	const struct peer_hello who = {.node = name, .boot_id = "b", .instance = instance};
	struct arena arena;
	arena_init(&arena, 0);
	struct peer_end *owned = arena_array(&arena, 1, sizeof(*owned));
	assert_non_null(owned);
	owned->address = address(owns);
	const struct peer_report said = {
	    .owned = {owned, 1}, .cookies_known = true, .cookies_ms = UINT64_MAX};
	assert_int_equal(reports_take(bench->reports, &who, &said, &arena, &moment, NULL), 0);
	reports_set_lands(bench->reports, &who, revision != 0, revision, bench->now_ms);
	arena_done(&arena);
}

static struct fence_progress find(const struct bench *bench)
{
	struct fence_progress progress;
	struct arena arena;
	arena_init(&arena, 0);
	assert_int_equal(
	    fence_find(&bench->image, bench->reports, &bench->removed, &arena, &progress), 0);
	arena_done(&arena);
	return progress;
}

static bool is_due(const struct bench *bench)
{
	const struct fence_progress progress = find(bench);
	return fence_is_due(&progress, bench->now_ms);
}

static void a_removal_counts_when_the_last_landing_took_it_off(void **state)
{
	struct bench *bench = *state;
	char text[FENCE_TEXT];
	bench->now_ms += 60000;
	assert_false(is_due(bench));
	report(bench, "web1", "10.0.0.1", "i", REMOVED_AT);
	struct fence_progress progress = find(bench);
	assert_int_equal(progress.landings, 2);
	assert_int_equal(progress.fenced, 1);
	assert_string_equal(progress.waits_for->name, "web2");
	assert_int_equal(fence_text(&bench->image, bench->reports, &bench->removed, text), 0);
	assert_string_equal(text, "b: removed, fenced off by 1 of 2 landings, waits for web2");
	bench->now_ms += 60000;
	assert_false(is_due(bench));
	report(bench, "web2", "10.0.0.2", "i", REMOVED_AT + 3);
	bench->now_ms += FENCE_SETTLE_MS - 1;
	assert_false(is_due(bench));
	bench->now_ms += 1;
	assert_true(is_due(bench));
	/* It reports on, and what it took off stays off. */
	report(bench, "web1", "10.0.0.1", "i", 0);
	assert_true(is_due(bench));
}

static void a_list_of_before_the_removal_is_none(void **state)
{
	struct bench *bench = *state;
	report(bench, "web1", "10.0.0.1", "i", REMOVED_AT);
	report(bench, "web2", "10.0.0.2", "i", REMOVED_AT - 1);
	bench->now_ms += 60000;
	assert_false(is_due(bench));
	assert_string_equal(find(bench).waits_for->name, "web2");
}

/* Its process may have begun with the machine, and its maps with it. */
static void another_process_of_a_landing_says_it_again(void **state)
{
	struct bench *bench = *state;
	report(bench, "web1", "10.0.0.1", "i", REMOVED_AT);
	report(bench, "web2", "10.0.0.2", "i", REMOVED_AT);
	bench->now_ms += REPORT_STALE_INTERVALS * INTERVAL_MS + 1;
	assert_true(is_due(bench));
	report(bench, "web2", "10.0.0.2", "j", 0);
	assert_false(is_due(bench));
	report(bench, "web2", "10.0.0.2", "j", REMOVED_AT);
	assert_false(is_due(bench));
	bench->now_ms += FENCE_SETTLE_MS;
	assert_true(is_due(bench));
}

static void whoever_else_reports_by_the_name_says_nothing(void **state)
{
	struct bench *bench = *state;
	report(bench, "web1", "10.0.0.1", "i", REMOVED_AT);
	report(bench, "web2", "10.0.0.9", "k", REMOVED_AT);
	bench->now_ms += 60000;
	assert_string_equal(find(bench).waits_for->name, "web2");
}

/* Only the operator's word ends the waiting for a landing that is gone, in the versions of that
 * time. */
static void a_landing_that_was_declared_gone_is_not_waited_for(void **state)
{
	struct bench *bench = *state;
	report(bench, "web1", "10.0.0.1", "i", REMOVED_AT);
	bench->forgotten[0] = (struct image_forgotten){
	    .backend = "web2", .address = address("10.0.0.2"), .sequence = 6};
	bench->image.forgotten_count = 1;
	bench->now_ms += FENCE_SETTLE_MS;
	assert_true(is_due(bench));
	bench->status.sequence = 6;
	assert_false(is_due(bench));
}

static void what_has_no_landing_cannot_refuse(void **state)
{
	struct bench *bench = *state;
	report(bench, "web1", "10.0.0.1", "i", REMOVED_AT);
	bench->backends[1].no_landing = true;
	report(bench, "web2", "10.0.0.2", "i", REMOVED_AT);
	bench->now_ms += 60000;
	assert_false(is_due(bench));
}

static void a_version_that_is_not_known_may_name_anybody(void **state)
{
	struct bench *bench = *state;
	report(bench, "web1", "10.0.0.1", "i", REMOVED_AT);
	report(bench, "web2", "10.0.0.2", "i", REMOVED_AT);
	bench->now_ms += 60000;
	bench->service.version_count = 0;
	assert_false(is_due(bench));
}

static void without_landings_it_counts_after_a_while(void **state)
{
	struct bench *bench = *state;
	bench->image.state_count = 0;
	assert_false(is_due(bench));
	bench->now_ms += FENCE_SETTLE_MS;
	assert_true(is_due(bench));
}

/* --- what is written down --------------------------------------------------------------------- */

struct removing {
	struct change change;
	bool removes; /* otherwise it adds */
	struct member member;
};

static int build(struct change *change, struct change_draft *draft, struct error *err)
{
	const struct removing *removing = (const struct removing *)change;
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	(void)err;
	buffer_init(&value, STORE_VALUE_BYTES);
	record_member_key(removing->member.name, key);
	const uint64_t revision = image_record_revision(draft->image, key);
	int result;
	if (removing->removes) {
		const struct removed_member removed =
		    removed_member_of(&removing->member, draft->sequence, 12345);
		result = draft_remove(draft, key, revision);
		if (result == 0)
			result = removed_member_put(&removed, &value);
		if (result == 0)
			result =
			    draft_put(draft, removed_member_key(draft->sequence, key), 0, &value);
	} else {
		result = record_member_put(&removing->member, &value);
		if (result == 0)
			result = draft_put(draft, key, revision, &value);
	}
	buffer_done(&value);
	draft->what = json_object();
	return result < 0 ? result : CHANGE_COMMIT;
}

static void done(struct change *change, int result, const struct error *err, uint64_t sequence)
{
	(void)change, (void)err;
	assert_int_equal(result, 0);
	assert_true(sequence);
}

static void submit(struct world *world, const char *name, bool removes)
{
	struct removing removing = {
	    .change = {.kind = removes ? LEDGER_KIND_MEMBER_REMOVE : LEDGER_KIND_MEMBER_ADD,
		       .who = "alice",
		       .build = build,
		       .done = done},
	    .removes = removes,
	    .member = {.name = name,
		       .site = "fra",
		       .key = "",
		       .roles = MEMBER_EDGE,
		       .channel_key = "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		       .sources = {address("10.0.1.3")},
		       .source_count = 1}};
	changes_submit(world->changes, &removing.change);
	world_settle(world);
}

static bool rests(void *context)
{
	(void)context;
	return false;
}

static void a_restart_forgets_no_removal(void **state)
{
	struct world world;
	struct fence *fence;
	struct reports *reports;
	struct observations *observations;
	(void)state;
	world_init(&world);
	submit(&world, "a", false);
	submit(&world, "b", false);
	submit(&world, "b", true);
	world_restart(&world);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(observations_new(&observations), 0);
	assert_null(image_member(&world.image, "b"));
	const struct removed_member *gone = removed_list_unfenced(&world.image.removed, "b");
	assert_non_null(gone);
	assert_int_equal(gone->removed_ms, 12345);
	assert_int_equal(gone->source_count, 1);
	assert_ptr_equal(removed_list_find_key(&world.image.removed, gone->channel_key), gone);

	const struct fence_options options = {.image = &world.image,
					      .changes = world.changes,
					      .reports = reports,
					      .clock = &world.harness.clock,
					      .rests = rests};
	const struct sights sights = {
	    .image = &world.image, .observations = observations, .reports = reports, .now_ms = 1};
	assert_int_equal(fence_new(&options, &fence), 0);
	fence_run(fence);
	world_settle(&world);
	assert_string_equal(merge_behind(&sights, MEMBER_EDGE, 1), "a");
	assert_non_null(removed_list_unfenced(&world.image.removed, "b"));

	world.harness.now_ms += FENCE_SETTLE_MS;
	const uint64_t before = world.image.members_revision;
	fence_run(fence);
	world_settle(&world);
	assert_null(removed_list_unfenced(&world.image.removed, "b"));
	assert_string_equal(world.last_kind, LEDGER_KIND_MEMBER_FENCED);
	assert_true(world.image.members_revision > before);
	assert_int_equal(world.image.ceased_ms, world.harness.now_ms);
	const uint64_t head = world.image.head.sequence;
	fence_run(fence);
	world_settle(&world);
	assert_int_equal(world.image.head.sequence, head);

	world_restart(&world);
	assert_int_equal(world.image.removed.count, 1);
	assert_null(removed_list_unfenced(&world.image.removed, "b"));
	fence_free(fence);
	reports_free(reports);
	observations_free(observations);
	world_done(&world);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(a_removal_counts_when_the_last_landing_took_it_off),
	    TEST(a_list_of_before_the_removal_is_none),
	    TEST(another_process_of_a_landing_says_it_again),
	    TEST(whoever_else_reports_by_the_name_says_nothing),
	    TEST(a_landing_that_was_declared_gone_is_not_waited_for),
	    TEST(what_has_no_landing_cannot_refuse),
	    TEST(a_version_that_is_not_known_may_name_anybody),
	    TEST(without_landings_it_counts_after_a_while),
	    cmocka_unit_test(a_restart_forgets_no_removal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
