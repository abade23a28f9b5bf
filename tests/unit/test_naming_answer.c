/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots and answers: exact bytes of the answers that matter, who gets which version, what the
 * builder refuses. Names and sections of other answers are read back with the wire code.
 */
#include "naming/naming.h"
#include "tests/addresses.h"
#include "wire/dns.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* The zone that most tests ask: one name server inside and one outside, a service of one version,
 * one in the middle of a rollout, one with IPv4 only in its older version, one without versions. */
static struct naming_snapshot *zone_z(uint32_t newest_upper)
{
	struct ip_address ns1[] = {address("192.0.2.53"), address("2001:db8::53")};
	struct naming_nameserver nameservers[] = {{"ns1.z", ns1, 2}, {"ns.example.net", NULL, 0}};
	struct naming_share plain[] = {{.upper = 65536,
					.v4 = address("198.51.100.1"),
					.v6 = address("2001:db8:f::1"),
					.version = 1,
					.held = true}};
	struct naming_share rolling[] = {
	    {.upper = newest_upper,
	     .v4 = address("198.51.100.3"),
	     .v6 = address("2001:db8:f::3"),
	     .version = 3,
	     .held = true},
	    {.upper = 65536,
	     .v4 = address("198.51.100.2"),
	     .v6 = address("2001:db8:f::2"),
	     .version = 2,
	     .held = true},
	};
	struct naming_share mixed[] = {
	    {.upper = 32768,
	     .v4 = address("198.51.100.4"),
	     .v6 = address("2001:db8:f::4"),
	     .version = 4,
	     .held = true},
	    {.upper = 65536, .v4 = address("198.51.100.4"), .version = 5, .held = true},
	};
	struct naming_service services[] = {
	    {.name = "web", .ttl_s = 30, .shares = plain, .share_count = 1},
	    {.name = "roll",
	     .ttl_s = 20,
	     .salt = "a rollout's salt",
	     .shares = rolling,
	     .share_count = 2},
	    {.name = "mixed", .ttl_s = 20, .shares = mixed, .share_count = 2},
	    {.name = "api.eu.deep", .ttl_s = 5, .shares = plain, .share_count = 1},
	    {.name = "empty", .ttl_s = 5},
	};
	struct naming_input input = {
	    .zone = "z.",
	    .serial = 2026112201,
	    .contact = "hostmaster.z",
	    .refresh_s = 3600,
	    .retry_s = 600,
	    .expire_s = 604800,
	    .ttl_s = 300,
	    .negative_ttl_s = 10,
	    .nameservers = nameservers,
	    .nameserver_count = COUNT(nameservers),
	    .nsid = (const uint8_t *)"fra1",
	    .nsid_length = 4,
	    .version = "Fairlead 1",
	    .services = services,
	    .service_count = COUNT(services),
	};
	struct naming_snapshot *snapshot;
	struct error err = {0};
	if (naming_snapshot_build(&input, &snapshot, &err) < 0)
		fail_msg("%s", err.text);
	return snapshot;
}

/* ---- asking ---- */

struct ask {
	const char *name;
	unsigned type;
	unsigned class; /* 0: IN */
	bool edns;
	unsigned payload; /* 0: 1232 */
	const char *subnet; /* "192.0.2.0/24" */
	bool nsid;
	bool tcp;
	const char *from; /* NULL: 203.0.113.9 */
};

struct reply {
	uint8_t bytes[NAMING_ANSWER_MAX];
	size_t length;
	struct naming_outcome outcome;
	unsigned flags, rcode; /* with the upper bits from OPT */
	unsigned counts[4];
	/* Every record after the question, in order. */
	struct {
		unsigned section; /* 1, 2, 3 */
		unsigned type;
		uint32_t ttl;
		char owner[DNS_NAME_TEXT_BYTES];
		size_t data, data_length; /* offset into bytes */
	} records[64];
	unsigned record_count;
	int scope; /* of the client subnet; -1: there is none */
	bool nsid;
};

static size_t write_query(const struct ask *ask, uint8_t *bytes)
{
	struct dns_name name;
	assert_int_equal(dns_name_parse(ask->name, &name), 0);
	memcpy(bytes, "\xbe\xef\1\0\0\1\0\0\0\0\0\0", 12);
	memcpy(bytes + 12, name.bytes, name.length);
	size_t at = 12u + name.length;
	dns_put_u16(bytes + at, ask->type);
	dns_put_u16(bytes + at + 2, ask->class ? ask->class : DNS_CLASS_IN);
	at += 4;
	if (!ask->edns && !ask->subnet && !ask->nsid)
		return at;

	bytes[11] = 1;
	struct ip_prefix prefix;
	struct dns_client_subnet subnet;
	struct dns_opt opt = {.payload = (uint16_t)(ask->payload ? ask->payload : 1232)};
	if (ask->subnet) {
		assert_int_equal(ip_prefix_parse(ask->subnet, &prefix), 0);
		subnet =
		    (struct dns_client_subnet){.address = prefix.address, .source = prefix.length};
		opt.subnet = &subnet;
	}
	if (ask->nsid)
		opt.nsid = (const uint8_t *)"";
	return at + dns_opt_write(&opt, bytes + at);
}

static void read_opt(struct reply *reply, size_t fixed)
{
	reply->rcode |= (unsigned)reply->bytes[fixed + 4] << 4;
	size_t end = fixed + 10 + dns_get_u16(reply->bytes + fixed + 8);
	for (size_t at = fixed + 10; at < end;) {
		unsigned code = dns_get_u16(reply->bytes + at);
		if (code == DNS_OPTION_CLIENT_SUBNET)
			reply->scope = reply->bytes[at + 7];
		if (code == DNS_OPTION_NSID)
			reply->nsid = true;
		at += 4u + dns_get_u16(reply->bytes + at + 2);
		assert_true(at <= end);
	}
}

/* Read a whole answer, strictly: every name, every count, no byte left over. */
static void read_reply(struct reply *reply)
{
	const uint8_t *bytes = reply->bytes;
	reply->flags = dns_get_u16(bytes + 2);
	reply->rcode = reply->flags & 0xf;
	reply->scope = -1;
	for (unsigned i = 0; i < 4; i++)
		reply->counts[i] = dns_get_u16(bytes + 4 + 2 * (size_t)i);
	size_t at = 12;
	struct dns_name name;
	if (reply->counts[0] > 0) {
		int taken = dns_name_read(bytes, reply->length, at, &name);
		assert_true(taken > 0);
		at += (size_t)taken + 4;
	}
	for (unsigned section = 1; section <= 3; section++)
		for (unsigned i = 0; i < reply->counts[section]; i++) {
			int taken = dns_name_read(bytes, reply->length, at, &name);
			assert_true(taken > 0);
			at += (size_t)taken;
			assert_true(reply->length - at >= 10);
			unsigned n = reply->record_count++;
			assert_true(n < COUNT(reply->records));
			reply->records[n].section = section;
			reply->records[n].type = dns_get_u16(bytes + at);
			reply->records[n].ttl = (uint32_t)dns_get_u16(bytes + at + 4) << 16 |
						dns_get_u16(bytes + at + 6);
			dns_name_format(&name, reply->records[n].owner);
			reply->records[n].data = at + 10;
			reply->records[n].data_length = dns_get_u16(bytes + at + 8);
			if (reply->records[n].type == DNS_OPT)
				read_opt(reply, at);
			at += 10 + reply->records[n].data_length;
			assert_true(at <= reply->length);
		}
	assert_int_equal(at, reply->length);
}

