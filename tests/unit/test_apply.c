/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that become records: what is applied is what is read back, nothing is written that is there
 * already, every entry leaves state and configuration in agreement, and the limits that are
 * documented fit.
 */
#include "base/random.h"
#include "config/config.h"
#include "state/config_records.h"
#include "state/placement_records.h"
#include "state/records.h"
#include "state/undo.h"
#include "state_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

#define HEAD                                                                                       \
	"fabric: example\nzone: svc.example.net\n"                                                 \
	"settings: {quiet: 1h, stale: 1d, quarantine: 7d, report_interval: 1s}\n"                  \
	"pools: [{prefix: \"2001:db8:f::/108\", site_bits: 4}]\n"
#define SITES "sites: {fra: {}, nyc: {}}\n"
#define WEB(weight)                                                                                \
	"  web: {ports: [tcp/80], backends: [{name: web1, site: fra, address: 10.0.1.11, "         \
	"weight: " #weight "}]}\n"
#define API(ttl)                                                                                   \
	"  api: {ports: [tcp/80], ttl: " #ttl                                                      \
	", backends: [{name: api1, site: nyc, address: 10.0.1.12}]}\n"

static void apply_text(struct world *world, const char *text)
{
	struct arena arena;
	arena_init(&arena, 0);
	struct world_apply outcome = world_apply(world, world_parse(text, &arena));
	if (outcome.result < 0)
		fail_msg("%s", outcome.err.text);
	arena_done(&arena);
}

static void assert_refused(struct world *world, const char *text, int code, const char *why)
{
	struct arena arena;
	uint64_t revision = world->image.revision;
	arena_init(&arena, 0);
	struct world_apply outcome = world_apply(world, world_parse(text, &arena));
	assert_int_equal(outcome.result, code);
	if (!strstr(outcome.err.text, why))
		fail_msg("%s", outcome.err.text);
	assert_int_equal(world->image.revision, revision);
	arena_done(&arena);
}

/* --- what is written --- */

static void one_changed_service_writes_its_records_only(void **state)
{
	struct world *world = *state;
	apply_text(world, HEAD SITES "services:\n" WEB(10) API(30s));
	world->puts = 0;
	apply_text(world, HEAD SITES "services:\n" API(30s) WEB(10));
	assert_int_equal(world->puts, 0);
	apply_text(world, HEAD SITES "services:\n" WEB(20) API(30s));
	assert_int_equal(world->puts, 3); /* version, state, configuration */
	world->puts = 0;
	apply_text(world, HEAD SITES "services:\n" WEB(20) API(10s));
	assert_int_equal(world->puts, 1); /* no version for a TTL */
	assert_int_equal(image_service(&world->image, "web")->state->rollout.target, 2);
	assert_int_equal(image_service(&world->image, "api")->state->rollout.target, 1);
	assert_int_equal(image_service(&world->image, "api")->configured->ttl_seconds, 10);
}

static void what_leaves_the_file_leaves_the_records(void **state)
{
	struct world *world = *state;
	apply_text(world, HEAD SITES "services:\n" WEB(10) API(30s));
	apply_text(world, HEAD "sites: {fra: {}}\nservices:\n" WEB(10));
	assert_null(harness_get(&world->harness, "config/service/api"));
	assert_null(harness_get(&world->harness, "config/site/nyc"));
	assert_non_null(harness_get(&world->harness, "placement/site/001"));
	assert_true(image_service(&world->image, "api")->state->removed);
	assert_int_equal(world->image.fabric->service_count, 1);
	assert_int_equal(world->image.fabric->site_count, 1);
	assert_int_equal(world->image.placement->site_count, 2);
}

/* --- pools that leave --- */

