/* SPDX-License-Identifier: Apache-2.0 */
/* Records that an operator writes into the zone: which are found, and what they may not stand
 * beside. */
#include "naming/naming.h"
#include "tests/addresses.h"
#include "wire/dns_data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define VALUES(...) (const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__}))

static int build(const struct naming_set *sets, size_t count, struct naming_snapshot **ret_snapshot,
		 struct error *err)
{
	struct ip_address ns = address("192.0.2.53");
	struct naming_nameserver nameserver = {"ns.z", &ns, 1};
	struct naming_share share = {
	    .upper = 65536, .v4 = address("198.51.100.1"), .version = 7, .held = true};
	struct naming_service service = {
	    .name = "web", .ttl_s = 30, .shares = &share, .share_count = 1};
	struct naming_input input = {.zone = "z",
				     .contact = "h.z",
				     .ttl_s = 300,
				     .negative_ttl_s = 5,
				     .nameservers = &nameserver,
				     .nameserver_count = 1,
				     .services = &service,
				     .service_count = 1,
				     .sets = sets,
				     .set_count = count};
	return naming_snapshot_build(&input, ret_snapshot, err);
}

struct answer {
	uint8_t bytes[NAMING_ANSWER_MAX];
	size_t length, at; /* of the first record */
	unsigned rcode, count, type, ttl, data_length;
	const uint8_t *data;
	struct naming_outcome outcome;
};

static void ask(const struct naming_snapshot *snapshot, const char *text, unsigned type,
		struct answer *answer)
{
	struct dns_name name;
	uint8_t query[300] = "\0\1\0\0\0\1\0\0\0\0\0";
	assert_int_equal(dns_name_parse(text, &name), 0);
	memcpy(query + 12, name.bytes, name.length);
	size_t length = 12u + name.length;
	dns_put_u16(query + length, type);
	dns_put_u16(query + length + 2, DNS_CLASS_IN);
	length += 4;
	struct naming_request request = {.client = address("203.0.113.9"), .transport = NAMING_TCP};
	answer->length = naming_answer(snapshot, &request, query, length, answer->bytes,
				       sizeof(answer->bytes), &answer->outcome);
	assert_true(answer->length >= length);
	answer->rcode = answer->bytes[3] & 0xfu;
	answer->count = dns_get_u16(answer->bytes + 6);
	answer->at = length;
	if (answer->count == 0)
		return;
	const uint8_t *record = answer->bytes + length;
	assert_int_equal(dns_get_u16(record), 0xc00c); /* the name that was asked for */
	answer->type = dns_get_u16(record + 2);
	answer->ttl = (unsigned)dns_get_u16(record + 6) << 16 | dns_get_u16(record + 8);
	answer->data_length = dns_get_u16(record + 10);
	answer->data = record + 12;
}

