/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/ca.h"

#include "base/memory.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#define SERIAL_BYTES 16

struct peer_trust {
	char fabric[TEXT_NAME_MAX + 1];
	X509 *cas[PEER_TRUSTED_MAX];
	uint64_t begin_s[PEER_TRUSTED_MAX], end_s[PEER_TRUSTED_MAX];
	size_t count;
};

const char *peer_verdict_text(enum peer_verdict verdict)
{
	static const char *const texts[] = {
#define X(id, sentence) sentence,
	    PEER_VERDICTS(X)
#undef X
	};
	return texts[verdict];
}

/* --- writing ---------------------------------------------------------------------------------- */

/* OpenSSL's functions fail here only when there is no memory. */
static void must(long done)
{
	must_have(done == 1 ? &done : NULL);
}

static void add_name(X509_NAME *name, const char *field, const char *text)
{
	must(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)text, -1,
					-1, 0));
}

static void add_extension(X509 *x509, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
	X509_EXTENSION *extension = must_have(X509V3_EXT_conf_nid(NULL, &context, nid, value));
	must(X509_add_ext(x509, extension, -1));
	X509_EXTENSION_free(extension);
}

static X509 *begin(const char *fabric, const char *node, EVP_PKEY *key, struct random *random,
		   uint64_t begins_s, uint64_t ends_s)
{
	uint8_t serial[SERIAL_BYTES];
	X509 *x509 = must_have(X509_new());
	X509_NAME *name = must_have(X509_NAME_new());
	random_fill(random, serial, sizeof(serial));
	/* RFC 5280 section 4.1.2.2: positive, and not zero. */
	serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40);
	BIGNUM *number = must_have(BN_bin2bn(serial, sizeof(serial), NULL));
	must_have(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)));
	BN_free(number);
	must(X509_set_version(x509, X509_VERSION_3));
	must_have(ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)begins_s));
	must_have(ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)ends_s));
	add_name(name, "O", fabric);
	if (node)
		add_name(name, "CN", node);
	must(X509_set_subject_name(x509, name));
	X509_NAME_free(name);
	must(X509_set_pubkey(x509, key));
	return x509;
}

static void sign_and_write(X509 *x509, EVP_PKEY *pair, struct buffer *out)
{
	unsigned char *der = NULL;
	must(X509_sign(x509, pair, NULL) > 0);
	int length = i2d_X509(x509, &der);
	must(length > 0);
	buffer_append(out, der, (size_t)length);
	must_succeed(out->status);
	OPENSSL_free(der);
	X509_free(x509);
}

void peer_ca_make(EVP_PKEY *pair, const char *fabric, struct random *random, uint64_t now_s,
		  struct buffer *out)
{
	ASSERT(text_is_node_name(fabric));
	X509 *x509 = begin(fabric, NULL, pair, random, now_s - PEER_CERTIFICATE_BACK_S,
			   now_s + PEER_CA_LIFE_S);
	must(X509_set_issuer_name(x509, X509_get_subject_name(x509)));
	add_extension(x509, x509, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
	add_extension(x509, x509, NID_key_usage, "critical,keyCertSign,cRLSign");
	add_extension(x509, x509, NID_subject_key_identifier, "hash");
	sign_and_write(x509, pair, out);
}

static X509 *begin_node(const char *fabric, const char *node, EVP_PKEY *key, X509 *issuer,
			struct random *random, uint64_t now_s, uint64_t most_s)
{
	const uint64_t begins_s = now_s - PEER_CERTIFICATE_BACK_S;
	const uint64_t ends_s = begins_s + PEER_CERTIFICATE_LIFE_S;
	X509 *x509 = begin(fabric, node, key, random, begins_s, ends_s < most_s ? ends_s : most_s);
	must(X509_set_issuer_name(x509, X509_get_subject_name(issuer ? issuer : x509)));
	add_extension(x509, issuer, NID_basic_constraints, "critical,CA:FALSE");
	add_extension(x509, issuer, NID_key_usage, "critical,digitalSignature");
	add_extension(x509, issuer, NID_ext_key_usage, "serverAuth,clientAuth");
	return x509;
}

int peer_ca_issue(EVP_PKEY *pair, const struct wire_bytes *ca, const char *node,
		  const uint8_t key[KEY_BYTES], struct random *random, uint64_t now_s,
		  struct buffer *out, struct error *err)
{
	ASSERT(text_is_node_name(node));
	struct peer_certificate read = {0};
	int result = peer_certificate_read(ca, &read, err);
	if (result < 0 || !read.is_ca)
		return error_set(err, -FL_ECORRUPT, "this is not the certificate of a CA");
	X509 *issuer = must_have(peer_x509_parse(ca));
	if (X509_check_private_key(issuer, pair) != 1) {
		X509_free(issuer);
		return error_set(err, -FL_ECORRUPT,
				 "the CA's certificate is not of the CA's key; put the two that "
				 "belong together in their places");
	}
	EVP_PKEY *public_key =
	    must_have(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, KEY_BYTES));
	/* Who looks at its end alone need not know its CA's. */
	X509 *x509 = begin_node(read.fabric, node, public_key, issuer, random, now_s, read.ends_s);
	add_extension(x509, issuer, NID_authority_key_identifier, "keyid:always");
	sign_and_write(x509, pair, out);
	EVP_PKEY_free(public_key);
	X509_free(issuer);
	return 0;
}

