/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/tls.h"

#include "base/memory.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_BYTES 16384 /* plaintext of a record, RFC 8446 section 5.1 */
#define KEPT_BYTES 4096 /* of what is empty: there may be a thousand sessions */
#define CHAIN_BYTES 8192 /* most that a certificate message may have */

/* As ALPN has them: with their lengths (RFC 7301 section 3.1). */
static const unsigned char member_way[] = "\x0a"
					  "fairlead/1";
static const unsigned char join_way[] = "\x0f"
					"fairlead-join/1";

struct peer_side {
	unsigned refs;
	SSL_CTX *context;
	BIO *output; /* of all its sessions: what OpenSSL writes is taken out of it at once */
	struct peer_trust *trust; /* NULL: a joiner's, who knows the CA by its hash */
	struct digest ca;
	char fabric[TEXT_NAME_MAX + 1];
};

struct peer_tls {
	struct peer_side *side; /* a reference */
	SSL *ssl;
	BIO *input; /* the SSL's */
	BIO *output; /* the side's */
	struct buffer out; /* for the network; the first `sent` bytes are gone */
	size_t sent;
	size_t taken; /* bytes, during the handshake */
	uint64_t now_s; /* during peer_tls_take() */
	bool is_server;
	bool checks_node;
	enum peer_way way;
	enum peer_tls_phase phase;
	enum peer_tls_fault fault;
	enum peer_verdict verdict;
	uint8_t key[KEY_BYTES];
	struct peer_certificate certificate;
	char node[TEXT_NAME_MAX + 1];
	char sentence[256];
};

static void must(long done)
{
	must_have(done == 1 ? &done : NULL);
}

/* --- certificates ----------------------------------------------------------------------------- */

/* The CA that the token names is the one whose certificate has its hash: nobody else can have made
 * it, and what it signed is its fabric's. */
static enum peer_verdict check_by_hash(struct peer_tls *tls, X509_STORE_CTX *store,
				       const X509 *leaf)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_untrusted(store);
	enum peer_verdict verdict = PEER_VERDICT_STRANGER;
	for (int i = 0; i < sk_X509_num(chain); i++) {
		unsigned char *der = NULL;
		int length = i2d_X509(sk_X509_value(chain, i), &der);
		must(length > 0);
		struct wire_bytes ca = {.data = der, .length = (size_t)length};
		struct digest hash;
		struct peer_trust *trust = NULL;
		peer_ca_hash(&ca, &hash);
		if (memcmp(&hash, &tls->side->ca, sizeof(hash)) == 0 &&
		    peer_trust_new(tls->side->fabric, &ca, 1, &trust, NULL) == 0)
			verdict = peer_trust_check(trust, leaf, tls->checks_node ? tls->node : NULL,
						   tls->now_s, &tls->certificate);
		peer_trust_free(trust);
		OPENSSL_free(der);
	}
	return verdict;
}

/* Which alert tells the other side of it is OpenSSL's choice by this number. */
static int error_of(enum peer_verdict verdict)
{
	switch (verdict) {
	case PEER_VERDICT_GOOD:
		return X509_V_OK;
	case PEER_VERDICT_STRANGER:
		return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
	case PEER_VERDICT_NOT_YET:
		return X509_V_ERR_CERT_NOT_YET_VALID;
	case PEER_VERDICT_EXPIRED:
		return X509_V_ERR_CERT_HAS_EXPIRED;
	case PEER_VERDICT_MALFORMED:
	case PEER_VERDICT_OTHER_NAME:
		break;
	}
	return X509_V_ERR_INVALID_PURPOSE;
}

/* In place of OpenSSL's own walk of chains; 1 when the certificate is good. */
static int on_verify(X509_STORE_CTX *store, void *context)
{
	(void)context;
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct peer_tls *tls = SSL_get_app_data(ssl);
	const X509 *leaf = X509_STORE_CTX_get0_cert(store);
	tls->verdict = PEER_VERDICT_MALFORMED;
	if (leaf && peer_x509_key(leaf, tls->key)) {
		if (tls->is_server && tls->way == PEER_WAY_JOIN)
			tls->verdict = PEER_VERDICT_GOOD; /* it is asked for its key only */
		else if (tls->side->trust)
			tls->verdict = peer_trust_check(tls->side->trust, leaf,
							tls->checks_node ? tls->node : NULL,
							tls->now_s, &tls->certificate);
		else
			tls->verdict = check_by_hash(tls, store, leaf);
	}
	X509_STORE_CTX_set_error(store, error_of(tls->verdict));
	return tls->verdict == PEER_VERDICT_GOOD;
}

