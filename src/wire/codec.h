/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codec: typed messages ↔ bytes, driven by a table. One row describes a message: its number, level,
 * size limit, and fields with their kinds and limits; encoder, decoder, documentation and test data
 * follow from the row. peer.h holds the house's table.
 *
 * A frame is
 *
 *   length  4 bytes   of what follows
 *   number  2 bytes   which message
 *   level   2 bytes   what a receiver must know at least to act on it: the row's own level
 *   fields            those of the row's level, in the table's order, without names or padding
 *   block             for each later level that has fields, rising: level (2), length (4), fields
 *
 * All numbers are in network order. A receiver skips a message whose number it does not know, or
 * whose level is not its row's, and counts it. It passes over a block of a level that it does not
 * know by the block's length. A field whose block is missing, since the sender knows nothing of it,
 * is zero or empty: a later field must be one of which that is true or harmless. Rows of lists
 * never gain fields; what they lack goes into a list of its own beside them.
 *
 * Reading is strict: it refuses whatever the encoder would not have written (a flag that is 2, host
 * bits in a prefix, a text that is no UTF-8, bytes left over), so that a message has one form. The
 * limits of a field hold in both directions. A list's claimed count is checked against the bytes
 * that are there before memory is taken.
 *
 * No I/O, no state; any thread.
 */
#ifndef FAIRLEAD_WIRE_CODEC_H
#define FAIRLEAD_WIRE_CODEC_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* X(id, name, meaning): the kinds of fields. `least` and `most` of a field bound what is said here.
 */
#define WIRE_KINDS(X)                                                                              \
	X(FLAG, "flag", "1 byte, 0 or 1")                                                          \
	X(NUMBER, "number", "1, 2, 4 or 8 bytes, as few as its greatest value needs; its value")   \
	X(TEXT, "text", "length (4 bytes), UTF-8 without control characters; its bytes")           \
	X(NAME, "name",                                                                            \
	  "length (4 bytes), letters a-z, digits and hyphens, none in front; its bytes")           \
	X(KEY, "key", "length (4 bytes), printable ASCII without the space; its bytes")            \
	X(BYTES, "bytes", "length (4 bytes), any bytes; how many")                                 \
	X(DIGEST, "digest", "32 bytes")                                                            \
	X(ADDRESS, "address", "family (1 byte: 0, 4 or 6), 0, 4 or 16 bytes; least 1: not none")   \
	X(PREFIX, "prefix", "family (1 byte: 4 or 6), bits (1 byte), 4 or 16 bytes")               \
	X(LIST, "list", "count (4 bytes), rows; how many")

enum wire_kind {
#define X(id, name, meaning) WIRE_##id,
	WIRE_KINDS(X)
#undef X
};

struct wire_bytes {
	const void *data; /* decoded: followed by a NUL that does not count */
	size_t length;
};

/* What a buffer holds, borrowed. */
static inline struct wire_bytes wire_bytes_of(const struct buffer *buffer)
{
	return (struct wire_bytes){.data = buffer->data, .length = buffer->length};
}

/* What every list member looks like, whatever its items are. */
struct wire_list {
	const void *items;
	size_t count;
};

struct wire_shape;

struct wire_field {
	const char *name;
	enum wire_kind kind;
	unsigned level;
	uint64_t least, most;
	size_t offset; /* of the member in the struct */
	const struct wire_shape *row; /* WIRE_LIST only: what its items are */
	const char *meaning;
};

/* A struct and the fields in it. */
struct wire_shape {
	const char *name;
	const char *meaning;
	size_t size; /* bytes of the struct in memory */
	const struct wire_field *fields; /* by rising level */
	size_t field_count;
};

struct wire_message {
	unsigned number;
	unsigned level;
	size_t most; /* bytes of a whole frame */
	struct wire_shape shape;
};

struct wire_table {
	unsigned level; /* the highest that this table knows */
	size_t most; /* bytes of a frame whose number is not known, which is skipped */
	const struct wire_message *messages; /* by rising number */
	size_t count;
};

#define WIRE_HEADER_BYTES 8u

const struct wire_message *wire_find(const struct wire_table *table, unsigned number);

/*
 * Append the frame of message `number`, whose struct is at `object`. -FL_EINVALID for a field that
 * is outside its limits, -FL_ELIMIT for a frame that gets too long, -ENOMEM; `out` then holds what
 * it held before.
 */
must_check int wire_encode(const struct wire_table *table, unsigned number, const void *object,
			   struct buffer *out, struct error *err);

/*
 * How long is the frame that begins at `bytes`? `*ret_bytes` is 0 while fewer bytes are here than
 * its header has. -FL_EINVALID for a length that no frame has, or that its message may not have.
 */
must_check int wire_frame_bytes(const struct wire_table *table, const void *bytes, size_t length,
				size_t *ret_bytes, struct error *err);

/*
 * Read one whole frame into `ret_object`, which has room for the largest struct of the table; texts
 * and lists live in `arena`. `*ret_number` is set also when the result is -FL_EUNSUPPORTED: a
 * message to be skipped and counted. Other results: -FL_EINVALID, -ENOMEM.
 */
must_check int wire_decode(const struct wire_table *table, const void *frame, size_t length,
			   struct arena *arena, unsigned *ret_number, void *ret_object,
			   struct error *err);

/* `text` made fit for a TEXT field: what is not allowed becomes '?', the rest is cut after `most`
 * bytes. NULL without memory. */
char *wire_clean_text(const char *text, size_t most, struct arena *arena);

const char *wire_kind_name(enum wire_kind kind);

#endif
