/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Report: how the phases of reading note what they find. It keeps the first findings of each
 * severity, works out line, column and excerpt from byte offsets, and counts the rest.
 *
 * Running out of memory sticks in `status`; the caller of all phases looks at it once.
 */
#ifndef FAIRLEAD_CONFIG_REPORT_H
#define FAIRLEAD_CONFIG_REPORT_H

#include "base/arena.h"
#include "config/config.h"

/* Bytes [start, end) of the file. */
struct span {
	size_t start;
	size_t end;
};

struct report {
	const char *text; /* borrowed, the whole file */
	size_t length;
	struct arena *arena;
	struct config_findings *findings;
	struct config_finding *last; /* takes advice; NULL when it was not kept */
	int status; /* 0 or -ENOMEM */
};

void report_init(struct report *report, const char *text, size_t length, const char *file,
		 struct arena *arena, struct config_findings *findings);

/* Something wrong at `span`. */
void report_error(struct report *report, struct span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void report_warning(struct report *report, struct span span, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Something wrong with the file as a whole: no line is shown. */
void report_file_error(struct report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What to do about the finding just noted. */
void report_advise(struct report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The line, from 1, of a second place that the advice for the finding just noted names. 0, without
 * looking, when that finding was not kept: a file of a million faults takes no longer to count. */
uint32_t report_other_line(const struct report *report, size_t offset);

/* The byte at a line and column, both from 1; the end of the line or file when there is none. */
size_t report_offset(const struct report *report, uint32_t line, uint32_t column);

/* Bring the kept findings into the order of the file. */
void report_sort(struct report *report);

#endif
