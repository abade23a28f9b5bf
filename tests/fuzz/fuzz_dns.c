/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a DNS query. The first byte of the input picks transport, client and whether there
 * are a snapshot, cookies, and a limit that was reached; the rest is the query. Whatever it is, the
 * answer is within its limit, starts with a sane header, echoes the question byte for byte, and can
 * be read to its last byte. The same bytes are read as the text of a name, too.
 */
#include "naming/cookies.h"
#include "naming/naming.h"
#include "tests/addresses.h"
#include "wire/dns_data.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(bool truth)
{
	if (!truth)
		abort();
}

/* As varied as answers get: glue in and out of the zone, shares that differ in their families, a
 * deep name, one that exists without data, an answer too large for 512 bytes. */
static struct naming_snapshot *zone(void)
{
	struct ip_address many[16];
	for (unsigned i = 0; i < 16; i++) {
		many[i] = address("2001:db8::");
		many[i].bytes[15] = (uint8_t)i;
	}
	struct naming_nameserver nameservers[] = {{"ns.z", many, 16}, {"ns.example.net", NULL, 0}};
	struct naming_share shares[] = {
	    {.upper = 30000,
	     .v4 = address("192.0.2.1"),
	     .v6 = address("2001:db8::1"),
	     .version = 1,
	     .held = true},
	    {.upper = 65536, .v4 = address("192.0.2.2"), .version = 2, .held = true},
	};
	struct naming_service services[] = {
	    {.name = "w", .ttl_s = 30, .shares = shares, .share_count = 2},
	    {.name = "a.b.c", .ttl_s = 30, .shares = shares, .share_count = 2},
	    {.name = "e"},
	};
	static const char *const text[] = {"hello", "\"two\" \"strings\""};
	static const char *const alias[] = {"w"};
	static const char *const https[] = {"1 . alpn=h2,h3 ipv4hint=203.0.113.1"};
	static const char *const plain[] = {"203.0.113.1"};
	struct naming_set sets[] = {
	    {"@", DNS_TXT, 60, text, 2},    {"al", DNS_CNAME, 60, alias, 1},
	    {"w", DNS_HTTPS, 60, https, 1}, {"*.i", DNS_A, 60, plain, 1},
	    {"*.i", DNS_TXT, 60, text, 1},  {"*.j", DNS_CNAME, 60, alias, 1}};
	struct naming_input input = {.zone = "z",
				     .contact = "h.z",
				     .ttl_s = 60,
				     .negative_ttl_s = 5,
				     .nameservers = nameservers,
				     .nameserver_count = 2,
				     .nsid = (const uint8_t *)"fuzz",
				     .nsid_length = 4,
				     .services = services,
				     .service_count = 3,
				     .sets = sets,
				     .set_count = sizeof(sets) / sizeof(*sets)};
	struct naming_snapshot *snapshot;
	require(naming_snapshot_build(&input, &snapshot, NULL) == 0);
	return snapshot;
}

/* A name's text says all of it but its spelling in large letters, whatever bytes it has. */
static void check_name(const struct dns_name *name)
{
	char text[DNS_NAME_TEXT_BYTES];
	struct dns_name lower = *name, again;
	dns_name_lower(&lower);
	require(dns_name_parse(dns_name_format(name, text), &again) == 0);
	require(again.length == lower.length);
	require(memcmp(again.bytes, lower.bytes, lower.length) == 0);
}

/* The text as data of each type: within its limit, and addresses within it. */
static void check_data(const char *text)
{
	static const unsigned types[] = {DNS_A,  DNS_AAAA,  DNS_CAA,  DNS_CNAME,
					 DNS_MX, DNS_HTTPS, DNS_SVCB, DNS_TXT};
	const struct dns_name zone = {.length = 3, .bytes = {1, 'z', 0}};
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		uint8_t *data = malloc(DNS_DATA_MAX);
		struct ip_address addresses[DNS_DATA_ADDRESSES_MAX];
		const char *fault = NULL;
		require(data != NULL);
		int length = dns_data_parse(types[i], text, &zone, data, &fault);
		require(length <= (int)DNS_DATA_MAX && (length < 0) == (fault != NULL));
		if (length >= 0)
			(void)dns_data_addresses(types[i], data, (size_t)length, addresses);
		free(data);
	}
}

/* The same bytes as a text. */
static void check_text(const uint8_t *bytes, size_t length)
{
	struct dns_name name;
	char *text = malloc(length + 1);
	require(text != NULL);
	if (length > 0)
		memcpy(text, bytes, length);
	text[length] = '\0';
	if (dns_name_parse(text, &name) == 0)
		check_name(&name);
	check_data(text);
	free(text);
}

/* RFC 1035 section 4.2.1 and RFC 6891 section 6.2.3: what the client takes by UDP. */
static size_t udp_limit(const struct dns_query *query)
{
	size_t wanted = query->edns.present ? query->edns.payload : 0;
	return wanted < 512 ? 512 : wanted < NAMING_UDP_ANSWER_MAX ? wanted : NAMING_UDP_ANSWER_MAX;
}

