/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a snapshot, shared by the builder (snapshot_builder.h) and the answering (answer.c)
 * only.
 *
 * One block of memory: this struct, then the arrays that it points to. Records lie there in wire
 * form, ready to be copied. A record's bytes may depend on the query in one way only: where the
 * zone's own name is spelt, there is a compression pointer to it, and the zone's name is at the end
 * of every question that we answer. So a piece lists the places ("patches") where that pointer
 * goes. A record that answers the question itself has the question's name, a fixed pointer.
 */
#ifndef FAIRLEAD_NAMING_SNAPSHOT_H
#define FAIRLEAD_NAMING_SNAPSHOT_H

#include "naming/naming.h"
#include "wire/dns.h"

#define NAMING_REFUSED_BYTES 512u

/* One RRset in wire form. */
struct naming_piece {
	uint32_t offset; /* into naming_snapshot.bytes */
	uint32_t patches; /* index into naming_snapshot.patches */
	uint16_t length;
	uint8_t records; /* 0: there is none */
	uint8_t patch_count;
};

/* A share of the clients of a name, or (upper 65536) all of them. */
struct naming_choice {
	uint32_t upper;
	uint32_t version;
	struct naming_piece a, aaaa;
};

/* Records of a name that are no addresses. */
struct naming_other {
	uint32_t next; /* index + 1 of the name's next ones; 0: none */
	uint32_t type;
	struct naming_piece piece;
};

struct naming_node {
	uint32_t label_offset; /* its labels before the zone's, in naming_snapshot.bytes */
	uint32_t first_choice;
	uint32_t first_other; /* index + 1 into naming_snapshot.others; 0: none */
	uint16_t choice_count; /* none: the name exists without addresses */
	uint8_t label_length; /* 0: the zone itself */
	bool defined; /* else it is there only because something below it is (RFC 8020) */
	bool alias; /* its only records are a CNAME */
	bool unknown; /* what its addresses are cannot be told here: SERVFAIL */
	bool a_depends, aaaa_depends; /* whether clients differ in what they get */
	uint8_t bits_v4, bits_v6; /* of a client's address decide what it gets */
	uint8_t salt[NAMING_SALT_BYTES];
};

struct naming_snapshot {
	size_t size; /* bytes of the block */
	uint32_t serial;
	uint32_t rate; /* answers a second to one network; 0: no limit */
	uint32_t table_mask;
	struct dns_name zone;
	uint8_t nsid_length;
	uint8_t nsid[NAMING_NSID_MAX];
	struct naming_piece soa, negative_soa, ns;
	struct naming_piece hinfo; /* RFC 8482 */
	struct naming_piece chaos_id, chaos_version; /* of the server itself, class CHAOS */
	uint8_t zone_labels; /* without the root */
	bool has_wildcards;
	uint32_t glue_count;
	const struct naming_piece *glue; /* addresses of the name servers that are in the zone */
	char refused[NAMING_REFUSED_BYTES]; /* the first part that was left out; "" if none was */
	const struct naming_node *nodes;
	const struct naming_choice *choices;
	const struct naming_other *others;
	const uint32_t *table; /* open addressing: node index + 1, 0 for a free place */
	const uint16_t *patches; /* offsets into the piece */
	const uint8_t *bytes;
};

/* Where the table is first probed for a name, by its labels before the zone's. FNV-1a: the names
 * in the table are the operator's own, so nobody can make it degenerate. */
static inline uint32_t naming_label_hash(const uint8_t *labels, size_t length)
{
	uint32_t hash = 2166136261u;
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ labels[i]) * 16777619u;
	return hash ^ hash >> 15;
}

#endif
