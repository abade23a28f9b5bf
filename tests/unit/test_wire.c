/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codec, over a table of its own that has later levels, and over the house's: round trips of
 * random messages, cut at every length, hostile values, and what a receiver does with a sender of
 * another level. FAIRLEAD_SEED=N repeats a run.
 */
#include "../seed.h"
#include "../wire_random.h"
#include "wire/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define ROUNDS 40u

/* --- a table that grew ------------------------------------------------------------------------ */

struct item {
	uint64_t number;
	const char *name;
};

struct sample {
	uint64_t small;
	struct ip_address address;
	struct ip_address no_address;
	struct ip_prefix prefix;
	struct digest digest;
	bool flag;
	const char *text;
	const char *key;
	struct wire_bytes bytes;
	struct wire_list items;
	uint64_t since_2;
	const char *since_3;
};

#define FIELD(of, name, ...) {#name, __VA_ARGS__, offsetof(struct of, name), NULL, "meaning"}

static const struct wire_field item_fields[] = {
    FIELD(item, number, WIRE_NUMBER, 1, 0, 70000),
    FIELD(item, name, WIRE_NAME, 1, 1, 8),
};
static const struct wire_shape item_shape = {"item", "meaning", sizeof(struct item), item_fields,
					     COUNT(item_fields)};

static const struct wire_field sample_fields[] = {
    FIELD(sample, small, WIRE_NUMBER, 1, 3, 9),
    FIELD(sample, address, WIRE_ADDRESS, 1, 1, 1),
    FIELD(sample, no_address, WIRE_ADDRESS, 1, 0, 1),
    FIELD(sample, prefix, WIRE_PREFIX, 1, 0, 0),
    FIELD(sample, digest, WIRE_DIGEST, 1, 0, 0),
    FIELD(sample, flag, WIRE_FLAG, 1, 0, 1),
    FIELD(sample, text, WIRE_TEXT, 1, 0, 10),
    FIELD(sample, key, WIRE_KEY, 1, 1, 10),
    FIELD(sample, bytes, WIRE_BYTES, 1, 0, 10),
    {"items", WIRE_LIST, 1, 0, 3, offsetof(struct sample, items), &item_shape, "meaning"},
    FIELD(sample, since_2, WIRE_NUMBER, 2, 0, UINT64_MAX),
    FIELD(sample, since_3, WIRE_KEY, 3, 0, 10),
};

/* The same message as programs of level 1, 2 and 3 know it. */
#define SAMPLE(fields)                                                                             \
	{                                                                                          \
		7, 1, 500,                                                                         \
		{                                                                                  \
			"sample", "meaning", sizeof(struct sample), sample_fields, fields          \
		}                                                                                  \
	}
static const struct wire_message samples[] = {SAMPLE(10), SAMPLE(11), SAMPLE(12)};
#define TABLE(of_level) {of_level, 1000, &samples[(of_level) - 1], 1}
static const struct wire_table tables[] = {TABLE(1), TABLE(2), TABLE(3)};
#define NEWEST (&tables[2])

static struct sample make_sample(void)
{
	static const struct item items[] = {{70000, "a"}, {0, "b-1"}};
	struct sample sample = {.small = 5,
				.address = {{192, 0, 2, 1}, IP_V4},
				.prefix = {{{0x20, 1}, IP_V6}, 16},
				.digest = {{1, 2, 3}},
				.flag = true,
				.text = "ä b",
				.key = "k/1",
				.bytes = {"\0\xff", 2},
				.items = {items, 2},
				.since_2 = 22,
				.since_3 = "three"};
	return sample;
}

static void encode(const struct wire_table *table, const struct sample *sample, struct buffer *out)
{
	struct error err = {0};
	buffer_init(out, 0);
	if (wire_encode(table, 7, sample, out, &err) < 0)
		fail_msg("%s", err.text);
}

/* From a copy that is exactly as long as the frame, so that the sanitizer sees one byte too far. */
static int decode(const struct wire_table *table, const char *bytes, size_t length,
		  struct arena *arena, struct sample *ret_sample)
{
	unsigned number;
	char *copy = malloc(length ? length : 1);
	assert_non_null(copy);
	memcpy(copy, bytes, length);
	int result = wire_decode(table, copy, length, arena, &number, ret_sample, NULL);
	free(copy);
	return result;
}

