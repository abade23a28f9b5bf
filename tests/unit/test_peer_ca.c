/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of a fabric: what is issued is trusted, and each refusal is told apart. */
#include "peer/ca.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW 1800000000ull

/* A CA, and the certificates that it issues. */
struct authority {
	EVP_PKEY *pair;
	struct buffer der;
};

static struct wire_bytes bytes_of(const struct buffer *buffer)
{
	return (struct wire_bytes){.data = buffer->data, .length = buffer->length};
}

static void authority_make(struct authority *ca, const char *fabric, uint64_t seed, uint64_t now_s)
{
	struct random random;
	random_init_seeded(&random, seed);
	assert_int_equal(key_pair_make(&ca->pair), 0);
	buffer_init(&ca->der, 0);
	peer_ca_make(ca->pair, fabric, &random, now_s, &ca->der);
}

static void authority_done(struct authority *ca)
{
	key_pair_free(ca->pair);
	buffer_done(&ca->der);
}

static struct buffer issue(const struct authority *ca, const char *node, uint64_t now_s)
{
	static const uint8_t key[KEY_BYTES] = {9, 8, 7};
	struct random random;
	struct buffer leaf;
	struct wire_bytes der = bytes_of(&ca->der);
	random_init_seeded(&random, 5);
	buffer_init(&leaf, 0);
	assert_int_equal(peer_ca_issue(ca->pair, &der, node, key, &random, now_s, &leaf, NULL), 0);
	return leaf;
}

static struct peer_trust *trust_in(const struct authority *ca, const struct authority *other)
{
	struct wire_bytes cas[2] = {bytes_of(&ca->der)};
	struct peer_trust *trust;
	struct error err;
	if (other)
		cas[1] = bytes_of(&other->der);
	assert_int_equal(peer_trust_new("example", cas, other ? 2 : 1, &trust, &err), 0);
	return trust;
}

static enum peer_verdict check(const struct peer_trust *trust, const struct buffer *leaf,
			       const char *node, uint64_t now_s)
{
	struct wire_bytes der = bytes_of(leaf);
	return peer_trust_check_der(trust, &der, node, now_s, NULL);
}

static void test_issued_is_trusted(void **state)
{
	struct authority ca;
	struct peer_certificate read;
	(void)state;
	authority_make(&ca, "example", 1, NOW);
	struct buffer leaf = issue(&ca, "edge-1", NOW);
	struct peer_trust *trust = trust_in(&ca, NULL);
	struct wire_bytes der = bytes_of(&leaf);
	assert_int_equal(peer_trust_check_der(trust, &der, "edge-1", NOW, &read),
			 PEER_VERDICT_GOOD);
	assert_string_equal(read.fabric, "example");
	assert_string_equal(read.node, "edge-1");
	assert_int_equal(read.key[0], 9);
	assert_false(read.is_ca);
	assert_int_equal(read.begins_s, NOW - 600);
	assert_int_equal(read.ends_s - read.begins_s, 30 * 86400);
	assert_int_equal(peer_certificate_renew_s(&read), NOW - 600 + 20 * 86400);

	/* Any node's will do where none is asked for; a clock at both ends of its life, and beyond.
	 */
	assert_int_equal(check(trust, &leaf, NULL, read.begins_s), PEER_VERDICT_GOOD);
	assert_int_equal(check(trust, &leaf, NULL, read.ends_s), PEER_VERDICT_GOOD);
	assert_int_equal(check(trust, &leaf, NULL, read.ends_s + 1), PEER_VERDICT_EXPIRED);
	assert_int_equal(check(trust, &leaf, NULL, read.begins_s - 1), PEER_VERDICT_NOT_YET);
	assert_int_equal(check(trust, &leaf, "edge-2", NOW), PEER_VERDICT_OTHER_NAME);
	for (enum peer_verdict verdict = 0; verdict <= PEER_VERDICT_OTHER_NAME; verdict++)
		assert_non_null(peer_verdict_text(verdict));
	peer_trust_free(trust);
	buffer_done(&leaf);
	authority_done(&ca);
}