static void no_record_names_an_address_of_a_pool_that_leaves(void **state)
{
#define OTHER_POOL                                                                                 \
	"fabric: example\nzone: svc.example.net\npools: [{prefix: \"2001:db8:e::/108\"}]\n"        \
	"sites: {fra: {}}\nservices:\n" WEB(10)
#define RECORD(type, value) "dns: {records: {old: {" type ": '" value "'}}}\n"
	static const char *const FILES[] = {
	    OTHER_POOL RECORD("aaaa", "2001:db8:f::7"),
	    OTHER_POOL RECORD("https", "1 . ipv6hint=2001:db8:f::7")};
	struct world *world = *state;
	apply_text(world, HEAD "sites: {fra: {}}\nservices:\n" WEB(10));
	for (size_t i = 0; i < sizeof(FILES) / sizeof(FILES[0]); i++)
		assert_refused(world, FILES[i], -FL_ESTATE,
			       "record `old` names an address of pool 2001:db8:f::/108, which is");
	apply_text(world, OTHER_POOL RECORD("aaaa", "2001:db8:d::7"));
	assert_refused(world, FILES[0], -FL_ESTATE, "which is leaving");
}

/* --- what comes again goes on counting --- */

struct eraser {
	struct change change;
	const char *const *keys; /* ended by NULL */
};

static int build_eraser(struct change *change, struct change_draft *draft, struct error *err)
{
	int result = 0;
	(void)err;
	draft->what = json_object();
	for (const char *const *key = ((struct eraser *)change)->keys; *key && result == 0; key++)
		result = draft_delete(draft, *key);
	return result < 0 ? result : CHANGE_COMMIT;
}

static void eraser_done(struct change *change, int result, const struct error *err,
			uint64_t sequence)
{
	(void)change;
	(void)sequence;
	if (result < 0)
		fail_msg("%s", err->text);
}

static void erase(struct world *world, const char *const *keys)
{
	struct eraser eraser = {
	    .change = {.kind = "test", .build = build_eraser, .done = eraser_done}, .keys = keys};
	changes_submit(world->changes, &eraser.change);
	world_settle(world);
}

static void a_service_that_comes_again_goes_on_counting(void **state)
{
	struct world *world = *state;
	static const char *const THE_STATE[] = {"service/web", "version/web/0000000001",
						"version/web/0000000002", "version/web/0000000003",
						NULL};
	apply_text(world, HEAD SITES "services:\n" WEB(10) API(30s));
	apply_text(world, HEAD SITES "services:\n" WEB(20) API(30s));
	apply_text(world, HEAD SITES "services:\n" API(30s));
	const struct image_service *web = image_service(&world->image, "web");
	assert_int_equal(web->ended.next_version, 3);
	assert_int_equal(web->ended.removed, world->image.head.sequence);
	/* While it drains, and when nothing of it is left, which the driver sees to. */
	apply_text(world, HEAD SITES "services:\n" WEB(20) API(30s));
	assert_int_equal(web->state->rollout.target, 3);
	apply_text(world, HEAD SITES "services:\n" API(30s));
	erase(world, THE_STATE);
	assert_null(web->state);
	world_restart(world);
	apply_text(world, HEAD SITES "services:\n" WEB(20) API(30s));
	assert_int_equal(image_service(&world->image, "web")->state->rollout.target, 4);
	assert_int_equal(image_service(&world->image, "api")->state->rollout.target, 1);
}

/* --- the same file comes back --- */

static unsigned below(struct random *random, unsigned bound)
{
	return (unsigned)random_below(random, bound);
}

static void put_address(struct random *random, struct buffer *text)
{
	buffer_printf(text, "10.%u.%u.%u", below(random, 200), below(random, 200),
		      1 + below(random, 200));
}

static void put_backends(struct random *random, unsigned sites, bool has_listener,
			 struct buffer *text)
{
	unsigned count = 1 + below(random, 4);
	for (unsigned i = 0; i < count; i++) {
		buffer_printf(text,
			      "      - {name: b%u, site: s%u, address: 10.9.%u.%u, weight: %u", i,
			      below(random, sites), below(random, 250), i + 1,
			      i ? 10 + below(random, 10) : 9);
		if (has_listener && below(random, 2))
			buffer_printf(text, ", listen: {tcp/80: [\"127.0.0.1:%u\", \"[::1]:%u\"]}",
				      1 + below(random, 65535), 1 + below(random, 65535));
		buffer_puts(text, "}\n");
	}
}

