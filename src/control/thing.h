/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Things: what commands print, described once. A thing has fields, each with its key in JSON, its
 * type and unit, the heading of its column, and what it means. Tables, reports and the lists of
 * fields in `--help` follow from this; whatever else shows things (a page, metrics) can as well.
 *
 * The descriptions are no filter: JSON and YAML give an answer as the daemon sent it, and a field
 * that is not described, because the daemon is newer, is shown by what it looks like.
 */
#ifndef FAIRLEAD_CONTROL_THING_H
#define FAIRLEAD_CONTROL_THING_H

#include "base/buffer.h"
#include "control/table.h"

#include <jansson.h>
#include <stdbool.h>

/* X(id, name) */
#define FIELD_TYPES(X)                                                                             \
	X(TEXT, "text")                                                                            \
	X(NUMBER, "number") /* as it is now */                                                     \
	X(REAL, "real number") /* the same, with a fraction */                                     \
	X(COUNTER, "counter") /* only grows, until the process ends */                             \
	X(SHARE, "share") /* a part of all, from 0 to 1 */                                         \
	X(FLAG, "true or false")                                                                   \
	X(TIME, "time") /* of the wall clock, RFC 3339 */                                          \
	X(TEXTS, "list of texts")                                                                  \
	X(THING, "object")                                                                         \
	X(THINGS, "list of objects")

enum field_type {
#define X(id, name) FIELD_##id,
	FIELD_TYPES(X)
#undef X
};

struct thing;

/* One cell of `item`, where the field's own value does not say all. */
typedef void field_cell_fn(struct table *table, const json_t *item);

struct field {
	const char *name; /* its key in JSON */
	enum field_type type;
	const char *help; /* NULL: a further column of what is described already */
	const char *heading; /* NULL: tables leave it out */
	const char *unit; /* of numbers; its key ends in it. NULL: a count or an identifier */
	const struct thing
	    *thing; /* what the object, or each of the list, is; NULL: not described */
	field_cell_fn *cell; /* NULL: the value as its type says */
	bool wide; /* only tables with room for it have the column */
	bool outer; /* a column of what has the list; a text of it is said once for the list */
};

struct thing {
	const char *name; /* "version" */
	const char *plural; /* the kind that `get` lists; NULL: it lists none */
	const char *help;
	const char *none; /* instead of an empty table */
	const struct field *fields; /* ends with a NULL name */
};

extern const struct thing thing_status, thing_service, thing_version, thing_backend, thing_binding,
    thing_pool, thing_site, thing_node, thing_rollout, thing_entry, thing_verdict, thing_file,
    thing_validation, thing_plan, thing_apply, thing_order, thing_cut, thing_rollback, thing_forget,
    thing_removal, thing_recovery, thing_resumption, thing_token, thing_routing,
    thing_routing_config, thing_event, thing_doctor;

/* Of a lab, and the rows of its tables. */
extern const struct thing thing_lab, thing_lab_link, thing_lab_end, thing_lab_interface,
    thing_lab_way, thing_lab_process;

/* The kinds of `get`, in the order of its help; ends with NULL. */
extern const struct thing *const thing_kinds[];

/* By plural, as `get` names kinds, or by name; NULL if there is none. */
const struct thing *thing_find_kind(const char *plural);
const struct thing *thing_find(const char *name, size_t length);

/* NULL: it is not described. `thing` may be NULL. */
const struct field *thing_field(const struct thing *thing, const char *name);

/* The fields, a line each: "  versions[].state  text  …". */
void thing_help(const struct thing *thing, struct buffer *text);

#endif
