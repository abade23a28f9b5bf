/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a configuration: refused with a place and a reason, or read; and what was read is
 * written so that it reads the same, and needs no change. libfyaml is not fuzzed by its makers'
 * public setup, so this covers our use of it too.
 */
#include "base/buffer.h"
#include "config/config.h"
#include "config/plan.h"
#include "model/fabric.h"

#include <jansson.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every way to show findings, each within its bounds. */
static void show(const struct config_findings *findings)
{
	struct buffer text;
	struct error err;
	buffer_init(&text, 0);
	config_findings_render(findings, &text);
	ASSERT(text.status == 0);
	if (findings->errors)
		ASSERT(config_findings_error(findings, &err) == -FL_EINVALID && err.text[0]);
	json_t *json = config_findings_json(findings);
	ASSERT(json_array_size(json) == findings->count);
	json_decref(json);
	buffer_done(&text);
}

static void check_places(const struct config_findings *findings, size_t size)
{
	for (size_t i = 0; i < findings->count; i++) {
		const struct config_finding *finding = &findings->items[i];
		ASSERT(finding->message && finding->offset <= size);
		ASSERT(!finding->excerpt || (finding->line && finding->column));
		ASSERT(i == 0 || finding[-1].offset <= finding->offset);
	}
}

static void check_plan(const struct fabric *fabric, struct arena *arena)
{
	struct plan *plan;
	ASSERT(plan_build(fabric, fabric, NULL, 0, arena, &plan, NULL) == 0);
	ASSERT(plan_is_empty(plan));
}

static void check_round_trip(const struct fabric *fabric, struct arena *arena)
{
	struct buffer text;
	struct fabric *again;
	struct config_findings findings;
	bool equal;
	buffer_init(&text, 0);
	config_emit(fabric, &text);
	ASSERT(text.status == 0);
	ASSERT(config_parse(text.data, text.length, "emitted", arena, &again, &findings) == 0);
	ASSERT(config_equal(fabric, again, &equal) == 0 && equal);
	buffer_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena;
	struct fabric *fabric;
	struct config_findings findings;
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
