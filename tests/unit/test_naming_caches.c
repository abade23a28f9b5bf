/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rollout behind a resolver that caches by client subnet (RFC 7871 section 7.3): whatever
 * prefixes its clients tell, nobody goes back to the older version while the newer one's share
 * grows. The cache is a model of what the RFC lets one keep and give.
 */
#include "base/random.h"
#include "naming/naming.h"
#include "tests/addresses.h"
#include "tests/seed.h"
#include "wire/dns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { OLD = 1, NEW = 2 };
enum { CLIENTS = 300, CACHED_MAX = 4096, TTL = 30 };

static struct naming_snapshot *zone(uint32_t share, uint8_t bits_v4, uint8_t bits_v6)
{
	static const struct naming_nameserver nameserver = {"ns.example.org", NULL, 0};
	struct naming_share shares[] = {
	    {.upper = share ? share : NAMING_SHARE_WHOLE,
	     .v4 = address(share ? "198.51.100.2" : "198.51.100.1"),
	     .version = share ? NEW : OLD,
	     .held = true},
	    {.upper = NAMING_SHARE_WHOLE,
	     .v4 = address("198.51.100.1"),
	     .version = OLD,
	     .held = true},
	};
	struct naming_service service = {.name = "web",
					 .ttl_s = TTL,
					 .salt = "a rollout's salt",
					 .bits_v4 = bits_v4,
					 .bits_v6 = bits_v6,
					 .shares = shares,
					 .share_count = 2};
	struct naming_input input = {.zone = "z",
				     .contact = "h.z",
				     .ttl_s = 60,
				     .negative_ttl_s = 60,
				     .nameservers = &nameserver,
				     .nameserver_count = 1,
				     .services = &service,
				     .service_count = 1};
	struct naming_snapshot *snapshot;
	assert_int_equal(naming_snapshot_build(&input, &snapshot, NULL), 0);
	return snapshot;
}

/* Which version the server gives a subnet, and the scope that it states. */
static uint32_t ask(const struct naming_snapshot *snapshot, const struct ip_prefix *told,
		    unsigned *ret_scope)
{
	static const struct dns_opt plain = {.payload = 1232};
	struct dns_client_subnet subnet = {.address = told->address, .source = told->length};
	struct dns_opt opt = plain;
	opt.subnet = &subnet;
	uint8_t query[128], answer[NAMING_UDP_ANSWER_MAX];
	static const uint8_t question[] = "\0\1\1\0\0\1\0\0\0\0\0\1\3web\1z\0\0\1\0\1";
	memcpy(query, question, sizeof(question) - 1);
	size_t length = sizeof(question) - 1;
	length += dns_opt_write(&opt, query + length);
	struct naming_request resolver = {.client = address("203.0.113.9")};
	struct naming_outcome outcome;
	size_t answered =
	    naming_answer(snapshot, &resolver, query, length, answer, sizeof(answer), &outcome);
	/* The option is the last thing in the answer, and ends with the address as it was told. */
	size_t address_bytes = (told->length + 7u) / 8;
	assert_true(answered > address_bytes + 4);
	assert_int_equal(answer[answered - address_bytes - 2], told->length);
	*ret_scope = answer[answered - address_bytes - 1];
	return outcome.version;
}

/* ---- the cache ---- */

struct cached {
	struct ip_prefix prefix;
	bool only_as_told; /* for who tells exactly this prefix */
	uint32_t version;
	uint64_t until;
};

struct cache {
	struct cached entries[CACHED_MAX];
	size_t count;
};

static const struct cached *cache_find(const struct cache *cache, const struct ip_prefix *told,
				       uint64_t now)
{
	const struct cached *best = NULL;
	for (size_t i = 0; i < cache->count; i++) {
		const struct cached *entry = &cache->entries[i];
		if (entry->until <= now || entry->prefix.length > told->length ||
		    !ip_prefix_contains(&entry->prefix, &told->address) ||
		    (entry->only_as_told && entry->prefix.length != told->length))
			continue;
		if (!best || entry->prefix.length > best->prefix.length)
			best = entry;
	}
	return best;
}

