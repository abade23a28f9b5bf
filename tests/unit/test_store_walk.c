/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random sequences of calls against a simple model of the store in memory. After each step
 * everything that can be seen must agree: all records with their revisions, a past revision, and
 * what watches told. A failing walk prints its seed; FAIRLEAD_SEED=N walks that one again.
 */
#include "base/random.h"
#include "store_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEYS 10u
#define LEASES 4u
#define STEPS 300u
#define WALKS 6u
#define REVISIONS                                                                                  \
	(STEPS + 2u) /* a step makes one revision at most; the last one may be compared            \
		      */
#define WATCHES 3u

static const char *const key_names[KEYS] = {"a",   "a/1", "a/2", "a/22", "a0",
					    "b/1", "b/2", "c",   "c/",   "~"};
static const char *const watch_prefixes[WATCHES] = {"", "a/", "b"};

struct model_key {
	bool present;
	uint64_t value; /* each put has a number of its own */
	uint64_t create_revision;
	uint64_t mod_revision;
	unsigned lease; /* index into leases + 1; 0: none */
};

struct model_lease {
	bool alive;
	uint64_t id;
	uint64_t ttl_ms;
	uint64_t deadline_ms;
};

struct watcher {
	struct store_watch *watch;
	uint64_t told; /* all revisions up to this one were told */
	unsigned events;
};

struct walk {
	struct harness harness;
	struct random random;
	uint64_t seed;
	unsigned step;
	uint64_t revision;
	uint64_t next_value;
	struct model_lease leases[LEASES];
	struct model_key past[REVISIONS][KEYS]; /* the state at each revision */
	struct watcher watchers[WATCHES];
};