static void every_record_is_found_by_name_and_type(void **state)
{
	(void)state;
	const struct naming_set sets[] = {
	    {"@", DNS_A, 60, VALUES("203.0.113.1", "203.0.113.2")},
	    {"@", DNS_AAAA, 60, VALUES("2001:db8::1")},
	    {"@", DNS_MX, 61, VALUES("10 mail")},
	    {"@", DNS_TXT, 62, VALUES("v=spf1 -all")},
	    {"@", DNS_CAA, 63, VALUES("0 issue \"ca.example.org\"")},
	    {"web", DNS_HTTPS, 64, VALUES("1 . alpn=h3")},
	    {"web", DNS_TXT, 64, VALUES("of a service")},
	    {"ns", DNS_TXT, 64, VALUES("of a name server")},
	    {"_acme.a.b", DNS_TXT, 65, VALUES("token")},
	    {"www", DNS_CNAME, 66, VALUES("web")},
	};
	static const struct {
		const char *name;
		unsigned type, rcode, count, found, ttl;
	} cases[] = {
	    {"z", DNS_A, 0, 2, DNS_A, 60},
	    {"z", DNS_AAAA, 0, 1, DNS_AAAA, 60},
	    {"z", DNS_MX, 0, 1, DNS_MX, 61},
	    {"Z", DNS_TXT, 0, 1, DNS_TXT, 62},
	    {"z", DNS_CAA, 0, 1, DNS_CAA, 63},
	    {"z", DNS_SOA, 0, 1, DNS_SOA, 300},
	    {"z", DNS_HTTPS, 0, 0, 0, 0},
	    {"web.z", DNS_HTTPS, 0, 1, DNS_HTTPS, 64},
	    {"web.z", DNS_TXT, 0, 1, DNS_TXT, 64},
	    {"web.z", DNS_A, 0, 1, DNS_A, 30},
	    {"web.z", DNS_MX, 0, 0, 0, 0},
	    {"ns.z", DNS_TXT, 0, 1, DNS_TXT, 64},
	    {"ns.z", DNS_A, 0, 1, DNS_A, 300},
	    {"_acme.a.b.z", DNS_TXT, 0, 1, DNS_TXT, 65},
	    {"a.b.z", DNS_TXT, 0, 0, 0, 0},
	    {"c.b.z", DNS_TXT, 3, 0, 0, 0},
	    {"www.z", DNS_CNAME, 0, 1, DNS_CNAME, 66},
	    {"www.z", DNS_A, 0, 2, DNS_CNAME, 66},
	    {"www.z", DNS_TXT, 0, 2, DNS_CNAME, 66},
	    {"www.z", DNS_ANY, 0, 1, DNS_HINFO, 300},
	    {"below.www.z", DNS_A, 3, 0, 0, 0},
	};
	struct naming_snapshot *snapshot;
	struct error err = {0};
	if (build(sets, COUNT(sets), &snapshot, &err) < 0)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < COUNT(cases); i++) {
		static struct answer answer;
		ask(snapshot, cases[i].name, cases[i].type, &answer);
		if (answer.rcode != cases[i].rcode || answer.count != cases[i].count ||
		    (answer.count > 0 &&
		     (answer.type != cases[i].found || answer.ttl != cases[i].ttl)))
			fail_msg("%s type %u: rcode %u, %u records, type %u, ttl %u", cases[i].name,
				 cases[i].type, answer.rcode, answer.count, answer.type,
				 answer.ttl);
		/* Also where an alias led to it: the version was told to somebody. */
		bool is_web =
		    strcmp(cases[i].name, "web.z") == 0 || strcmp(cases[i].name, "www.z") == 0;
		assert_int_equal(answer.outcome.version, is_web && cases[i].type == DNS_A ? 7 : 0);
	}
	naming_snapshot_free(snapshot);
}

/* The name at an offset, as text. */
static const char *name_at(const struct answer *answer, size_t at, size_t *ret_length)
{
	static char text[DNS_NAME_MAX + 2];
	struct dns_name name;
	size_t used = 0;
	int length = dns_name_read(answer->bytes, answer->length, at, &name);
	assert_true(length > 0);
	for (const uint8_t *label = name.bytes; *label; label += 1u + *label)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%.*s.", *label,
					 (const char *)label + 1);
	text[used] = '\0';
	*ret_length = (size_t)length;
	return text;
}

/* "al. CNAME web.z. 60": each record of answer and authority in one line. */
static const char *told(const struct answer *answer)
{
	static char text[4096];
	size_t used = 0, at = answer->at;
	unsigned count = answer->count + dns_get_u16(answer->bytes + 8);
	text[0] = '\0';
	for (unsigned i = 0; i < count; i++) {
		size_t length;
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? " | " : "",
					 name_at(answer, at, &length));
		at += length;
		unsigned type = dns_get_u16(answer->bytes + at);
		size_t data = at + 10;
		used += (size_t)snprintf(text + used, sizeof(text) - used, " %u", type);
		if (type == DNS_CNAME)
			used += (size_t)snprintf(text + used, sizeof(text) - used, " %s",
						 name_at(answer, data, &length));
		at = data + dns_get_u16(answer->bytes + at + 8);
	}
	return text;
}

