/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Form: how a part of a file is read. A table of fields says which keys a map may have and which
 * function reads each into what. src/config reads fabrics by it, and src/lab topologies.
 *
 * A read function gets one node and the place that its field's struct has for it. What it finds
 * wrong it reports, and leaves the place alone or half filled: a fabric with errors is never used.
 */
#ifndef FAIRLEAD_YAML_FORM_H
#define FAIRLEAD_YAML_FORM_H

#include "base/arena.h"
#include "yaml/notes.h"
#include "yaml/yaml.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct form {
	struct notes *notes;
	struct arena *arena;
};

/* Reads one node into `target`, whose type each function knows. */
typedef void read_fn(struct form *form, const struct yaml_node *node, void *target);

struct form_field {
	const char *name;
	read_fn *read;
	bool is_required;
	bool may_be_null;
};

/* --- shapes --- */

/* Read a map with known keys; `what` names it with its article. */
void read_fields(struct form *form, const struct yaml_node *node, const char *what,
		 const struct form_field *fields, size_t count, void *target);

/*
 * Read every item of a list or map of at most `max` into a new array of `size`-byte items. NULL
 * when that failed or there is none.
 */
void *read_items(struct form *form, const struct yaml_node *node, enum yaml_kind kind, size_t max,
		 size_t size, read_fn *read, size_t *ret_count);

/* The same of a list into storage of the caller, for arrays of fixed size; how many there are. */
size_t read_items_into(struct form *form, const struct yaml_node *node, size_t max, size_t size,
		       read_fn *read, void *target);

/* Whether the node has this shape; reports it if not. */
bool form_expect(struct form *form, const struct yaml_node *node, enum yaml_kind kind);
/* Reports a list or map without entries. */
void form_expect_some(struct form *form, const struct yaml_node *node);

/* Where to point for a node: nothing and nested blocks are best shown by their key. */
struct note_span form_place(const struct yaml_node *node);
void form_out_of_memory(struct form *form);

/* --- single values --- */

/* `fault` is the advice. */
void form_note_value(struct form *form, const struct yaml_node *node, const char *what,
		     const char *fault);
/* The node's text in the form's arena; NULL, noted in the notes, when out of memory. */
const char *form_copy_text(struct form *form, const struct yaml_node *node);

void read_label(struct form *form, const struct yaml_node *node, const char **target);
/* A whole number from 0 to `max`. */
void read_number(struct form *form, const struct yaml_node *node, uint32_t max, uint32_t *target);
void read_duration(struct form *form, const struct yaml_node *node, uint64_t min_ms,
		   uint64_t max_ms, uint64_t *target);
/* `target` is a struct ip_address, and a struct ip_prefix. */
void read_address(struct form *form, const struct yaml_node *node, void *target);
void read_prefix(struct form *form, const struct yaml_node *node, void *target);

#endif