void peer_self_issue(EVP_PKEY *pair, struct random *random, uint64_t now_s, struct buffer *out)
{
	sign_and_write(begin_node("joins", "joins", pair, NULL, random, now_s, UINT64_MAX), pair,
		       out);
}

/* --- reading ---------------------------------------------------------------------------------- */

void peer_ca_hash(const struct wire_bytes *ca, struct digest *ret_hash)
{
	digest_of(ca->data, ca->length, ret_hash);
}

X509 *peer_x509_parse(const struct wire_bytes *der)
{
	const unsigned char *at = der->data;
	X509 *x509 =
	    der->length && der->length <= INT32_MAX ? d2i_X509(NULL, &at, (long)der->length) : NULL;
	if (x509 && at != (const unsigned char *)der->data + der->length) {
		X509_free(x509);
		return NULL;
	}
	return x509;
}

bool peer_x509_key(const X509 *x509, uint8_t ret_key[KEY_BYTES])
{
	size_t length = KEY_BYTES;
	const EVP_PKEY *key = X509_get0_pubkey(x509);
	return key && EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 &&
	       EVP_PKEY_get_raw_public_key(key, ret_key, &length) == 1 && length == KEY_BYTES;
}

/* The one entry of this kind; empty if there is none; false if it is no name of ours. */
static bool read_name(const X509 *x509, int nid, char name[TEXT_NAME_MAX + 1])
{
	const X509_NAME *subject = X509_get_subject_name(x509);
	int at = X509_NAME_get_index_by_NID(subject, nid, -1);
	name[0] = '\0';
	if (at < 0)
		return true;
	const ASN1_STRING *text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
	int length = ASN1_STRING_length(text);
	if (X509_NAME_get_index_by_NID(subject, nid, at) >= 0 || length > (int)TEXT_NAME_MAX)
		return false;
	memcpy(name, ASN1_STRING_get0_data(text), (size_t)length);
	name[length] = '\0';
	return strlen(name) == (size_t)length && text_is_node_name(name);
}

static bool read_time(const ASN1_TIME *time, uint64_t *ret_s)
{
	struct tm parts;
	if (ASN1_TIME_to_tm(time, &parts) != 1)
		return false;
	time_t seconds = timegm(&parts);
	*ret_s = seconds < 0 ? 0 : (uint64_t)seconds;
	return true;
}

static bool read_certificate(const X509 *x509, struct peer_certificate *ret_certificate)
{
	struct peer_certificate read = {0};
	/* What it caches of the extensions is not seen from outside. */
	int ca = X509_check_ca((X509 *)(uintptr_t)x509);
	if (X509_get_version(x509) != X509_VERSION_3 || ca > 1 || ca < 0)
		return false;
	read.is_ca = ca == 1;
	if (!peer_x509_key(x509, read.key) || !read_name(x509, NID_organizationName, read.fabric) ||
	    !read_name(x509, NID_commonName, read.node) ||
	    !read_time(X509_get0_notBefore(x509), &read.begins_s) ||
	    !read_time(X509_get0_notAfter(x509), &read.ends_s))
		return false;
	if (!*read.fabric || read.is_ca != !*read.node || read.ends_s < read.begins_s)
		return false;
	*ret_certificate = read;
	return true;
}

