/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps answers from being turned on others: cookies, and how many answers a network gets.
 */
#include "base/random.h"
#include "naming/cookies.h"
#include "naming/limiter.h"
#include "naming/naming.h"
#include "tests/addresses.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* ---- cookies ---- */

static const uint8_t SECRET[COOKIE_SECRET_BYTES] = {0xe5, 0xe9, 0x73, 0xe5, 0xa6, 0xb2, 0xa4, 0x3f,
						    0x48, 0xe7, 0xdc, 0x84, 0x9e, 0x37, 0xbf, 0xcf};
static const uint8_t CLIENT_PART[] = {0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57};
enum { MADE_S = 1559731985 };

static struct cookie_secrets secrets_of(const uint8_t *now, const uint8_t *before)
{
	struct cookie_secrets secrets;
	memcpy(secrets.now, now, sizeof(secrets.now));
	memcpy(secrets.before, before, sizeof(secrets.before));
	return secrets;
}

/* The first learning of a new cookie in RFC 9018, appendix A.1. */
static void a_cookie_is_as_all_servers_make_it(void **state)
{
	(void)state;
	static const uint8_t expected[] = {0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57,
					   0x01, 0x00, 0x00, 0x00, 0x5c, 0xf7, 0x9f, 0x11,
					   0x1f, 0x81, 0x30, 0xc3, 0xee, 0xe2, 0x94, 0x80};
	struct cookie_secrets secrets = secrets_of(SECRET, SECRET);
	struct ip_address client = address("198.51.100.100");
	uint8_t cookie[DNS_COOKIE_BYTES];
	cookie_make(&secrets, CLIENT_PART, &client, MADE_S, cookie);
	assert_memory_equal(cookie, expected, sizeof(expected));
	assert_true(cookie_is_ours(&secrets, cookie, sizeof(cookie), &client, MADE_S));
}

static void a_cookie_is_for_one_client_and_an_hour(void **state)
{
	(void)state;
	static const uint8_t other[COOKIE_SECRET_BYTES] = "fifteen letters";
	struct cookie_secrets secrets = secrets_of(SECRET, SECRET);
	struct cookie_secrets renewed = secrets_of(other, SECRET), again = secrets_of(other, other);
	static const char *const clients[] = {"198.51.100.100", "2001:db8::1"};
	for (size_t i = 0; i < COUNT(clients); i++) {
		struct ip_address client = address(clients[i]), neighbour = client;
		neighbour.bytes[3] ^= 1;
		uint8_t cookie[DNS_COOKIE_BYTES];
		cookie_make(&secrets, CLIENT_PART, &client, MADE_S, cookie);
#define IS_OURS(secrets, whose, now_s)                                                             \
	cookie_is_ours((secrets), cookie, sizeof(cookie), (whose), (now_s))
		assert_true(IS_OURS(&secrets, &client, MADE_S + 3600));
		assert_false(IS_OURS(&secrets, &client, MADE_S + 3601));
		assert_true(IS_OURS(&secrets, &client, MADE_S - 300));
		assert_false(IS_OURS(&secrets, &client, MADE_S - 301));
		assert_false(IS_OURS(&secrets, &neighbour, MADE_S));
		/* The secret before still counts, the one before that does not. */
		assert_true(IS_OURS(&renewed, &client, MADE_S));
		assert_false(IS_OURS(&again, &client, MADE_S));
		for (size_t at = 0; at < sizeof(cookie); at++) {
			cookie[at] ^= 0x40;
			assert_false(IS_OURS(&secrets, &client, MADE_S));
			cookie[at] ^= 0x40;
		}
		for (size_t length = 8; length < sizeof(cookie); length++)
			assert_false(cookie_is_ours(&secrets, cookie, length, &client, MADE_S));
		/* Over the end of 32 bits. */
		cookie_make(&secrets, CLIENT_PART, &client, UINT32_MAX, cookie);
		assert_true(IS_OURS(&secrets, &client, 10));
	}
}

/* ---- the limiter ---- */

static struct limiter *new_limiter(void)
{
	static const uint8_t secret[LIMITER_SECRET_BYTES] = "another secret!";
	struct limiter *limiter;
	assert_int_equal(limiter_new(secret, &limiter), 0);
	return limiter;
}

static unsigned allowed_of(struct limiter *limiter, const char *client, uint32_t rate,
			   unsigned asks, uint64_t now_us)
{
	struct ip_address from = address(client);
	unsigned allowed = 0;
	for (unsigned i = 0; i < asks; i++)
		allowed += !limiter_is_over(limiter, &from, rate, now_us);
	return allowed;
}

