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
struct findings;
struct ip_prefix;
struct json_t;

/*
 * Read `length` bytes of YAML. `file` is the name to show in messages. The fabric and the findings
 * live in `arena`, whose limit also bounds the memory of the reading itself; `text` may be freed
 * afterwards. `ret_findings` is always filled in.
 * Returns 0 (perhaps with warnings), -FL_EINVALID with at least one error found, or -ENOMEM.
 */
must_check int config_parse(const char *text, size_t length, const char *file, struct arena *arena,
			    struct fabric **ret_fabric, struct findings *ret_findings);

/*
 * The same for whoever passes the findings on as text: errors go to `err`, warnings to `warnings`,
 * which may be NULL.
 */
must_check int config_read(const char *text, size_t length, const char *file, struct arena *arena,
			   struct fabric **ret_fabric, struct buffer *warnings, struct error *err);

/*
 * Append the fabric as canonical YAML: every setting explicit, so that a release with other
 * defaults reads it the same; the fabric's own order. config_parse() of it gives an equal fabric,
 * for every fabric that config_parse() can give. Failures stick in the buffer.
 */
void config_emit(const struct fabric *fabric, struct buffer *ret_text);

/* The first name of the zone with a record of its own that has an address in `prefix`; NULL: none
 * has. */
const char *config_record_within(const struct fabric *fabric, const struct ip_prefix *prefix);

/* For `validate`: what each pool allows, a line a pool ("198.51.100.0/26: …"). */
void config_capacity_render(const struct fabric *fabric, struct buffer *ret_text);

/* The same as an array of objects; a new reference, NULL when out of memory. */
struct json_t *config_capacity_json(const struct fabric *fabric);

#endif