static void test_strangers(void **state)
{
	struct authority ca, same_name, other;
	struct random random;
	(void)state;
	authority_make(&ca, "example", 1, NOW);
	authority_make(&same_name, "example", 1, NOW); /* with a key of its own */
	authority_make(&other, "elsewhere", 1, NOW);
	struct peer_trust *trust = trust_in(&ca, NULL);
	struct buffer leaf = issue(&same_name, "edge-1", NOW);
	assert_int_equal(check(trust, &leaf, "edge-1", NOW), PEER_VERDICT_STRANGER);
	/* A stranger hears nothing of clocks and names. */
	assert_int_equal(check(trust, &leaf, "edge-2", NOW * 2), PEER_VERDICT_STRANGER);
	buffer_done(&leaf);
	leaf = issue(&other, "edge-1", NOW);
	assert_int_equal(check(trust, &leaf, "edge-1", NOW), PEER_VERDICT_STRANGER);
	buffer_done(&leaf);

	/* A joiner's own, and a CA's, are nobody's. */
	random_init_seeded(&random, 3);
	buffer_init(&leaf, 0);
	peer_self_issue(ca.pair, &random, NOW, &leaf);
	assert_int_equal(check(trust, &leaf, NULL, NOW), PEER_VERDICT_STRANGER);
	buffer_done(&leaf);
	assert_int_equal(check(trust, &ca.der, NULL, NOW), PEER_VERDICT_MALFORMED);
	peer_trust_free(trust);
	authority_done(&ca);
	authority_done(&same_name);
	authority_done(&other);
}

static void test_rotation(void **state)
{
	struct authority old, new;
	(void)state;
	authority_make(&old, "example", 1, NOW);
	authority_make(&new, "example", 2, NOW);
	struct buffer first = issue(&old, "edge-1", NOW);
	struct buffer second = issue(&new, "edge-1", NOW);
	struct peer_trust *both = trust_in(&old, &new), *last = trust_in(&new, NULL);
	assert_int_equal(check(both, &first, "edge-1", NOW), PEER_VERDICT_GOOD);
	assert_int_equal(check(both, &second, "edge-1", NOW), PEER_VERDICT_GOOD);
	assert_int_equal(check(last, &first, "edge-1", NOW), PEER_VERDICT_STRANGER);
	assert_int_equal(check(last, &second, "edge-1", NOW), PEER_VERDICT_GOOD);
	struct digest a, b;
	struct wire_bytes der = bytes_of(&old.der);
	peer_ca_hash(&der, &a);
	der = bytes_of(&new.der);
	peer_ca_hash(&der, &b);
	assert_memory_not_equal(&a, &b, sizeof(a));
	peer_trust_free(both);
	peer_trust_free(last);
	buffer_done(&first);
	buffer_done(&second);
	authority_done(&old);
	authority_done(&new);
}

static void test_old_ca(void **state)
{
	struct authority ca;
	(void)state;
	authority_make(&ca, "example", 1, NOW - PEER_CA_LIFE_S - 1);
	struct peer_trust *trust = trust_in(&ca, NULL);
	struct buffer leaf = issue(&ca, "edge-1", NOW);
	assert_int_equal(check(trust, &leaf, "edge-1", NOW), PEER_VERDICT_EXPIRED);
	peer_trust_free(trust);
	buffer_done(&leaf);
	authority_done(&ca);
}

