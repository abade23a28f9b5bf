/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Phases: how a file becomes a struct. Bytes and syntax, then the form, then the meaning; each runs
 * only on what the one before found right. What kind of file it is, is a table of functions.
 */
#ifndef FAIRLEAD_YAML_PHASES_H
#define FAIRLEAD_YAML_PHASES_H

#include "yaml/notes.h"
#include "yaml/yaml.h"

#include <stddef.h>

struct phases {
	size_t bytes; /* of the struct; it is zeroed before the first phase */
	const char *needs; /* the advice for an empty file */

	/* The form: fill `thing`, with memory of the notes' arena, and note its errors. */
	void (*read)(struct notes *notes, const struct yaml_node *root, void *thing);

	/* The meaning of a thing whose form is right. `scratch` is for the time of the call. */
	void (*check)(struct notes *notes, const struct yaml_node *root, const void *thing,
		      struct arena *scratch);

	/* What a sound thing still needs; returns 0 or -ENOMEM. May be NULL. */
	int (*finish)(void *thing, struct arena *arena);
};

/*
 * Runs the phases over `length` bytes of `text`. Returns 0 and the thing, in `arena`; -FL_EINVALID
 * with at least one error among the findings; -ENOMEM. `ret_findings` is filled in any case.
 */
must_check int phases_run(const struct phases *phases, const char *text, size_t length,
			  const char *file, struct arena *arena, void **ret_thing,
			  struct findings *ret_findings);

#endif
