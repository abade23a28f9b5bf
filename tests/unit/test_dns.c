/* SPDX-License-Identifier: Apache-2.0 */
/* DNS wire code: names both ways, queries valid, truncated at every length, and hostile. */
#include "wire/dns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* Copy to the heap, exactly as long as it is, so that the sanitizer sees one byte too far. */
static uint8_t *exact(const uint8_t *bytes, size_t length)
{
	uint8_t *copy = malloc(length ? length : 1);
	assert_non_null(copy);
	memcpy(copy, bytes, length);
	return copy;
}

static void names_round_trip(void **state)
{
	(void)state;
	static const struct {
		const char *text, *back;
		const char *wire;
		size_t length;
	} cases[] = {
	    {".", ".", "\0", 1},
	    {"a", "a.", "\1a\0", 3},
	    {"Web.Example.NET.", "web.example.net.", "\3web\7example\3net\0", 17},
	    {"x\\.y.z", "x\\.y.z.", "\3x.y\1z\0", 7},
	    {"\\000\\255\\032.q", "\\000\\255\\032.q.", "\3\0\xff \1q\0", 7},
	    {"a\\\\b", "a\\\\b.", "\3a\\b\0", 5},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct dns_name name;
		char text[DNS_NAME_TEXT_BYTES];
		assert_int_equal(dns_name_parse(cases[i].text, &name), 0);
		assert_int_equal(name.length, cases[i].length);
		assert_memory_equal(name.bytes, cases[i].wire, cases[i].length);
		assert_string_equal(dns_name_format(&name, text), cases[i].back);
	}
}

static void wrong_name_texts_are_refused(void **state)
{
	(void)state;
	static const char *const cases[] = {"",    "..",   ".a",    "a..b",  "a..",
					    "a\\", "\\25", "\\256", "\\2x5", "a.\\"};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct dns_name name = {.length = 77};
		assert_int_equal(dns_name_parse(cases[i], &name), -FL_EINVALID);
		assert_int_equal(name.length, 77); /* untouched */
	}
}

/* Labels of `label` letters, joined by dots, `length` characters in all. */
static char *long_text(size_t length, size_t label)
{
	char *text = malloc(length + 1);
	assert_non_null(text);
	for (size_t i = 0; i < length; i++)
		text[i] = (i + 1) % (label + 1) == 0 ? '.' : 'a';
	text[length] = '\0';
	return text;
}

static void names_have_their_lengths_limited(void **state)
{
	(void)state;
	struct dns_name name;
	char text[DNS_NAME_TEXT_BYTES];
	static const struct {
		size_t length, label;
		bool fits;
	} cases[] = {
	    {63, 63, true}, {64, 64, false}, {253, 63, true}, {254, 63, false},
	    {253, 1, true}, {255, 1, false}, {253, 49, true}, {300, 49, false},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *longest = long_text(cases[i].length, cases[i].label);
		int result = dns_name_parse(longest, &name);
		assert_int_equal(result, cases[i].fits ? 0 : -FL_EINVALID);
		if (cases[i].fits)
			assert_int_equal(strlen(dns_name_format(&name, text)), cases[i].length + 1);
		free(longest);
	}
	/* Every byte escaped is the longest text. */
	name.length = DNS_NAME_MAX;
	memset(name.bytes, 1, sizeof(name.bytes));
	for (unsigned i = 0; i < 4; i++)
		name.bytes[64 * i] = i < 3 ? 63 : 61;
	name.bytes[254] = 0;
	assert_int_equal(strlen(dns_name_format(&name, text)), 4 * 250 + 4);
}

static void a_name_lies_in_a_zone_only_at_a_label(void **state)
{
	(void)state;
	static const struct {
		const char *name, *zone;
		int below;
	} cases[] = {
	    {"example.net", "example.net", 0},
	    {"web.example.net", "example.net", 4},
	    {"a.b.example.net", "example.net", 4},
	    {"net", "example.net", -FL_ENOTFOUND},
	    {"example.com", "example.net", -FL_ENOTFOUND},
	    {"badexample.net", "example.net", -FL_ENOTFOUND},
	    /* The zone's bytes are inside a label here. */
	    {"aaa\\007example\\003net", "example.net", -FL_ENOTFOUND},
	    {"anything", ".", 9},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct dns_name name, zone;
		assert_int_equal(dns_name_parse(cases[i].name, &name), 0);
		assert_int_equal(dns_name_parse(cases[i].zone, &zone), 0);
		assert_int_equal(dns_name_below(&name, &zone), cases[i].below);
	}
}