static void ask(const struct naming_snapshot *snapshot, struct ask question, struct reply *reply)
{
	uint8_t query[600];
	size_t length = write_query(&question, query);
	struct naming_request from = {.client =
					  address(question.from ? question.from : "203.0.113.9"),
				      .transport = question.tcp ? NAMING_TCP : NAMING_UDP};
	memset(reply, 0, sizeof(*reply));
	reply->length = naming_answer(snapshot, &from, query, length, reply->bytes,
				      sizeof(reply->bytes), &reply->outcome);
	assert_true(reply->length >= 12);
	assert_int_equal(reply->outcome.drop, NAMING_DROP_NONE);
	read_reply(reply);
}

static const char *first_address(const struct reply *reply)
{
	static char text[IP_TEXT_BYTES];
	struct ip_address found = {.family = IP_NONE};
	if (reply->counts[1] > 0) {
		found.family = reply->records[0].type == DNS_A ? IP_V4 : IP_V6;
		memcpy(found.bytes, reply->bytes + reply->records[0].data,
		       reply->records[0].data_length);
	}
	return ip_address_format(&found, text);
}

/* ---- exact bytes ---- */

static void answers_have_these_bytes(void **state)
{
	(void)state;
	struct naming_snapshot *snapshot = zone_z(3277);
	static const struct {
		const char *what;
		const uint8_t *query;
		size_t query_length;
		const uint8_t *answer;
		size_t answer_length;
	} cases[] = {
	    {"A, the spelling kept", BYTES("\xbe\xef\1\0\0\1\0\0\0\0\0\0\3wEb\1Z\0\0\1\0\1"),
	     BYTES("\xbe\xef\x85\0\0\1\0\1\0\0\0\0\3wEb\1Z\0\0\1\0\1"
		   "\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\xc6\x33\x64\1")},
	    {"AAAA, not recursive", BYTES("\0\1\0\0\0\1\0\0\0\0\0\0\3web\1z\0\0\x1c\0\1"),
	     BYTES("\0\1\x84\0\0\1\0\1\0\0\0\0\3web\1z\0\0\x1c\0\1"
		   "\xc0\x0c\0\x1c\0\1\0\0\0\x1e\0\x10\x20\1\x0d\xb8\0\x0f\0\0\0\0\0\0\0\0\0\1")},
	    {"EDNS with NSID and client subnet",
	     BYTES("\0\1\0\0\0\1\0\0\0\0\0\1\3web\1z\0\0\1\0\1"
		   "\0\0\x29\x10\0\0\0\x80\0\0\x0f\0\x08\0\7\0\1\x18\0\xc0\0\2\0\3\0\0"),
	     BYTES("\0\1\x84\0\0\1\0\1\0\0\0\1\3web\1z\0\0\1\0\1"
		   "\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\xc6\x33\x64\1"
		   "\0\0\x29\4\xd0\0\0\x80\0\0\x13\0\3\0\4fra1\0\x08\0\7\0\1\x18\0\xc0\0\2")},
	    {"NXDOMAIN", BYTES("\0\1\0\0\0\1\0\0\0\0\0\0\2no\1z\0\0\1\0\1"),
	     BYTES("\0\1\x84\3\0\1\0\0\0\1\0\0\2no\1z\0\0\1\0\1"
		   "\xc0\x0f\0\6\0\1\0\0\0\x0a\0\x27\3ns1\xc0\x0f\x0ahostmaster\xc0\x0f"
		   "\x78\xc4\x04\xc9\0\0\x0e\x10\0\0\2\x58\0\x09\x3a\x80\0\0\0\x0a")},
	    {"NODATA", BYTES("\0\1\0\0\0\1\0\0\0\0\0\0\3web\1z\0\0\x10\0\1"),
	     BYTES("\0\1\x84\0\0\1\0\0\0\1\0\0\3web\1z\0\0\x10\0\1"
		   "\xc0\x10\0\6\0\1\0\0\0\x0a\0\x27\3ns1\xc0\x10\x0ahostmaster\xc0\x10"
		   "\x78\xc4\x04\xc9\0\0\x0e\x10\0\0\2\x58\0\x09\x3a\x80\0\0\0\x0a")},
	    {"SOA", BYTES("\0\1\0\0\0\1\0\0\0\0\0\0\1z\0\0\6\0\1"),
	     BYTES("\0\1\x84\0\0\1\0\1\0\0\0\0\1z\0\0\6\0\1"
		   "\xc0\x0c\0\6\0\1\0\0\1\x2c\0\x27\3ns1\xc0\x0c\x0ahostmaster\xc0\x0c"
		   "\x78\xc4\x04\xc9\0\0\x0e\x10\0\0\2\x58\0\x09\x3a\x80\0\0\0\x0a")},
	    {"NS with the addresses that are ours to say",
	     BYTES("\0\1\0\0\0\1\0\0\0\0\0\0\1z\0\0\2\0\1"),
	     BYTES("\0\1\x84\0\0\1\0\2\0\0\0\2\1z\0\0\2\0\1"
		   "\xc0\x0c\0\2\0\1\0\0\1\x2c\0\6\3ns1\xc0\x0c"
		   "\xc0\x0c\0\2\0\1\0\0\1\x2c\0\x10\2ns\7example\3net\0"
		   "\3ns1\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4\xc0\0\2\x35"
		   "\3ns1\xc0\x0c\0\x1c\0\1\0\0\1\x2c\0\x10\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0"
		   "\x53")},
	    {"ANY", BYTES("\0\1\0\0\0\1\0\0\0\0\0\0\3web\1z\0\0\xff\0\1"),
	     BYTES("\0\1\x84\0\0\1\0\1\0\0\0\0\3web\1z\0\0\xff\0\1"
		   "\xc0\x0c\0\x0d\0\1\0\0\1\x2c\0\x09\7RFC8482\0")},
	    {"out of zone, reserved bits, AD and CD set",
	     BYTES("\0\1\1\x70\0\1\0\0\0\0\0\0\3web\1y\0\0\1\0\1"),
	     BYTES("\0\1\x81\5\0\1\0\0\0\0\0\0\3web\1y\0\0\1\0\1")},
	    {"CHAOS", BYTES("\0\1\1\0\0\1\0\0\0\0\0\0\3web\1z\0\0\1\0\3"),
	     BYTES("\0\1\x81\5\0\1\0\0\0\0\0\0\3web\1z\0\0\1\0\3")},
	    {"CHAOS, the version", BYTES("\0\1\0\0\0\1\0\0\0\0\0\0\7vErsion\4bind\0\0\x10\0\3"),
	     BYTES("\0\1\x84\0\0\1\0\1\0\0\0\0\7vErsion\4bind\0\0\x10\0\3"
		   "\xc0\x0c\0\x10\0\3\0\0\0\0\0\x0b\x0a"
		   "Fairlead 1")},
	    {"CHAOS, the server", BYTES("\0\1\0\0\0\1\0\0\0\0\0\0\2id\6server\0\0\x10\0\3"),
	     BYTES("\0\1\x84\0\0\1\0\1\0\0\0\0\2id\6server\0\0\x10\0\3"
		   "\xc0\x0c\0\x10\0\3\0\0\0\0\0\5\4fra1")},
	    {"CHAOS, no address of the server",
	     BYTES("\0\1\0\0\0\1\0\0\0\0\0\0\x08hostname\4bind\0\0\1\0\3"),
	     BYTES("\0\1\x84\0\0\1\0\0\0\0\0\0\x08hostname\4bind\0\0\1\0\3")},
	    {"the zone's version",
	     BYTES("\0\1\0\0\0\1\0\0\0\0\0\1\2no\1z\0\0\1\0\1"
		   "\0\0\x29\x10\0\0\0\0\0\0\4\0\x13\0\0"),
	     BYTES("\0\1\x84\3\0\1\0\0\0\1\0\1\2no\1z\0\0\1\0\1"
		   "\xc0\x0f\0\6\0\1\0\0\0\x0a\0\x27\3ns1\xc0\x0f\x0ahostmaster\xc0\x0f"
		   "\x78\xc4\x04\xc9\0\0\x0e\x10\0\0\2\x58\0\x09\x3a\x80\0\0\0\x0a"
		   "\0\0\x29\4\xd0\0\0\0\0\0\x0a\0\x13\0\6\1\0\x78\xc4\x04\xc9")},
	    {"out of the zone it has none, and says why",
	     BYTES("\0\1\0\0\0\1\0\0\0\0\0\1\1y\0\0\1\0\1"
		   "\0\0\x29\x10\0\0\0\0\0\0\4\0\x13\0\0"),
	     BYTES("\0\1\x80\5\0\1\0\0\0\0\0\1\1y\0\0\1\0\1"
		   "\0\0\x29\4\xd0\0\0\0\0\0\6\0\x0f\0\2\0\x14")},
	    {"a zone's version in a query",
	     BYTES("\0\1\0\0\0\1\0\0\0\0\0\1\1z\0\0\1\0\1"
		   "\0\0\x29\x10\0\0\0\0\0\0\5\0\x13\0\1\0"),
	     BYTES("\0\1\x80\1\0\1\0\0\0\0\0\1\1z\0\0\1\0\1"
		   "\0\0\x29\4\xd0\0\0\0\0\0\0")},
	    {"AXFR", BYTES("\0\1\0\0\0\1\0\0\0\0\0\0\1z\0\0\xfc\0\1"),
	     BYTES("\0\1\x80\5\0\1\0\0\0\0\0\0\1z\0\0\xfc\0\1")},
	    {"NOTIFY", BYTES("\0\1\x24\0\0\1\0\0\0\0\0\0\1z\0\0\6\0\1"),
	     BYTES("\0\1\xa0\4\0\0\0\0\0\0\0\0")},
	    {"NOTIFY with EDNS",
	     BYTES("\0\1\x24\0\0\1\0\0\0\0\0\1\1z\0\0\6\0\1\0\0\x29\2\0\0\0\0\0\0\0"),
	     BYTES("\0\1\xa0\4\0\0\0\0\0\0\0\1\0\0\x29\4\xd0\0\0\0\0\0\6\0\x0f\0\2\0\x15")},
	    {"UPDATE with EDNS behind a record",
	     BYTES("\0\1\x28\0\0\1\0\0\0\1\0\1\1z\0\0\6\0\1"
		   "\xc0\x0c\0\x10\0\1\0\0\0\0\0\2\1x\0\0\x29\2\0\0\0\x80\0\0\0"),
	     BYTES("\0\1\xa8\4\0\0\0\0\0\0\0\1\0\0\x29\4\xd0\0\0\x80\0\0\6\0\x0f\0\2\0\x15")},
	    {"another opcode whose body is no message's",
	     BYTES("\0\1\x30\0\0\1\0\0\0\0\0\1\xff\0\0\6\0\1\0\0\x29\2\0\0\0\0\0\0\0"),
	     BYTES("\0\1\xb0\4\0\0\0\0\0\0\0\0")},
	    {"TC in the query", BYTES("\0\1\2\0\0\1\0\0\0\0\0\0\3web\1z\0\0\1\0\1"),
	     BYTES("\0\1\x84\0\0\1\0\1\0\0\0\0\3web\1z\0\0\1\0\1"
		   "\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\xc6\x33\x64\1")},
	    {"no question", BYTES("\0\1\1\0\0\0\0\0\0\0\0\0"), BYTES("\0\1\x81\1\0\0\0\0\0\0\0\0")},
	    {"two questions", BYTES("\0\1\0\0\0\2\0\0\0\0\0\0\1z\0\0\6\0\1\1z\0\0\6\0\1"),
	     BYTES("\0\1\x80\1\0\0\0\0\0\0\0\0")},
	    {"two questions and EDNS",
	     BYTES("\0\1\0\0\0\2\0\0\0\0\0\1\1z\0\0\6\0\1\1z\0\0\6\0\1"
		   "\0\0\x29\2\0\0\0\0\0\0\0"),
	     BYTES("\0\1\x80\1\0\0\0\0\0\0\0\1\0\0\x29\4\xd0\0\0\0\0\0\0")},
	    {"no question but EDNS", BYTES("\0\1\0\0\0\0\0\0\0\0\0\1\0\0\x29\2\0\0\0\0\0\0\0"),
	     BYTES("\0\1\x80\1\0\0\0\0\0\0\0\1\0\0\x29\4\xd0\0\0\0\0\0\0")},
	    {"bytes behind EDNS",
	     BYTES("\0\1\0\0\0\1\0\0\0\0\0\1\1z\0\0\6\0\1\0\0\x29\2\0\0\0\0\0\0\0x"),
	     BYTES("\0\1\x80\1\0\1\0\0\0\0\0\1\1z\0\0\6\0\1\0\0\x29\4\xd0\0\0\0\0\0\0")},
	    {"EDNS version 1",
	     BYTES("\0\1\0\0\0\1\0\0\0\0\0\1\1z\0\0\6\0\1\0\0\x29\2\0\0\1\0\0\0\0"),
	     BYTES("\0\1\x80\0\0\1\0\0\0\0\0\1\1z\0\0\6\0\1\0\0\x29\4\xd0\1\0\0\0\0\0")},
	    {"broken option",
	     BYTES("\0\1\0\0\0\1\0\0\0\0\0\1\1z\0\0\6\0\1\0\0\x29\2\0\0\0\0\0\0\1\0"),
	     BYTES("\0\1\x80\1\0\1\0\0\0\0\0\1\1z\0\0\6\0\1\0\0\x29\4\xd0\0\0\0\0\0\0")},
	};
	struct naming_request from = {.client = address("203.0.113.9")};
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t answer[NAMING_ANSWER_MAX];
		struct naming_outcome outcome;
		size_t length =
		    naming_answer(snapshot, &from, cases[i].query, cases[i].query_length, answer,
				  sizeof(answer), &outcome);
		if (length != cases[i].answer_length)
			fail_msg("%s: %zu bytes, not %zu", cases[i].what, length,
				 cases[i].answer_length);
		for (size_t at = 0; at < length; at++)
			if (answer[at] != cases[i].answer[at])
				fail_msg("%s: byte %zu is %02x, not %02x", cases[i].what, at,
					 answer[at], cases[i].answer[at]);
	}
	naming_snapshot_free(snapshot);
}