/* RFC 1034 section 4.3.2, step 3a; the rcode is that of the last name (RFC 6604 section 3). */
static void aliases_are_followed_in_the_zone(void **state)
{
	(void)state;
	const struct naming_set sets[] = {
	    {"@", DNS_MX, 61, VALUES("10 mail")},
	    {"@", DNS_A, 60, VALUES("203.0.113.1", "203.0.113.2")},
	    {"www", DNS_CNAME, 66, VALUES("web")},
	    {"w3", DNS_CNAME, 66, VALUES("www")},
	    {"top", DNS_CNAME, 66, VALUES("@")},
	    {"out", DNS_CNAME, 66, VALUES("www.example.org.")},
	    {"nowhere", DNS_CNAME, 66, VALUES("none")},
	    {"x", DNS_CNAME, 66, VALUES("y")},
	    {"y", DNS_CNAME, 66, VALUES("x")},
	    {"*.dev", DNS_CNAME, 66, VALUES("a.wild")},
	    {"*.wild", DNS_TXT, 66, VALUES("here")},
	};
	static const struct {
		const char *name;
		unsigned type, rcode;
		const char *told;
	} cases[] = {
	    {"www.z", DNS_A, 0, "www.z. 5 web.z. | web.z. 1"},
	    {"w3.z", DNS_A, 0, "w3.z. 5 www.z. | www.z. 5 web.z. | web.z. 1"},
	    {"www.z", DNS_TXT, 0, "www.z. 5 web.z. | z. 6"},
	    {"www.z", DNS_CNAME, 0, "www.z. 5 web.z."},
	    {"www.z", DNS_ANY, 0, "www.z. 13"},
	    {"top.z", DNS_A, 0, "top.z. 5 z. | z. 1 | z. 1"},
	    {"top.z", DNS_MX, 0, "top.z. 5 z. | z. 15"},
	    {"top.z", DNS_SOA, 0, "top.z. 5 z. | z. 6"},
	    {"top.z", DNS_NS, 0, "top.z. 5 z. | z. 2"},
	    {"out.z", DNS_A, 0, "out.z. 5 www.example.org."},
	    {"nowhere.z", DNS_A, 3, "nowhere.z. 5 none.z. | z. 6"},
	    {"x.z", DNS_A, 0,
	     "x.z. 5 y.z. | y.z. 5 x.z. | x.z. 5 y.z. | y.z. 5 x.z. | x.z. 5 y.z. | y.z. 5 x.z. | "
	     "x.z. 5 y.z. | y.z. 5 x.z."},
	    {"b.dev.z", DNS_TXT, 0, "b.dev.z. 5 a.wild.z. | a.wild.z. 16"},
	};
	struct naming_snapshot *snapshot;
	struct error err = {0};
	if (build(sets, COUNT(sets), &snapshot, &err) < 0)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < COUNT(cases); i++) {
		static struct answer answer;
		ask(snapshot, cases[i].name, cases[i].type, &answer);
		assert_int_equal(answer.rcode, cases[i].rcode);
		assert_string_equal(told(&answer), cases[i].told);
	}
	naming_snapshot_free(snapshot);
}

