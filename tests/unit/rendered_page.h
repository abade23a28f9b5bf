/* SPDX-License-Identifier: Apache-2.0 */
/* A program that renders a page of docs/design from a table of the code. */
#ifndef FAIRLEAD_TESTS_UNIT_RENDERED_PAGE_H
#define FAIRLEAD_TESTS_UNIT_RENDERED_PAGE_H

#include "base/buffer.h"

#include <stdbool.h>

/*
 * The program's main: `--write FILE` writes the page, `--check FILE` compares it with the file,
 * fails when they differ, and says which in TAP, as every test of the house does. `source` is the
 * header with the table, `target` what ninja is asked for to write the page. Returns the exit code.
 */
int rendered_page(int argc, char **argv, void (*render)(struct buffer *page), const char *source,
		  const char *target);

/* For a program that renders more than one file: write `bytes` to `path`; or, with `checks`, fail
 * unless that is what the file holds, and print what to do. */
int rendered_file(const struct buffer *bytes, const char *path, bool checks, const char *source,
		  const char *target);

/* A printf format as people read it: "%.1f" becomes "…". */
void rendered_sentence(struct buffer *page, const char *format);

#endif
