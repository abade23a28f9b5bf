/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml/phases.h"

static int run(const struct phases *phases, struct notes *notes, struct arena *scratch, void *thing)
{
	struct yaml_node *root;
	int result = yaml_read(notes, phases->needs, scratch, &root);
	if (result < 0)
		return result;
	phases->read(notes, root, thing);
	if (notes->findings->errors == 0 && notes->status == 0)
		phases->check(notes, root, thing, scratch);
	if (notes->status < 0)
		return notes->status;
	if (notes->findings->errors)
		return -FL_EINVALID;
	return phases->finish ? phases->finish(thing, notes->arena) : 0;
}

int phases_run(const struct phases *phases, const char *text, size_t length, const char *file,
	       struct arena *arena, void **ret_thing, struct findings *ret_findings)
{
	struct notes notes;
	notes_init(&notes, text, length, file, arena, ret_findings);
	void *thing = arena_alloc(arena, phases->bytes);
	if (!thing || notes.status < 0)
		return -ENOMEM;
	struct arena scratch;
	arena_init(&scratch, arena->limit);
	int result = run(phases, &notes, &scratch, thing);
	arena_done(&scratch);
	notes_sort(&notes);
	/* A finding may have lost its words to a lack of memory, also in the first phase. */
	if (notes.status < 0)
		return notes.status;
	if (result == 0)
		*ret_thing = thing;
	return result;
}
