/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notes: how the phases of reading a file note what they find. They keep the first findings of each
 * severity, work out line, column and excerpt from byte offsets, and count the rest.
 *
 * Running out of memory sticks in `status`; the caller of all phases looks at it once.
 */
#ifndef FAIRLEAD_YAML_NOTES_H
#define FAIRLEAD_YAML_NOTES_H

#include "base/arena.h"
#include "yaml/findings.h"

/* Bytes [start, end) of the file. */
struct note_span {
	size_t start;
	size_t end;
};

struct notes {
	const char *text; /* borrowed, the whole file */
	size_t length;
	struct arena *arena;
	struct findings *findings;
	struct finding *last; /* takes advice; NULL when it was not kept */
	int status; /* 0 or -ENOMEM */
};

void notes_init(struct notes *notes, const char *text, size_t length, const char *file,
		struct arena *arena, struct findings *findings);

/* Something wrong at `span`. */
void notes_error(struct notes *notes, struct note_span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void notes_warning(struct notes *notes, struct note_span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Something wrong with the file as a whole: no line is shown. */
void notes_file_error(struct notes *notes, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What to do about the finding just noted. */
void notes_advise(struct notes *notes, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The line, from 1, of a second place that the advice for the finding just noted names. 0, without
 * looking, when that finding was not kept: a file of a million faults takes no longer to count. */
uint32_t notes_other_line(const struct notes *notes, size_t offset);

/* The byte at a line and column, both from 1; the end of the line or file when there is none. */
size_t notes_offset(const struct notes *notes, uint32_t line, uint32_t column);

/* Bring the kept findings into the order of the file. */
void notes_sort(struct notes *notes);

#endif
