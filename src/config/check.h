/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meaning of the file: what each part must not contradict in the others. Runs on a fabric whose
 * form is right.
 */
#ifndef FAIRLEAD_CONFIG_CHECK_H
#define FAIRLEAD_CONFIG_CHECK_H

#include "base/netaddr.h"
#include "yaml/notes.h"
#include "yaml/yaml.h"

#include <stdbool.h>

struct arena;
struct fabric;
struct pool;

/* One check, as its parts see it. */
struct config_check {
	struct notes *notes;
	const struct fabric *fabric;
	struct arena *scratch;
	bool has_family[IP_V6 + 1]; /* by enum ip_family: some pool has it */
};

/* Report every contradiction. `root` is the tree that read_fabric() built `fabric` from; `scratch`
 * is for the time of the call. */
void check_fabric(struct notes *notes, const struct yaml_node *root, const struct fabric *fabric,
		  struct arena *scratch);

/* check_place.c. */
/* Where to point for a value that may have been left out: at it, or at what should hold it. */
struct note_span check_place(const struct yaml_node *map, const char *key);

/* The pool that the address lies in; NULL if in none. */
const struct pool *check_pool_around(const struct config_check *check,
				     const struct ip_address *address);

/* check_names.c: the zone, its name servers, and names that are one label below it. The second
 * returns whether the key is such a name; if not, that is noted. */
void check_names(struct config_check *check, const struct yaml_node *root);
/* check_records.c: the zone's contact, and what records it is given. */
void check_records(struct config_check *check, const struct yaml_node *root);
bool check_name_in_zone(struct config_check *check, const struct yaml_node *key);

#endif