/* The server: which way does the client want? */
static int on_protocols(SSL *ssl, const unsigned char **ret_way, unsigned char *ret_length,
			const unsigned char *offered, unsigned offered_length, void *context)
{
	(void)context;
	struct peer_tls *tls = SSL_get_app_data(ssl);
	unsigned at = 0;
	while (at < offered_length && at + offered[at] < offered_length) {
		const unsigned char *name = offered + at;
		unsigned length = name[0] + 1u;
		if (length == sizeof(member_way) - 1 && memcmp(name, member_way, length) == 0)
			tls->way = PEER_WAY_MEMBER;
		else if (length == sizeof(join_way) - 1 && memcmp(name, join_way, length) == 0)
			tls->way = PEER_WAY_JOIN;
		*ret_way = name + 1;
		*ret_length = name[0];
		if (tls->way != PEER_WAY_NONE)
			return SSL_TLSEXT_ERR_OK;
		at += length;
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* --- sides ------------------------------------------------------------------------------------ */

static SSL_CTX *context_new(void)
{
	SSL_CTX *context = must_have(SSL_CTX_new(TLS_method()));
	must(SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION));
	must(SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION));
	must(SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:"
					       "TLS_CHACHA20_POLY1305_SHA256"));
	must(SSL_CTX_set1_groups_list(context, "X25519"));
	must(SSL_CTX_set1_sigalgs_list(context, "ed25519"));
	must(SSL_CTX_set1_client_sigalgs_list(context, "ed25519"));
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	must(SSL_CTX_set_num_tickets(context, 0));
	must(SSL_CTX_set_max_early_data(context, 0));
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_max_cert_list(context, CHAIN_BYTES);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(context, on_verify, NULL);
	SSL_CTX_set_alpn_select_cb(context, on_protocols, NULL);
	return context;
}

static BIO *output_new(void)
{
	return must_have(BIO_new(BIO_s_mem()));
}

/* False when the certificate is not of the pair. */
static bool show(SSL_CTX *context, EVP_PKEY *pair, const struct wire_bytes *certificate)
{
	X509 *x509 = peer_x509_parse(certificate);
	bool done = x509 && SSL_CTX_use_certificate(context, x509) == 1 &&
		    SSL_CTX_use_PrivateKey(context, pair) == 1;
	X509_free(x509);
	ERR_clear_error();
	return done;
}

int peer_side_new(EVP_PKEY *pair, const char *fabric, const struct wire_bytes *certificate,
		  const struct wire_bytes *cas, size_t ca_count, struct peer_side **ret_side,
		  struct error *err)
{
	struct peer_trust *trust;
	int result = peer_trust_new(fabric, cas, ca_count, &trust, err);
	if (result < 0)
		return result;
	struct peer_side *side = must_alloc(1, sizeof(*side));
	*side = (struct peer_side){
	    .refs = 1, .context = context_new(), .output = output_new(), .trust = trust};
	enum peer_verdict verdict = peer_trust_check_der(trust, certificate, NULL, 0, NULL);
	if (verdict == PEER_VERDICT_STRANGER || verdict == PEER_VERDICT_MALFORMED ||
	    !show(side->context, pair, certificate)) {
		peer_side_unref(side);
		return error_set(err, -FL_EINVALID,
				 "the channel's certificate is not of its key, or of no CA that "
				 "is trusted here");
	}
	/* Joiners look for the CA of their token among these. */
	for (size_t i = 0; i < ca_count; i++) {
		X509 *ca = must_have(peer_x509_parse(&cas[i]));
		must(SSL_CTX_add1_chain_cert(side->context, ca) == 1);
		X509_free(ca);
	}
	snprintf(side->fabric, sizeof(side->fabric), "%s", fabric);
	*ret_side = side;
	return 0;
}

struct peer_side *peer_side_new_joiner(EVP_PKEY *pair, const char *fabric, const struct digest *ca,
				       struct random *random, uint64_t now_s)
{
	struct peer_side *side = must_alloc(1, sizeof(*side));
	struct buffer der;
	*side = (struct peer_side){
	    .refs = 1, .context = context_new(), .output = output_new(), .ca = *ca};
	snprintf(side->fabric, sizeof(side->fabric), "%s", fabric);
	buffer_init(&der, 0);
	peer_self_issue(pair, random, now_s, &der);
	struct wire_bytes own = {.data = der.data, .length = der.length};
	must(show(side->context, pair, &own));
	buffer_done(&der);
	return side;
}

void peer_side_unref(struct peer_side *side)
{
	if (!side || --side->refs)
		return;
	SSL_CTX_free(side->context);
	BIO_free(side->output);
	peer_trust_free(side->trust);
	free(side);
}

/* --- sessions --------------------------------------------------------------------------------- */