static void a_network_gets_its_rate_and_no_more(void **state)
{
	(void)state;
	static const uint32_t rates[] = {1, 2, 7, 100, 1000, LIMITER_RATE_MAX};
	for (size_t i = 0; i < COUNT(rates); i++) {
		struct limiter *limiter = new_limiter();
		uint32_t rate = rates[i];
		uint64_t now_us = 1000000;
		assert_in_range(allowed_of(limiter, "192.0.2.1", rate, 2 * rate + 2, now_us), rate,
				rate + 1);
		/* The same network is out of answers, others are not. */
		assert_int_equal(allowed_of(limiter, "192.0.2.200", rate, 1, now_us), 0);
		assert_int_equal(allowed_of(limiter, "192.0.3.1", rate, 1, now_us), 1);
		assert_int_equal(allowed_of(limiter, "2001:db8::1", rate, 1, now_us), 1);
		/* Ten seconds, asked evenly: a rate's worth each. */
		unsigned allowed = 0;
		for (unsigned ms = 1; ms <= 10000; ms++)
			allowed += allowed_of(limiter, "192.0.2.1", rate, rate / 500 + 1,
					      now_us + ms * 1000ull);
		assert_in_range(allowed, 10 * rate - 1, 10 * rate + 11);
		assert_int_equal(allowed_of(limiter, "192.0.2.1", 0, 100, now_us), 100);
		limiter_free(limiter);
	}
}

static void networks_are_24_and_56_bits(void **state)
{
	(void)state;
	struct limiter *limiter = new_limiter();
	assert_int_equal(allowed_of(limiter, "2001:db8:0:1::1", 1, 1, 5000000), 1);
	assert_int_equal(allowed_of(limiter, "2001:db8:0:ff:1::", 1, 1, 5000000), 0);
	assert_int_equal(allowed_of(limiter, "2001:db8:0:100::", 1, 1, 5000000), 1);
	limiter_free(limiter);
}

/* Who asks in the names of many neither silences one nor frees the one that he is after. */
static void a_full_table_keeps_who_is_in_it(void **state)
{
	(void)state;
	struct limiter *limiter = new_limiter();
	struct random random;
	random_init_seeded(&random, 4);
	uint64_t now_us = 9000000;
	assert_int_equal(allowed_of(limiter, "192.0.2.1", 5, 100, now_us), 5);
	for (unsigned i = 0; i < 1000000; i++) {
		struct ip_address from = {.family = IP_V4};
		random_fill(&random, from.bytes, 4);
		from.bytes[0] = 10;
		(void)limiter_is_over(limiter, &from, 5, now_us);
	}
	assert_int_equal(allowed_of(limiter, "192.0.2.1", 5, 100, now_us), 0);
	assert_true(allowed_of(limiter, "203.0.113.1", 5, 5, now_us) > 0);
	limiter_free(limiter);
}

struct asker {
	struct limiter *limiter;
	unsigned allowed;
};

static void *ask_often(void *argument)
{
	struct asker *asker = argument;
	asker->allowed = allowed_of(asker->limiter, "192.0.2.1", 1000, 100000, 3000000);
	return NULL;
}