#define HEADER12 "\0\0\0\0\0\0\0\0\0\0\0\0"

static void names_in_messages_are_read_strictly(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		const char *message;
		size_t length, offset;
		int taken; /* by dns_name_read */
		int skipped;
		const char *text;
	} cases[] = {
	    {"plain", HEADER12 "\1a\1b\0", 17, 12, 5, 5, "a.b."},
	    {"root", HEADER12 "\0", 13, 12, 1, 1, "."},
	    {"pointer", HEADER12 "\1a\0\xc0\x0c", 17, 15, 2, 2, "a."},
	    {"labels, then a pointer", HEADER12 "\1a\0\1b\xc0\x0c", 19, 15, 4, 4, "b.a."},
	    {"two jumps", HEADER12 "\1a\0\1b\xc0\x0c\1c\xc0\x0f", 23, 19, 4, 4, "c.b.a."},
	    {"to itself", HEADER12 "\xc0\x0c", 14, 12, -1, -1, NULL},
	    {"into its own labels", HEADER12 "\1a\xc0\x0c", 16, 12, -1, -1, NULL},
	    {"forward", HEADER12 "\xc0\x0e\0", 15, 12, -1, -1, NULL},
	    {"into the header", HEADER12 "\xc0\x00", 14, 12, -1, -1, NULL},
	    {"two that chase each other", HEADER12 "\xc0\x0e\xc0\x0c", 16, 14, -1, 2, NULL},
	    {"half a pointer", HEADER12 "\xc0", 13, 12, -1, -1, NULL},
	    {"reserved 01",
	     HEADER12 "\x41"
		      "a\0",
	     15, 12, -1, -1, NULL},
	    {"reserved 10",
	     HEADER12 "\x81"
		      "a\0",
	     15, 12, -1, -1, NULL},
	    {"no end", HEADER12 "\1a", 14, 12, -1, -1, NULL},
	    {"label over the end", HEADER12 "\3ab", 15, 12, -1, -1, NULL},
	    {"nothing there", HEADER12, 12, 12, -1, -1, NULL},
	    {"beyond the end", HEADER12, 12, 99, -1, -1, NULL},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t *message = exact((const uint8_t *)cases[i].message, cases[i].length);
		struct dns_name name = {.length = 0};
		int taken = dns_name_read(message, cases[i].length, cases[i].offset, &name);
		int skipped = dns_name_skip(message, cases[i].length, cases[i].offset);
		if (taken != (cases[i].taken < 0 ? -FL_EINVALID : cases[i].taken) ||
		    skipped != (cases[i].skipped < 0 ? -FL_EINVALID : cases[i].skipped))
			fail_msg("%s: read %d, skipped %d", cases[i].what, taken, skipped);
		if (cases[i].text) {
			char text[DNS_NAME_TEXT_BYTES];
			assert_string_equal(dns_name_format(&name, text), cases[i].text);
		}
		free(message);
	}
}

static void names_in_messages_end_at_255_bytes(void **state)
{
	(void)state;
	/* Labels of 1, so that 127 of them and the root are 255 bytes, and 128 are too many. */
	uint8_t message[12 + 2 * 128 + 1] = {0};
	for (unsigned labels = 127; labels <= 128; labels++) {
		memset(message + 12, 1, 2 * labels);
		message[12 + 2 * labels] = 0;
		size_t length = 12 + 2 * labels + 1;
		struct dns_name name;
		int expected = labels == 127 ? 255 : -FL_EINVALID;
		assert_int_equal(dns_name_read(message, length, 12, &name), expected);
		assert_int_equal(dns_name_skip(message, length, 12), expected);
	}
	/* Pointers add up to the same limit. */
	uint8_t tail[12 + 255 + 4] = {0};
	memset(tail + 12, 1, 254);
	memcpy(tail + 267, "\1x\xc0\x0c", 4);
	struct dns_name name;
	assert_int_equal(dns_name_read(tail, sizeof(tail), 267, &name), -FL_EINVALID);
	tail[270] = 0x0e; /* one label less to follow */
	assert_int_equal(dns_name_read(tail, sizeof(tail), 267, &name), 4);
	assert_int_equal(name.length, 255);
}

