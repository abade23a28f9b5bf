/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/codec.h"

#include "base/digest.h"
#include "base/netaddr.h"
#include "base/text.h"

#include <string.h>

#define LENGTH_BYTES 4u
#define BLOCK_HEADER_BYTES 6u

_Static_assert(sizeof(struct ip_prefix) >= sizeof(struct ip_address), "values of a union");

const char *wire_kind_name(enum wire_kind kind)
{
	static const char *const names[] = {
#define X(id, name, meaning) name,
	    WIRE_KINDS(X)
#undef X
	};
	return names[kind];
}

const struct wire_message *wire_find(const struct wire_table *table, unsigned number)
{
	for (size_t i = 0; i < table->count; i++) {
		if (table->messages[i].number == number)
			return &table->messages[i];
	}
	return NULL;
}

/* --- what both directions ask of a value ------------------------------------------------------ */

static unsigned number_width(const struct wire_field *field)
{
	if (field->most <= UINT8_MAX)
		return 1;
	if (field->most <= UINT16_MAX)
		return 2;
	return field->most <= UINT32_MAX ? 4 : 8;
}

/* The rest of the sentence "field X …", or NULL when all is well. */
static const char *check_amount(const struct wire_field *field, uint64_t amount)
{
	if (amount < field->least)
		return amount ? "is below its least" : "is missing";
	return amount > field->most ? "is above its most" : NULL;
}

static const char *check_characters(enum wire_kind kind, const char *text, size_t length)
{
	static const char not_allowed[] = "holds a character that is not allowed";
	if (kind == WIRE_NAME && length && text[0] == '-')
		return not_allowed;
	for (size_t at = 0; at < length;) {
		char c = text[at];
		size_t step = 1;
		bool good = true;
		if (kind == WIRE_NAME) {
			good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
		} else if (kind == WIRE_KEY) {
			good = c >= '!' && c <= '~';
		} else {
			step = text_utf8_step(text + at, length - at);
			good = step && !text_is_control(text + at, step);
		}
		if (!good)
			return not_allowed;
		at += step;
	}
	return NULL;
}

static const char *check_text(const struct wire_field *field, const char *text, size_t length)
{
	const char *fault = check_amount(field, length);
	return fault ? fault : check_characters(field->kind, text, length);
}

static const char *check_address(const struct wire_field *field, const struct ip_address *address)
{
	if (address->family == IP_NONE)
		return field->least ? "is no address" : NULL;
	return address->family == IP_V4 || address->family == IP_V6 ? NULL : "is of no family";
}

static const char *check_prefix(const struct ip_prefix *prefix)
{
	struct ip_address masked = prefix->address;
	if (masked.family != IP_V4 && masked.family != IP_V6)
		return "is of no family";
	if (prefix->length > ip_family_bits(masked.family))
		return "has more bits than its family";
	ip_address_mask(&masked, prefix->length);
	return ip_address_equal(&masked, &prefix->address) ? NULL : "has host bits";
}

static size_t address_bytes(const struct ip_address *address)
{
	return address->family ? ip_family_bits(address->family) / 8 : 0;
}

static int refuse(const char *message, const struct wire_field *field, const char *fault,
		  struct error *err)
{
	return error_set(err, -FL_EINVALID, "message \"%s\": its \"%s\" %s", message, field->name,
			 fault);
}

/* --- encoding --------------------------------------------------------------------------------- */

struct wire_writer {
	struct buffer *out;
	const char *message; /* for sentences */
	struct error *err;
};