#define CHECK(walk, expression)                                                                    \
	do {                                                                                       \
		if (!(expression))                                                                 \
			fail_msg("seed %llu, step %u: %s", (unsigned long long)(walk)->seed,       \
				 (walk)->step, #expression);                                       \
	} while (0)

static unsigned below(struct walk *walk, unsigned bound)
{
	return (unsigned)random_below(&walk->random, bound);
}

static struct model_key *present_of(struct walk *walk)
{
	return walk->past[walk->revision];
}

/* Begins the next revision as a copy of the present; it counts once walk->revision names it. */
static struct model_key *next_of(struct walk *walk)
{
	memcpy(walk->past[walk->revision + 1], walk->past[walk->revision], sizeof(walk->past[0]));
	return walk->past[walk->revision + 1];
}

/* --- the steps ---------------------------------------------------------------------------------
 */

/* One random txn on distinct keys, and what the model says of it. */
struct plan {
	struct store_compare compares[2];
	struct store_op ops[3];
	char values[3][24];
	size_t compare_count;
	size_t op_count;
	size_t failed; /* first compare that must fail; compare_count if none */
	bool dead_lease;
	bool changes;
};

static void plan_compares(struct walk *walk, struct plan *plan)
{
	const struct model_key *present = present_of(walk);
	plan->compare_count = below(walk, 3);
	plan->failed = plan->compare_count;
	for (size_t i = 0; i < plan->compare_count; i++) {
		unsigned key = below(walk, KEYS);
		uint64_t real = present[key].present ? present[key].mod_revision : 0;
		uint64_t claimed =
		    below(walk, 4) ? real : below(walk, (unsigned)walk->revision + 2);
		plan->compares[i] = (struct store_compare){key_names[key], claimed};
		if (claimed != real && plan->failed == plan->compare_count)
			plan->failed = i;
	}
}

static void plan_put(struct walk *walk, struct plan *plan, struct model_key *key,
		     struct store_op *op, char *text)
{
	uint64_t number = walk->next_value++;
	unsigned lease = below(walk, 2) ? below(walk, LEASES + 1) : 0;
	snprintf(text, sizeof(plan->values[0]), "%llu", (unsigned long long)number);
	op->kind = STORE_PUT;
	op->value = text;
	op->value_length = strlen(text);
	if (lease) {
		op->lease = walk->leases[lease - 1].id ? walk->leases[lease - 1].id : 999999;
		plan->dead_lease |= !walk->leases[lease - 1].alive;
	}
	*key = (struct model_key){.present = true,
				  .value = number,
				  .create_revision =
				      key->present ? key->create_revision : walk->revision + 1,
				  .mod_revision = walk->revision + 1,
				  .lease = lease};
	plan->changes = true;
}

static void plan_ops(struct walk *walk, struct plan *plan, struct model_key *next)
{
	unsigned key = below(walk, KEYS);
	plan->op_count = below(walk, 4);
	for (size_t i = 0; i < plan->op_count; i++) {
		struct store_op *op = &plan->ops[i];
		*op = (struct store_op){.kind = STORE_DELETE, .key = key_names[key]};
		if (below(walk, 3)) {
			plan_put(walk, plan, &next[key], op, plan->values[i]);
		} else {
			plan->changes |= next[key].present;
			next[key] = (struct model_key){0};
		}
		key = (key + 1 + below(walk, 3)) % KEYS;
	}
}

static void step_txn(struct walk *walk)
{
	struct plan plan = {0};
	char id[32];
	plan_compares(walk, &plan);
	plan_ops(walk, &plan, next_of(walk));
	snprintf(id, sizeof(id), "walk-%u", walk->step);
	struct store_txn txn = {.compares = plan.compares,
				.compare_count = plan.compare_count,
				.ops = plan.ops,
				.op_count = plan.op_count,
				.id = below(walk, 2) ? id : NULL};
	struct store_txn_outcome outcome = {0};
	int result = harness_txn(&walk->harness, &txn, &outcome);
	if (plan.failed < plan.compare_count) {
		CHECK(walk, result == -FL_ECONFLICT);
		CHECK(walk, outcome.failed_compare == plan.failed);
		return;
	}
	if (plan.dead_lease) {
		CHECK(walk, result == -FL_ENOTFOUND);
		return;
	}
	CHECK(walk, result == 0);
	walk->revision += plan.changes ? 1 : 0;
	CHECK(walk, outcome.revision == walk->revision);
	CHECK(walk, !outcome.repeated);
	if (txn.id) {
		CHECK(walk, harness_txn(&walk->harness, &txn, &outcome) == 0);
		CHECK(walk, outcome.repeated && outcome.revision == walk->revision);
	}
}

static void model_lease_end(struct walk *walk, unsigned index)
{
	struct model_key *next = next_of(walk);
	bool changes = false;
	for (unsigned i = 0; i < KEYS; i++) {
		if (!next[i].present || next[i].lease != index + 1)
			continue;
		next[i] = (struct model_key){0};
		changes = true;
	}
	walk->revision += changes ? 1 : 0;
	walk->leases[index].alive = false;
}

static void step_lease(struct walk *walk)
{
	unsigned index = below(walk, LEASES);
	struct model_lease *lease = &walk->leases[index];
	struct harness *harness = &walk->harness;
	uint64_t deadline_ms = harness->now_ms;
	if (lease->alive && below(walk, 2)) {
		CHECK(walk, harness_lease_keep_alive(harness, lease->id) == 0);
		lease->deadline_ms = deadline_ms + lease->ttl_ms;
	} else if (lease->alive) {
		CHECK(walk, harness_lease_revoke(harness, lease->id) == 0);
		model_lease_end(walk, index);
	} else {
		uint64_t before = lease->id;
		lease->ttl_ms = 1 + below(walk, 5000);
		CHECK(walk, harness_lease_grant(harness, lease->ttl_ms, &lease->id) == 0);
		CHECK(walk, lease->id > before);
		lease->alive = true;
		lease->deadline_ms = deadline_ms + lease->ttl_ms;
	}
}

/* Time goes on to just before or exactly at the next deadline: one lease ends at a time. */
static void step_time(struct walk *walk)
{
	unsigned due = LEASES;
	for (unsigned i = 0; i < LEASES; i++) {
		if (walk->leases[i].alive &&
		    (due == LEASES || walk->leases[i].deadline_ms < walk->leases[due].deadline_ms))
			due = i;
	}
	if (due == LEASES)
		return;
	uint64_t left_ms = walk->leases[due].deadline_ms - walk->harness.now_ms;
	for (unsigned i = 0; i < LEASES; i++) {
		if (i != due && walk->leases[i].alive &&
		    walk->leases[i].deadline_ms == walk->leases[due].deadline_ms)
			return; /* two at once: their order is not promised */
	}
	if (below(walk, 2)) {
		harness_advance(&walk->harness, left_ms - 1);
		harness_settle(&walk->harness);
		return;
	}
	harness_advance(&walk->harness, left_ms);
	harness_settle(&walk->harness);
	model_lease_end(walk, due);
}

/* --- what watches tell --------------------------------------------------------------------------
 */

static bool key_changed(const struct walk *walk, uint64_t revision, unsigned key)
{
	return walk->past[revision][key].mod_revision != walk->past[revision - 1][key].mod_revision;
}

static unsigned changes_at(const struct walk *walk, uint64_t revision, const char *prefix)
{
	unsigned changes = 0;
	for (unsigned i = 0; i < KEYS; i++) {
		if (strncmp(key_names[i], prefix, strlen(prefix)) == 0 &&
		    key_changed(walk, revision, i))
			changes++;
	}
	return changes;
}

/* The harness keeps a pointer to the walk, for callbacks that only get their watcher. */
static struct walk *current;

static void on_events(void *context, int result, const struct error *err, uint64_t revision,
		      const struct store_event *events, size_t count)
{
	struct watcher *watcher = context;
	struct walk *walk = current;
	(void)err;
	CHECK(walk, result == 0);
	CHECK(walk, revision > watcher->told);
	/* The model learns of the present step only after the store did: check what is told later.
	 */
	for (size_t i = 0; i < count; i++)
		CHECK(walk, events[i].record.mod_revision == revision);
	watcher->told = revision;
	watcher->events += (unsigned)count;
}

static void watches_start(struct walk *walk)
{
	for (unsigned i = 0; i < WATCHES; i++) {
		struct watcher *watcher = &walk->watchers[i];
		CHECK(walk, store_watch(walk->harness.store, watch_prefixes[i], watcher->told + 1,
					on_events, watcher, &watcher->watch, NULL) == 0);
	}
}

static void step_reopen(struct walk *walk)
{
	harness_reopen(&walk->harness);
	for (unsigned i = 0; i < LEASES; i++)
		walk->leases[i].deadline_ms = walk->harness.now_ms + walk->leases[i].ttl_ms;
	watches_start(walk);
}

/* --- invariants ---------------------------------------------------------------------------------
 */

static void check_record(struct walk *walk, const struct store_record *record,
			 const struct model_key *key, const char *name)
{
	CHECK(walk, strcmp(record->key, name) == 0);
	CHECK(walk, strtoull(record->value, NULL, 10) == key->value);
	CHECK(walk, record->create_revision == key->create_revision);
	CHECK(walk, record->mod_revision == key->mod_revision);
	uint64_t lease = key->lease ? walk->leases[key->lease - 1].id : 0;
	CHECK(walk, record->lease == lease);
}

static void check_state(struct walk *walk, uint64_t revision)
{
	struct store_page page = {0};
	struct store_range range = {.key = "", .prefix = true, .revision = revision};
	CHECK(walk, harness_range(&walk->harness, &range, &page) == 0);
	CHECK(walk, page.revision == (revision ? revision : walk->revision));
	const struct model_key *keys = walk->past[page.revision];
	size_t at = 0;
	for (unsigned i = 0; i < KEYS; i++) {
		if (!keys[i].present)
			continue;
		CHECK(walk, at < page.count);
		if (revision == 0)
			check_record(walk, &page.records[at], &keys[i], key_names[i]);
		CHECK(walk, page.records[at].mod_revision == keys[i].mod_revision);
		at++;
	}
	CHECK(walk, at == page.count);
}

/* Every watch was told of exactly the changes under its prefix since the walk began. */
static void check_watches(struct walk *walk)
{
	harness_settle(&walk->harness);
	for (unsigned i = 0; i < WATCHES; i++) {
		unsigned changes = 0;
		uint64_t last = 0;
		for (uint64_t revision = 1; revision <= walk->revision; revision++) {
			unsigned here = changes_at(walk, revision, watch_prefixes[i]);
			changes += here;
			last = here ? revision : last;
		}
		CHECK(walk, walk->watchers[i].events == changes);
		CHECK(walk, walk->watchers[i].told == last);
	}
}

static void walk_once(struct walk *walk, const struct harness_engine *engine, uint64_t seed)
{
	static void (*const steps[])(struct walk *) = {step_txn,   step_txn,  step_txn,  step_txn,
						       step_lease, step_time, step_lease};
	*walk = (struct walk){.seed = seed};
	current = walk;
	random_init_seeded(&walk->random, seed);
	harness_init(&walk->harness, engine);
	harness_open(&walk->harness);
	watches_start(walk);
	for (walk->step = 0; walk->step < STEPS; walk->step++) {
		if (below(walk, 25) == 0)
			step_reopen(walk);
		steps[below(walk, sizeof(steps) / sizeof(*steps))](walk);
		check_state(walk, 0);
		if (walk->revision)
			check_state(walk, 1 + below(walk, (unsigned)walk->revision));
		check_watches(walk);
	}
	harness_done(&walk->harness);
}

static void test_random_walks(void **state)
{
	(void)state;
	struct walk *walk = malloc(sizeof(*walk));
	assert_non_null(walk);
	const char *fixed = getenv("FAIRLEAD_SEED");
	uint64_t seed = fixed ? strtoull(fixed, NULL, 10) : (uint64_t)time(NULL) * 1000;
	for (unsigned i = 0; i < (fixed ? 1 : WALKS); i++) {
		walk_once(walk, &harness_sqlite, seed + i);
		walk_once(walk, &harness_peer, seed + i);
	}
	free(walk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_walks)};
	return cmocka_run_group_tests_name("store_walk", tests, NULL, NULL);
}