static void threads_share_one_rate(void **state)
{
	(void)state;
	struct asker askers[4] = {{.limiter = new_limiter()}};
	pthread_t threads[4];
	unsigned allowed = 0;
	for (unsigned i = 0; i < 4; i++) {
		askers[i].limiter = askers[0].limiter;
		assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &askers[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		allowed += askers[i].allowed;
	}
	assert_in_range(allowed, 1000, 1001);
	limiter_free(askers[0].limiter);
}

/* ---- answers ---- */

static struct naming_snapshot *zone(void)
{
	static const struct naming_nameserver nameserver = {"ns.example.org", NULL, 0};
	struct naming_share share = {
	    .upper = 65536, .v4 = address("198.51.100.1"), .version = 1, .held = true};
	struct naming_service service = {
	    .name = "web", .ttl_s = 30, .shares = &share, .share_count = 1};
	struct naming_input input = {.zone = "z",
				     .contact = "h.z",
				     .nameservers = &nameserver,
				     .nameserver_count = 1,
				     .services = &service,
				     .service_count = 1};
	struct naming_snapshot *snapshot;
	assert_int_equal(naming_snapshot_build(&input, &snapshot, NULL), 0);
	return snapshot;
}

/* web.z A with EDNS, and a cookie of so many bytes if there are any. */
static size_t write_query(const uint8_t *cookie, size_t length, uint8_t *query)
{
	static const uint8_t head[] = "\0\1\1\0\0\1\0\0\0\0\0\1\3web\1z\0\0\1\0\1"
				      "\0\0\x29\4\xd0\0\0\0\0\0\0";
	size_t at = sizeof(head) - 1;
	memcpy(query, head, at);
	if (!cookie)
		return at;
	dns_put_u16(query + at - 2, (unsigned)length + 4);
	dns_put_u16(query + at, DNS_OPTION_COOKIE);
	dns_put_u16(query + at + 2, (unsigned)length);
	memcpy(query + at + 4, cookie, length);
	return at + 4 + length;
}

struct answer {
	uint8_t bytes[NAMING_UDP_ANSWER_MAX];
	size_t length;
	struct naming_outcome outcome;
	unsigned rcode, counts;
	const uint8_t *cookie; /* NULL: none */
};

static void ask(const struct naming_snapshot *snapshot, const struct naming_request *request,
		const uint8_t *cookie, size_t length, struct answer *answer)
{
	uint8_t query[128];
	size_t query_length = write_query(cookie, length, query);
	answer->length = naming_answer(snapshot, request, query, query_length, answer->bytes,
				       sizeof(answer->bytes), &answer->outcome);
	assert_true(answer->length > 23);
	answer->counts = dns_get_u16(answer->bytes + 6);
	/* OPT is last, and a cookie its only option. */
	size_t opt = answer->length - 11;
	answer->cookie = NULL;
	if (dns_get_u16(answer->bytes + opt + 1) != DNS_OPT) {
		opt -= 4 + DNS_COOKIE_BYTES;
		assert_int_equal(dns_get_u16(answer->bytes + opt + 1), DNS_OPT);
		assert_int_equal(dns_get_u16(answer->bytes + opt + 11), DNS_OPTION_COOKIE);
		answer->cookie = answer->bytes + opt + 15;
	}
	answer->rcode = (answer->bytes[3] & 0xfu) | (unsigned)answer->bytes[opt + 5] << 4;
}

static void cookies_are_given_and_known_again(void **state)
{
	(void)state;
	struct naming_snapshot *snapshot = zone();
	struct cookie_secrets secrets = secrets_of(SECRET, SECRET);
	struct naming_request request = {
	    .client = address("192.0.2.1"), .secrets = &secrets, .now_s = MADE_S};
	struct answer answer;
	uint8_t cookie[40] = {0};

	ask(snapshot, &request, NULL, 0, &answer);
	assert_null(answer.cookie);
	ask(snapshot, &request, CLIENT_PART, 8, &answer);
	assert_non_null(answer.cookie);
	assert_false(answer.outcome.known);
	assert_int_equal(answer.counts, 1);
	memcpy(cookie, answer.cookie, DNS_COOKIE_BYTES);
	ask(snapshot, &request, cookie, DNS_COOKIE_BYTES, &answer);
	assert_true(answer.outcome.known);
	assert_int_equal(answer.counts, 1);
	/* Another's, or one of another make: answered, and given a new one. */
	request.client = address("192.0.2.2");
	ask(snapshot, &request, cookie, DNS_COOKIE_BYTES, &answer);
	assert_false(answer.outcome.known);
	assert_int_equal(answer.counts, 1);
	ask(snapshot, &request, cookie, 40, &answer);
	assert_false(answer.outcome.known);
	assert_non_null(answer.cookie);
	/* RFC 7873 section 5.2.2. */
	for (size_t length = 0; length <= 40; length++) {
		ask(snapshot, &request, cookie, length, &answer);
		assert_int_equal(answer.rcode,
				 length == 8 || length >= 16 ? DNS_NOERROR : DNS_FORMERR);
	}
	request.secrets = NULL;
	ask(snapshot, &request, CLIENT_PART, 8, &answer);
	assert_null(answer.cookie);
	naming_snapshot_free(snapshot);
}

static void who_had_enough_learns_how_to_ask_again(void **state)
{
	(void)state;
	struct naming_snapshot *snapshot = zone();
	struct cookie_secrets secrets = secrets_of(SECRET, SECRET);
	struct naming_request request = {
	    .client = address("192.0.2.1"), .secrets = &secrets, .now_s = MADE_S, .limited = true};
	struct answer answer;
	ask(snapshot, &request, NULL, 0, &answer);
	assert_int_equal(answer.counts, 0);
	assert_true(answer.outcome.truncated && answer.bytes[2] & 2);
	assert_int_equal(answer.outcome.result, NAMING_RESULT_LIMITED);
	ask(snapshot, &request, CLIENT_PART, 8, &answer);
	assert_int_equal(answer.rcode, DNS_BADCOOKIE);
	assert_int_equal(answer.outcome.result, NAMING_RESULT_BADCOOKIE);
	assert_int_equal(answer.counts, 0);
	/* By its cookie it is known. */
	uint8_t cookie[DNS_COOKIE_BYTES];
	memcpy(cookie, answer.cookie, sizeof(cookie));
	request.limited = false;
	ask(snapshot, &request, cookie, sizeof(cookie), &answer);
	assert_true(answer.outcome.known);
	naming_snapshot_free(snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_cookie_is_as_all_servers_make_it),
	    cmocka_unit_test(a_cookie_is_for_one_client_and_an_hour),
	    cmocka_unit_test(a_network_gets_its_rate_and_no_more),
	    cmocka_unit_test(networks_are_24_and_56_bits),
	    cmocka_unit_test(a_full_table_keeps_who_is_in_it),
	    cmocka_unit_test(threads_share_one_rate),
	    cmocka_unit_test(cookies_are_given_and_known_again),
	    cmocka_unit_test(who_had_enough_learns_how_to_ask_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