/* Every name and record; returns whether there is an OPT. `ret_led`: how many aliases lead on. */
static bool check_records(const uint8_t *answer, size_t length, unsigned *ret_led)
{
	size_t at = DNS_HEADER_BYTES;
	struct dns_name name;
	bool opt = false;
	if (dns_get_u16(answer + 4) == 1) {
		int taken = dns_name_read(answer, length, at, &name);
		require(taken > 0);
		check_name(&name);
		at += (size_t)taken + 4;
	}
	unsigned records = 0;
	*ret_led = 0;
	for (unsigned i = 6; i <= 10; i += 2)
		records += dns_get_u16(answer + i);
	for (; records > 0; records--) {
		int taken = dns_name_read(answer, length, at, &name);
		require(taken > 0 && taken == dns_name_skip(answer, length, at));
		at += (size_t)taken;
		require(length - at >= 10);
		unsigned type = dns_get_u16(answer + at), data = dns_get_u16(answer + at + 8);
		require((type != DNS_A || data == 4) && (type != DNS_AAAA || data == 16));
		*ret_led += type == DNS_CNAME;
		if (type == DNS_OPT) {
			require(!opt && records == 1 && name.length == 1);
			opt = true;
		}
		at += 10u + data;
		require(at <= length);
	}
	require(at == length);
	return opt;
}

static void check_answer(enum naming_transport transport, const uint8_t *query, size_t query_length,
			 const uint8_t *answer, size_t length, const struct naming_outcome *outcome)
{
	require(length >= DNS_HEADER_BYTES && query_length >= DNS_HEADER_BYTES);
	unsigned asked = dns_get_u16(query + 2), flags = dns_get_u16(answer + 2);
	require(dns_get_u16(answer) == dns_get_u16(query));
	require(!(asked & DNS_FLAG_QR) && flags & DNS_FLAG_QR);
	/* Opcode and RD come back, RA, Z, AD and CD never do. */
	require((flags & 0x7900) == (asked & 0x7900) && !(flags & 0x00f0));
	require(((flags & DNS_FLAG_TC) != 0) == outcome->truncated);

	unsigned questions = dns_get_u16(answer + 4);
	require(questions <= 1);
	struct dns_query read;
	require(dns_query_read(query, query_length, &read) == DNS_VERDICT_ANSWER);
	require(transport == NAMING_TCP ? !outcome->truncated : length <= udp_limit(&read));
	require((read.question_length > 0) == (questions == 1));
	require(memcmp(answer + DNS_HEADER_BYTES, query + DNS_HEADER_BYTES, read.question_length) ==
		0);
	unsigned led;
	require(check_records(answer, length, &led) == read.edns.present);
	if (flags & DNS_FLAG_TC)
		require(dns_get_u16(answer + 6) == 0 && dns_get_u16(answer + 8) == 0);
	/* Only an answer that has data gives an address out. */
	if (outcome->version)
		require(outcome->result == NAMING_RESULT_DATA &&
			dns_get_u16(answer + 6) == led + 1);
	if (outcome->result == NAMING_RESULT_NXDOMAIN || outcome->result == NAMING_RESULT_NODATA)
		require(dns_get_u16(answer + 6) == led && flags & DNS_FLAG_AA);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static struct naming_snapshot *snapshot;
	if (!snapshot)
		snapshot = zone();
	if (length == 0)
		return 0;
	enum naming_transport transport = bytes[0] & 1 ? NAMING_TCP : NAMING_UDP;
	static const struct cookie_secrets secrets = {.now = "fifteen letters"};
	struct naming_request request = {
	    .client = address(bytes[0] & 2 ? "2001:db8:1::1" : "198.51.100.9"),
	    .transport = transport,
	    .secrets = bytes[0] & 8 ? &secrets : NULL,
	    .now_s = 1796000000,
	    .limited = bytes[0] & 16 && transport == NAMING_UDP};
	const struct naming_snapshot *used = bytes[0] & 4 ? NULL : snapshot;
	/* Exactly as long as they are, so that the sanitizer sees one byte too far. */
	size_t query_length = length - 1;
	size_t capacity = transport == NAMING_UDP ? NAMING_UDP_ANSWER_MAX : NAMING_ANSWER_MAX;
	uint8_t *query = malloc(query_length ? query_length : 1);
	uint8_t *answer = malloc(capacity), *again = malloc(capacity);
	require(query && answer && again);
	memcpy(query, bytes + 1, query_length);

	struct naming_outcome outcome, outcome_again;
	size_t answered =
	    naming_answer(used, &request, query, query_length, answer, capacity, &outcome);
	require(answered <= capacity);
	require((answered == 0) == (outcome.drop != NAMING_DROP_NONE));
	if (answered > 0)
		check_answer(transport, query, query_length, answer, answered, &outcome);
	/* Pure: the same again. */
	require(naming_answer(used, &request, query, query_length, again, capacity,
			      &outcome_again) == answered);
	require(memcmp(answer, again, answered) == 0);
	check_text(query, query_length);
	free(query);
	free(answer);
	free(again);
	return 0;
}
