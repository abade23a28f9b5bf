/* SPDX-License-Identifier: Apache-2.0 */
#include "config/check.h"
#include "config/config.h"
#include "config/read.h"
#include "model/fabric.h"
#include "yaml/findings.h"
#include "yaml/phases.h"

#include <stdlib.h>

static void read_form(struct notes *notes, const struct yaml_node *root, void *fabric)
{
	read_fabric(notes, root, notes->arena, fabric);
}

static void check_meaning(struct notes *notes, const struct yaml_node *root, const void *fabric,
			  struct arena *scratch)
{
	check_fabric(notes, root, fabric, scratch);
}

static int index_names(void *fabric, struct arena *arena)
{
	return fabric_index(fabric, arena);
}

int config_parse(const char *text, size_t length, const char *file, struct arena *arena,
		 struct fabric **ret_fabric, struct findings *ret_findings)
{
	static const struct phases FABRIC = {
	    .bytes = sizeof(struct fabric),
	    .needs = "a fabric needs at least: fabric, zone, pools, sites, services",
	    .read = read_form,
	    .check = check_meaning,
	    .finish = index_names};
	void *fabric;
	int result = phases_run(&FABRIC, text, length, file, arena, &fabric, ret_findings);
	if (result == 0)
		*ret_fabric = fabric;
	return result;
}

int config_read(const char *text, size_t length, const char *file, struct arena *arena,
		struct fabric **ret_fabric, struct buffer *warnings, struct error *err)
{
	struct findings *findings = calloc(1, sizeof(*findings));
	if (!findings)
		return -ENOMEM;
	int result = config_parse(text, length, file, arena, ret_fabric, findings);
	if (result == -FL_EINVALID)
		findings_error(findings, err);
	else if (result == 0 && warnings)
		findings_render(findings, warnings);
	free(findings);
	return result;
}
