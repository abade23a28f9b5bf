/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Findings: what is wrong with a file, for people (text with a caret under the fault), for programs
 * (JSON) and for struct error. notes.h collects them while a file is read.
 *
 * Any thread.
 */
#ifndef FAIRLEAD_YAML_FINDINGS_H
#define FAIRLEAD_YAML_FINDINGS_H

#include "base/buffer.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct json_t;

#define FINDINGS_MAX 20 /* kept of each severity; more are counted only */

enum finding_severity { FINDING_ERROR, FINDING_WARNING };

struct finding {
	enum finding_severity severity;
	size_t offset; /* in bytes, where the fault begins */
	uint32_t line; /* from 1; 0 when it concerns the file as a whole */
	uint32_t column; /* from 1, in characters */
	const char *message; /* what is wrong */
	const char *advice; /* what to do about it; NULL when the message says it */
	const char *excerpt; /* the line, or a window of a long one; safe to print; NULL: none */
	uint32_t caret; /* characters of `excerpt` before the fault */
	uint32_t caret_width; /* characters to underline, at least 1 */
};

/* In the order of the file. The strings live in the arena of whoever read it. */
struct findings {
	const char *file;
	struct finding items[2 * FINDINGS_MAX];
	size_t count;
	size_t errors; /* all of them, kept and not kept */
	size_t warnings; /* likewise */
};

/*
 * `file:line:col: error: message`, the line, a caret, and the advice, for each finding; then one
 * line that counts what was not kept.
 */
void findings_render(const struct findings *findings, struct buffer *ret_text);

/* The same as an array of objects; a new reference, NULL when out of memory. */
struct json_t *findings_json(const struct findings *findings);

/* Put as many whole errors as fit into `err` (NULL is fine); returns -FL_EINVALID. */
int findings_error(const struct findings *findings, struct error *err);

#endif
