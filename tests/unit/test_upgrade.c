/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store of the first release: it is read as it is, and becomes one of records, wherever the
 * upgrade is cut off, and whatever the old program did in between.
 */
#include "config/config.h"
#include "state/records.h"
#include "state/upgrade.h"
#include "state_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVICES 60u

struct fixture {
	struct world world;
	struct arena arena;
	struct fabric *fabric; /* what the old store says, by names */
	char *file;
	bool done;
	int result;
	unsigned left; /* revisions until the program ends */
};

/* The first release's record of all numbers. */
static char *old_placement(const struct placement *placement)
{
	struct buffer text;
	char prefix[IP_TEXT_BYTES];
	buffer_init(&text, 0);
	ip_prefix_format(&placement->pools[0].pool.prefix, prefix);
	buffer_printf(&text,
		      "{\"pools\":[{\"prefix\":\"%s\",\"removed\":false,\"site_bits\":%u,"
		      "\"slots_per_service\":0}],\"services\":[",
		      prefix, placement->pools[0].pool.site_bits);
	for (size_t i = 0; i < placement->service_count; i++)
		buffer_printf(&text, "%s\"%s\"", i ? "," : "", placement->services[i]);
	buffer_puts(&text, "],\"sites\":[");
	for (size_t i = 0; i < placement->site_count; i++)
		buffer_printf(&text, "%s\"%s\"", i ? "," : "", placement->sites[i]);
	buffer_puts(&text, "],\"used_slots\":[");
	for (unsigned i = 0; i < 150; i++)
		buffer_printf(&text,
			      "%s{\"binding_number\":%u,\"free_ms\":%u,\"pool\":0,\"sequence\":%u,"
			      "\"service\":%lld,\"slot\":%u}",
			      i ? "," : "", i + 1, 1000 + i, i % 9,
			      i == 149 ? (long long)PLACEMENT_NO_SERVICE
				       : (long long)(i % SERVICES),
			      5000 + i);
	buffer_puts(&text, "]}");
	return buffer_take(&text);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void collect(struct fixture *fixture, const char *prefix, char **keys, size_t *count)
{
	struct store_page page;
	struct store_range range = {.key = prefix, .prefix = true};
	assert_int_equal(harness_range(&fixture->world.harness, &range, &page), 0);
	for (size_t i = 0; i < page.count; i++)
		keys[(*count)++] = strdup(page.records[i].key);
}

/* The records that an apply writes become what the first release wrote. */
static void make_old(struct fixture *fixture)
{
	struct world *world = &fixture->world;
	char *keys[1000];
	size_t count = 0;
	char *placement = old_placement(world->image.placement);
	collect(fixture, "config/", keys, &count);
	collect(fixture, "placement/", keys, &count);
	qsort(keys, count, sizeof(char *), compare_keys);
	for (size_t i = 0; i < count; i++) {
		harness_delete(&world->harness, keys[i]);
		free(keys[i]);
	}
	harness_put(&world->harness, "config", fixture->file);
	harness_put(&world->harness, "placement", placement);
	free(placement);
	world_restart(world);
	assert_true(world->image.is_old);
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct buffer file;
	assert_non_null(fixture);
	world_init(&fixture->world);
	arena_init(&fixture->arena, 0);
	buffer_init(&file, 0);
	buffer_puts(&file, "fabric: example\nzone: svc.example.net\n"
			   "settings: {quiet: 7s, stale: 1d, quarantine: 7d, report_interval: 2s}\n"
			   "nameservers: {ns1: [203.0.113.53]}\n"
			   "pools: [{prefix: \"2001:db8:f::/108\", site_bits: 4}]\n"
			   "sites: {fra: {location: [50.11, 8.68]}, nyc: {}}\nservices:\n");
	for (unsigned i = 0; i < SERVICES; i++)
		buffer_printf(&file,
			      "  s%02u: {ports: [tcp/80], backends: [{name: b%u, site: fra, "
			      "address: 10.0.1.%u}]}\n",
			      i, i, i + 1);
	fixture->fabric = world_parse(file.data, &fixture->arena);
	assert_int_equal(world_apply(&fixture->world, fixture->fabric).result, 0);
	fixture->file = world_file(&fixture->world);
	buffer_done(&file);
	make_old(fixture);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	world_done(&fixture->world);
	arena_done(&fixture->arena);
	free(fixture->file);
	free(fixture);
	return 0;
}

static void upgraded(void *context, int result, const struct error *err)
{
	struct fixture *fixture = context;
	(void)err;
	fixture->done = true;
	fixture->result = result;
}

static void upgrade(struct fixture *fixture)
{
	fixture->done = false;
	assert_int_equal(upgrade_begin(fixture->world.changes, upgraded, fixture), 0);
	world_settle(&fixture->world);
	assert_true(fixture->done);
	assert_int_equal(fixture->result, 0);
}

static void assert_taken_over(struct fixture *fixture)
{
	struct world *world = &fixture->world;
	for (int restarted = 0; restarted < 2; restarted++) {
		assert_false(world->image.is_old);
		assert_int_equal(world->image.unread_count, 0);
		char *file = world_file(world);
		assert_string_equal(file, fixture->file);
		free(file);
		const struct placement *placement = world->image.placement;
		assert_int_equal(placement->site_count, 2);
		assert_int_equal(placement->service_count, SERVICES);
		assert_int_equal(placement->used_slot_count, 150);
		assert_int_equal(placement->used_slots[7].slot, 5007);
		assert_int_equal(placement->used_slots[7].service, 7);
		assert_int_equal(placement->used_slots[7].binding_number, 8);
		assert_int_equal(placement->used_slots[149].service, PLACEMENT_NO_SERVICE);
		assert_int_equal(world_apply(world, fixture->fabric).parts, 0);
		world_restart(world);
	}
	assert_null(harness_get(&world->harness, "config"));
	assert_null(harness_get(&world->harness, "placement"));
}

static void the_old_form_is_read_as_it_is(void **state)
{
	struct fixture *fixture = *state;
	const struct image *image = &fixture->world.image;
	char *file = world_file(&fixture->world);
	assert_string_equal(file, fixture->file);
	free(file);
	assert_int_equal(image->placement->used_slot_count, 150);
	assert_int_equal(image_service(image, "s07")->configured->backend_count, 1);
	/* Nothing is decided upon it. */
	struct world_apply outcome = world_apply(&fixture->world, fixture->fabric);
	assert_int_equal(outcome.result, -FL_ESTATE);
	assert_non_null(strstr(outcome.err.text, "the form of an earlier release"));
}

static void it_is_taken_over_and_told_of(void **state)
{
	struct fixture *fixture = *state;
	upgrade(fixture);
	assert_string_equal(fixture->world.last_kind, LEDGER_KIND_UPGRADE);
	assert_taken_over(fixture);
	upgrade(fixture); /* there is nothing left to do */
	assert_taken_over(fixture);
}

/* Ends the program after some revisions: nothing more is committed. */
static void count_down(struct world *world, const struct store_event *events, size_t count)
{
	struct fixture *fixture = (struct fixture *)world;
	(void)events;
	(void)count;
	if (!fixture->left)
		return;
	fixture->left--;
	if (!fixture->left)
		changes_stop(world->changes);
}

static void it_goes_on_after_an_end_at_any_step(void **state)
{
	struct fixture *fixture = *state;
	struct world *world = &fixture->world;
	unsigned interrupted = 0;
	world->moved = count_down;
	while (world->image.is_old) {
		fixture->left = 1;
		assert_int_equal(upgrade_begin(world->changes, upgraded, fixture), 0);
		world_settle(world);
		interrupted++;
		char *file = world_file(world);
		assert_string_equal(file, fixture->file);
		free(file);
		world_restart(world);
	}
	assert_true(interrupted > 2);
	world->moved = NULL;
	assert_taken_over(fixture);
}

/* Between two steps the old program ran, and changed the old form. */
static void what_the_old_program_changed_meanwhile_counts(void **state)
{
	struct fixture *fixture = *state;
	struct world *world = &fixture->world;
	world->moved = count_down;
	for (unsigned steps = 1; steps < 4; steps++) {
		struct buffer text;
		fixture->left = steps;
		assert_int_equal(upgrade_begin(world->changes, upgraded, fixture), 0);
		world_settle(world);
		world_restart(world);
		assert_true(world->image.is_old);
		/* Another quiet time, and a place for nyc. */
		buffer_init(&text, 0);
		const char *quiet = strstr(fixture->file, "quiet: ");
		const char *nyc = strstr(fixture->file, "  nyc:");
		buffer_append(&text, fixture->file, (size_t)(quiet - fixture->file));
		buffer_printf(&text, "quiet: %u", steps + 1);
		buffer_append(&text, strstr(quiet, "s,"), (size_t)(nyc - strstr(quiet, "s,")));
		buffer_printf(&text, "  nyc:\n    location: [%u, 7]\n", steps);
		buffer_puts(&text, strstr(nyc, "services:"));
		free(fixture->file);
		fixture->file = buffer_take(&text);
		harness_put(&world->harness, "config", fixture->file);
		world_restart(world);
		assert_true(world->image.is_old);
	}
	world->moved = NULL;
	upgrade(fixture);
	fixture->fabric = world_parse(fixture->file, &fixture->arena);
	assert_taken_over(fixture);
	assert_int_equal(world->image.fabric->settings.quiet_ms, 4000);
	assert_true(world->image.fabric->sites[1].latitude == 3);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(the_old_form_is_read_as_it_is),
	    CASE(it_is_taken_over_and_told_of),
	    CASE(it_goes_on_after_an_end_at_any_step),
	    CASE(what_the_old_program_changed_meanwhile_counts),
	};
	return cmocka_run_group_tests_name("upgrade", tests, NULL, NULL);
}
