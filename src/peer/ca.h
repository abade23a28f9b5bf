/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates of a fabric: its authority (CA) says which channel key is which node's.
 *
 * A certificate is X.509 version 3 in DER, Ed25519 throughout: the subject's O is the fabric, its
 * CN the node. The CA's is signed by itself and has no CN; a node's is signed by the CA; nothing
 * lies between them, so a chain has exactly two links. The CA's key stays with the voter's daemon
 * and never comes to the process that listens; what the CA is known by is the SHA-256 of its
 * certificate (peer_ca_hash), which a token carries.
 *
 * Times are wall clock in seconds since 1970, given by the caller and never read here. Pure; any
 * thread. Memory that is missing ends the program (base/memory.h), as in all of src/peer.
 */
#ifndef FAIRLEAD_PEER_CA_H
#define FAIRLEAD_PEER_CA_H

#include "base/buffer.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/key.h"
#include "base/random.h"
#include "base/text.h"
#include "wire/codec.h"

#include <stdbool.h>
#include <stdint.h>

#define PEER_CA_LIFE_S (10ull * 365 * 86400)
#define PEER_CERTIFICATE_LIFE_S (30ull * 86400)
#define PEER_CERTIFICATE_BACK_S                                                                    \
	600ull /* it is valid from so long ago, for clocks that are behind */
#define PEER_TRUSTED_MAX 2u /* CAs at once: while one takes the other's place */

struct x509_st;
struct peer_trust;

/* What a certificate says. */
struct peer_certificate {
	char fabric[TEXT_NAME_MAX + 1];
	char node[TEXT_NAME_MAX + 1]; /* empty in a CA's */
	uint8_t key[KEY_BYTES]; /* public */
	uint64_t begins_s, ends_s;
	bool is_ca;
};

/* X(ID, sentence): what a fabric's trust makes of a certificate. The first that holds is told, so
 * that a stranger hears nothing but that it is one. */
#define PEER_VERDICTS(X)                                                                           \
	X(GOOD, "the certificate is good")                                                         \
	X(MALFORMED, "the certificate is not one of a node")                                       \
	X(STRANGER, "the certificate is of another fabric, or of a CA that is trusted no more")    \
	X(NOT_YET, "the certificate is not valid yet: one of the two clocks is wrong")             \
	X(EXPIRED, "the certificate has expired, or the clock here is ahead")                      \
	X(OTHER_NAME, "the certificate is another node's")

enum peer_verdict {
#define X(id, sentence) PEER_VERDICT_##id,
	PEER_VERDICTS(X)
#undef X
};

const char *peer_verdict_text(enum peer_verdict verdict);

/* Append the certificate of a new CA whose key is `pair`, for the fabric of that name (which is a
 * valid one: text_is_node_name()). */
void peer_ca_make(struct evp_pkey_st *pair, const char *fabric, struct random *random,
		  uint64_t now_s, struct buffer *out);

/*
 * Append a certificate that the CA issues for the channel key of `node`. The node's name must be a
 * valid one. -FL_ECORRUPT when `ca` is no CA's certificate or not of this pair.
 */
must_check int peer_ca_issue(struct evp_pkey_st *pair, const struct wire_bytes *ca,
			     const char *node, const uint8_t key[KEY_BYTES], struct random *random,
			     uint64_t now_s, struct buffer *out, struct error *err);

/*
 * Append a certificate that `pair` signs for itself. It vouches for nothing but that who shows it
 * in a handshake holds the key: what a joiner shows.
 */
void peer_self_issue(struct evp_pkey_st *pair, struct random *random, uint64_t now_s,
		     struct buffer *out);

/* What the CA is known by. */
void peer_ca_hash(const struct wire_bytes *ca, struct digest *ret_hash);

/* -FL_EINVALID unless it is a certificate as above, of a node or a CA; its signature is not
 * looked at. */
must_check int peer_certificate_read(const struct wire_bytes *der,
				     struct peer_certificate *ret_certificate, struct error *err);

/* When it shall be renewed: two thirds of its life are gone. */
uint64_t peer_certificate_renew_s(const struct peer_certificate *certificate);

/*
 * Trust in the CAs of `fabric`, one or two, which are copied. -FL_EINVALID when one is not a
 * CA's certificate that its own key signed, or of another fabric. Free it when no tls uses it.
 */
must_check int peer_trust_new(const char *fabric, const struct wire_bytes *cas, size_t count,
			      struct peer_trust **ret_trust, struct error *err);
void peer_trust_free(struct peer_trust *trust); /* NULL is fine */

/*
 * Is this the certificate of `node` (NULL: of any node) of the fabric, at this time? What it says
 * is in `*ret_certificate` (NULL: not wanted) unless it is malformed.
 */
enum peer_verdict peer_trust_check(const struct peer_trust *trust, const struct x509_st *leaf,
				   const char *node, uint64_t now_s,
				   struct peer_certificate *ret_certificate);
enum peer_verdict peer_trust_check_der(const struct peer_trust *trust, const struct wire_bytes *der,
				       const char *node, uint64_t now_s,
				       struct peer_certificate *ret_certificate);

/* OpenSSL's form of a certificate, owned by the caller (X509_free()); NULL if it is none. */
struct x509_st *peer_x509_parse(const struct wire_bytes *der);
/* The public key of a certificate, whoever signed it; false unless it is one of Ed25519. */
bool peer_x509_key(const struct x509_st *x509, uint8_t ret_key[KEY_BYTES]);

#endif