static void what_is_no_query_gets_no_answer(void **state)
{
	(void)state;
	struct naming_snapshot *snapshot = zone_z(3277);
	struct naming_request from = {.client = address("203.0.113.9")};
	uint8_t answer[NAMING_ANSWER_MAX];
	struct naming_outcome outcome;
	assert_int_equal(naming_answer(snapshot, &from,
				       BYTES("\0\1\x80\0\0\1\0\0\0\0\0\0\1z\0\0\6\0\1"), answer,
				       sizeof(answer), &outcome),
			 0);
	assert_int_equal(outcome.drop, NAMING_DROP_RESPONSE);
	for (size_t length = 0; length < 12; length++) {
		assert_int_equal(naming_answer(snapshot, &from,
					       (const uint8_t *)"\0\1\0\0\0\1\0\0\0\0\0\0", length,
					       answer, sizeof(answer), &outcome),
				 0);
		assert_int_equal(outcome.drop, NAMING_DROP_SHORT);
	}
	naming_snapshot_free(snapshot);
}

/* ---- names and types ---- */

static void every_name_and_type_gets_its_result(void **state)
{
	(void)state;
	struct naming_snapshot *snapshot = zone_z(3277);
	static const struct {
		const char *name;
		unsigned type;
		unsigned rcode, answers, authority;
		enum naming_result result;
	} cases[] = {
	    {"web.z", DNS_A, 0, 1, 0, NAMING_RESULT_DATA},
	    {"WEB.Z", DNS_A, 0, 1, 0, NAMING_RESULT_DATA},
	    {"api.eu.deep.z", DNS_AAAA, 0, 1, 0, NAMING_RESULT_DATA},
	    {"ns1.z", DNS_A, 0, 1, 0, NAMING_RESULT_DATA},
	    {"ns1.z", DNS_AAAA, 0, 1, 0, NAMING_RESULT_DATA},
	    {"web.z", DNS_NS, 0, 0, 1, NAMING_RESULT_NODATA},
	    {"web.z", DNS_SOA, 0, 0, 1, NAMING_RESULT_NODATA},
	    {"web.z", DNS_HINFO, 0, 0, 1, NAMING_RESULT_NODATA},
	    {"web.z", 65280, 0, 0, 1, NAMING_RESULT_NODATA},
	    {"z", DNS_A, 0, 0, 1, NAMING_RESULT_NODATA},
	    {"empty.z", DNS_A, 2, 0, 0, NAMING_RESULT_SERVFAIL},
	    {"empty.z", DNS_AAAA, 2, 0, 0, NAMING_RESULT_SERVFAIL},
	    {"empty.z", 16, 0, 0, 1, NAMING_RESULT_NODATA},
	    {"eu.deep.z", DNS_A, 0, 0, 1, NAMING_RESULT_NODATA},
	    {"deep.z", 16, 0, 0, 1, NAMING_RESULT_NODATA},
	    {"deep.z", DNS_ANY, 0, 1, 0, NAMING_RESULT_DATA},
	    {"z", DNS_ANY, 0, 1, 0, NAMING_RESULT_DATA},
	    {"us.deep.z", DNS_A, 3, 0, 1, NAMING_RESULT_NXDOMAIN},
	    {"x.web.z", DNS_A, 3, 0, 1, NAMING_RESULT_NXDOMAIN},
	    {"we.z", DNS_A, 3, 0, 1, NAMING_RESULT_NXDOMAIN},
	    {"webb.z", DNS_ANY, 3, 0, 1, NAMING_RESULT_NXDOMAIN},
	    {"*.z", DNS_A, 3, 0, 1, NAMING_RESULT_NXDOMAIN},
	    {"ns.example.net", DNS_A, 5, 0, 0, NAMING_RESULT_REFUSED},
	    {"webz", DNS_A, 5, 0, 0, NAMING_RESULT_REFUSED},
	    {".", DNS_NS, 5, 0, 0, NAMING_RESULT_REFUSED},
	    {"z", DNS_IXFR, 5, 0, 0, NAMING_RESULT_REFUSED},
	    {"web.z", DNS_AXFR, 5, 0, 0, NAMING_RESULT_REFUSED},
	    {"z", DNS_OPT, 4, 0, 0, NAMING_RESULT_NOTIMP},
	    {"z", 254, 4, 0, 0, NAMING_RESULT_NOTIMP},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct reply reply;
		ask(snapshot, (struct ask){.name = cases[i].name, .type = cases[i].type}, &reply);
		if (reply.rcode != cases[i].rcode || reply.counts[1] != cases[i].answers ||
		    reply.counts[2] != cases[i].authority ||
		    reply.outcome.result != cases[i].result)
			fail_msg("%s type %u: rcode %u, %u answers, %u in authority, %s",
				 cases[i].name, cases[i].type, reply.rcode, reply.counts[1],
				 reply.counts[2], naming_result_text(reply.outcome.result));
		bool authoritative = cases[i].rcode == 0 || cases[i].rcode == 3;
		assert_int_equal((reply.flags & DNS_FLAG_AA) != 0, authoritative);
		if (cases[i].authority) {
			assert_string_equal(reply.records[0].owner, "z.");
			assert_int_equal(reply.records[0].type, DNS_SOA);
			assert_int_equal(reply.records[0].ttl, 10);
		}
	}
	naming_snapshot_free(snapshot);
}