#define QUESTION "\3wEb\1z\0\0\1\0\1"
#define HEADER(flags, qd, an, ns, ar) "\x12\x34" flags "\0" qd "\0" an "\0" ns "\0" ar
#define QUERY HEADER("\1\0", "\1", "\0", "\0", "\0") QUESTION
#define QUERY1 HEADER("\1\0", "\1", "\0", "\0", "\1") QUESTION
#define OPT_HEAD "\0\0\x29\x04\xd0\0\0\0\0"

static void a_plain_query_is_read(void **state)
{
	(void)state;
	struct dns_query query;
	assert_int_equal(dns_query_read(BYTES(QUERY), &query), DNS_VERDICT_ANSWER);
	assert_int_equal(query.rcode, DNS_NOERROR);
	assert_int_equal(query.id, 0x1234);
	assert_int_equal(query.opcode, 0);
	assert_true(query.recursion_desired);
	assert_int_equal(query.question_length, 11);
	assert_int_equal(query.name.length, 7);
	assert_memory_equal(query.name.bytes, "\3web\1z\0", 7);
	assert_int_equal(query.type, DNS_A);
	assert_int_equal(query.class, DNS_CLASS_IN);
	assert_false(query.edns.present);
}

static void edns_is_read(void **state)
{
	(void)state;
	struct dns_query query;
	assert_int_equal(dns_query_read(BYTES(QUERY1 "\0\0\x29\x10\0\0\0\x80\0\0\x0f"
						     "\0\x03\0\0"
						     "\0\x08\0\x07\0\1\x18\0\xc0\0\x02"),
					&query),
			 DNS_VERDICT_ANSWER);
	assert_int_equal(query.rcode, DNS_NOERROR);
	assert_true(query.edns.present);
	assert_int_equal(query.edns.payload, 4096);
	assert_int_equal(query.edns.version, 0);
	assert_true(query.edns.dnssec_ok);
	assert_true(query.edns.nsid);
	assert_true(query.edns.has_subnet);
	assert_int_equal(query.edns.subnet.source, 24);
	char text[IP_TEXT_BYTES];
	assert_string_equal(ip_address_format(&query.edns.subnet.address, text), "192.0.2.0");
}

struct query_case {
	const char *what;
	const uint8_t *message;
	size_t length;
	enum dns_rcode rcode;
	size_t question_length;
	bool edns;
};

static const struct query_case query_cases[] = {
    {"flags of an answer do not matter", BYTES(HEADER("\x07\xff", "\1", "\0", "\0", "\0") QUESTION),
     DNS_NOERROR, 11, false},
    {"header alone", BYTES(HEADER("\0\0", "\0", "\0", "\0", "\0")), DNS_FORMERR, 0, false},
    {"two questions", BYTES(HEADER("\0\0", "\2", "\0", "\0", "\0") QUESTION QUESTION), DNS_FORMERR,
     0, false},
    {"256 questions", BYTES("\0\1\0\0\1\0\0\0\0\0\0\0" QUESTION), DNS_FORMERR, 0, false},
    {"another opcode", BYTES(HEADER("\x28\0", "\1", "\0", "\0", "\0") QUESTION), DNS_NOTIMP, 0,
     false},
    {"another opcode, garbage behind", BYTES(HEADER("\x78\0", "\7", "\0", "\0", "\0") "\xff\xff"),
     DNS_NOTIMP, 0, false},
    {"pointer in the question", BYTES(HEADER("\0\0", "\1", "\0", "\0", "\0") "\xc0\x0c\0\1\0\1"),
     DNS_FORMERR, 0, false},
    {"pointer into the header", BYTES(HEADER("\0\0", "\1", "\0", "\0", "\0") "\xc0\x04\0\1\0\1"),
     DNS_FORMERR, 0, false},
    {"bytes behind the end", BYTES(QUERY "\0"), DNS_FORMERR, 11, false},
    {"record that is not there", BYTES(QUERY1), DNS_FORMERR, 11, false},
    {"answer in a query is passed",
     BYTES(HEADER("\0\0", "\1", "\1", "\0", "\0") QUESTION "\xc0\x0c\0\1\0\1\0\0\0\0\0\4abcd"),
     DNS_NOERROR, 11, false},
    {"answer longer than the message",
     BYTES(HEADER("\0\0", "\1", "\1", "\0", "\0") QUESTION "\xc0\x0c\0\1\0\1\0\0\0\0\0\5abcd"),
     DNS_FORMERR, 11, false},
    {"unknown additional record is passed",
     BYTES(HEADER("\0\0", "\1", "\0", "\0", "\2") QUESTION "\1q\0\0\xfa\0\xff\0\0\0\0\0\1x" OPT_HEAD
							   "\0\0"),
     DNS_NOERROR, 11, true},
    {"two OPT",
     BYTES(HEADER("\0\0", "\1", "\0", "\0", "\2") QUESTION OPT_HEAD "\0\0" OPT_HEAD "\0\0"),
     DNS_FORMERR, 11, true},
    {"OPT that is not the root's", BYTES(QUERY1 "\1x\0\0\x29\x04\xd0\0\0\0\0\0\0"), DNS_FORMERR, 11,
     false},
    {"OPT in the answer section",
     BYTES(HEADER("\0\0", "\1", "\1", "\0", "\0") QUESTION OPT_HEAD "\0\0"), DNS_FORMERR, 11,
     false},
    {"EDNS version 1", BYTES(QUERY1 "\0\0\x29\x04\xd0\0\1\0\0\0\0"), DNS_BADVERS, 11, true},
    {"EDNS version 1, options of another form", BYTES(QUERY1 "\0\0\x29\x04\xd0\0\1\0\0\0\3abc"),
     DNS_BADVERS, 11, true},
    {"EDNS version 1, bytes behind the end", BYTES(QUERY1 "\0\0\x29\x04\xd0\0\1\0\0\0\0x"),
     DNS_FORMERR, 11, true},
    {"unknown option", BYTES(QUERY1 OPT_HEAD "\0\x06\xff\xf0\0\2hi"), DNS_NOERROR, 11, true},
    {"cookie option",
     BYTES(QUERY1 OPT_HEAD "\0\x0c\0\x0a\0\x08"
			   "abcdefgh"),
     DNS_NOERROR, 11, true},
    {"half an option", BYTES(QUERY1 OPT_HEAD "\0\3\0\3\0"), DNS_FORMERR, 11, true},
    {"option longer than OPT", BYTES(QUERY1 OPT_HEAD "\0\4\0\3\0\1"), DNS_FORMERR, 11, true},
};