int peer_certificate_read(const struct wire_bytes *der, struct peer_certificate *ret_certificate,
			  struct error *err)
{
	X509 *x509 = peer_x509_parse(der);
	bool good = x509 && read_certificate(x509, ret_certificate);
	X509_free(x509);
	return good ? 0
		    : error_set(err, -FL_EINVALID, "this is not a certificate of a fabric's node");
}

uint64_t peer_certificate_renew_s(const struct peer_certificate *certificate)
{
	uint64_t life = certificate->ends_s - certificate->begins_s;
	return certificate->begins_s + life / 3 * 2;
}

/* --- trust ------------------------------------------------------------------------------------ */

static bool signed_by(const X509 *x509, const X509 *ca)
{
	/* OpenSSL takes what it only reads without const. */
	return X509_NAME_cmp(X509_get_issuer_name(x509), X509_get_subject_name(ca)) == 0 &&
	       X509_verify((X509 *)(uintptr_t)x509, X509_get0_pubkey(ca)) == 1;
}

int peer_trust_new(const char *fabric, const struct wire_bytes *cas, size_t count,
		   struct peer_trust **ret_trust, struct error *err)
{
	if (!count || count > PEER_TRUSTED_MAX)
		return error_set(err, -FL_EINVALID, "a node trusts one or two CAs, not %zu", count);
	struct peer_trust *trust = must_alloc(1, sizeof(*trust));
	for (size_t i = 0; i < count; i++) {
		struct peer_certificate read;
		X509 *ca = peer_x509_parse(&cas[i]);
		trust->cas[trust->count++] = ca;
		if (!ca || !read_certificate(ca, &read) || !read.is_ca || !signed_by(ca, ca) ||
		    strcmp(read.fabric, fabric) != 0) {
			peer_trust_free(trust);
			return error_set(err, -FL_EINVALID,
					 "this is not the certificate of a CA of fabric %s",
					 fabric);
		}
		trust->begin_s[i] = read.begins_s;
		trust->end_s[i] = read.ends_s;
		memcpy(trust->fabric, read.fabric, sizeof(trust->fabric));
	}
	*ret_trust = trust;
	return 0;
}

void peer_trust_free(struct peer_trust *trust)
{
	if (!trust)
		return;
	for (size_t i = 0; i < trust->count; i++)
		X509_free(trust->cas[i]);
	free(trust);
}

enum peer_verdict peer_trust_check(const struct peer_trust *trust, const X509 *leaf,
				   const char *node, uint64_t now_s,
				   struct peer_certificate *ret_certificate)
{
	struct peer_certificate read;
	if (!read_certificate(leaf, &read) || read.is_ca)
		return PEER_VERDICT_MALFORMED;
	if (ret_certificate)
		*ret_certificate = read;
	size_t ca = 0;
	while (ca < trust->count && !signed_by(leaf, trust->cas[ca]))
		ca++;
	if (ca == trust->count || strcmp(read.fabric, trust->fabric) != 0)
		return PEER_VERDICT_STRANGER;
	if (now_s < read.begins_s || now_s < trust->begin_s[ca])
		return PEER_VERDICT_NOT_YET;
	if (now_s > read.ends_s || now_s > trust->end_s[ca])
		return PEER_VERDICT_EXPIRED;
	return node && strcmp(read.node, node) != 0 ? PEER_VERDICT_OTHER_NAME : PEER_VERDICT_GOOD;
}

enum peer_verdict peer_trust_check_der(const struct peer_trust *trust, const struct wire_bytes *der,
				       const char *node, uint64_t now_s,
				       struct peer_certificate *ret_certificate)
{
	X509 *leaf = peer_x509_parse(der);
	enum peer_verdict verdict =
	    leaf ? peer_trust_check(trust, leaf, node, now_s, ret_certificate)
		 : PEER_VERDICT_MALFORMED;
	X509_free(leaf);
	return verdict;
}