static void put_service(struct random *random, unsigned number, unsigned sites, struct buffer *text)
{
	static const char *const HEALTH[] = {
	    "", "    health: {tcp: {port: 80}}\n",
	    "    health: {http: {port: 80, path: \"/a\\\"b\"}, interval: 7s, fall: 9}\n"};
	static const char *const SHARES[] = {"[100%]", "[5%, 25%, 100%]", "[0.01%, 100%]"};
	buffer_printf(text, "  v%u:\n    ports: [tcp/80%s%s]\n    ttl: %us\n", number,
		      below(random, 2) ? ", quic/443" : "",
		      below(random, 2) ? ", udp/1000-1999" : "", 1 + below(random, 600000));
	buffer_puts(text, HEALTH[below(random, 3)]);
	buffer_printf(text, "    rollout: {shares: %s, pause: %ums}\n", SHARES[below(random, 3)],
		      below(random, 100000));
	if (below(random, 3) == 0)
		buffer_printf(text, "    drain_limit: %us\n", 1 + below(random, 100000));
	buffer_puts(text, "    backends:\n");
	put_backends(random, sites, below(random, 2), text);
}

/* A fabric of few names, so that two have much in common, and differ in many ways. */
static char *random_file(struct random *random)
{
	struct buffer text;
	buffer_init(&text, 0);
	unsigned sites = 1 + below(random, 4);
	buffer_printf(&text, "fabric: example\nzone: %s.example.net\n",
		      below(random, 2) ? "svc" : "other");
	if (below(random, 2))
		buffer_printf(&text, "settings: {quiet: %us, report_interval: %ums}\n",
			      below(random, 9000), 100 + below(random, 9000));
	if (below(random, 2)) {
		buffer_puts(&text, "nameservers: {ns2: [");
		put_address(random, &text);
		buffer_puts(&text, "], ns.elsewhere.example.: []}\n");
	}
	buffer_puts(&text, "pools:\n  - {prefix: \"2001:db8:f::/108\"}\n"
			   "  - {prefix: 198.18.0.0/16, site_bits: 3}\n");
	if (below(random, 2))
		buffer_puts(&text, "  - {prefix: 198.19.0.0/16, site_bits: 3}\n");
	buffer_puts(&text, "sites:\n");
	for (unsigned i = 0; i < sites; i++) {
		buffer_printf(&text, "  s%u: {", sites - 1 - i);
		if (below(random, 2))
			buffer_printf(&text, "location: [-%u.%u, 7.000000001], ", below(random, 90),
				      below(random, 1000));
		buffer_printf(&text, "clients: [%u.0.0.0/8, \"2001:db8:%u::/48\"]}\n", 20 + i, i);
	}
	unsigned services = below(random, 6);
	buffer_puts(&text, services ? "services:\n" : "services: {}\n");
	for (unsigned i = services; i-- > 0;)
		put_service(random, i, sites, &text);
	return buffer_take(&text);
}

static int compare_services(const void *a, const void *b)
{
	return strcmp(((const struct service *)a)->name, ((const struct service *)b)->name);
}

static int compare_sites(const void *a, const void *b)
{
	return strcmp(((const struct site *)a)->name, ((const struct site *)b)->name);
}

/* Services and sites are maps: a fabric that comes out of the records has them by name. */
static void sort_maps(struct fabric *fabric)
{
	if (fabric->service_count)
		qsort(fabric->services, fabric->service_count, sizeof(struct service),
		      compare_services);
	if (fabric->site_count)
		qsort(fabric->sites, fabric->site_count, sizeof(struct site), compare_sites);
	fabric->by_name = NULL;
}

static void assert_agreement(struct world *world)
{
	const struct image *image = &world->image;
	for (size_t i = 0; i < image->service_count; i++) {
		const struct image_service *service = image->services[i];
		bool is_live = service->state && !service->state->removed;
		assert_int_equal(is_live, service->configured != NULL);
		if (!is_live || !service->configured)
			continue;
		const struct version *version =
		    image_version(service, service->state->rollout.target);
		assert_non_null(version);
		assert_int_equal(version->backend_count, service->configured->backend_count);
		for (size_t b = 0; b < version->backend_count; b++)
			assert_int_equal(
			    version->backends[b].weight,
			    service_backend(service->configured, version->backends[b].name)
				->weight);
	}
}