static void odd_queries_get_the_rcode_they_deserve(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(query_cases); i++) {
		const struct query_case *c = &query_cases[i];
		uint8_t *message = exact(c->message, c->length);
		struct dns_query query;
		assert_int_equal(dns_query_read(message, c->length, &query), DNS_VERDICT_ANSWER);
		if (query.rcode != c->rcode || query.question_length != c->question_length ||
		    query.edns.present != c->edns)
			fail_msg("%s: rcode %u, question %zu, EDNS %d", c->what, query.rcode,
				 query.question_length, query.edns.present);
		free(message);
	}
}

static void client_subnets_are_checked(void **state)
{
	(void)state;
	static const struct {
		const char *what;
		const char *data;
		size_t length;
		bool valid;
	} cases[] = {
	    {"/24", "\0\1\x18\0\xc6\x33\x64", 7, true},
	    {"/0", "\0\1\0\0", 4, true},
	    {"/32", "\0\1\x20\0\1\2\3\4", 8, true},
	    {"/23 with a zero bit", "\0\1\x17\0\xc6\x33\x64", 7, true},
	    {"v6 /56", "\0\2\x38\0\x20\1\x0d\xb8\0\0\1", 11, true},
	    {"v6 /128",
	     "\0\2\x80\0"
	     "0123456789abcdef",
	     20, true},
	    {"/23 with a bit too many", "\0\1\x17\0\xc6\x33\x65", 7, false},
	    {"/33", "\0\1\x21\0\1\2\3\4\0", 9, false},
	    {"v6 /129",
	     "\0\2\x81\0"
	     "0123456789abcdef\0",
	     21, false},
	    {"too few bytes", "\0\1\x18\0\xc6\x33", 6, false},
	    {"too many bytes", "\0\1\x18\0\xc6\x33\x64\0", 8, false},
	    {"scope in a query", "\0\1\x18\x18\xc6\x33\x64", 7, false},
	    {"unknown family", "\0\3\x08\0\1", 5, false},
	    {"family zero", "\0\0\0\0", 4, false},
	    {"no room for its head", "\0\1\0", 3, false},
	    {"empty", "", 0, false},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t bytes[100];
		size_t head = sizeof(QUERY1 OPT_HEAD) - 1;
		memcpy(bytes, QUERY1 OPT_HEAD, head);
		dns_put_u16(bytes + head, (unsigned)cases[i].length + 4);
		dns_put_u16(bytes + head + 2, DNS_OPTION_CLIENT_SUBNET);
		dns_put_u16(bytes + head + 4, (unsigned)cases[i].length);
		memcpy(bytes + head + 6, cases[i].data, cases[i].length);
		size_t length = head + 6 + cases[i].length;
		uint8_t *message = exact(bytes, length);
		struct dns_query query;
		assert_int_equal(dns_query_read(message, length, &query), DNS_VERDICT_ANSWER);
		if (query.rcode != (cases[i].valid ? DNS_NOERROR : DNS_FORMERR) ||
		    query.edns.has_subnet != cases[i].valid)
			fail_msg("%s: rcode %u", cases[i].what, query.rcode);
		free(message);
	}
}