static void a_message_has_one_form(void **state)
{
	(void)state;
	static const char frame[] =
	    "\0\0\0\x88" /* length */
	    "\0\7\0\1" /* number, level */
	    "\5" /* small */
	    "\4\300\0\2\1\0" /* address, no_address */
	    "\6\20\x20\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0" /* prefix */
	    "\1\2\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	    "\1" /* flag */
	    "\0\0\0\4\303\244 b" /* text */
	    "\0\0\0\3k/1" /* key */
	    "\0\0\0\2\0\377" /* bytes */
	    "\0\0\0\2\0\1\x11\x70\0\0\0\1a\0\0\0\0\0\0\0\3b-1"
	    "\0\2\0\0\0\10\0\0\0\0\0\0\0\26" /* block of level 2 */
	    "\0\3\0\0\0\11\0\0\0\5three"; /* block of level 3 */
	struct sample sample = make_sample();
	struct sample back;
	struct buffer out;
	struct arena arena;
	arena_init(&arena, 0);
	encode(NEWEST, &sample, &out);
	assert_int_equal(out.length, sizeof(frame) - 1);
	assert_memory_equal(out.data, frame, out.length);
	assert_int_equal(decode(NEWEST, out.data, out.length, &arena, &back), 0);
	assert_int_equal(back.small, 5);
	assert_true(ip_address_equal(&back.address, &sample.address));
	assert_int_equal(back.no_address.family, IP_NONE);
	assert_true(ip_prefix_equal(&back.prefix, &sample.prefix));
	assert_memory_equal(&back.digest, &sample.digest, sizeof(back.digest));
	assert_true(back.flag);
	assert_string_equal(back.text, "ä b");
	assert_string_equal(back.key, "k/1");
	assert_int_equal(back.bytes.length, 2);
	assert_memory_equal(back.bytes.data, "\0\xff", 3); /* with the NUL behind it */
	assert_int_equal(back.items.count, 2);
	const struct item *items = back.items.items;
	assert_int_equal(items[0].number, 70000);
	assert_string_equal(items[1].name, "b-1");
	assert_int_equal(back.since_2, 22);
	assert_string_equal(back.since_3, "three");
	buffer_done(&out);
	arena_done(&arena);
}

static void what_is_cut_is_refused(void **state)
{
	(void)state;
	struct sample sample = make_sample();
	struct buffer out;
	encode(NEWEST, &sample, &out);
	for (size_t length = 0; length < out.length; length++) {
		struct arena arena;
		struct sample back = {.small = 77};
		arena_init(&arena, 0);
		assert_int_equal(decode(NEWEST, out.data, length, &arena, &back), -FL_EINVALID);
		/* And with a length that says that this is all. */
		if (length >= WIRE_HEADER_BYTES) {
			char *copy = malloc(length);
			assert_non_null(copy);
			memcpy(copy, out.data, length);
			copy[3] = (char)(length - 4);
			int result = decode(NEWEST, copy, length, &arena, &back);
			/* Whole blocks may be missing. */
			bool whole = length == out.length - 15 || length == out.length - 29;
			assert_int_equal(result, whole ? 0 : -FL_EINVALID);
			free(copy);
			back.small = whole ? 77 : back.small;
		}
		assert_int_equal(back.small, 77); /* untouched */
		arena_done(&arena);
	}
	buffer_done(&out);
}

