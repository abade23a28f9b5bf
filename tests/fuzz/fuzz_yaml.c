/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a configuration: refused with a place and a reason, or read; and what was read is
 * written so that it reads the same, and needs no change. libfyaml is not fuzzed by its makers'
 * public setup, so this covers our use of it too.
 */
#include "base/buffer.h"
#include "config/config.h"
#include "model/fabric.h"
#include "plan/plan.h"
#include "tests/same_fabric.h"
#include "yaml/findings.h"

#include <jansson.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every way to show findings, each within its bounds. */
static void show(const struct findings *findings)
{
	struct buffer text;
	struct error err;
	buffer_init(&text, 0);
	findings_render(findings, &text);
	ASSERT(text.status == 0);
	if (findings->errors)
		ASSERT(findings_error(findings, &err) == -FL_EINVALID && err.text[0]);
	json_t *json = findings_json(findings);
	ASSERT(json_array_size(json) == findings->count);
	json_decref(json);
	buffer_done(&text);
}

static void check_places(const struct findings *findings, size_t size)
{
	for (size_t i = 0; i < findings->count; i++) {
		const struct finding *finding = &findings->items[i];
		ASSERT(finding->message && finding->offset <= size);
		ASSERT(!finding->excerpt || (finding->line && finding->column));
		ASSERT(i == 0 || finding[-1].offset <= finding->offset);
	}
}

/* What most inputs are a change of. */
static const struct fabric *base(void)
{
	static const char text[] =
	    "fabric: example\nzone: svc.example.net\n"
	    "pools:\n  - {prefix: \"2001:db8:f::/108\", site_bits: 4, slots_per_service: 256}\n"
	    "  - {prefix: 198.51.100.0/26, site_bits: 1}\n"
	    "sites:\n  fra: {location: [50.11, 8.68], clients: [192.0.2.0/25]}\n"
	    "  nyc: {location: [40.71, -74.01]}\n"
	    "services:\n  web:\n    ports: [tcp/80, tcp/443]\n    ttl: 30s\n    backends:\n"
	    "      - {name: web1, site: fra, address: 10.0.1.11, weight: 10}\n"
	    "      - {name: web2, site: nyc, address: \"2001:db8:1::12\", weight: 10}\n";
	static struct arena arena;
	static struct fabric *fabric;
	struct findings findings;
	if (!fabric) {
		arena_init(&arena, 0);
		ASSERT(config_parse(text, sizeof(text) - 1, "base", &arena, &fabric, &findings) ==
		       0);
	}
	return fabric;
}

/* Every change can be planned and shown; between equal ones there is none. */
static void check_change(const struct fabric *before, const struct fabric *after,
			 struct arena *arena)
{
	struct plan *plan;
	struct buffer text;
	ASSERT(plan_build(before, after, NULL, 0, arena, &plan, NULL) == 0);
	ASSERT(!same_fabric(before, after) || plan_is_empty(plan));
	buffer_init(&text, 0);
	plan_render(plan, &text);
	ASSERT(text.status == 0 && text.length > 0);
	buffer_done(&text);
	json_t *json = plan_json(plan);
	ASSERT(json_is_object(json));
	json_decref(json);
}

static void check_plan(const struct fabric *fabric, struct arena *arena)
{
	struct plan *plan;
	ASSERT(plan_build(fabric, fabric, NULL, 0, arena, &plan, NULL) == 0);
	ASSERT(plan_is_empty(plan));
	check_change(base(), fabric, arena);
	check_change(fabric, base(), arena);
}

static void check_round_trip(const struct fabric *fabric, struct arena *arena)
{
	struct buffer text;
	struct fabric *again;
	struct findings findings;
	buffer_init(&text, 0);
	config_emit(fabric, &text);
	ASSERT(text.status == 0);
	ASSERT(config_parse(text.data, text.length, "emitted", arena, &again, &findings) == 0);
	ASSERT(same_fabric(fabric, again));
	buffer_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena;
	struct fabric *fabric;
	struct findings findings;
	arena_init(&arena, 0);
	int result =
	    config_parse((const char *)data, size, "fuzz.yaml", &arena, &fabric, &findings);
	check_places(&findings, size);
	show(&findings);
	if (result == 0) {
		ASSERT(findings.errors == 0);
		check_round_trip(fabric, &arena);
		check_plan(fabric, &arena);
	} else {
		ASSERT(result == -FL_EINVALID && findings.errors > 0);
	}
	arena_done(&arena);
	return 0;
}