static void without_a_snapshot_it_says_so(void **state)
{
	(void)state;
	struct reply reply;
	ask(NULL, (struct ask){.name = "web.z", .type = DNS_A, .nsid = true}, &reply);
	assert_int_equal(reply.rcode, DNS_SERVFAIL);
	assert_int_equal(reply.outcome.result, NAMING_RESULT_SERVFAIL);
	assert_int_equal(reply.counts[0], 1);
	assert_false(reply.flags & DNS_FLAG_AA);
}

/* ---- who gets which version ---- */

static bool got_newest(const struct naming_snapshot *snapshot, const char *subnet, unsigned type,
		       struct reply *reply)
{
	ask(snapshot, (struct ask){.name = "roll.z", .type = type, .subnet = subnet}, reply);
	assert_int_equal(reply->counts[1], 1);
	assert_true(reply->outcome.version == 2 || reply->outcome.version == 3);
	bool newest = reply->outcome.version == 3;
	assert_string_equal(first_address(reply), type == DNS_A
						      ? newest ? "198.51.100.3" : "198.51.100.2"
						  : newest ? "2001:db8:f::3"
							   : "2001:db8:f::2");
	return newest;
}

static void shares_grow_monotonically_and_alike_for_both_families(void **state)
{
	(void)state;
	static const uint32_t uppers[] = {1, 3277, 6554, 16384, 32768, 65535, 65536};
	enum { CLIENTS = 4000 };
	static bool had[CLIENTS];
	memset(had, 0, sizeof(had));
	for (size_t u = 0; u < COUNT(uppers); u++) {
		struct naming_snapshot *snapshot = zone_z(uppers[u]);
		unsigned newest = 0;
		for (unsigned i = 0; i < CLIENTS; i++) {
			char subnet[IP_TEXT_BYTES];
			snprintf(subnet, sizeof(subnet),
				 i % 2 ? "10.%u.%u.0/24" : "2001:db8:%x:%x00::/56", i / 256,
				 i % 256);
			struct reply a, aaaa;
			bool now = got_newest(snapshot, subnet, DNS_A, &a);
			assert_int_equal(now, got_newest(snapshot, subnet, DNS_AAAA, &aaaa));
			if (had[i] && !now)
				fail_msg("%s went back at %u", subnet, uppers[u]);
			had[i] = now;
			newest += now;
			unsigned bits = i % 2 ? 24 : 56;
			assert_int_equal(a.scope, uppers[u] == 65536 ? 0 : bits);
			assert_int_equal(aaaa.scope, uppers[u] == 65536 ? 0 : bits);
		}
		/* Binomial; 5 standard deviations of 4,000 fair coins are 158. */
		double expected = (double)CLIENTS * uppers[u] / 65536;
		if (newest > expected + 160 || newest + 160 < expected)
			fail_msg("upper %u: %u of %u", uppers[u], newest, CLIENTS);
		naming_snapshot_free(snapshot);
	}
}

