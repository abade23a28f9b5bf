/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot that is being built: nodes and records in growing arrays, which snapshot.c lays out in
 * one block at the end. A failure of memory sticks in the arrays and is asked for there. Private to
 * the files that build.
 */
#ifndef FAIRLEAD_NAMING_SNAPSHOT_BUILDER_H
#define FAIRLEAD_NAMING_SNAPSHOT_BUILDER_H

#include "base/buffer.h"
#include "naming/snapshot.h"

struct snapshot_builder {
	const struct naming_input *input;
	struct error *err;
	struct dns_name zone;
	uint32_t *table; /* owned; node index + 1 */
	uint32_t table_size; /* a power of two */
	struct buffer nodes, choices, others, glue, patches, bytes;
	struct naming_snapshot head; /* the fixed part, filled as we go */
};

/* snapshot_names.c. Find or add the node of a name, and the nodes between it and the zone: the
 * labels before the zone's. -ENOMEM; -FL_ELIMIT with a sentence. */
must_check int snapshot_node_add(struct snapshot_builder *b, const uint8_t *labels, size_t length,
				 uint32_t *ret_index);
/* Until the next one is added. */
struct naming_node *snapshot_node_at(const struct snapshot_builder *b, uint32_t index);

/* snapshot_records.c. A piece is what is put between its begin and its end; a record of it, what is
 * put between record_begin, which gives what record_end wants, and that. */
struct naming_piece snapshot_piece_begin(const struct snapshot_builder *b);
void snapshot_piece_end(const struct snapshot_builder *b, struct naming_piece *piece);
void snapshot_put_u16(struct snapshot_builder *b, unsigned value);
void snapshot_put_u32(struct snapshot_builder *b, uint32_t value);
/* As labels and a pointer to the zone if the name lies in it, else in full. */
void snapshot_put_name(struct snapshot_builder *b, struct naming_piece *piece,
		       const struct dns_name *name);
/* A pointer to the question's own name. */
void snapshot_put_question(struct snapshot_builder *b);
size_t snapshot_record_begin(struct snapshot_builder *b, struct naming_piece *piece, unsigned type,
			     unsigned class, uint32_t ttl_s);
void snapshot_record_end(struct snapshot_builder *b, size_t data);

struct naming_piece snapshot_put_soa(struct snapshot_builder *b, const struct dns_name *mname,
				     const struct dns_name *rname, uint32_t ttl_s);
struct naming_piece snapshot_put_hinfo(struct snapshot_builder *b);
/* One string about the server itself, of class CHAOS; no record if it is empty. */
struct naming_piece snapshot_put_chaos(struct snapshot_builder *b, const void *text, size_t length);
/* The addresses of one family as records of `owner`, or of the question's name if that is NULL. */
struct naming_piece snapshot_put_addresses(struct snapshot_builder *b, const struct dns_name *owner,
					   const struct ip_address *addresses, size_t count,
					   enum ip_family family, uint32_t ttl_s);

/* snapshot_sets.c. -FL_EINVALID and -FL_ELIMIT with a sentence, -ENOMEM. */
must_check int snapshot_add_set(struct snapshot_builder *b, const struct naming_set *set);

#endif
