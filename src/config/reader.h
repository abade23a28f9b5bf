/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a part of the file is read: a table of fields says which keys a map may have and which
 * function reads each into what. For read.c and read_service.c, and for src/lab, whose topologies
 * are read in the same way.
 *
 * A reader function gets one node and the place that its field's struct has for it. What it finds
 * wrong it reports, and leaves the place alone or half filled: a fabric with errors is never used.
 */
#ifndef FAIRLEAD_CONFIG_READER_H
#define FAIRLEAD_CONFIG_READER_H

#include "base/arena.h"
#include "config/report.h"
#include "config/yaml.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct reader {
	struct report *report;
	struct arena *arena;
};

/* Reads one node into `target`, whose type each reader knows. */
typedef void read_fn(struct reader *reader, const struct yaml_node *node, void *target);

struct field {
	const char *name;
	read_fn *read;
	bool is_required;
	bool may_be_null;
};

/* --- shapes --- */

/* Read a map with known keys; `what` names it with its article. */
void read_fields(struct reader *reader, const struct yaml_node *node, const char *what,
		 const struct field *fields, size_t count, void *target);

/*
 * Read every item of a list or map of at most `max` into a new array of `size`-byte items. NULL
 * when that failed or there is none.
 */
void *read_items(struct reader *reader, const struct yaml_node *node, enum yaml_kind kind,
		 size_t max, size_t size, read_fn *read, size_t *ret_count);

/* The same of a list into storage of the caller, for arrays of fixed size; how many there are. */
size_t read_items_into(struct reader *reader, const struct yaml_node *node, size_t max, size_t size,
		       read_fn *read, void *target);

/* Whether the node has this shape; reports it if not. */
bool reader_expect(struct reader *reader, const struct yaml_node *node, enum yaml_kind kind);
/* Reports a list or map without entries. */
void reader_expect_some(struct reader *reader, const struct yaml_node *node);

/* Where to point for a node: nothing and nested blocks are best shown by their key. */
struct span reader_place(const struct yaml_node *node);
void reader_out_of_memory(struct reader *reader);

/* --- single values --- */

/* `fault` is the advice. */
void reader_report_value(struct reader *reader, const struct yaml_node *node, const char *what,
			 const char *fault);
/* The node's text in the reader's arena; NULL, noted in the report, when out of memory. */
const char *reader_copy_text(struct reader *reader, const struct yaml_node *node);

void read_label(struct reader *reader, const struct yaml_node *node, const char **target);
/* A whole number from 0 to `max`. */
void read_number(struct reader *reader, const struct yaml_node *node, uint32_t max,
		 uint32_t *target);
void read_duration(struct reader *reader, const struct yaml_node *node, uint64_t min_ms,
		   uint64_t max_ms, uint64_t *target);
/* `target` is a struct ip_address, and a struct ip_prefix. */
void read_address(struct reader *reader, const struct yaml_node *node, void *target);
void read_prefix(struct reader *reader, const struct yaml_node *node, void *target);

/* --- read_service.c --- */

/* The map of all services, into a struct fabric. */
void read_services(struct reader *reader, const struct yaml_node *node, void *target);

#endif