static void the_choice_uses_no_more_of_a_client_than_it_may(void **state)
{
	(void)state;
	struct naming_snapshot *snapshot = zone_z(32768);
	struct reply reply;
	for (unsigned net = 0; net < 64; net++) {
		char cut[IP_TEXT_BYTES], whole[IP_TEXT_BYTES], from[IP_TEXT_BYTES];
		snprintf(cut, sizeof(cut), "10.0.%u.0/24", net);
		snprintf(whole, sizeof(whole), "10.0.%u.77/32", net);
		snprintf(from, sizeof(from), "10.0.%u.200", net);
		bool newest = got_newest(snapshot, cut, DNS_A, &reply);
		assert_int_equal(got_newest(snapshot, whole, DNS_A, &reply), newest);
		assert_int_equal(reply.scope, 24);
		/* A resolver of that network without client subnet belongs to it too. */
		ask(snapshot, (struct ask){.name = "roll.z", .type = DNS_A, .from = from}, &reply);
		assert_int_equal(reply.outcome.version == 3, newest);
		assert_int_equal(reply.scope, -1);
	}
	/* Less told, the first network there is asked for; nothing told, nothing stated. */
	bool first = got_newest(snapshot, "10.0.0.0/24", DNS_A, &reply);
	assert_int_equal(got_newest(snapshot, "10.0.0.0/16", DNS_A, &reply), first);
	assert_int_equal(reply.scope, 24);
	got_newest(snapshot, "2001:db8::/32", DNS_A, &reply);
	assert_int_equal(reply.scope, 56);
	got_newest(snapshot, "2001:db8::/64", DNS_A, &reply);
	assert_int_equal(reply.scope, 56);
	got_newest(snapshot, "0.0.0.0/0", DNS_A, &reply);
	assert_int_equal(reply.scope, 0);
	naming_snapshot_free(snapshot);
}

static void a_client_that_opted_out_counts_as_its_resolver(void **state)
{
	(void)state;
	struct naming_snapshot *snapshot = zone_z(32768);
	unsigned newest = 0;
	for (unsigned net = 0; net < 64; net++) {
		char from[IP_TEXT_BYTES];
		snprintf(from, sizeof(from), "10.0.%u.200", net);
		struct reply plain, opted;
		ask(snapshot, (struct ask){.name = "roll.z", .type = DNS_A, .from = from}, &plain);
		ask(snapshot,
		    (struct ask){
			.name = "roll.z", .type = DNS_A, .from = from, .subnet = "0.0.0.0/0"},
		    &opted);
		assert_int_equal(plain.outcome.version, opted.outcome.version);
		newest += plain.outcome.version == 3;
	}
	assert_in_range(newest, 12, 52);
	naming_snapshot_free(snapshot);
}

static void the_scope_is_true_where_versions_differ_in_families(void **state)
{
	(void)state;
	struct naming_snapshot *snapshot = zone_z(32768);
	unsigned with = 0;
	for (unsigned net = 0; net < 64; net++) {
		char subnet[IP_TEXT_BYTES];
		snprintf(subnet, sizeof(subnet), "10.0.%u.0/24", net);
		struct reply a, aaaa;
		ask(snapshot, (struct ask){.name = "mixed.z", .type = DNS_A, .subnet = subnet}, &a);
		ask(snapshot, (struct ask){.name = "mixed.z", .type = DNS_AAAA, .subnet = subnet},
		    &aaaa);
		/* Both versions have the same IPv4 address; only one has IPv6. */
		assert_int_equal(a.scope, 0);
		assert_int_equal(aaaa.scope, 24);
		assert_int_equal(aaaa.counts[1], a.outcome.version == 4);
		assert_int_equal(aaaa.outcome.result, a.outcome.version == 4
							  ? NAMING_RESULT_DATA
							  : NAMING_RESULT_NODATA);
		with += aaaa.counts[1];
	}
	assert_in_range(with, 12, 52);
	struct reply reply;
	ask(snapshot, (struct ask){.name = "nope.z", .type = DNS_A, .subnet = "10.0.0.0/24"},
	    &reply);
	assert_int_equal(reply.scope, 0);
	ask(snapshot, (struct ask){.name = "ns1.z", .type = DNS_A, .subnet = "10.0.0.0/24"},
	    &reply);
	assert_int_equal(reply.scope, 0);
	ask(snapshot, (struct ask){.name = "x.y", .type = DNS_A, .subnet = "10.0.0.0/24"}, &reply);
	assert_int_equal(reply.scope, -1);
	naming_snapshot_free(snapshot);
}

