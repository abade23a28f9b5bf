/* SPDX-License-Identifier: Apache-2.0 */
/* The token: there and back, and each way of spoiling it told apart. */
#include "peer/token.h"

#include "../seed.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill(struct peer_token *token, struct random *random)
{
	memset(token, 0, sizeof(*token));
	random_fill(random, &token->ca, sizeof(token->ca));
	random_fill(random, token->secret, sizeof(token->secret));
	token->expires_s = random_u64(random);
	token->roles = 1 + (unsigned)random_below(random, UINT16_MAX);
	memset(token->fabric, 'f', 1 + random_below(random, TEXT_NAME_MAX));
	memset(token->site, 's', random_below(random, TEXT_NAME_MAX + 1));
}

static void test_round_trip(void **state)
{
	struct random random;
	struct peer_token token, again;
	char text[PEER_TOKEN_TEXT_BYTES];
	struct error err;
	(void)state;
	random_init_seeded(&random, 11);
	for (unsigned i = 0; i < 2000; i++) {
		fill(&token, &random);
		memset(&again, 0, sizeof(again));
		peer_token_format(&token, text);
		assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyz1234567"), strlen(text));
		assert_int_equal(peer_token_parse(text, &again, &err), 0);
		assert_memory_equal(&token, &again, sizeof(token));
	}
}

static void expect(const char *text, int code, const char *words)
{
	struct peer_token token;
	struct error err = {0};
	memset(&token, 0x5a, sizeof(token));
	assert_int_equal(peer_token_parse(text, &token, &err), code);
	if (!strstr(err.text, words))
		fail_msg("\"%s\": %s", text, err.text);
	assert_int_equal(token.roles, 0x5a5a5a5a);
}

static void test_spoiled(void **state)
{
	struct peer_token token = {
	    .roles = 3, .expires_s = 1800000000, .fabric = "example", .site = "fra"};
	char text[PEER_TOKEN_TEXT_BYTES], other[PEER_TOKEN_TEXT_BYTES + 8];
	(void)state;
	peer_token_format(&token, text);
	size_t length = strlen(text);
	for (size_t i = 5; i < length; i++) {
		snprintf(other, sizeof(other), "%.*s", (int)i, text);
		expect(other, -FL_EINVALID, "cut short");
	}
	for (size_t i = 5; i < length; i++) {
		memcpy(other, text, length + 1);
		other[i] = other[i] == 'a' ? 'b' : 'a';
		expect(other, -FL_EINVALID, i < 5 ? "" : "letter of the token is wrong");
		other[i] = '!';
		expect(other, -FL_EINVALID, "letter of the token is wrong");
	}
	snprintf(other, sizeof(other), "%sx", text);
	expect(other, -FL_EINVALID, "stands behind it");
	memcpy(other, text, length + 1);
	other[2] = '2';
	expect(other, -FL_EUNSUPPORTED, "another release");
	expect("", -FL_EINVALID, "not a token");
	expect("fl", -FL_EINVALID, "not a token");
	expect("fl1", -FL_EINVALID, "cut short");
	expect("fl1aa", -FL_EINVALID, "not a token");
	expect("eyJhbGciOi", -FL_EINVALID, "not a token");
	memset(other, 'a', sizeof(other) - 1);
	other[sizeof(other) - 1] = '\0';
	memcpy(other, "fl1", 3);
	expect(other, -FL_EINVALID, "not a token");
}

/* Random letters behind a prefix: refused or, by a good check, taken and written the same. */
static void test_random_words(void **state)
{
	uint64_t seed = seed_choose(17);
	struct random random;
	(void)state;
	random_init_seeded(&random, seed);
	for (unsigned i = 0; i < 20000; i++) {
		char text[PEER_TOKEN_TEXT_BYTES] = "fl1";
		size_t length = 3 + random_below(&random, sizeof(text) - 4);
		for (size_t at = 3; at < length; at++)
			text[at] = "abcdefghijklmnopqrstuvwxyz234567A! "[random_below(&random, 35)];
		struct peer_token token;
		struct error err = {0};
		assert_int_equal(peer_token_parse(text, &token, &err), -FL_EINVALID);
		assert_true(*err.text);
	}
}

static void test_secret_hash(void **state)
{
	static const uint8_t one[PEER_SECRET_BYTES] = {1}, two[PEER_SECRET_BYTES] = {2};
	struct digest a, b;
	(void)state;
	peer_token_secret_hash(one, &a);
	peer_token_secret_hash(two, &b);
	assert_memory_not_equal(&a, &b, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_spoiled),
	    cmocka_unit_test(test_random_words),
	    cmocka_unit_test(test_secret_hash),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