static void test_refused_parts(void **state)
{
	struct authority ca, other;
	struct random random;
	struct buffer out;
	struct error err = {0};
	struct peer_trust *trust = NULL;
	static const uint8_t key[KEY_BYTES] = {1};
	(void)state;
	random_init_seeded(&random, 7);
	buffer_init(&out, 0);
	authority_make(&ca, "example", 1, NOW);
	authority_make(&other, "example", 2, NOW);
	struct wire_bytes der = bytes_of(&ca.der);
	assert_int_equal(peer_ca_issue(other.pair, &der, "edge-1", key, &random, NOW, &out, &err),
			 -FL_ECORRUPT);
	assert_non_null(strstr(err.text, "belong together"));
	struct buffer leaf = issue(&ca, "edge-1", NOW);
	der = bytes_of(&leaf);
	assert_int_equal(peer_ca_issue(ca.pair, &der, "edge-1", key, &random, NOW, &out, &err),
			 -FL_ECORRUPT);
	assert_int_equal(out.length, 0);

	assert_int_equal(peer_trust_new("example", &der, 1, &trust, &err), -FL_EINVALID);
	der = bytes_of(&ca.der);
	assert_int_equal(peer_trust_new("elsewhere", &der, 1, &trust, &err), -FL_EINVALID);
	assert_int_equal(peer_trust_new("example", &der, 0, &trust, &err), -FL_EINVALID);
	assert_null(trust);
	buffer_done(&leaf);
	authority_done(&ca);
	authority_done(&other);
}

/* Every byte of a certificate changed, and every length of it: never good, never a crash. */
static void test_hostile_bytes(void **state)
{
	struct authority ca;
	struct error err;
	(void)state;
	authority_make(&ca, "example", 1, NOW);
	struct peer_trust *trust = trust_in(&ca, NULL);
	struct buffer leaf = issue(&ca, "edge-1", NOW);
	for (size_t i = 0; i < leaf.length; i++) {
		leaf.data[i] = (char)(leaf.data[i] ^ 0x55);
		assert_int_not_equal(check(trust, &leaf, "edge-1", NOW), PEER_VERDICT_GOOD);
		leaf.data[i] = (char)(leaf.data[i] ^ 0x55);
		struct wire_bytes der = {.data = leaf.data, .length = i};
		struct peer_certificate read;
		assert_int_equal(peer_certificate_read(&der, &read, &err), -FL_EINVALID);
	}
	buffer_putc(&leaf, 0);
	assert_int_equal(check(trust, &leaf, "edge-1", NOW), PEER_VERDICT_MALFORMED);
	peer_trust_free(trust);
	buffer_done(&leaf);
	authority_done(&ca);
}

/* A key's file is made once, private, and refused when it is anybody's or no key. */
static void test_key_file(void **state)
{
	char folder[] = "/tmp/fl-key-XXXXXX", path[64], text[KEY_TEXT_BYTES];
	uint8_t first[KEY_BYTES], second[KEY_BYTES], private[KEY_BYTES];
	EVP_PKEY *pair, *same;
	struct error err;
	struct stat status;
	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/channel.key", folder);
	assert_int_equal(key_pair_load(path, &pair, &err), -ENOENT);
	assert_int_equal(key_pair_open(path, &pair, &err), 0);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(key_pair_open(path, &same, &err), 0);
	key_pair_public(pair, first);
	key_pair_public(same, second);
	assert_memory_equal(first, second, KEY_BYTES);
	key_pair_free(same);
	key_pair_private(pair, private);
	assert_int_equal(key_pair_from(private, &same), 0);
	key_pair_public(same, second);
	assert_memory_equal(first, second, KEY_BYTES);
	key_text_format(first, text);
	assert_int_equal(strlen(text), 52);
	assert_int_equal(key_text_parse(text, strlen(text), second), 0);
	assert_memory_equal(first, second, KEY_BYTES);
	assert_int_equal(key_text_parse(text, strlen(text) - 1, second), -FL_EINVALID);
	key_pair_free(pair);
	key_pair_free(same);

	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(key_pair_load(path, &pair, &err), -FL_EPRIVILEGE);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(truncate(path, 60), 0);
	assert_int_equal(key_pair_open(path, &pair, &err), -FL_ECORRUPT);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_issued_is_trusted), cmocka_unit_test(test_strangers),
	    cmocka_unit_test(test_rotation),          cmocka_unit_test(test_old_ca),
	    cmocka_unit_test(test_refused_parts),     cmocka_unit_test(test_hostile_bytes),
	    cmocka_unit_test(test_key_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