/* One byte of the frame above is changed: what the encoder would not have written is refused. */
static void hostile_values_are_refused(void **state)
{
	(void)state;
	static const struct {
		size_t at;
		char value;
		int result;
	} rows[] = {
	    {3, (char)0x89, -FL_EINVALID}, /* a byte too many */
	    {3, 0, -FL_EINVALID}, /* shorter than its own header */
	    {2, 2, -FL_EINVALID}, /* longer than the row allows */
	    {5, 8, -FL_EUNSUPPORTED}, /* an unknown number */
	    {7, 2, -FL_EUNSUPPORTED}, /* a higher level than the row's */
	    {7, 0, -FL_EUNSUPPORTED}, /* a lower one */
	    {8, 2, -FL_EINVALID}, /* small: below 3 */
	    {8, 10, -FL_EINVALID}, /* small: above 9 */
	    {9, 5, -FL_EINVALID}, /* address: no family */
	    {9, 0, -FL_EINVALID}, /* address: none, where one must be */
	    {14, 4, -FL_EINVALID}, /* no_address: takes the bytes of what follows */
	    {15, 0, -FL_EINVALID}, /* prefix: no family */
	    {16, 15, -FL_EINVALID}, /* prefix: host bits */
	    {16, (char)129, -FL_EINVALID}, /* prefix: too many bits */
	    {65, 2, -FL_EINVALID}, /* flag */
	    {66, 1, -FL_EINVALID}, /* text: a length of 16 MiB */
	    {70, (char)0xff, -FL_EINVALID}, /* text: no UTF-8 */
	    {72, '\n', -FL_EINVALID}, /* text: a control character */
	    {78, ' ', -FL_EINVALID}, /* key: a space */
	    {77, 0, -FL_EINVALID}, /* key: empty */
	    {90, 4, -FL_EINVALID}, /* items: more than allowed */
	    {92, 2, -FL_EINVALID}, /* items: a number above its most */
	    {99, '-', -FL_EINVALID}, /* items: a name that begins with a hyphen */
	    {99, 'A', -FL_EINVALID}, /* items: a name with a capital */
	    {112, 1, -FL_EINVALID}, /* a block of the row's own level */
	    {112, 3, -FL_EINVALID}, /* a block of level 3 where 2 is missing */
	    {112, 4, -FL_EINVALID}, /* an unknown block before known ones */
	    {116, 7, -FL_EINVALID}, /* a block shorter than its fields */
	    {116, 9, -FL_EINVALID}, /* a block longer than its fields */
	    {126, 2, -FL_EINVALID}, /* level 2 twice */
	    {70, 'x', -FL_EINVALID}, /* half a character */
	    {86, 0, 0}, /* a byte may be any */
	};
	struct sample sample = make_sample();
	struct buffer out;
	encode(NEWEST, &sample, &out);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct arena arena;
		struct sample back = {.small = 77};
		arena_init(&arena, 0);
		char kept = out.data[rows[i].at];
		assert_true(kept != rows[i].value);
		out.data[rows[i].at] = rows[i].value;
		int result = decode(NEWEST, out.data, out.length, &arena, &back);
		if (result != rows[i].result)
			fail_msg("row %zu: %s", i, error_name(result));
		assert_int_equal(back.small, result ? 77 : 5);
		out.data[rows[i].at] = kept;
		arena_done(&arena);
	}
	buffer_done(&out);
}

/* A count that no frame could hold must take no memory before it is refused. */
static void a_claimed_count_takes_no_memory(void **state)
{
	(void)state;
	struct peer_message report = {.number = PEER_REPORT};
	struct peer_message back;
	struct buffer out;
	struct arena arena;
	arena_init(&arena, 0);
	buffer_init(&out, 0);
	assert_int_equal(peer_encode(&report, &out, NULL), 0);
	size_t at = WIRE_HEADER_BYTES + 32 + 8 + 32 + 1 + 8 + 8; /* of the count of `counts` */
	out.data[at + 1] = 4; /* 262144: the most that a report may have */
	assert_int_equal(peer_decode(out.data, out.length, &arena, &back, NULL), -FL_EINVALID);
	assert_true(arena.used <= sizeof(struct peer_report) + 64);
	buffer_done(&out);
	arena_done(&arena);
}

static void outside_its_limits_nothing_is_encoded(void **state)
{
	(void)state;
	static const struct item named = {1, "UPPER"};
	static const struct item unnamed = {1, NULL};
	static const struct item four[4] = {{1, "a"}, {1, "a"}, {1, "a"}, {1, "a"}};
	struct sample rows[14];
	for (size_t i = 0; i < COUNT(rows); i++)
		rows[i] = make_sample();
	rows[0].small = 2;
	rows[1].small = 10;
	rows[2].address.family = IP_NONE;
	rows[3].no_address.family = 5;
	rows[4].prefix.length = 15;
	rows[5].prefix.address.family = IP_NONE;
	rows[6].text = "12345678901";
	rows[7].text = "tab\there";
	rows[8].key = "";
	rows[9].bytes.length = 11;
	rows[10].items = (struct wire_list){four, 4};
	rows[11].items = (struct wire_list){&named, 1};
	rows[12].items = (struct wire_list){&unnamed, 1};
	rows[13].since_3 = "12345678901";
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buffer out;
		struct error err = {0};
		buffer_init(&out, 0);
		buffer_puts(&out, "before");
		assert_int_equal(wire_encode(NEWEST, 7, &rows[i], &out, &err), -FL_EINVALID);
		assert_string_equal(out.data, "before");
		assert_non_null(strstr(err.text, "message \"sample\": its \""));
		buffer_done(&out);
	}
}

