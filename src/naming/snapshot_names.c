/* SPDX-License-Identifier: Apache-2.0 */
/* The names of a snapshot that is being built, and the table that finds them. */
#include "naming/snapshot_builder.h"

#include <stdlib.h>
#include <string.h>

/* Most names a zone can come to: each service may bring names above it into being. */
#define NODES_MAX (4u * (NAMING_SERVICES_MAX + NAMING_SETS_MAX))

struct naming_node *snapshot_node_at(const struct snapshot_builder *b, uint32_t index)
{
	void *nodes = b->nodes.data;
	return (struct naming_node *)nodes + index;
}

static uint32_t node_count(const struct snapshot_builder *b)
{
	return (uint32_t)(b->nodes.length / sizeof(struct naming_node));
}

/* The place in the table where this name is, or where it would go. */
static uint32_t table_place(const struct snapshot_builder *b, const uint8_t *labels, size_t length)
{
	uint32_t mask = b->table_size - 1;
	uint32_t place = naming_label_hash(labels, length) & mask;
	for (; b->table[place]; place = (place + 1) & mask) {
		const struct naming_node *node = snapshot_node_at(b, b->table[place] - 1);
		if (node->label_length == length &&
		    memcmp(b->bytes.data + node->label_offset, labels, length) == 0)
			break;
	}
	return place;
}

static int table_grow(struct snapshot_builder *b)
{
	uint32_t size = b->table_size ? 2 * b->table_size : 64;
	uint32_t *table = calloc(size, sizeof(*table));
	if (!table)
		return -ENOMEM;
	free(b->table);
	b->table = table;
	b->table_size = size;
	for (uint32_t i = 0; i < node_count(b); i++) {
		const struct naming_node *node = snapshot_node_at(b, i);
		const uint8_t *labels = (const uint8_t *)b->bytes.data + node->label_offset;
		b->table[table_place(b, labels, node->label_length)] = i + 1;
	}
	return 0;
}

int snapshot_node_add(struct snapshot_builder *b, const uint8_t *labels, size_t length,
		      uint32_t *ret_index)
{
	for (size_t at = 0;; at += 1u + labels[at]) {
		/* At most half full, so that probing is short. */
		if (2 * (node_count(b) + 1) > b->table_size) {
			int result = table_grow(b);
			if (result != 0)
				return result;
		}
		uint32_t place = table_place(b, labels + at, length - at);
		if (!b->table[place]) {
			if (node_count(b) >= NODES_MAX) {
				error_set(b->err, -FL_ELIMIT,
					  "the zone would have more than %u names", NODES_MAX);
				return -FL_ELIMIT;
			}
			struct naming_node node = {.label_offset = (uint32_t)b->bytes.length,
						   .label_length = (uint8_t)(length - at)};
			buffer_append(&b->bytes, labels + at, length - at);
			buffer_append(&b->nodes, &node, sizeof(node));
			if (b->bytes.status < 0 || b->nodes.status < 0)
				return -ENOMEM;
			b->table[place] = node_count(b);
		}
		if (at == 0)
			*ret_index = b->table[place] - 1;
		if (at == length)
			return 0;
	}
}