static struct peer_tls *tls_new(struct peer_side *side)
{
	struct peer_tls *tls = must_alloc(1, sizeof(*tls));
	tls->side = side;
	side->refs++;
	tls->ssl = must_have(SSL_new(side->context));
	tls->input = must_have(BIO_new(BIO_s_mem()));
	tls->output = side->output;
	must(BIO_up_ref(tls->output) == 1);
	SSL_set_bio(tls->ssl, tls->input, tls->output);
	SSL_set_app_data(tls->ssl, tls);
	buffer_init(&tls->out, 0);
	return tls;
}

/* What OpenSSL wrote becomes output. */
static void drain(struct peer_tls *tls)
{
	char *bytes = NULL;
	long length = BIO_get_mem_data(tls->output, &bytes);
	if (length <= 0)
		return;
	buffer_append(&tls->out, bytes, (size_t)length);
	must_succeed(tls->out.status);
	must(BIO_reset(tls->output));
}

static void fail(struct peer_tls *tls, enum peer_tls_fault fault, const char *sentence)
{
	tls->phase = PEER_TLS_FAILED;
	tls->fault = fault;
	snprintf(tls->sentence, sizeof(tls->sentence), "%s", sentence);
}

/* The other side's alert about our certificate; NULL for any other. */
static const char *refusal_of(int alert)
{
	switch (alert) {
	case SSL_AD_UNKNOWN_CA:
		return "the other side is of another fabric, or trusts the CA of this node's "
		       "certificate no more";
	case SSL_AD_CERTIFICATE_EXPIRED:
		return "the other side says that this node's certificate has expired; if it has "
		       "not, the clock there is ahead";
	case SSL_AD_BAD_CERTIFICATE:
		return "the other side says that this node's certificate is not valid yet: one of "
		       "the two clocks is wrong";
	case SSL_AD_UNSUPPORTED_CERTIFICATE:
	case SSL_AD_CERTIFICATE_REVOKED:
	case SSL_AD_CERTIFICATE_UNKNOWN:
		return "the other side expected another node's certificate here";
	default:
		return NULL;
	}
}

/* After a call of OpenSSL that did not succeed; false when it only wants more bytes. */
static bool failed(struct peer_tls *tls, int result)
{
	int kind = SSL_get_error(tls->ssl, result);
	unsigned long code = ERR_peek_last_error();
	int reason = ERR_GET_REASON(code);
	char sentence[200];
	if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
		return false;
	if (kind == SSL_ERROR_ZERO_RETURN) {
		tls->phase = PEER_TLS_CLOSED;
		return true;
	}
	int alert = reason > SSL_AD_REASON_OFFSET ? reason - SSL_AD_REASON_OFFSET : -1;
	if (tls->verdict != PEER_VERDICT_GOOD) {
		snprintf(sentence, sizeof(sentence), "the other side: %s",
			 peer_verdict_text(tls->verdict));
		fail(tls, PEER_TLS_FAULT_CERTIFICATE, sentence);
	} else if (refusal_of(alert)) {
		fail(tls, PEER_TLS_FAULT_REFUSED, refusal_of(alert));
	} else if (alert == SSL_AD_NO_APPLICATION_PROTOCOL ||
		   reason == SSL_R_NO_APPLICATION_PROTOCOL) {
		fail(tls, PEER_TLS_FAULT_WAY, "the two sides' releases have no protocol in common");
	} else {
		const char *why = ERR_reason_error_string(code);
		snprintf(sentence, sizeof(sentence),
			 "what came is not TLS as this release speaks it (%s)",
			 why ? why : "nothing more is known");
		fail(tls, PEER_TLS_FAULT_GARBAGE, sentence);
	}
	return true;
}

static void shake(struct peer_tls *tls)
{
	const unsigned char *chosen = NULL;
	unsigned length = 0;
	ERR_clear_error();
	int result = SSL_do_handshake(tls->ssl);
	if (result == 1) {
		const unsigned char *name = tls->way == PEER_WAY_JOIN ? join_way : member_way;
		SSL_get0_alpn_selected(tls->ssl, &chosen, &length);
		if (tls->way == PEER_WAY_NONE || length != name[0] ||
		    memcmp(chosen, name + 1, length) != 0)
			fail(tls, PEER_TLS_FAULT_WAY,
			     "the other side does not say what it wants (ALPN)");
		else
			tls->phase = PEER_TLS_OPEN;
	} else {
		failed(tls, result);
	}
	drain(tls);
}

struct peer_tls *peer_tls_new_server(struct peer_side *side)
{
	ASSERT(side->trust);
	struct peer_tls *tls = tls_new(side);
	tls->is_server = true;
	SSL_set_accept_state(tls->ssl);
	return tls;
}