static void cache_add(struct cache *cache, const struct ip_prefix *told, unsigned scope,
		      uint32_t version, uint64_t now)
{
	struct cached entry = {.prefix = *told,
			       .only_as_told = scope > told->length,
			       .version = version,
			       .until = now + TTL};
	if (scope < told->length)
		entry.prefix.length = (uint8_t)scope;
	ip_address_mask(&entry.prefix.address, entry.prefix.length);
	size_t at = 0;
	while (at < cache->count && !(ip_prefix_equal(&cache->entries[at].prefix, &entry.prefix) &&
				      cache->entries[at].only_as_told == entry.only_as_told))
		at++;
	assert_true(at < CACHED_MAX);
	cache->entries[at] = entry;
	cache->count += at == cache->count;
}

/* Clients of few networks, each of which tells its address in a length of its own. */
static struct ip_prefix some_client(struct random *random)
{
	static const uint8_t lengths_v4[] = {8, 12, 16, 19, 20, 22, 24, 28, 32};
	static const uint8_t lengths_v6[] = {20, 32, 40, 48, 52, 56, 60, 64, 128};
	bool is_v4 = random_below(random, 2) == 0;
	struct ip_prefix client = {.address = address(is_v4 ? "10.20.0.0" : "2001:db8::"),
				   .length = is_v4 ? lengths_v4[random_below(random, 9)]
						   : lengths_v6[random_below(random, 9)]};
	unsigned from = is_v4 ? 2 : 6;
	for (unsigned i = 0; i < 2; i++)
		client.address.bytes[from + i] = (uint8_t)(random_below(random, 3) * 16);
	ip_address_mask(&client.address, client.length);
	return client;
}

static void walk(struct random *random, uint8_t bits_v4, uint8_t bits_v6)
{
	static struct cache cache;
	static struct ip_prefix clients[CLIENTS];
	uint32_t had[CLIENTS] = {0};
	static const uint32_t shares[] = {0, 3277, 6554, 16384, 32768, 49152, NAMING_SHARE_WHOLE};
	cache.count = 0;
	for (unsigned i = 0; i < CLIENTS; i++)
		clients[i] = some_client(random);
	uint64_t now = 0;
	for (size_t step = 0; step < sizeof(shares) / sizeof(*shares); step++) {
		struct naming_snapshot *snapshot = zone(shares[step], bits_v4, bits_v6);
		for (uint64_t until = now + 3 * TTL; now < until; now++)
			for (unsigned asks = 0; asks < 20; asks++) {
				unsigned i = (unsigned)random_below(random, CLIENTS);
				const struct cached *entry = cache_find(&cache, &clients[i], now);
				uint32_t version = entry ? entry->version : 0;
				if (!entry) {
					unsigned scope;
					version = ask(snapshot, &clients[i], &scope);
					cache_add(&cache, &clients[i], scope, version, now);
				}
				char text[IP_TEXT_BYTES];
				if (version < had[i])
					fail_msg("%s went back at a share of %u",
						 ip_prefix_format(&clients[i], text), shares[step]);
				had[i] = version;
			}
		naming_snapshot_free(snapshot);
	}
}

static void nobody_goes_back_behind_a_subnet_cache(void **state)
{
	(void)state;
	uint64_t seed = seed_choose(7871);
	struct random random;
	random_init_seeded(&random, seed);
	for (unsigned i = 0; i < 4; i++) {
		walk(&random, 0, 0);
		walk(&random, 20, 48);
	}
}

static void scopes_of_one_name_have_one_length(void **state)
{
	(void)state;
	static const struct {
		uint8_t bits_v4, bits_v6;
		unsigned v4, v6;
	} cases[] = {{0, 0, 24, 56}, {20, 48, 20, 48}, {8, 16, 8, 16}, {32, 128, 32, 128}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct naming_snapshot *snapshot = zone(32768, cases[i].bits_v4, cases[i].bits_v6);
		for (unsigned length = 1; length <= 128; length++) {
			unsigned scope;
			struct ip_prefix v6 = {address("2001:db8:1:2:3:4:5:6"), (uint8_t)length};
			struct ip_prefix v4 = {address("10.20.30.40"), (uint8_t)length};
			ip_address_mask(&v6.address, length);
			ask(snapshot, &v6, &scope);
			assert_int_equal(scope, cases[i].v6);
			if (length > 32)
				continue;
			ip_address_mask(&v4.address, length);
			ask(snapshot, &v4, &scope);
			assert_int_equal(scope, cases[i].v4);
		}
		naming_snapshot_free(snapshot);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nobody_goes_back_behind_a_subnet_cache),
	    cmocka_unit_test(scopes_of_one_name_have_one_length),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