static void a_frame_is_limited(void **state)
{
	(void)state;
	static const struct wire_message tight = {
	    7, 1, 136, {"sample", "meaning", sizeof(struct sample), sample_fields, 12}};
	static const struct wire_table table = {3, 1000, &tight, 1};
	struct sample sample = make_sample();
	struct buffer out;
	struct error err = {0};
	buffer_init(&out, 0);
	assert_int_equal(wire_encode(&table, 7, &sample, &out, &err), -FL_ELIMIT);
	assert_int_equal(out.length, 0);
	sample.since_3 = "";
	assert_int_equal(wire_encode(&table, 7, &sample, &out, &err), 0);
	buffer_done(&out);
	/* A receiver that has room for less than what was sent keeps what it had. */
	buffer_init(&out, 20);
	assert_int_equal(wire_encode(&table, 7, &sample, &out, &err), -FL_ELIMIT);
	assert_int_equal(out.length, 0);
	buffer_done(&out);
}

static void the_header_says_how_long_a_frame_is(void **state)
{
	(void)state;
	static const struct {
		const char bytes[9];
		size_t length;
		size_t frame;
		int result;
	} rows[] = {
	    {"\0\0\0\x14\0\7\0\1", 7, 0, 0},
	    {"\0\0\0\x14\0\7\0\1", 8, 24, 0},
	    {"\0\0\0\4\0\7\0\1", 8, 8, 0},
	    {"\0\0\0\3\0\7\0\1", 8, 0, -FL_EINVALID},
	    {"\0\0\1\xf0\0\7\0\1", 8, 500, 0},
	    {"\0\0\1\xf1\0\7\0\1", 8, 0, -FL_EINVALID},
	    {"\0\0\3\xe4\0\x63\0\1", 8, 1000, 0}, /* an unknown one may be longer */
	    {"\0\0\3\xe5\0\x63\0\1", 8, 0, -FL_EINVALID},
	    {"\xff\xff\xff\xff\0\7\0\1", 8, 0, -FL_EINVALID},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t frame = 77;
		assert_int_equal(
		    wire_frame_bytes(NEWEST, rows[i].bytes, rows[i].length, &frame, NULL),
		    rows[i].result);
		assert_int_equal(frame, rows[i].result ? 77 : rows[i].frame);
	}
}

static void every_level_understands_every_other(void **state)
{
	(void)state;
	for (unsigned from = 1; from <= 3; from++) {
		struct sample sample = make_sample();
		struct buffer out;
		encode(&tables[from - 1], &sample, &out);
		for (unsigned to = 1; to <= 3; to++) {
			unsigned both = from < to ? from : to;
			struct sample back = {0};
			struct arena arena;
			arena_init(&arena, 0);
			assert_int_equal(
			    decode(&tables[to - 1], out.data, out.length, &arena, &back), 0);
			assert_string_equal(back.key, "k/1");
			assert_int_equal(back.since_2, both >= 2 ? 22 : 0);
			assert_int_equal(back.since_3 != NULL, both >= 3);
			arena_done(&arena);
		}
		buffer_done(&out);
	}
}

/* A later level is passed over by its length, which still must be right. */
static void an_unknown_block_must_be_whole(void **state)
{
	(void)state;
	struct sample sample = make_sample();
	struct buffer out;
	struct arena arena;
	struct sample back;
	arena_init(&arena, 0);
	encode(NEWEST, &sample, &out);
	out.data[out.length - 10] = 8;
	assert_int_equal(decode(&tables[0], out.data, out.length, &arena, &back), -FL_EINVALID);
	out.data[out.length - 10] = 10;
	assert_int_equal(decode(&tables[0], out.data, out.length, &arena, &back), -FL_EINVALID);
	out.data[out.length - 10] = 9;
	assert_int_equal(decode(&tables[0], out.data, out.length, &arena, &back), 0);
	buffer_done(&out);
	arena_done(&arena);
}

