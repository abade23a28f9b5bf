/* SPDX-License-Identifier: Apache-2.0 */
/* The phases of reading, one behind the other. */
#include "config/check.h"
#include "config/config.h"
#include "config/read.h"
#include "config/report.h"
#include "config/yaml.h"
#include "model/fabric.h"

/* Each phase runs only on what the one before found right. */
static int run_phases(struct report *report, struct arena *scratch, struct fabric *fabric)
{
	struct yaml_node *root;
	int result =
	    yaml_read(report, "a fabric needs at least: fabric, zone, pools, sites, services",
		      scratch, &root);
	if (result < 0)
		return result;
	read_fabric(report, root, report->arena, fabric);
	if (report->findings->errors == 0 && report->status == 0)
		check_fabric(report, root, fabric, scratch);
	if (report->status < 0)
		return report->status;
	return report->findings->errors ? -FL_EINVALID : fabric_index(fabric, report->arena);
}

int config_parse(const char *text, size_t length, const char *file, struct arena *arena,
		 struct fabric **ret_fabric, struct config_findings *ret_findings)
{
	struct report report;
	report_init(&report, text, length, file, arena, ret_findings);
	struct fabric *fabric = arena_alloc(arena, sizeof(*fabric));
	if (!fabric || report.status < 0)
		return -ENOMEM;

	struct arena scratch;
	arena_init(&scratch, arena->limit);
	int result = run_phases(&report, &scratch, fabric);
	arena_done(&scratch);
	report_sort(&report);
	/* A finding may have lost its words to a lack of memory, also in the bytes phase. */
	if (report.status < 0)
		return report.status;
	if (result == 0)
		*ret_fabric = fabric;
	return result;
}