static void agree(struct world *world, const struct store_event *events, size_t count)
{
	(void)events;
	(void)count;
	assert_agreement(world);
}

/* What undoes the last entry, as a file that is to be freed. */
static char *undone_file(struct world *world, struct arena *arena)
{
	struct fabric *fabric;
	struct error err;
	struct buffer text;
	buffer_init(&text, 0);
	if (undo_fabric(&world->image, 7, world->last_what, NULL, arena, &fabric, &err) < 0)
		fail_msg("%s", err.text);
	sort_maps(fabric);
	config_emit(fabric, &text);
	buffer_putc(&text, '\0');
	assert_int_equal(text.status, 0);
	return text.data;
}

/* Undone, and undone again, which is the file once more; each as a change of its own. */
static void assert_undone(struct world *world, const char *before, const char *now)
{
	const char *const wanted[] = {before, now};
	for (size_t i = 0; i < 2; i++) {
		struct arena arena;
		arena_init(&arena, 0);
		char *back = undone_file(world, &arena);
		assert_string_equal(back, wanted[i]);
		struct world_apply outcome = world_apply(world, world_parse(back, &arena));
		if (outcome.result < 0)
			fail_msg("%s", outcome.err.text);
		assert_int_not_equal(outcome.parts, 0);
		if (outcome.parts > 1) /* its last entry says less than all of it */
			i = 2;
		free(back);
		arena_done(&arena);
	}
}

static void any_file_comes_back_as_it_was(void **state)
{
	struct world *world = *state;
	const char *seed = getenv("FAIRLEAD_SEED");
	struct random random;
	random_init_seeded(&random, seed ? strtoull(seed, NULL, 10) : 1);
	char *before = NULL;
	unsigned undone = 0;
	world->moved = agree;
	for (unsigned round = 0; round < 60; round++) {
		struct arena arena;
		struct buffer wanted;
		arena_init(&arena, 0);
		buffer_init(&wanted, 0);
		char *file = random_file(&random);
		assert_non_null(file);
		struct fabric *fabric = world_parse(file, &arena);
		struct world_apply outcome = world_apply(world, fabric);
		if (outcome.result < 0)
			fail_msg("round %u: %s", round, outcome.err.text);
		unsigned parts = outcome.parts;
		undone += parts == 1 && before;
		sort_maps(fabric);
		config_emit(fabric, &wanted);
		if (round % 10 == 9)
			world_restart(world);
		char *got = world_file(world);
		assert_string_equal(got, wanted.data);

		/* And what came back changes nothing. */
		uint64_t revision = world->image.revision;
		outcome = world_apply(world, world_parse(got, &arena));
		assert_int_equal(outcome.result, 0);
		assert_int_equal(outcome.parts, 0);
		assert_int_equal(world->image.revision, revision);
		if (before && parts == 1)
			assert_undone(world, before, got);
		free(before);
		free(got);
		before = world_file(world);
		free(file);
		buffer_done(&wanted);
		arena_done(&arena);
	}
	free(before);
	assert_true(undone > 20);
}

/* --- undo --- */

static void assert_no_way_back(struct world *world, const json_t *what, const char *service,
			       const char *why)
{
	struct arena arena;
	struct fabric *fabric;
	struct error err = {0};
	arena_init(&arena, 0);
	assert_true(undo_fabric(&world->image, 7, what, service, &arena, &fabric, &err) < 0);
	if (!strstr(err.text, why))
		fail_msg("%s", err.text);
	arena_done(&arena);
}