static void salts_deal_clients_anew(void **state)
{
	(void)state;
	struct ip_address client = address("10.1.2.3");
	struct ip_prefix prefix = naming_client_prefix(&client, 24);
	assert_int_equal(naming_client_prefix(&client, 128).length, 32);
	assert_int_equal(prefix.length, 24);
	assert_int_equal(prefix.address.bytes[3], 0);
	unsigned low = 0, equal = 0;
	uint32_t before = UINT32_MAX;
	for (unsigned i = 0; i < 1000; i++) {
		uint8_t salt[NAMING_SALT_BYTES] = {(uint8_t)i, (uint8_t)(i >> 8)};
		uint32_t number = naming_client_number(salt, &prefix);
		assert_true(number < NAMING_SHARE_WHOLE);
		low += number < 32768;
		equal += number == before;
		before = number;
	}
	assert_in_range(low, 420, 580);
	assert_true(equal < 3);
	/* The same address told in fewer bits is another client. */
	static const uint8_t salt[NAMING_SALT_BYTES] = "some other salt";
	struct ip_prefix shorter = naming_client_prefix(&client, 16);
	struct ip_prefix longer = shorter;
	longer.length = 24;
	assert_int_not_equal(naming_client_number(salt, &shorter),
			     naming_client_number(salt, &longer));
}

/* ---- sizes ---- */