static void put_number(struct buffer *out, uint64_t value, unsigned width)
{
	uint8_t bytes[8];
	for (unsigned i = 0; i < width; i++)
		bytes[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
	buffer_append(out, bytes, width);
}

static void put_at(struct buffer *out, size_t at, size_t value)
{
	for (unsigned i = 0; i < LENGTH_BYTES; i++)
		out->data[at + i] = (char)(value >> (8 * (LENGTH_BYTES - 1 - i)));
}

static void put_bytes(struct buffer *out, const void *bytes, size_t length)
{
	put_number(out, length, LENGTH_BYTES);
	buffer_append(out, bytes, length);
}

static const char *put_address(struct buffer *out, const struct wire_field *field,
			       const struct ip_address *address)
{
	const char *fault = check_address(field, address);
	if (fault)
		return fault;
	put_number(out, address->family, 1);
	buffer_append(out, address->bytes, address_bytes(address));
	return NULL;
}

static const char *put_prefix(struct buffer *out, const struct ip_prefix *prefix)
{
	const char *fault = check_prefix(prefix);
	if (fault)
		return fault;
	put_number(out, prefix->address.family, 1);
	put_number(out, prefix->length, 1);
	buffer_append(out, prefix->address.bytes, address_bytes(&prefix->address));
	return NULL;
}

static const char *put_text(struct buffer *out, const struct wire_field *field, const char *text)
{
	size_t length = text ? strnlen(text, (size_t)field->most + 1) : 0;
	const char *fault = check_text(field, text, length);
	if (!fault)
		put_bytes(out, text, length);
	return fault;
}

static int put_fields(struct wire_writer *writer, const struct wire_shape *shape, unsigned level,
		      const void *object);

static int put_list(struct wire_writer *writer, const struct wire_field *field, const void *member)
{
	struct wire_list list;
	memcpy(&list, member, sizeof(list));
	const char *fault = check_amount(field, list.count);
	if (fault)
		return refuse(writer->message, field, fault, writer->err);
	put_number(writer->out, list.count, LENGTH_BYTES);
	int result = 0;
	for (size_t i = 0; result == 0 && i < list.count; i++)
		result = put_fields(writer, field->row, field->level,
				    (const char *)list.items + i * field->row->size);
	return result;
}

static int put_field(struct wire_writer *writer, const struct wire_field *field, const void *member)
{
	struct buffer *out = writer->out;
	const char *fault = NULL;
	switch (field->kind) {
	case WIRE_FLAG:
		put_number(out, *(const bool *)member, 1);
		break;
	case WIRE_NUMBER:
		fault = check_amount(field, *(const uint64_t *)member);
		put_number(out, *(const uint64_t *)member, number_width(field));
		break;
	case WIRE_TEXT:
	case WIRE_NAME:
	case WIRE_KEY:
		fault = put_text(out, field, *(const char *const *)member);
		break;
	case WIRE_BYTES: {
		const struct wire_bytes *bytes = member;
		fault = check_amount(field, bytes->length);
		if (!fault)
			put_bytes(out, bytes->data, bytes->length);
		break;
	}
	case WIRE_DIGEST:
		buffer_append(out, member, DIGEST_BYTES);
		break;
	case WIRE_ADDRESS:
		fault = put_address(out, field, member);
		break;
	case WIRE_PREFIX:
		fault = put_prefix(out, member);
		break;
	case WIRE_LIST:
		return put_list(writer, field, member);
	}
	return fault ? refuse(writer->message, field, fault, writer->err) : 0;
}

/* The fields of one level. Once `out` is full or out of memory, going on only costs time. */
static int put_fields(struct wire_writer *writer, const struct wire_shape *shape, unsigned level,
		      const void *object)
{
	int result = writer->out->status;
	for (size_t i = 0; result == 0 && i < shape->field_count; i++) {
		const struct wire_field *field = &shape->fields[i];
		if (field->level == level)
			result = put_field(writer, field, (const char *)object + field->offset);
	}
	return result;
}

/* The next level above `level` that has fields; 0 if there is none. */
static unsigned next_level(const struct wire_shape *shape, unsigned level)
{
	unsigned next = 0;
	for (size_t i = 0; i < shape->field_count; i++) {
		unsigned here = shape->fields[i].level;
		if (here > level && (!next || here < next))
			next = here;
	}
	return next;
}

static int put_blocks(struct wire_writer *writer, const struct wire_message *message,
		      const void *object)
{
	int result = 0;
	for (unsigned level = next_level(&message->shape, message->level); result == 0 && level;
	     level = next_level(&message->shape, level)) {
		put_number(writer->out, level, 2);
		put_number(writer->out, 0, LENGTH_BYTES);
		size_t start = writer->out->length;
		result = put_fields(writer, &message->shape, level, object);
		if (result == 0 && writer->out->status == 0)
			put_at(writer->out, start - LENGTH_BYTES, writer->out->length - start);
	}
	return result;
}

int wire_encode(const struct wire_table *table, unsigned number, const void *object,
		struct buffer *out, struct error *err)
{
	const struct wire_message *message = wire_find(table, number);
	ASSERT(message && out->status == 0);
	struct buffer frame;
	buffer_init(&frame, message->most);
	struct wire_writer writer = {.out = &frame, .message = message->shape.name, .err = err};
	put_number(&frame, 0, LENGTH_BYTES);
	put_number(&frame, number, 2);
	put_number(&frame, message->level, 2);
	int result = put_fields(&writer, &message->shape, message->level, object);
	if (result == 0)
		result = put_blocks(&writer, message, object);
	if (result == 0 || frame.status)
		result = frame.status;
	if (result == 0) {
		put_at(&frame, 0, frame.length - LENGTH_BYTES);
		buffer_append(out, frame.data, frame.length);
		result = out->status;
	}
	buffer_done(&frame);
	if (result == -FL_ELIMIT)
		error_set(err, result, "message \"%s\" is longer than %zu bytes",
			  message->shape.name, message->most);
	else if (result == -ENOMEM)
		error_set(err, result, "out of memory");
	return result;
}

/* --- decoding --------------------------------------------------------------------------------- */

struct wire_reader {
	const uint8_t *at;
	const uint8_t *end;
	struct arena *arena;
	const char *message; /* for sentences */
	struct error *err;
};

static size_t left(const struct wire_reader *reader)
{
	return (size_t)(reader->end - reader->at);
}

/* The next `length` bytes; NULL when fewer are left. */
static const uint8_t *take(struct wire_reader *reader, size_t length)
{
	const uint8_t *bytes = reader->at;
	if (length > left(reader))
		return NULL;
	reader->at += length;
	return bytes;
}

static uint64_t number_at(const uint8_t *bytes, unsigned width)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < width; i++)
		value = value << 8 | bytes[i];
	return value;
}