static void an_entry_is_undone_while_it_is_the_last_word(void **state)
{
	struct world *world = *state;
	struct arena arena;
	arena_init(&arena, 0);
	apply_text(world, HEAD SITES "services:\n" WEB(10) API(30s));
	assert_no_way_back(world, world->last_what, NULL, "entry 7 holds the first configuration");
	apply_text(world, HEAD SITES "services:\n" WEB(20) API(30s));
	json_t *second = json_incref(world->last_what);
	apply_text(world, HEAD SITES "services:\n" WEB(30) API(10s));
	json_t *third = json_incref(world->last_what);
	assert_no_way_back(world, second, NULL, "service web was changed again after entry 7");

	/* With the later one undone, it can be; and of each service alone. */
	apply_text(world, HEAD SITES "services:\n" WEB(20) API(10s));
	assert_no_way_back(world, second, "api", "entry 7 does not say what it changed of service");
	struct fabric *fabric;
	assert_int_equal(undo_fabric(&world->image, 7, second, NULL, &arena, &fabric, NULL), 0);
	assert_int_equal(fabric_service(fabric, "web")->backends[0].weight, 10);
	assert_int_equal(fabric_service(fabric, "api")->ttl_seconds, 10);
	/* What is as it was before is left alone. */
	assert_int_equal(undo_fabric(&world->image, 7, third, NULL, &arena, &fabric, NULL), 0);
	assert_int_equal(fabric_service(fabric, "web")->backends[0].weight, 20);
	assert_int_equal(fabric_service(fabric, "api")->ttl_seconds, 30);
	json_decref(second);
	json_decref(third);
	arena_done(&arena);
}

static void an_entry_that_does_not_say_is_not_undone(void **state)
{
	static const struct {
		const char *what, *why;
	} ENTRIES[] = {
	    {"{}", "an earlier release wrote it"},
	    {"{\"changed\":[]}", "that was nothing"},
	    {"{\"changed\":[{\"key\":\"config/service/web\",\"too_large\":true}]}",
	     "more than an entry keeps"},
	    {"{\"changed\":[{\"key\":\"config/other\",\"before\":null,\"after\":null}]}",
	     "does not know of"},
	    {"{\"changed\":[{\"key\":\"service/web\",\"before\":null,\"after\":null}]}",
	     "does not know of"},
	    {"{\"changed\":[7]}", "does not know of"},
	    {"{\"changed\":[{\"key\":\"config/service/web\",\"before\":7,\"after\":null}]}",
	     "what cannot be"},
	    {"{\"changed\":[{\"key\":\"config/service/web\",\"before\":{},\"after\":null}]}",
	     "stored configuration of a service"},
	    {"{\"changed\":[{\"key\":\"config/service/web\",\"before\":{\"level\":9},"
	     "\"after\":null}]}",
	     "has level 9"},
	};
	struct world *world = *state;
	apply_text(world, HEAD SITES "services:\n" WEB(10) API(30s));
	for (size_t i = 0; i < sizeof(ENTRIES) / sizeof(ENTRIES[0]); i++) {
		json_t *what = json_loads(ENTRIES[i].what, 0, NULL);
		assert_non_null(what);
		assert_no_way_back(world, what, NULL, ENTRIES[i].why);
		json_decref(what);
	}
}

/* --- size --- */

static char *large_file(unsigned services, unsigned weight)
{
	struct buffer text;
	buffer_init(&text, 0);
	buffer_puts(&text, HEAD SITES "services:\n");
	for (unsigned i = 0; i < services; i++)
		buffer_printf(
		    &text,
		    "  service-%04u:\n    ports: [tcp/80, tcp/443]\n    backends:\n"
		    "      - {name: one-%04u, site: fra, address: 10.1.%u.%u, weight: %u}\n"
		    "      - {name: two-%04u, site: nyc, address: 10.2.%u.%u}\n"
		    "      - {name: three-%04u, site: nyc, address: 10.3.%u.%u}\n",
		    i, i, i / 250, i % 250 + 1, weight, i, i / 250, i % 250 + 1, i, i / 250,
		    i % 250 + 1);
	return buffer_take(&text);
}

