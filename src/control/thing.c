/* SPDX-License-Identifier: Apache-2.0 */
#include "control/thing.h"

#include <stdio.h>
#include <string.h>

#define PATH_BYTES 64u

const struct thing *thing_find_kind(const char *plural)
{
	for (const struct thing *const *kind = thing_kinds; *kind; kind++) {
		if (strcmp((*kind)->plural, plural) == 0)
			return *kind;
	}
	return NULL;
}

const struct thing *thing_find(const char *name, size_t length)
{
	for (const struct thing *const *kind = thing_kinds; *kind; kind++) {
		if (strlen((*kind)->name) == length && strncmp((*kind)->name, name, length) == 0)
			return *kind;
	}
	return NULL;
}

const struct field *thing_field(const struct thing *thing, const char *name)
{
	for (const struct field *field = thing ? thing->fields : NULL; field && field->name;
	     field++) {
		if (field->help && strcmp(field->name, name) == 0)
			return field;
	}
	return NULL;
}

/* With `text` NULL only `*widest` grows, to what the longest path takes. */
static void put_fields(const struct thing *thing, const char *prefix, int *widest,
		       struct buffer *text)
{
	static const char *const types[] = {
#define X(id, name) [FIELD_##id] = (name),
	    FIELD_TYPES(X)
#undef X
	};
	for (const struct field *field = thing->fields; field->name; field++) {
		char path[PATH_BYTES];
		char type[32];
		if (!field->help)
			continue;
		int width = snprintf(path, sizeof(path), "%s%s", prefix, field->name);
		snprintf(type, sizeof(type), "%s%s%s", types[field->type], field->unit ? ", " : "",
			 field->unit ? field->unit : "");
		if (text)
			buffer_printf(text, "  %-*s %-16s %s\n", *widest, path, type, field->help);
		else if (width > *widest)
			*widest = width;
		/* Kinds have a help of their own. */
		if (!field->thing || field->thing->plural)
			continue;
		char inner[PATH_BYTES];
		snprintf(inner, sizeof(inner), "%.48s%s", path,
			 field->type == FIELD_THINGS ? "[]." : ".");
		put_fields(field->thing, inner, widest, text);
	}
}

void thing_help(const struct thing *thing, struct buffer *text)
{
	int widest = 26;
	put_fields(thing, "", &widest, NULL);
	put_fields(thing, "", &widest, text);
}