static const char cut_short[] = "is cut short";

static const char *take_number(struct wire_reader *reader, unsigned width, uint64_t *ret_value)
{
	const uint8_t *bytes = take(reader, width);
	if (!bytes)
		return cut_short;
	*ret_value = number_at(bytes, width);
	return NULL;
}

/* The bytes that a length in front counts. */
static const char *take_bytes(struct wire_reader *reader, const uint8_t **ret_bytes,
			      size_t *ret_length)
{
	uint64_t length;
	const char *fault = take_number(reader, LENGTH_BYTES, &length);
	const uint8_t *bytes = fault ? NULL : take(reader, (size_t)length);
	if (!bytes)
		return cut_short;
	*ret_bytes = bytes;
	*ret_length = (size_t)length;
	return NULL;
}

static const char *take_address(struct wire_reader *reader, const struct wire_field *field,
				struct ip_address *ret_address)
{
	struct ip_address address = {0};
	const uint8_t *family = take(reader, 1);
	if (!family)
		return cut_short;
	address.family = *family;
	const char *fault = check_address(field, &address);
	const uint8_t *bytes = fault ? NULL : take(reader, address_bytes(&address));
	if (!bytes)
		return fault ? fault : cut_short;
	memcpy(address.bytes, bytes, address_bytes(&address));
	*ret_address = address;
	return NULL;
}

static const char *take_prefix(struct wire_reader *reader, struct ip_prefix *ret_prefix)
{
	const uint8_t *head = take(reader, 2);
	if (!head)
		return cut_short;
	struct ip_prefix prefix = {.address = {.family = head[0]}, .length = head[1]};
	if (head[0] != IP_V4 && head[0] != IP_V6)
		return "is of no family";
	const uint8_t *bytes = take(reader, address_bytes(&prefix.address));
	if (!bytes)
		return cut_short;
	memcpy(prefix.address.bytes, bytes, address_bytes(&prefix.address));
	const char *fault = check_prefix(&prefix);
	if (!fault)
		*ret_prefix = prefix;
	return fault;
}

/* A copy with a NUL behind it, as C and jansson want their texts. */
static int keep(struct wire_reader *reader, const uint8_t *bytes, size_t length,
		const char **ret_copy)
{
	char *copy = arena_strndup(reader->arena, (const char *)bytes, length);
	if (!copy)
		return error_set(reader->err, -ENOMEM, "out of memory");
	*ret_copy = copy;
	return 0;
}

