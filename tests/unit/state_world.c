/* SPDX-License-Identifier: Apache-2.0 */
#include "state_world.h"

#include "config/config.h"
#include "state/publication.h"
#include "state/undo.h"
#include "yaml/findings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_events(void *context, int result, const struct error *err, uint64_t revision,
		      const struct store_event *events, size_t count)
{
	struct world *world = context;
	struct error own = {0};
	(void)err;
	assert_int_equal(result, 0);
	if (image_update(&world->image, revision, events, count, world->harness.now_ms, &own) < 0)
		fail_msg("%s", own.text);
	world->moves++;
	for (size_t i = 0; i < count; i++) {
		const struct store_record *record = &events[i].record;
		struct ledger_entry entry;
		if (strncmp(record->key, LEDGER_PREFIX, strlen(LEDGER_PREFIX)) != 0)
			world->puts += events[i].kind == STORE_PUT;
		else if (strcmp(record->key, LEDGER_HEAD_KEY) != 0 &&
			 ledger_entry_parse(record->value, record->value_length, &entry, NULL) ==
			     0) {
			snprintf(world->last_kind, sizeof(world->last_kind), "%s", entry.kind);
			ledger_entry_done(&entry);
		}
	}
	if (world->moved)
		world->moved(world, events, count);
	if (world->changes)
		changes_image_moved(world->changes);
}

static void introduce(struct world *world)
{
	const struct ledger_change change = {.time_ms = 1, .who = "fairlead", .why = ""};
	const struct ledger_head empty = {0};
	struct ledger_append append;
	struct store_txn_outcome outcome;
	assert_int_equal(ledger_introduce_ops(&empty, world->signer, &change, "edge1",
					      ledger_signer_public_key(world->signer),
					      &world->harness.arena, &append, NULL),
			 0);
	const struct store_txn txn = {.compares = append.compares,
				      .compare_count = append.compare_count,
				      .ops = append.ops,
				      .op_count = append.op_count};
	assert_int_equal(harness_txn(&world->harness, &txn, &outcome), 0);
}

static uint64_t applied_by_all(void *context)
{
	(void)context;
	return UINT64_MAX;
}

static void begin(struct world *world)
{
	struct store *store = world->harness.store;
	struct error err = {0};
	if (image_load(&world->image, store, world->harness.now_ms, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(store_watch(store, "", world->image.revision + 1, on_events, world,
				     &world->watch, NULL),
			 0);
	const struct changes_options options = {.authority = store,
						.image = &world->image,
						.signer = world->signer,
						.clock = &world->harness.clock,
						.steady = &world->harness.clock,
						.random = &world->random,
						.applied = applied_by_all};
	assert_int_equal(changes_new(&options, &world->changes), 0);
}

static void end(struct world *world)
{
	struct changes *changes = world->changes;
	world->changes = NULL;
	store_watch_cancel(world->watch);
	harness_close(&world->harness);
	changes_free(changes);
	image_done(&world->image);
}

void world_init(struct world *world)
{
	*world = (struct world){0};
	random_init_seeded(&world->random, 1);
	harness_init(&world->harness, &harness_sqlite);
	harness_open(&world->harness);
	assert_int_equal(ledger_signer_open(world->harness.folder, "edge1", &world->signer, NULL),
			 0);
	introduce(world);
	begin(world);
}

void world_done(struct world *world)
{
	json_decref(world->last_what);
	end(world);
	harness_done(&world->harness);
	ledger_signer_free(world->signer);
}

void world_restart(struct world *world)
{
	end(world);
	harness_open(&world->harness);
	begin(world);
}

void world_settle(struct world *world)
{
	harness_settle(&world->harness);
}

struct fabric *world_parse(const char *text, struct arena *arena)
{
	struct findings findings;
	struct fabric *fabric = NULL;
	struct error err = {0};
	if (config_parse(text, strlen(text), "file", arena, &fabric, &findings) < 0) {
		findings_error(&findings, &err);
		fail_msg("%s", err.text);
	}
	return fabric;
}

struct applying {
	struct change change;
	struct world *world;
	struct apply *apply;
	const struct fabric *fabric;
	unsigned most;
	struct world_apply outcome;
};

static int build(struct change *change, struct change_draft *draft, struct error *err)
{
	struct applying *applying = (struct applying *)change;
	int result = apply_part(applying->apply, draft, err);
	json_t *changed;
	if (result != CHANGE_COMMIT)
		return result;
	assert_int_equal(undo_note(draft, &changed), 0);
	draft->what = json_pack("{s:o}", "changed", changed);
	json_decref(applying->world->last_what);
	applying->world->last_what = json_incref(draft->what);
	return result;
}

static void done(struct change *change, int result, const struct error *err, uint64_t sequence)
{
	struct applying *applying = (struct applying *)change;
	applying->outcome.result = result;
	if (err)
		applying->outcome.err = *err;
	if (sequence) {
		applying->outcome.parts++;
		apply_part_committed(applying->apply);
	}
	if (result == 0 && applying->apply->more && applying->outcome.parts < applying->most)
		changes_submit(applying->world->changes, change);
}

struct world_apply world_apply_parts(struct world *world, const struct fabric *fabric,
				     unsigned most)
{
	struct applying applying = {.change = {.kind = "apply", .build = build, .done = done},
				    .world = world,
				    .fabric = fabric,
				    .most = most};
	const struct publication_moment moment = {.wall_ms = world->harness.now_ms,
						  .random = &world->random};
	applying.outcome.result =
	    apply_new(&world->image, fabric, &moment, &applying.apply, &applying.outcome.err);
	if (applying.outcome.result < 0)
		return applying.outcome;
	apply_planned(applying.apply);
	changes_submit(world->changes, &applying.change);
	world_settle(world);
	apply_free(applying.apply);
	return applying.outcome;
}

struct world_apply world_apply(struct world *world, const struct fabric *fabric)
{
	return world_apply_parts(world, fabric, UINT32_MAX);
}

char *world_file(const struct world *world)
{
	struct buffer text;
	buffer_init(&text, 0);
	assert_non_null(world->image.fabric);
	config_emit(world->image.fabric, &text);
	char *bytes = buffer_take(&text);
	assert_non_null(bytes);
	return bytes;
}