static void two_client_subnets_are_refused(void **state)
{
	(void)state;
	struct dns_query query;
	assert_int_equal(dns_query_read(BYTES(QUERY1 OPT_HEAD "\0\x10\0\x08\0\4\0\1\0\0"
							      "\0\x08\0\4\0\1\0\0"),
					&query),
			 DNS_VERDICT_ANSWER);
	assert_int_equal(query.rcode, DNS_FORMERR);
}

static void a_query_cut_at_any_length_is_no_query(void **state)
{
	(void)state;
	static const char whole[] = HEADER("\1\0", "\1", "\0", "\0", "\1") QUESTION
	    "\0\0\x29\x10\0\0\0\x80\0\0\x0f\0\x03\0\0\0\x08\0\x07\0\1\x18\0\xc0\0\x02";
	for (size_t length = 0; length < sizeof(whole); length++) {
		uint8_t *message = exact((const uint8_t *)whole, length);
		struct dns_query query;
		enum dns_verdict verdict = dns_query_read(message, length, &query);
		assert_int_equal(verdict, length < 12 ? DNS_VERDICT_SHORT : DNS_VERDICT_ANSWER);
		if (length >= 12)
			assert_int_equal(query.rcode,
					 length == sizeof(whole) - 1 ? DNS_NOERROR : DNS_FORMERR);
		free(message);
	}
}

static void answers_are_not_queries(void **state)
{
	(void)state;
	struct dns_query query;
	assert_int_equal(
	    dns_query_read(BYTES(HEADER("\x80\0", "\1", "\0", "\0", "\0") QUESTION), &query),
	    DNS_VERDICT_RESPONSE);
}

static void opt_records_are_written(void **state)
{
	(void)state;
	struct dns_client_subnet subnet = {.source = 23, .scope = 20};
	assert_int_equal(ip_address_parse("198.51.100.0", &subnet.address), 0);
	struct dns_opt opt = {.payload = 1232,
			      .rcode = DNS_BADVERS,
			      .dnssec_ok = true,
			      .nsid = (const uint8_t *)"fra1",
			      .nsid_length = 4,
			      .subnet = &subnet};
	static const char expected[] = "\0\0\x29\x04\xd0\x01\0\x80\0\0\x13"
				       "\0\x03\0\4fra1"
				       "\0\x08\0\x07\0\1\x17\x14\xc6\x33\x64";
	uint8_t bytes[64];
	assert_int_equal(dns_opt_bytes(&opt), sizeof(expected) - 1);
	assert_int_equal(dns_opt_write(&opt, bytes), sizeof(expected) - 1);
	assert_memory_equal(bytes, expected, sizeof(expected) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_round_trip),
	    cmocka_unit_test(wrong_name_texts_are_refused),
	    cmocka_unit_test(names_have_their_lengths_limited),
	    cmocka_unit_test(a_name_lies_in_a_zone_only_at_a_label),
	    cmocka_unit_test(names_in_messages_are_read_strictly),
	    cmocka_unit_test(names_in_messages_end_at_255_bytes),
	    cmocka_unit_test(a_plain_query_is_read),
	    cmocka_unit_test(edns_is_read),
	    cmocka_unit_test(odd_queries_get_the_rcode_they_deserve),
	    cmocka_unit_test(client_subnets_are_checked),
	    cmocka_unit_test(two_client_subnets_are_refused),
	    cmocka_unit_test(a_query_cut_at_any_length_is_no_query),
	    cmocka_unit_test(answers_are_not_queries),
	    cmocka_unit_test(opt_records_are_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
