/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: one YAML file ↔ one fabric. Bytes in, values or findings out; no I/O, no logging.
 *
 * Reading has four phases, and the first that finds an error is the last that runs, so that one
 * mistake is not reported as five: bytes (UTF-8, no control characters, size), YAML (well-formed;
 * no anchors, aliases, tags or second document; bounded depth), form (known keys, right types,
 * ranges), meaning (the whole fabric makes sense: pools, slots, sites, names, weights). Within a
 * phase everything is found and reported in the order of the file.
 *
 * There is no partial result: a file with one error yields no fabric. Warnings alone do not stop.
 * docs/design/config.md is the reference of the keys; any thread may call anything here.
 */
#ifndef FAIRLEAD_CONFIG_CONFIG_H
#define FAIRLEAD_CONFIG_CONFIG_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fabric;
struct json_t;

#define CONFIG_MAX_BYTES (4u << 20)
#define CONFIG_MAX_LINE (256u << 10) /* bytes; libfyaml keeps the tokens of a whole line */
#define CONFIG_MAX_DEPTH 12 /* the deepest valid file needs 7 */
#define CONFIG_MAX_NODES 1000000u /* keys and values; bounds the memory a file can ask for */
#define CONFIG_MAX_FINDINGS 20 /* kept of each severity; more are counted only */

enum config_severity { CONFIG_ERROR, CONFIG_WARNING };

struct config_finding {
	enum config_severity severity;
	size_t offset; /* in bytes, where the fault begins */
	uint32_t line; /* from 1; 0 when it concerns the file as a whole */
	uint32_t column; /* from 1, in characters */
	const char *message; /* what is wrong */
	const char *advice; /* what to do about it; NULL when the message says it */
	const char *excerpt; /* the line, or a window of a long one; safe to print; NULL: none */
	uint32_t caret; /* characters of `excerpt` before the fault */
	uint32_t caret_width; /* characters to underline, at least 1 */
};

/* Findings in the order of the file. The strings live in the arena given to config_parse(). */
struct config_findings {
	const char *file;
	struct config_finding items[2 * CONFIG_MAX_FINDINGS];
	size_t count;
	size_t errors; /* all of them, kept or not */
	size_t warnings;
};

/*
 * Read `length` bytes of YAML. `file` is the name to show in messages. The fabric and the findings
 * live in `arena`, whose limit also bounds the memory of the reading itself; `text` may be freed
 * afterwards. `ret_findings` is always filled in.
 * Returns 0 (perhaps with warnings), -FL_EINVALID with at least one error found, or -ENOMEM.
 */
must_check int config_parse(const char *text, size_t length, const char *file, struct arena *arena,
			    struct fabric **ret_fabric, struct config_findings *ret_findings);

/*
 * `file:line:col: error: message`, the line, a caret, and the advice, for each finding; then one
 * line that counts what was not kept.
 */
void config_findings_render(const struct config_findings *findings, struct buffer *ret_text);

/* The same as an array of objects; a new reference, NULL when out of memory. */
struct json_t *config_findings_json(const struct config_findings *findings);

/* Put as many whole errors as fit into `err` (NULL is fine); returns -FL_EINVALID. */
int config_findings_error(const struct config_findings *findings, struct error *err);

/*
 * Append the fabric as canonical YAML: every setting explicit, so that a release with other
 * defaults reads it the same; the fabric's own order. config_parse() of it gives an equal fabric,
 * for every fabric that config_parse() can give. Failures stick in the buffer.
 */
void config_emit(const struct fabric *fabric, struct buffer *ret_text);

/* For `validate`: what each pool allows, a line a pool ("198.51.100.0/26: …"). */
void config_capacity_render(const struct fabric *fabric, struct buffer *ret_text);

/* The same as an array of objects; a new reference, NULL when out of memory. */
struct json_t *config_capacity_json(const struct fabric *fabric);

#endif
