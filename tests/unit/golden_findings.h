/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that shall be refused, and beside each (NAME.yaml) the findings that it gives
 * (NAME.expected). FAIRLEAD_UPDATE_GOLDEN=1 rewrites what is expected: read the difference before
 * committing it.
 */
#ifndef FAIRLEAD_TESTS_GOLDEN_FINDINGS_H
#define FAIRLEAD_TESTS_GOLDEN_FINDINGS_H

#include "base/buffer.h"

/* The whole file, with a NUL behind it; a file that cannot be read fails the test. The caller ends
 * the buffer. */
struct buffer golden_read(const char *path);

/* Reads a file's text and appends its findings as they are shown; asserts that there is an error.
 */
typedef void golden_refuse_fn(const char *text, size_t length, const char *name,
			      struct buffer *shown);

/* Every file of the folder; there are `least` of them or more. */
void golden_check_findings(const char *folder, int least, golden_refuse_fn *refuse);

#endif