/* RFC 4592 section 2.2.1, with its zone as far as it has no delegations. */
static void wildcards_are_as_their_rfc_says(void **state)
{
	(void)state;
	const struct naming_set sets[] = {
	    {"*", DNS_TXT, 60, VALUES("this is a wildcard")},
	    {"*", DNS_MX, 60, VALUES("10 host1")},
	    {"sub.*", DNS_TXT, 60, VALUES("this is not a wildcard")},
	    {"host1", DNS_A, 60, VALUES("192.0.2.1")},
	    {"_ssh._tcp.host1", DNS_TXT, 60, VALUES("service")},
	    {"_ssh._tcp.host2", DNS_TXT, 60, VALUES("service")},
	    {"*.dev", DNS_CNAME, 60, VALUES("web")},
	    {"*.addr", DNS_A, 60, VALUES("192.0.2.7")},
	};
	static const struct {
		const char *name;
		unsigned type, rcode, found; /* 0: no data */
	} cases[] = {
	    {"host3.z", DNS_MX, 0, DNS_MX},
	    {"host3.z", DNS_A, 0, 0},
	    {"foo.bar.z", DNS_TXT, 0, DNS_TXT},
	    {"host1.z", DNS_MX, 0, 0},
	    {"sub.*.z", DNS_MX, 0, 0},
	    {"*.z", DNS_TXT, 0, DNS_TXT},
	    {"_telnet._tcp.host1.z", DNS_TXT, 3, 0},
	    {"host2.z", DNS_MX, 0, 0},
	    {"ghost.*.z", DNS_MX, 3, 0},
	    {"x.web.z", DNS_TXT, 3, 0},
	    {"a.dev.z", DNS_A, 0, DNS_CNAME},
	    {"a.b.dev.z", DNS_AAAA, 0, DNS_CNAME},
	    {"dev.z", DNS_A, 0, 0},
	    {"x.addr.z", DNS_A, 0, DNS_A},
	    {"x.addr.z", DNS_ANY, 0, DNS_HINFO},
	};
	struct naming_snapshot *snapshot;
	struct error err = {0};
	if (build(sets, COUNT(sets), &snapshot, &err) < 0)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < COUNT(cases); i++) {
		static struct answer answer;
		ask(snapshot, cases[i].name, cases[i].type, &answer);
		if (answer.rcode != cases[i].rcode ||
		    (answer.count != 0) != (cases[i].found != 0) ||
		    (answer.count > 0 && answer.type != cases[i].found))
			fail_msg("%s type %u: rcode %u, %u records, type %u", cases[i].name,
				 cases[i].type, answer.rcode, answer.count, answer.type);
	}
	/* The longest name there is, which has no wildcard above it but the zone's. */
	char longest[256];
	memset(longest, 'a', sizeof(longest));
	for (size_t at = 63; at < 251; at += 64)
		longest[at] = '.';
	strcpy(longest + 251, ".z");
	static struct answer answer;
	ask(snapshot, longest, DNS_TXT, &answer);
	assert_int_equal(answer.count, 1);
	naming_snapshot_free(snapshot);
}

static void what_stands_in_the_way_is_refused(void **state)
{
	(void)state;
	static char big[4000];
	memset(big, 'x', sizeof(big) - 1);
	const struct {
		const char *says;
		struct naming_set sets[2];
		size_t count;
	} cases[] = {
	    {"not a domain name", {{"a..b", DNS_TXT, 1, VALUES("x")}}, 1},
	    {"too few or too many", {{"a", DNS_TXT, 1, NULL, 0}}, 1},
	    {"too few or too many", {{"a", DNS_TXT, UINT32_MAX, VALUES("x")}}, 1},
	    {"a preference and a name", {{"a", DNS_MX, 1, VALUES("x")}}, 1},
	    {"a service or a name server", {{"web", DNS_A, 1, VALUES("192.0.2.1")}}, 1},
	    {"a service or a name server", {{"ns", DNS_AAAA, 1, VALUES("2001:db8::1")}}, 1},
	    {"beside a CNAME", {{"web", DNS_CNAME, 1, VALUES("x")}}, 1},
	    {"beside a CNAME", {{"@", DNS_CNAME, 1, VALUES("x")}}, 1},
	    {"beside a CNAME",
	     {{"a", DNS_TXT, 1, VALUES("x")}, {"a", DNS_CNAME, 1, VALUES("x")}},
	     2},
	    {"beside a CNAME",
	     {{"a", DNS_CNAME, 1, VALUES("x")}, {"a", DNS_A, 1, VALUES("192.0.2.1")}},
	     2},
	    {"more than 15000 bytes", {{"a", DNS_TXT, 1, VALUES(big, big, big, big)}}, 1},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct naming_snapshot *snapshot = NULL;
		struct error err = {0};
		assert_true(build(cases[i].sets, cases[i].count, &snapshot, &err) < 0);
		assert_null(snapshot);
		if (!strstr(err.text, cases[i].says))
			fail_msg("case %zu: %s", i, err.text);
	}
	/* Three of them fit, over TCP. */
	const struct naming_set three = {"a", DNS_TXT, 1, VALUES(big, big, big)};
	struct naming_snapshot *snapshot;
	assert_int_equal(build(&three, 1, &snapshot, NULL), 0);
	static struct answer answer;
	ask(snapshot, "a.z", DNS_TXT, &answer);
	assert_int_equal(answer.count, 3);
	naming_snapshot_free(snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_record_is_found_by_name_and_type),
	    cmocka_unit_test(aliases_are_followed_in_the_zone),
	    cmocka_unit_test(wildcards_are_as_their_rfc_says),
	    cmocka_unit_test(what_stands_in_the_way_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