/* The fewest bytes that a row takes, so that a count can be judged by the bytes that are left. */
static size_t least_bytes(const struct wire_shape *row)
{
	static const size_t of_kind[] = {
	    [WIRE_FLAG] = 1,   [WIRE_NUMBER] = 1, [WIRE_TEXT] = 4,    [WIRE_NAME] = 4,
	    [WIRE_KEY] = 4,    [WIRE_BYTES] = 4,  [WIRE_DIGEST] = 32, [WIRE_ADDRESS] = 1,
	    [WIRE_PREFIX] = 6, [WIRE_LIST] = 4,
	};
	size_t bytes = 0;
	for (size_t i = 0; i < row->field_count; i++)
		bytes += of_kind[row->fields[i].kind];
	ASSERT(bytes); /* a count of rows without bytes could be any */
	return bytes;
}

static int take_fields(struct wire_reader *reader, const struct wire_shape *shape, unsigned level,
		       void *object);

static int take_list(struct wire_reader *reader, const struct wire_field *field, void *member)
{
	uint64_t count;
	const char *fault = take_number(reader, LENGTH_BYTES, &count);
	if (!fault)
		fault = check_amount(field, count);
	if (!fault && count > left(reader) / least_bytes(field->row))
		fault = cut_short;
	if (fault)
		return refuse(reader->message, field, fault, reader->err);
	if (!count)
		return 0;
	size_t size = field->row->size;
	char *items = arena_array(reader->arena, (size_t)count, size);
	if (!items)
		return error_set(reader->err, -ENOMEM, "out of memory");
	int result = 0;
	for (size_t i = 0; result == 0 && i < count; i++)
		result = take_fields(reader, field->row, field->level, items + i * size);
	const struct wire_list list = {.items = items, .count = (size_t)count};
	memcpy(member, &list, sizeof(list));
	return result;
}

/* `member` belongs to a struct that was zeroed. */
static int take_field(struct wire_reader *reader, const struct wire_field *field, void *member)
{
	const char *fault = NULL;
	const uint8_t *bytes = NULL;
	size_t length = 0;
	uint64_t number = 0;
	int result = 0;
	switch (field->kind) {
	case WIRE_FLAG:
		fault = take_number(reader, 1, &number);
		if (!fault && number > 1)
			fault = "is neither 0 nor 1";
		*(bool *)member = number == 1;
		break;
	case WIRE_NUMBER:
		fault = take_number(reader, number_width(field), &number);
		if (!fault)
			fault = check_amount(field, number);
		*(uint64_t *)member = number;
		break;
	case WIRE_TEXT:
	case WIRE_NAME:
	case WIRE_KEY:
		fault = take_bytes(reader, &bytes, &length);
		if (!fault)
			fault = check_text(field, (const char *)bytes, length);
		if (!fault)
			result = keep(reader, bytes, length, member);
		break;
	case WIRE_BYTES: {
		struct wire_bytes *value = member;
		const char *copy = NULL;
		fault = take_bytes(reader, &bytes, &length);
		if (!fault)
			fault = check_amount(field, length);
		if (!fault)
			result = keep(reader, bytes, length, &copy);
		*value = (struct wire_bytes){.data = copy, .length = length};
		break;
	}
	case WIRE_DIGEST:
		bytes = take(reader, DIGEST_BYTES);
		if (bytes)
			memcpy(member, bytes, DIGEST_BYTES);
		else
			fault = cut_short;
		break;
	case WIRE_ADDRESS:
		fault = take_address(reader, field, member);
		break;
	case WIRE_PREFIX:
		fault = take_prefix(reader, member);
		break;
	case WIRE_LIST:
		return take_list(reader, field, member);
	}
	return fault ? refuse(reader->message, field, fault, reader->err) : result;
}

static int take_fields(struct wire_reader *reader, const struct wire_shape *shape, unsigned level,
		       void *object)
{
	int result = 0;
	for (size_t i = 0; result == 0 && i < shape->field_count; i++) {
		const struct wire_field *field = &shape->fields[i];
		if (field->level == level)
			result = take_field(reader, field, (char *)object + field->offset);
	}
	return result;
}

