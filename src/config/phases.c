/* SPDX-License-Identifier: Apache-2.0 */
#include "config/phases.h"

static int run(const struct phases *phases, struct report *report, struct arena *scratch,
	       void *thing)
{
	struct yaml_node *root;
	int result = yaml_read(report, phases->needs, scratch, &root);
	if (result < 0)
		return result;
	phases->read(report, root, thing);
	if (report->findings->errors == 0 && report->status == 0)
		phases->check(report, root, thing, scratch);
	if (report->status < 0)
		return report->status;
	if (report->findings->errors)
		return -FL_EINVALID;
	return phases->finish ? phases->finish(thing, report->arena) : 0;
}

int phases_run(const struct phases *phases, const char *text, size_t length, const char *file,
	       struct arena *arena, void **ret_thing, struct config_findings *ret_findings)
{
	struct report report;
	report_init(&report, text, length, file, arena, ret_findings);
	void *thing = arena_alloc(arena, phases->bytes);
	if (!thing || report.status < 0)
		return -ENOMEM;
	struct arena scratch;
	arena_init(&scratch, arena->limit);
	int result = run(phases, &report, &scratch, thing);
	arena_done(&scratch);
	report_sort(&report);
	/* A finding may have lost its words to a lack of memory, also in the first phase. */
	if (report.status < 0)
		return report.status;
	if (result == 0)
		*ret_thing = thing;
	return result;
}