static void texts_are_made_fit(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t most;
		const char *clean;
	} rows[] = {
	    {"", 5, ""},
	    {"plain", 5, "plain"},
	    {"plain", 4, "plai"},
	    {"a\nb\tc", 10, "a?b?c"},
	    {"\xff\xc3", 10, "??"},
	    {"ää", 3, "ä"},
	    {"\xe2\x80\xa8x", 10, "?x"},
	};
	struct arena arena;
	arena_init(&arena, 0);
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_string_equal(wire_clean_text(rows[i].text, rows[i].most, &arena),
				    rows[i].clean);
	arena_done(&arena);
}

/* --- the house's table ------------------------------------------------------------------------ */

static void check_shape(const struct wire_shape *shape, unsigned level)
{
	assert_true(shape->field_count > 0); /* a row without bytes could be claimed for ever */
	for (size_t i = 0; i < shape->field_count; i++) {
		const struct wire_field *field = &shape->fields[i];
		assert_true(field->least <= field->most);
		assert_true(field->level >= level && field->level <= PEER_LEVEL);
		assert_true(i == 0 || field->level >= field[-1].level);
		/* What an older sender does not write is zero or empty. */
		assert_true(field->level == level || field->least == 0);
		assert_int_equal(field->kind == WIRE_LIST, field->row != NULL);
		if (!field->row)
			continue;
		check_shape(field->row, field->level);
		for (size_t f = 0; f < field->row->field_count; f++)
			assert_int_equal(field->row->fields[f].level, field->level);
	}
}

static void the_table_obeys_its_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < peer_table.count; i++) {
		const struct wire_message *message = &peer_table.messages[i];
		assert_true(i == 0 || message->number > message[-1].number);
		assert_true(message->most <= PEER_FRAME_MAX);
		check_shape(&message->shape, message->level);
	}
}

/* Cut off before the block of a level it is what an older sender writes. */
static unsigned later_levels(const struct wire_message *message)
{
	unsigned count = 0;
	for (unsigned level = message->level + 1; level <= PEER_LEVEL; level++) {
		bool has = false;
		for (size_t i = 0; i < message->shape.field_count; i++)
			has = has || message->shape.fields[i].level == level;
		count += has;
	}
	return count;
}

static void random_messages_come_back(void **state)
{
	(void)state;
	struct random random;
	random_init_seeded(&random, seed_choose(1));
	for (size_t i = 0; i < peer_table.count * ROUNDS; i++) {
		const struct wire_message *row = &peer_table.messages[i % peer_table.count];
		struct peer_message message = {.number = (enum peer_number)row->number};
		struct peer_message back = {0};
		struct buffer out;
		struct buffer again;
		struct arena arena;
		struct error err = {0};
		arena_init(&arena, 0);
		buffer_init(&out, 0);
		buffer_init(&again, 0);
		wire_random_fill(&random, &row->shape, 5, 60, &arena, &message.hello);
		if (peer_encode(&message, &out, &err) < 0 ||
		    peer_decode(out.data, out.length, &arena, &back, &err) < 0 ||
		    peer_encode(&back, &again, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(back.number, message.number);
		assert_int_equal(again.length, out.length);
		assert_memory_equal(again.data, out.data, out.length);
		unsigned understood = 0;
		for (size_t length = WIRE_HEADER_BYTES; length < out.length; length++) {
			size_t rest = length - 4;
			char *copy = malloc(length);
			assert_non_null(copy);
			memcpy(copy, out.data, length);
			for (size_t b = 0; b < 4; b++)
				copy[b] = (char)(rest >> (8 * (3 - b)));
			int result = peer_decode(copy, length, &arena, &back, NULL);
			assert_true(result == 0 || result == -FL_EINVALID);
			understood += result == 0;
			free(copy);
		}
		assert_int_equal(understood, later_levels(row));
		buffer_done(&out);
		buffer_done(&again);
		arena_done(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_message_has_one_form),
	    cmocka_unit_test(what_is_cut_is_refused),
	    cmocka_unit_test(hostile_values_are_refused),
	    cmocka_unit_test(a_claimed_count_takes_no_memory),
	    cmocka_unit_test(outside_its_limits_nothing_is_encoded),
	    cmocka_unit_test(a_frame_is_limited),
	    cmocka_unit_test(the_header_says_how_long_a_frame_is),
	    cmocka_unit_test(every_level_understands_every_other),
	    cmocka_unit_test(an_unknown_block_must_be_whole),
	    cmocka_unit_test(texts_are_made_fit),
	    cmocka_unit_test(the_table_obeys_its_rules),
	    cmocka_unit_test(random_messages_come_back),
	};
	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