static void as_many_services_as_documented_fit(void **state)
{
	struct world *world = *state;
	struct arena arena;
	char *file = large_file(MODEL_MAX_SERVICES, 10);
	arena_init(&arena, 0);
	const struct fabric *fabric = world_parse(file, &arena);

	/* Cut off after some parts; then the whole of it, by another process. */
	struct world_apply outcome = world_apply_parts(world, fabric, 3);
	assert_int_equal(outcome.parts, 3);
	assert_agreement(world);
	assert_true(world->image.fabric->service_count > 50);
	assert_true(world->image.fabric->service_count < 500);
	world_restart(world);
	outcome = world_apply(world, fabric);
	if (outcome.result < 0)
		fail_msg("%s", outcome.err.text);
	assert_agreement(world);
	assert_int_equal(world->image.fabric->service_count, MODEL_MAX_SERVICES);
	assert_int_equal(world->image.state_count, MODEL_MAX_SERVICES);
	assert_int_equal(world->image.placement->service_count, MODEL_MAX_SERVICES);
	world_restart(world);
	outcome = world_apply(world, fabric);
	assert_int_equal(outcome.result, 0);
	assert_int_equal(outcome.parts, 0);

	/* All of them go at once. */
	outcome = world_apply(world, world_parse(HEAD SITES "services: {}\n", &arena));
	assert_int_equal(outcome.result, 0);
	assert_int_equal(world->image.fabric->service_count, 0);
	free(file);
	arena_done(&arena);
}

/* --- other orders between the parts --- */

struct intruder {
	struct change change;
	struct world *world;
	bool once;
	int result;
};

/* Gives the slot that the next part wants to a service that is none of the file's. */
static int build_intruder(struct change *change, struct change_draft *draft, struct error *err)
{
	struct intruder *intruder = (struct intruder *)change;
	struct service_state other = {.name = "intruder", .index = 5000, .next_version = 2};
	struct version_status version = {
	    .number = 1, .state = VERSION_RETIRED, .sequence = 1, .changed_sequence = 1};
	struct buffer value;
	(void)err;
	(void)intruder;
	other.versions = &version;
	other.version_count = 1;
	buffer_init(&value, 0);
	assert_int_equal(record_service_put(&other, &value), 0);
	int result = draft_put(draft, "service/intruder", 0, &value);
	buffer_done(&value);
	draft->what = json_object();
	return result < 0 ? result : CHANGE_COMMIT;
}

static void intruder_done(struct change *change, int result, const struct error *err,
			  uint64_t sequence)
{
	(void)err;
	(void)sequence;
	((struct intruder *)change)->result = result;
}

static void intrude(struct world *world, const struct store_event *events, size_t count)
{
	static struct intruder intruder;
	(void)events;
	(void)count;
	if (intruder.once)
		return;
	intruder = (struct intruder){
	    .change = {.kind = "other", .build = build_intruder, .done = intruder_done},
	    .world = world,
	    .once = true};
	changes_submit(world->changes, &intruder.change);
}

static void an_unrelated_order_between_the_parts_does_not_matter(void **state)
{
	struct world *world = *state;
	struct arena arena;
	char *file = large_file(200, 10);
	arena_init(&arena, 0);
	world->moved = intrude;
	struct world_apply outcome = world_apply(world, world_parse(file, &arena));
	assert_int_equal(outcome.result, 0);
	assert_int_equal(world->image.fabric->service_count, 200);
	assert_int_equal(world->image.state_count, 201);
	free(file);
	arena_done(&arena);
}

/* --- slots --- */

static void free_slots_are_records_of_their_own(void **state)
{
	struct world *world = *state;
	const struct freed_slot_record freed = {
	    .slot = {.free_wall_ms = 1, .binding_number = 4, .sequence = 3}, .service = "web"};
	struct buffer value;
	apply_text(world, HEAD SITES "services:\n" WEB(10));
	buffer_init(&value, 0);
	assert_int_equal(freed_slot_put(&freed, &value), 0);
	harness_put(&world->harness, "placement/slot/00/0000009", value.data);
	harness_put(&world->harness, "placement/slot/03/0000009", value.data);
	world_settle(world);
	buffer_done(&value);
	const struct placement *placement = world->image.placement;
	assert_int_equal(placement->used_slot_count, 1); /* there is no pool 3 */
	assert_int_equal(placement->used_slots[0].slot, 9);
	assert_int_equal(placement->used_slots[0].service, 0);
	assert_int_equal(placement->used_slots[0].binding_number, 4);

	/* Another shape of the pool makes other addresses of its slots. */
	apply_text(world, HEAD SITES "services: {}\n");
	harness_delete(&world->harness, "service/web");
	world_settle(world);
	assert_int_equal(world->image.placement->used_slots[0].service, PLACEMENT_NO_SERVICE);
	apply_text(world, "fabric: example\nzone: svc.example.net\n"
			  "pools: [{prefix: \"2001:db8:f::/108\", site_bits: 5}]\n" SITES
			  "services: {}\n");
	assert_int_equal(world->image.placement->used_slot_count, 0);
	assert_int_equal(world->image.placement->pools[0].pool.site_bits, 5);
	assert_true(image_pool_since(&world->image, 0) > 3);
}

