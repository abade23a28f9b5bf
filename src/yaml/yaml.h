/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML, as much of it as a configuration needs: bytes → a tree of scalars, lists and maps, each
 * with its place in the file. Anchors, aliases, tags and further documents are refused, so the
 * tree is never larger than the file says (no "billion laughs"), and every scalar is text:
 * what is a number is decided by whoever reads it, never by how it looks.
 *
 * libfyaml's event parser does the syntax. Its document builder is not used, and bytes that are not
 * clean UTF-8 never reach it: it would take a NUL for the end of the file.
 */
#ifndef FAIRLEAD_YAML_YAML_H
#define FAIRLEAD_YAML_YAML_H

#include "base/error.h"
#include "yaml/notes.h"

#include <stdbool.h>

#define YAML_MAX_BYTES (4u << 20)
#define YAML_MAX_LINE (256u << 10) /* bytes; libfyaml keeps the tokens of a whole line */
#define YAML_MAX_DEPTH 12 /* the deepest valid file needs 7 */
#define YAML_MAX_NODES 1000000u /* keys and values; bounds the memory a file can ask for */

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
	enum yaml_kind kind;
	bool is_null; /* nothing, `~` or `null` */
	bool is_plain; /* a scalar without quotes */
	struct note_span span;
	const char *text; /* of a scalar: without control characters */
	const struct yaml_node *key; /* of a map's value: the scalar before it */
	struct yaml_node *first; /* of a list or map: its items or values */
	struct yaml_node *last;
	struct yaml_node *next;
	size_t count;
};

/*
 * Parse the file of `notes`. The tree lives in `arena`; `needs` is the advice for an empty file.
 * Returns 0 and the root, or -FL_EINVALID with at least one error reported, or -ENOMEM. Duplicate
 * keys are errors here.
 */
must_check int yaml_read(struct notes *notes, const char *needs, struct arena *arena,
			 struct yaml_node **ret_root);

/* The value of a map's key; NULL when the node is no map or has no such key. */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);

#endif
