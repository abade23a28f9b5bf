/* SPDX-License-Identifier: Apache-2.0 */
/* Invariant 2 at the daemon's door: a version that another hand changed is refused by name, when
 * the store is loaded and when a watch brings it. */
#include "base/buffer.h"
#include "state/image.h"
#include "state/records.h"
#include "store_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct harness harness;
	struct arena arena;
	struct backend backend;
	struct site site;
	struct service service;
	struct fabric fabric;
	struct random random;
	struct service_state state;
	struct image image;
	struct error err; /* of image_load() or image_update() */
	int result;
};

static void put(struct fixture *fixture, const char *key, struct buffer *value)
{
	const struct store_op op = {
	    .kind = STORE_PUT, .key = key, .value = value->data, .value_length = value->length};
	const struct store_txn txn = {.ops = &op, .op_count = 1};
	struct store_txn_outcome outcome;
	assert_int_equal(harness_txn(&fixture->harness, &txn, &outcome), 0);
	buffer_done(value);
}

static void put_version(struct fixture *fixture, const struct version *version)
{
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	buffer_init(&value, 0);
	assert_int_equal(record_version_put(version, &value), 0);
	put(fixture, record_version_key("web", version->number, key), &value);
}

static void put_state(struct fixture *fixture)
{
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	buffer_init(&value, 0);
	assert_int_equal(record_service_put(&fixture->state, &value), 0);
	put(fixture, record_service_key("web", key), &value);
}

/* Another one at each call, since the seed is drawn. */
static struct version *build(struct fixture *fixture, uint32_t number)
{
	struct version *version;
	assert_int_equal(version_build(&fixture->fabric, &fixture->service, number, NULL,
				       &fixture->random, &fixture->arena, &version, NULL),
			 0);
	return version;
}

static void publish(struct fixture *fixture, uint32_t number)
{
	const struct version *version = build(fixture, number);
	const struct binding binding = {.slot = number};
	const uint8_t salt[16] = {0};
	assert_int_equal(lifecycle_publish(&fixture->state, version, &binding, 1, salt, number, 1,
					   &fixture->arena, NULL),
			 0);
	put_version(fixture, version);
}

static int load(struct fixture *fixture)
{
	image_done(&fixture->image);
	fixture->err = (struct error){0};
	return image_load(&fixture->image, fixture->harness.store, 0, &fixture->err);
}

/* A store that holds version 1 of web, as it was committed. */
static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	assert_non_null(fixture);
	harness_init(&fixture->harness, &harness_sqlite);
	if (!fixture->harness.store)
		harness_open(&fixture->harness);
	arena_init(&fixture->arena, 0);
	fixture->backend = (struct backend){.name = "web1", .site = "fra", .weight = 10};
	assert_int_equal(ip_address_parse("10.0.1.11", &fixture->backend.address), 0);
	fixture->site = (struct site){.name = "fra"};
	fixture->service =
	    (struct service){.name = "web",
			     .ports = {{.protocol = SERVICE_TCP, .first = 80, .last = 80}},
			     .port_count = 1,
			     .backends = &fixture->backend,
			     .backend_count = 1};
	fixture->fabric = (struct fabric){.name = "example",
					  .sites = &fixture->site,
					  .site_count = 1,
					  .services = &fixture->service,
					  .service_count = 1};
	fixture->state = (struct service_state){.name = "web", .next_version = 1};
	random_init_seeded(&fixture->random, 1);
	publish(fixture, 1);
	put_state(fixture);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	image_done(&fixture->image);
	harness_done(&fixture->harness);
	arena_done(&fixture->arena);
	free(fixture);
	return 0;
}

static void what_was_committed_is_taken(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(load(fixture), 0);
	const struct version *version = image_version(image_service(&fixture->image, "web"), 1);
	assert_non_null(version);
	assert_memory_equal(&version->digest, &fixture->state.versions[0].digest,
			    sizeof(version->digest));
}

/* A sound version with another seed: only the digest in the service's state can tell. */
static void a_changed_version_is_refused(void **state)
{
	struct fixture *fixture = *state;
	put_version(fixture, build(fixture, 1));
	assert_int_equal(load(fixture), -FL_ECORRUPT);
	assert_string_equal(fixture->err.text,
			    "version web/1 does not have the digest it was committed with: its "
			    "record was changed by another hand");
}