/* --- records that are not understood --- */

static const char *unread_value(void)
{
	return "{\"level\":9,\"new\":[1,2,3]}";
}

static void assert_untouched(struct world *world, const char *key)
{
	assert_string_equal(harness_get(&world->harness, key)->value, unread_value());
}

#define BOTH HEAD SITES "services:\n" WEB(10) API(30s)

static void a_higher_level_is_told_of_and_kept(void **state)
{
	struct world *world = *state;
	char text[IMAGE_UNREAD_TEXT];
	static const struct {
		const char *key;
		const char *text;
	} CASES[] = {
	    {"config/service/web", "config/service/web has level 9, and this program reads up to "
				   "level 2"},
	    {"service/web", "service/web has level 9"},
	    {"config/fabric", "config/fabric has level 9"},
	    {"config/setting/quiet", "config/setting/quiet has level 9"},
	    {"config/pool/00", "config/pool/00 has level 9"},
	    {"config/site/fra", "config/site/fra has level 9"},
	};
	apply_text(world, BOTH);
	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		const struct store_record *record = harness_get(&world->harness, CASES[i].key);
		char *before = strdup(record->value);
		harness_put(&world->harness, CASES[i].key, unread_value());
		world_settle(world);
		for (int restarted = 0; restarted < 2; restarted++) {
			assert_int_equal(world->image.unread_count, 1);
			image_unread_text(&world->image.unread[0], text);
			if (!strstr(text, CASES[i].text))
				fail_msg("%s", text);
			assert_refused(world, BOTH, -FL_EUNSUPPORTED, CASES[i].text);
			assert_refused(world, HEAD SITES "services: {}\n", -FL_EUNSUPPORTED,
				       CASES[i].text);
			assert_untouched(world, CASES[i].key);
			world_restart(world);
		}
		harness_put(&world->harness, CASES[i].key, before);
		world_settle(world);
		assert_int_equal(world->image.unread_count, 0);
		assert_int_equal(world_apply(world, world->image.fabric).parts, 0);
		free(before);
	}
}

static void the_rest_is_read_beside_it(void **state)
{
	struct world *world = *state;
	apply_text(world, BOTH);
	harness_put(&world->harness, "config/service/web", unread_value());
	world_settle(world);
	const struct image_service *web = image_service(&world->image, "web");
	assert_int_equal(web->unread, IMAGE_UNREAD_CONFIG);
	assert_null(web->configured);
	assert_non_null(web->state);
	assert_non_null(image_service(&world->image, "api")->configured);
	assert_null(image_unread_meaning(&world->image));

	harness_put(&world->harness, "service/web", unread_value());
	world_settle(world);
	assert_int_equal(web->unread, IMAGE_UNREAD_CONFIG | IMAGE_UNREAD_STATE);
	assert_null(web->state);
	assert_int_equal(world->image.state_count, 1);
	assert_string_equal(image_unread_meaning(&world->image)->key, "service/web");
}