struct peer_tls *peer_tls_new_client(struct peer_side *side, enum peer_way way, const char *node)
{
	ASSERT(way == PEER_WAY_JOIN || (way == PEER_WAY_MEMBER && side->trust));
	struct peer_tls *tls = tls_new(side);
	tls->way = way;
	tls->checks_node = node != NULL;
	snprintf(tls->node, sizeof(tls->node), "%s", node ? node : "");
	/* OpenSSL's answer is 0 when all is well, here alone. */
	must(way == PEER_WAY_JOIN
		 ? SSL_set_alpn_protos(tls->ssl, join_way, sizeof(join_way) - 1) == 0
		 : SSL_set_alpn_protos(tls->ssl, member_way, sizeof(member_way) - 1) == 0);
	SSL_set_connect_state(tls->ssl);
	shake(tls);
	return tls;
}

void peer_tls_free(struct peer_tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	buffer_done(&tls->out);
	peer_side_unref(tls->side);
	free(tls);
}

void peer_tls_take(struct peer_tls *tls, const void *bytes, size_t length, uint64_t now_s,
		   struct buffer *plain)
{
	char chunk[CHUNK_BYTES];
	if (tls->phase > PEER_TLS_OPEN || !length)
		return;
	tls->now_s = now_s;
	ASSERT(length <= INT32_MAX);
	must(BIO_write(tls->input, bytes, (int)length) == (int)length);
	if (tls->phase == PEER_TLS_HANDSHAKE) {
		tls->taken += length;
		shake(tls);
		if (tls->phase == PEER_TLS_HANDSHAKE && tls->taken > PEER_HANDSHAKE_BYTES)
			fail(tls, PEER_TLS_FAULT_FLOOD, "the handshake has too many bytes");
	}
	while (tls->phase == PEER_TLS_OPEN) {
		ERR_clear_error();
		int got = SSL_read(tls->ssl, chunk, sizeof(chunk));
		if (got <= 0) {
			if (!failed(tls, got))
				break;
		} else {
			buffer_append(plain, chunk, (size_t)got);
			must_succeed(plain->status);
		}
	}
	drain(tls);
	/* A BIO keeps the memory of the most that was ever in it. */
	if (length > KEPT_BYTES && BIO_pending(tls->input) == 0) {
		tls->input = must_have(BIO_new(BIO_s_mem()));
		SSL_set0_rbio(tls->ssl, tls->input);
	}
	OPENSSL_cleanse(chunk, sizeof(chunk));
}

void peer_tls_put(struct peer_tls *tls, const void *bytes, size_t length)
{
	size_t written = 0;
	ASSERT(tls->phase == PEER_TLS_OPEN);
	if (!length)
		return;
	ERR_clear_error();
	/* A BIO of memory takes all, or there is none. */
	must(SSL_write_ex(tls->ssl, bytes, length, &written) == 1 && written == length);
	drain(tls);
}

void peer_tls_close(struct peer_tls *tls)
{
	if (tls->phase != PEER_TLS_OPEN)
		return;
	ERR_clear_error();
	SSL_shutdown(tls->ssl);
	drain(tls);
	tls->phase = PEER_TLS_CLOSED;
}

const void *peer_tls_output(const struct peer_tls *tls, size_t *ret_length)
{
	*ret_length = tls->out.length - tls->sent;
	return *ret_length ? tls->out.data + tls->sent : NULL;
}

void peer_tls_sent(struct peer_tls *tls, size_t length)
{
	ASSERT(length <= tls->out.length - tls->sent);
	tls->sent += length;
	if (tls->sent < tls->out.length)
		return;
	if (tls->out.capacity > KEPT_BYTES)
		buffer_done(&tls->out);
	buffer_clear(&tls->out);
	tls->sent = 0;
}

enum peer_tls_phase peer_tls_phase(const struct peer_tls *tls)
{
	return tls->phase;
}

enum peer_way peer_tls_way(const struct peer_tls *tls)
{
	return tls->way;
}

enum peer_tls_fault peer_tls_fault(const struct peer_tls *tls)
{
	return tls->fault;
}

enum peer_verdict peer_tls_verdict(const struct peer_tls *tls)
{
	return tls->verdict;
}

const char *peer_tls_sentence(const struct peer_tls *tls)
{
	return tls->sentence;
}

const uint8_t *peer_tls_key(const struct peer_tls *tls)
{
	return tls->key;
}

const struct peer_certificate *peer_tls_certificate(const struct peer_tls *tls)
{
	return &tls->certificate;
}

enum peer_verdict peer_tls_judge(const struct peer_tls *tls, const struct peer_side *side,
				 uint64_t now_s)
{
	const X509 *leaf = SSL_get0_peer_certificate(tls->ssl);
	return leaf && side->trust ? peer_trust_check(side->trust, leaf, NULL, now_s, NULL)
				   : PEER_VERDICT_MALFORMED;
}