/* A zone whose NS answer and one of whose names are large. */
static struct naming_snapshot *big_zone(void)
{
	static char names[16][100];
	struct ip_address addresses[16];
	for (unsigned i = 0; i < 16; i++) {
		addresses[i] = address("2001:db8::");
		addresses[i].bytes[15] = (uint8_t)(i + 1);
	}
	struct naming_nameserver nameservers[16];
	for (unsigned i = 0; i < 16; i++) {
		snprintf(names[i], sizeof(names[i]), "ns%u-%.*s.big", i, 40,
			 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
		nameservers[i] = (struct naming_nameserver){names[i], addresses, i == 15 ? 16 : 1};
	}
	struct naming_input input = {.zone = "big",
				     .contact = "h.big",
				     .ttl_s = 60,
				     .negative_ttl_s = 60,
				     .nameservers = nameservers,
				     .nameserver_count = 16};
	struct naming_snapshot *snapshot;
	assert_int_equal(naming_snapshot_build(&input, &snapshot, NULL), 0);
	return snapshot;
}

static void what_does_not_fit_is_truncated_and_whole_over_tcp(void **state)
{
	(void)state;
	struct naming_snapshot *snapshot = big_zone();
	static const struct {
		bool edns;
		unsigned payload;
		bool tcp;
		size_t most;
		bool truncated;
	} cases[] = {
	    {false, 0, false, 512, true},      {true, 100, false, 512, true},
	    {true, 512, false, 512, true},     {true, 900, false, 900, true},
	    {true, 1000, false, 1000, false},  {true, 1232, false, 1232, false},
	    {true, 65535, false, 1232, false}, {false, 0, true, NAMING_ANSWER_MAX, false},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct reply reply;
		ask(snapshot,
		    (struct ask){.name = "big",
				 .type = DNS_NS,
				 .edns = cases[i].edns,
				 .payload = cases[i].payload,
				 .tcp = cases[i].tcp},
		    &reply);
		assert_true(reply.length <= cases[i].most);
		assert_int_equal((reply.flags & DNS_FLAG_TC) != 0, cases[i].truncated);
		assert_int_equal(reply.outcome.truncated, cases[i].truncated);
		assert_int_equal(reply.counts[1], cases[i].truncated ? 0 : 16);
		/* Some glue, where some fits; all of it over TCP. */
		unsigned glue = reply.counts[3] - cases[i].edns;
		if (cases[i].truncated)
			assert_int_equal(glue, 0);
		if (cases[i].tcp)
			assert_int_equal(glue, 31);
		if (cases[i].payload == 1232)
			assert_in_range(glue, 1, 15);
	}
	/* 16 AAAA records of 28 bytes each are just too many for 512. */
	struct reply reply;
	char name[100];
	snprintf(name, sizeof(name), "ns15-%.*s.big", 40,
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	ask(snapshot, (struct ask){.name = name, .type = DNS_AAAA}, &reply);
	assert_true(reply.flags & DNS_FLAG_TC);
	ask(snapshot, (struct ask){.name = name, .type = DNS_AAAA, .edns = true}, &reply);
	assert_false(reply.flags & DNS_FLAG_TC);
	assert_int_equal(reply.counts[1], 16);
	naming_snapshot_free(snapshot);
}

/* ---- truncated queries ---- */

static void a_query_cut_at_any_length_gets_formerr(void **state)
{
	(void)state;
	struct naming_snapshot *snapshot = zone_z(3277);
	struct naming_request from = {.client = address("2001:db8::1")};
	uint8_t query[600];
	size_t whole = write_query(
	    &(struct ask){
		.name = "roll.z", .type = DNS_A, .subnet = "2001:db8:7::/48", .nsid = true},
	    query);
	for (size_t length = 12; length < whole; length++) {
		uint8_t *cut = malloc(length);
		assert_non_null(cut);
		memcpy(cut, query, length);
		struct reply reply = {0};
		reply.length = naming_answer(snapshot, &from, cut, length, reply.bytes,
					     sizeof(reply.bytes), &reply.outcome);
		read_reply(&reply);
		assert_int_equal(reply.rcode, DNS_FORMERR);
		assert_int_equal(reply.counts[0], length >= 12 + 8 + 4);
		free(cut);
	}
	naming_snapshot_free(snapshot);
}

/* ---- the builder ---- */

static void the_builder_refuses_what_cannot_be_served(void **state)
{
	(void)state;
	struct ip_address v4 = address("192.0.2.1"), v6 = address("2001:db8::1"), none = {0};
	struct ip_address twice[] = {v4, v6, v4};
	struct ip_address many[NAMING_NAMESERVER_ADDRESSES_MAX + 1] = {v4};
	struct naming_nameserver good_ns[] = {{"ns.z", &v4, 1}};
	struct naming_nameserver crowd[NAMING_NAMESERVERS_MAX + 1];
	for (size_t i = 0; i < COUNT(crowd); i++)
		crowd[i] = (struct naming_nameserver){"ns.other", NULL, 0};
	struct naming_share whole = {.upper = 65536, .v4 = v4, .version = 0, .held = true};
	struct naming_share half = whole, zero = whole, above = whole, bare = whole,
			    crossed = whole;
	half.upper = 100;
	zero.upper = 0;
	above.upper = 65537;
	bare.v4 = none;
	crossed.v6 = v4;
	struct naming_share backwards[] = {half, half, whole};
	backwards[1].upper = 99;
	struct naming_share too_many[NAMING_SHARES_MAX + 1];
	for (size_t i = 0; i < COUNT(too_many); i++)
		too_many[i] = whole;
	static uint8_t nsid[NAMING_NSID_MAX + 1];
	char *long_name = malloc(254);
	assert_non_null(long_name);
	for (unsigned i = 0; i < 253; i++)
		long_name[i] = i % 64 == 63 ? '.' : 'a';
	long_name[253] = '\0';

#define SERVICES(...)                                                                              \
	.services = (struct naming_service[]){__VA_ARGS__},                                        \
	.service_count = COUNT(((struct naming_service[]){__VA_ARGS__}))
#define SHARES(array) .shares = (array), .share_count = COUNT(array)
#define SHARE(share) .shares = &(share), .share_count = 1
#define NAMESERVERS(...)                                                                           \
	.nameservers = (struct naming_nameserver[]){__VA_ARGS__},                                  \
	.nameserver_count = COUNT(((struct naming_nameserver[]){__VA_ARGS__}))
	const struct {
		int code;
		const char *says;
		struct naming_input input; /* what is empty gets a good value */
	} cases[] = {
	    {-FL_EINVALID, "zone \"a..b\"", {.zone = "a..b"}},
	    {-FL_EINVALID, "root", {.zone = "."}},
	    {-FL_EINVALID, "contact \"x..\"", {.contact = "x.."}},
	    {-FL_EINVALID, "name server \"\"", {NAMESERVERS({"", &v4, 1})}},
	    {-FL_EINVALID, "name server ns.z lies", {NAMESERVERS({"ns.z", NULL, 0})}},
	    {-FL_EINVALID, "of no family", {NAMESERVERS({"ns.z", &none, 1})}},
	    {-FL_EINVALID, "an address twice", {NAMESERVERS({"ns.z", twice, 3})}},
	    {-FL_ELIMIT, "more than 16 addresses", {NAMESERVERS({"ns.z", many, COUNT(many)})}},
	    {-FL_EINVALID,
	     "NS.z is listed twice",
	     {NAMESERVERS({"ns.z", &v4, 1}, {"NS.z", &v4, 1})}},
	    {-FL_ELIMIT, "17 name servers", {.nameservers = crowd, .nameserver_count = 17}},
	    {-FL_ELIMIT, "NSID", {.nsid = nsid, .nsid_length = sizeof(nsid)}},
	    {-FL_ELIMIT, "TTL", {.ttl_s = NAMING_TTL_MAX + 1u}},
	    {-FL_ELIMIT, "service w", {SERVICES({.name = "w", .ttl_s = UINT32_MAX, SHARE(whole)})}},
	    {-FL_ELIMIT,
	     "service w: an address",
	     {SERVICES({.name = "w", .bits_v4 = 33, SHARE(whole)})}},
	    {-FL_ELIMIT,
	     "service w: an address",
	     {SERVICES({.name = "w", .bits_v6 = 129, SHARE(whole)})}},
	    {-FL_EINVALID, "service \"a..b\"", {SERVICES({.name = "a..b", SHARE(whole)})}},
	    {-FL_EINVALID, "too long", {SERVICES({.name = long_name, SHARE(whole)})}},
	    {-FL_EINVALID,
	     "service W:",
	     {SERVICES({.name = "w", SHARE(whole)}, {.name = "W", SHARE(whole)})}},
	    {-FL_EINVALID, "service ns:", {SERVICES({.name = "ns", SHARE(whole)})}},
	    {-FL_EINVALID, "ends at 100", {SERVICES({.name = "w", SHARE(half)})}},
	    {-FL_EINVALID, "is 0,", {SERVICES({.name = "w", SHARE(zero)})}},
	    {-FL_EINVALID, "is 65537,", {SERVICES({.name = "w", SHARE(above)})}},
	    {-FL_EINVALID, "share 2 is 99,", {SERVICES({.name = "w", SHARES(backwards)})}},
	    {-FL_EINVALID, "needs an IPv4 or", {SERVICES({.name = "w", SHARE(bare)})}},
	    {-FL_EINVALID, "needs an IPv4 or", {SERVICES({.name = "w", SHARE(crossed)})}},
	    {-FL_ELIMIT, "number of shares", {SERVICES({.name = "w", SHARES(too_many)})}},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct naming_input input = cases[i].input;
		input.zone = input.zone ? input.zone : "z";
		input.contact = input.contact ? input.contact : "h.z";
		if (!input.nameservers) {
			input.nameservers = good_ns;
			input.nameserver_count = 1;
		}
		struct naming_snapshot *snapshot = NULL;
		struct error err = {0};
		int result = naming_snapshot_build(&input, &snapshot, &err);
		assert_null(snapshot);
		if (result != cases[i].code || err.code != result ||
		    !strstr(err.text, cases[i].says))
			fail_msg("case %zu (%s): %s: %s", i, cases[i].says, error_name(result),
				 err.text);
	}
	struct naming_input nobody = {.zone = "z", .contact = "h.z"};
	struct naming_snapshot *snapshot;
	assert_int_equal(naming_snapshot_build(&nobody, &snapshot, NULL), -FL_EINVALID);
	free(long_name);
}

/* A node has to answer what it can, whatever an older program let into its state. */
static void what_is_refused_is_left_out(void **state)
{
	(void)state;
	char long_name[254];
	memset(long_name, 'a', sizeof(long_name));
	for (unsigned i = 63; i < 253; i += 64)
		long_name[i] = '.';
	long_name[253] = '\0';
	struct ip_address ns = address("192.0.2.53");
	struct naming_nameserver nameservers[] = {
	    {"bare.z", NULL, 0}, {"ns.z", &ns, 1}, {"a..b", NULL, 0}};
	struct naming_share good = {
	    .upper = 65536, .v4 = address("192.0.2.1"), .version = 1, .held = true};
	struct naming_share half = {.upper = 9, .v4 = address("192.0.2.1"), .held = true};
	struct naming_service services[] = {
	    {.name = long_name, .shares = &good, .share_count = 1},
	    {.name = "half", .shares = &half, .share_count = 1},
	    {.name = "ns", .shares = &good, .share_count = 1},
	    {.name = "web", .shares = &good, .share_count = 1},
	};
	struct naming_input input = {.zone = "z",
				     .contact = "x..",
				     .ttl_s = 60,
				     .nameservers = nameservers,
				     .nameserver_count = COUNT(nameservers),
				     .services = services,
				     .service_count = COUNT(services),
				     .in_part = true};
	struct naming_snapshot *snapshot;
	struct error err = {0};
	struct reply reply;
	assert_int_equal(naming_snapshot_build(&input, &snapshot, &err), 0);
	assert_int_equal(err.code, 0);
	assert_string_equal(naming_snapshot_refused(snapshot),
			    "contact \"x..\" is not a domain name");
	ask(snapshot, (struct ask){.name = "web.z", .type = DNS_A}, &reply);
	assert_int_equal(reply.outcome.version, 1);
	ask(snapshot, (struct ask){.name = "half.z", .type = DNS_A}, &reply);
	assert_int_equal(reply.rcode, DNS_SERVFAIL);
	ask(snapshot, (struct ask){.name = "ns.z", .type = DNS_A}, &reply);
	assert_string_equal(first_address(&reply), "192.0.2.53");
	ask(snapshot, (struct ask){.name = "z", .type = DNS_NS}, &reply);
	assert_int_equal(reply.counts[1], 1);
	ask(snapshot, (struct ask){.name = "z", .type = DNS_SOA}, &reply);
	assert_int_equal(reply.counts[1], 1);
	naming_snapshot_free(snapshot);

	/* Not one name server: the zone still has an NS record. */
	input.nameserver_count = 1;
	input.contact = "h.z";
	input.service_count = 0;
	assert_int_equal(naming_snapshot_build(&input, &snapshot, &err), 0);
	assert_non_null(strstr(naming_snapshot_refused(snapshot), "bare.z"));
	ask(snapshot, (struct ask){.name = "z", .type = DNS_NS}, &reply);
	assert_int_equal(reply.counts[1], 1);
	naming_snapshot_free(snapshot);
	input.nameserver_count = 0;
	assert_int_equal(naming_snapshot_build(&input, &snapshot, &err), 0);
	assert_string_equal(naming_snapshot_refused(snapshot), "");
	naming_snapshot_free(snapshot);
}

/* Invariant 1: DNS never answers an address that some edge that must hold it does not hold. */
static void an_address_that_is_not_held_is_never_served(void **state)
{
	(void)state;
	struct naming_nameserver nameserver = {"ns.other", NULL, 0};
	struct naming_share shares[] = {
	    {.upper = 1, .v4 = address("192.0.2.1"), .held = true},
	    {.upper = 65536, .v4 = address("192.0.2.2"), .held = false},
	};
	struct naming_service service = {.name = "w", .shares = shares, .share_count = 2};
	struct naming_input input = {.zone = "z",
				     .contact = "h.z",
				     .nameservers = &nameserver,
				     .nameserver_count = 1,
				     .services = &service,
				     .service_count = 1};
	for (unsigned held = 0; held < 2; held++) {
		shares[1].held = held;
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			struct naming_snapshot *snapshot = NULL;
			/* Do not let the assertion's words look like this test's. */
			if (!held)
				fclose(stderr);
			signal(SIGABRT, SIG_DFL);
			int result = naming_snapshot_build(&input, &snapshot, NULL);
			naming_snapshot_free(snapshot);
			_exit(result == 0 ? 0 : 1);
		}
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		if (held)
			assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		else
			assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
}

static void thousands_of_names_are_all_found(void **state)
{
	(void)state;
	enum { SERVICES_HERE = 20000 };
	struct ip_address ns = address("192.0.2.53");
	struct naming_nameserver nameserver = {"ns.z", &ns, 1};
	struct naming_share *shares = calloc(SERVICES_HERE, sizeof(*shares));
	struct naming_service *services = calloc(SERVICES_HERE, sizeof(*services));
	char(*names)[24] = calloc(SERVICES_HERE, sizeof(*names));
	assert_true(shares && services && names);
	for (uint32_t i = 0; i < SERVICES_HERE; i++) {
		snprintf(names[i], sizeof(names[i]), "s%u.group%u", i, i % 97);
		shares[i] = (struct naming_share){
		    .upper = 65536, .v4.family = IP_V4, .version = i, .held = true};
		dns_put_u32(shares[i].v4.bytes, i);
		services[i] = (struct naming_service){
		    .name = names[i], .ttl_s = i, .shares = &shares[i], .share_count = 1};
	}
	struct naming_input input = {.zone = "z",
				     .serial = 7,
				     .contact = "h.z",
				     .nameservers = &nameserver,
				     .nameserver_count = 1,
				     .services = services,
				     .service_count = SERVICES_HERE};
	struct naming_snapshot *snapshot;
	assert_int_equal(naming_snapshot_build(&input, &snapshot, NULL), 0);
	assert_int_equal(naming_snapshot_serial(snapshot), 7);
	/* About 44 (node) + 16 (record) + 32 (choice) + 8 (table) bytes and the name. */
	assert_in_range(naming_snapshot_bytes(snapshot), SERVICES_HERE * 80, SERVICES_HERE * 160);
	memset(services, 0xee, SERVICES_HERE * sizeof(*services)); /* it was copied */
	memset(shares, 0xee, SERVICES_HERE * sizeof(*shares));
	struct reply reply;
	for (uint32_t i = 0; i < SERVICES_HERE; i += 7) {
		char name[32];
		snprintf(name, sizeof(name), "%s.z", names[i]);
		ask(snapshot, (struct ask){.name = name, .type = DNS_A}, &reply);
		assert_int_equal(reply.outcome.version, i);
		assert_int_equal(reply.records[0].ttl, i);
		snprintf(name, sizeof(name), "s%u.group%u.z", i, (i + 1) % 97);
		ask(snapshot, (struct ask){.name = name, .type = DNS_A}, &reply);
		assert_int_equal(reply.rcode, DNS_NXDOMAIN);
	}
	free(shares);
	free(services);
	free(names);
	naming_snapshot_free(snapshot);
}

static void a_share_of_no_width_is_nobodys(void **state)
{
	(void)state;
	struct ip_address ns = address("192.0.2.53");
	struct naming_nameserver nameserver = {"ns.other", &ns, 1};
	struct naming_share shares[] = {
	    {.upper = 65536, .v4 = address("192.0.2.1"), .version = 1, .held = true},
	    {.upper = 65536, .v4 = address("192.0.2.2"), .version = 2, .held = true},
	};
	struct naming_service service = {.name = "@", .shares = shares, .share_count = 2};
	struct naming_input input = {.zone = "z",
				     .contact = "h.z",
				     .nameservers = &nameserver,
				     .nameserver_count = 1,
				     .services = &service,
				     .service_count = 1};
	struct naming_snapshot *snapshot;
	assert_int_equal(naming_snapshot_build(&input, &snapshot, NULL), 0);
	struct reply reply;
	ask(snapshot, (struct ask){.name = "z", .type = DNS_A, .subnet = "10.0.0.0/24"}, &reply);
	assert_int_equal(reply.outcome.version, 1);
	assert_int_equal(reply.scope, 0);
	ask(snapshot, (struct ask){.name = "z", .type = DNS_AAAA}, &reply);
	assert_int_equal(reply.outcome.result, NAMING_RESULT_NODATA);
	/* No name server lies in the zone: no glue. */
	ask(snapshot, (struct ask){.name = "z", .type = DNS_NS}, &reply);
	assert_int_equal(reply.counts[1], 1);
	assert_int_equal(reply.counts[3], 0);
	naming_snapshot_free(snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_have_these_bytes),
	    cmocka_unit_test(what_is_no_query_gets_no_answer),
	    cmocka_unit_test(every_name_and_type_gets_its_result),
	    cmocka_unit_test(without_a_snapshot_it_says_so),
	    cmocka_unit_test(shares_grow_monotonically_and_alike_for_both_families),
	    cmocka_unit_test(the_choice_uses_no_more_of_a_client_than_it_may),
	    cmocka_unit_test(a_client_that_opted_out_counts_as_its_resolver),
	    cmocka_unit_test(the_scope_is_true_where_versions_differ_in_families),
	    cmocka_unit_test(salts_deal_clients_anew),
	    cmocka_unit_test(what_does_not_fit_is_truncated_and_whole_over_tcp),
	    cmocka_unit_test(a_query_cut_at_any_length_gets_formerr),
	    cmocka_unit_test(the_builder_refuses_what_cannot_be_served),
	    cmocka_unit_test(what_is_refused_is_left_out),
	    cmocka_unit_test(an_address_that_is_not_held_is_never_served),
	    cmocka_unit_test(thousands_of_names_are_all_found),
	    cmocka_unit_test(a_share_of_no_width_is_nobodys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
