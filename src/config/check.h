/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meaning of the file: what each part must not contradict in the others. Runs on a fabric whose
 * form is right.
 */
#ifndef FAIRLEAD_CONFIG_CHECK_H
#define FAIRLEAD_CONFIG_CHECK_H

#include "yaml/notes.h"
#include "yaml/yaml.h"

struct arena;
struct fabric;

/* Report every contradiction. `root` is the tree that read_fabric() built `fabric` from; `scratch`
 * is for the time of the call. */
void check_fabric(struct notes *notes, const struct yaml_node *root, const struct fabric *fabric,
		  struct arena *scratch);

#endif