static void a_missing_version_is_refused(void **state)
{
	struct fixture *fixture = *state;
	char key[RECORD_KEY_BYTES];
	harness_delete(&fixture->harness, record_version_key("web", 1, key));
	assert_int_equal(load(fixture), -FL_ECORRUPT);
	assert_string_equal(fixture->err.text,
			    "version web/1 is in use, but its record is missing");
}

static void a_version_under_another_key_is_refused(void **state)
{
	struct fixture *fixture = *state;
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	buffer_init(&value, 0);
	assert_int_equal(record_version_put(build(fixture, 2), &value), 0);
	put(fixture, record_version_key("web", 7, key), &value);
	assert_int_equal(load(fixture), -FL_ECORRUPT);
	assert_non_null(strstr(fixture->err.text, "version/web/0000000007"));
}

/* What reads well but breaks a rule is a damaged record, which must not end in an assertion. */
static void an_impossible_state_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct service_state sound = fixture->state;
	struct binding bindings[2] = {sound.bindings[0], sound.bindings[0]};
	const struct {
		struct service_state state;
		const char *rule;
	} cases[] = {
	    {{.name = "web", .next_version = 1, .rollout.target = 9},
	     "the rollout's target is one of the versions"},
	    {{.name = "web", .next_version = 1, .rollout.share = 5},
	     "without a base nobody has a share"},
	    {{.name = "web",
	      .next_version = 1,
	      .versions = sound.versions,
	      .version_count = 1,
	      .rollout.target = 1},
	     "the next version's number is above all others"},
	    {{.name = "web",
	      .next_version = 2,
	      .versions = sound.versions,
	      .version_count = 1,
	      .bindings = bindings,
	      .binding_count = 2,
	      .rollout.target = 1},
	     "no slot is bound twice"},
	    {{.name = "web", .next_version = 1, .bindings = bindings, .binding_count = 1},
	     "an address means a version that is not retired"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fixture->state = cases[i].state;
		put_state(fixture);
		assert_int_equal(load(fixture), -FL_ECORRUPT);
		assert_non_null(strstr(fixture->err.text, "service/web"));
		assert_non_null(strstr(fixture->err.text, cases[i].rule));
	}
	fixture->state = sound;
	put_state(fixture);
	assert_int_equal(load(fixture), 0);
}

static void a_state_under_another_key_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct service_state other = fixture->state;
	other.name = "api";
	fixture->state = other;
	put_state(fixture);
	assert_int_equal(load(fixture), -FL_ECORRUPT);
	assert_non_null(strstr(fixture->err.text, "the state of another service"));
}

static void on_events(void *context, int result, const struct error *err, uint64_t revision,
		      const struct store_event *events, size_t count)
{
	struct fixture *fixture = context;
	(void)err;
	assert_int_equal(result, 0);
	fixture->result = image_update(&fixture->image, revision, events, count,
				       fixture->harness.now_ms, &fixture->err);
}

static struct store_watch *watch(struct fixture *fixture)
{
	struct store_watch *watch;
	assert_int_equal(load(fixture), 0);
	assert_int_equal(store_watch(fixture->harness.store, "", fixture->image.revision + 1,
				     on_events, fixture, &watch, NULL),
			 0);
	return watch;
}

static void a_version_changed_under_a_running_daemon_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct store_watch *watching = watch(fixture);
	put_version(fixture, build(fixture, 1));
	harness_settle(&fixture->harness);
	store_watch_cancel(watching);
	assert_int_equal(fixture->result, -FL_ECORRUPT);
	assert_string_equal(fixture->err.text,
			    "version web/1 was written twice: a version never changes");
}

/* Deleting first is no way round. */
static void a_version_that_comes_back_changed_is_refused(void **state)
{
	struct fixture *fixture = *state;
	char key[RECORD_KEY_BYTES];
	struct store_watch *watching = watch(fixture);
	harness_delete(&fixture->harness, record_version_key("web", 1, key));
	harness_settle(&fixture->harness);
	store_watch_cancel(watching);
	assert_int_equal(fixture->result, -FL_ECORRUPT);
	assert_string_equal(fixture->err.text,
			    "version web/1 is in use, but its record is missing");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(what_was_committed_is_taken),
	    CASE(a_changed_version_is_refused),
	    CASE(a_missing_version_is_refused),
	    CASE(a_version_under_another_key_is_refused),
	    CASE(an_impossible_state_is_refused),
	    CASE(a_state_under_another_key_is_refused),
	    CASE(a_version_changed_under_a_running_daemon_is_refused),
	    CASE(a_version_that_comes_back_changed_is_refused),
	};
	return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