/* Nothing is known of it, and nothing is done to it. */
static void an_unknown_key_hinders_nobody(void **state)
{
	struct world *world = *state;
	static const char *const KEYS[] = {"aaa", "config/colour/web", "config/setting/colour",
					   "member", "zzz/x"};
	apply_text(world, BOTH);
	for (size_t i = 0; i < sizeof(KEYS) / sizeof(KEYS[0]); i++)
		harness_put(&world->harness, KEYS[i], i % 2 ? unread_value() : "{\"level\":1}");
	world_settle(world);
	for (int restarted = 0; restarted < 2; restarted++) {
		assert_int_equal(world->image.unread_count, 5);
		assert_int_equal(world->image.unread[0].reads, 0);
		world_restart(world);
	}
	apply_text(world, HEAD SITES "services:\n" WEB(20));
	assert_untouched(world, "config/colour/web");
	assert_int_equal(image_service(&world->image, "web")->state->rollout.target, 2);
	harness_delete(&world->harness, "zzz/x");
	world_settle(world);
	assert_int_equal(world->image.unread_count, 4);
}

/* Which slots are free is not known while something unread may hold one. */
static void no_slot_is_given_while_a_holder_is_unread(void **state)
{
	struct world *world = *state;
	static const char *const KEYS[] = {"placement/pool/00", "placement/slot/00/0000003"};
	apply_text(world, BOTH);
	for (size_t i = 0; i < 2; i++) {
		const struct store_record *record = harness_get(&world->harness, KEYS[i]);
		char *before = record ? strdup(record->value) : NULL;
		harness_put(&world->harness, KEYS[i], unread_value());
		world_settle(world);
		assert_refused(world, HEAD SITES "services:\n" WEB(30) API(30s), -FL_EUNSUPPORTED,
			       KEYS[i]);
		assert_untouched(world, KEYS[i]);
		if (before)
			harness_put(&world->harness, KEYS[i], before);
		world_settle(world);
		free(before);
	}
}

struct overwriter {
	struct change change;
	const char *key;
	int result;
	struct error err;
};

static int build_overwriter(struct change *change, struct change_draft *draft, struct error *err)
{
	(void)err;
	draft->what = json_object();
	int result = draft_delete(draft, ((struct overwriter *)change)->key);
	return result < 0 ? result : CHANGE_COMMIT;
}

static void overwriter_done(struct change *change, int result, const struct error *err,
			    uint64_t sequence)
{
	struct overwriter *overwriter = (struct overwriter *)change;
	(void)sequence;
	overwriter->result = result;
	if (err)
		overwriter->err = *err;
}

/* Whoever builds a change: what is unread is out of its reach. */
static void no_change_touches_what_is_unread(void **state)
{
	struct world *world = *state;
	struct overwriter overwriter = {
	    .change = {.kind = "test", .build = build_overwriter, .done = overwriter_done},
	    .key = "forgotten/web1"};
	harness_put(&world->harness, "forgotten/web1", unread_value());
	world_settle(world);
	assert_null(image_forgotten(&world->image, "web1", &(struct ip_address){.family = IP_NONE},
				    &(size_t){0}));
	changes_submit(world->changes, &overwriter.change);
	world_settle(world);
	assert_int_equal(overwriter.result, -FL_EUNSUPPORTED);
	assert_non_null(strstr(overwriter.err.text, "forgotten/web1 has level 9"));
	assert_untouched(world, "forgotten/web1");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(one_changed_service_writes_its_records_only),
	    CASE(what_leaves_the_file_leaves_the_records),
	    CASE(no_record_names_an_address_of_a_pool_that_leaves),
	    CASE(a_service_that_comes_again_goes_on_counting),
	    CASE(any_file_comes_back_as_it_was),
	    CASE(an_entry_is_undone_while_it_is_the_last_word),
	    CASE(an_entry_that_does_not_say_is_not_undone),
	    CASE(as_many_services_as_documented_fit),
	    CASE(an_unrelated_order_between_the_parts_does_not_matter),
	    CASE(free_slots_are_records_of_their_own),
	    CASE(a_higher_level_is_told_of_and_kept),
	    CASE(the_rest_is_read_beside_it),
	    CASE(an_unknown_key_hinders_nobody),
	    CASE(no_slot_is_given_while_a_holder_is_unread),
	    CASE(no_change_touches_what_is_unread),
	};
	return cmocka_run_group_tests_name("apply", tests, NULL, NULL);
}