static int malformed(const struct wire_reader *reader, const char *fault)
{
	return error_set(reader->err, -FL_EINVALID, "message \"%s\" %s", reader->message, fault);
}

/* A sender that knows a level writes all that the level and those below it have. */
static int take_blocks(struct wire_reader *reader, const struct wire_table *table,
		       const struct wire_message *message, void *object)
{
	unsigned level = message->level;
	while (left(reader)) {
		unsigned known = next_level(&message->shape, level);
		const uint8_t *head = take(reader, BLOCK_HEADER_BYTES);
		if (!head)
			return malformed(reader, "has a block that is cut short");
		unsigned here = (unsigned)number_at(head, 2);
		const uint8_t *bytes = take(reader, (size_t)number_at(head + 2, LENGTH_BYTES));
		if (!bytes)
			return malformed(reader, "has a block that is cut short");
		if (here <= level || (here <= table->level && here != known) ||
		    (here > table->level && known))
			return malformed(reader, "has a block of a level that comes not here");
		level = here;
		if (here > table->level)
			continue;
		struct wire_reader block = *reader;
		block.at = bytes;
		block.end = reader->at;
		int result = take_fields(&block, &message->shape, here, object);
		if (result < 0)
			return result;
		if (left(&block))
			return malformed(reader, "has a block with bytes left over");
	}
	return 0;
}

int wire_frame_bytes(const struct wire_table *table, const void *bytes, size_t length,
		     size_t *ret_bytes, struct error *err)
{
	if (length < WIRE_HEADER_BYTES) {
		*ret_bytes = 0;
		return 0;
	}
	const uint8_t *head = bytes;
	size_t frame = LENGTH_BYTES + (size_t)number_at(head, LENGTH_BYTES);
	const struct wire_message *message =
	    wire_find(table, (unsigned)number_at(head + LENGTH_BYTES, 2));
	size_t most = message ? message->most : table->most;
	if (frame < WIRE_HEADER_BYTES || frame > most)
		return error_set(
		    err, -FL_EINVALID, "a frame of %zu bytes; message \"%s\" has %u to %zu", frame,
		    message ? message->shape.name : "unknown", WIRE_HEADER_BYTES, most);
	*ret_bytes = frame;
	return 0;
}

int wire_decode(const struct wire_table *table, const void *frame, size_t length,
		struct arena *arena, unsigned *ret_number, void *ret_object, struct error *err)
{
	size_t bytes = 0;
	int result = wire_frame_bytes(table, frame, length, &bytes, err);
	if (result < 0)
		return result;
	if (!bytes || bytes != length)
		return error_set(err, -FL_EINVALID, "a frame of %zu bytes says that it has %zu",
				 length, bytes);
	const uint8_t *head = frame;
	unsigned number = (unsigned)number_at(head + LENGTH_BYTES, 2);
	unsigned level = (unsigned)number_at(head + LENGTH_BYTES + 2, 2);
	const struct wire_message *message = wire_find(table, number);
	*ret_number = number;
	if (!message || level != message->level)
		return error_set(err, -FL_EUNSUPPORTED, "message %u of level %u is not known here",
				 number, level);
	void *object = arena_alloc(arena, message->shape.size);
	if (!object)
		return error_set(err, -ENOMEM, "out of memory");
	struct wire_reader reader = {.at = head + WIRE_HEADER_BYTES,
				     .end = head + length,
				     .arena = arena,
				     .message = message->shape.name,
				     .err = err};
	result = take_fields(&reader, &message->shape, message->level, object);
	if (result == 0)
		result = take_blocks(&reader, table, message, object);
	if (result == 0)
		memcpy(ret_object, object, message->shape.size);
	return result;
}

char *wire_clean_text(const char *text, size_t most, struct arena *arena)
{
	size_t length = strlen(text);
	char *clean = arena_alloc(arena, (length < most ? length : most) + 1);
	size_t used = 0;
	for (size_t at = 0; clean && at < length;) {
		size_t step = text_utf8_step(text + at, length - at);
		bool good = step && !text_is_control(text + at, step);
		size_t bytes = good ? step : 1;
		if (used + bytes > most)
			break;
		if (good)
			memcpy(clean + used, text + at, bytes);
		else
			clean[used] = '?';
		used += bytes;
		at += step ? step : 1;
	}
	return clean;
}
