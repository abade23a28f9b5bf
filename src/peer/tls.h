/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of the node channel, as a state machine: bytes of the network in, bytes for it out, plaintext
 * out and in. It has no socket, and no clock but the time that it is given.
 *
 * TLS 1.3 alone, X25519, Ed25519; no tickets, no resumption, no early data, so that every session
 * is authenticated anew. What the two sides want of each other is the protocol that the client
 * names (ALPN), its *way*:
 *
 *   member  both sides show a certificate that the fabric's trust holds for good (peer/ca.h)
 *   join    the server does. The client knows it by the hash of the CA's certificate, which the
 *           server sends along, or by its trust; it fails before a byte of plaintext was sent. The
 *           client shows a certificate that vouches for nothing, its own or one that has expired:
 *           only that it holds the key, which peer_tls_key() tells
 *
 * In TLS 1.3 a client's handshake is over before the server looked at its certificate. So "open"
 * means to the client that the server is the right one, and to the server that both are.
 *
 * One thread for each side and what belongs to it. Memory that is missing ends the program.
 */
#ifndef FAIRLEAD_PEER_TLS_H
#define FAIRLEAD_PEER_TLS_H

#include "peer/ca.h"

#define PEER_HANDSHAKE_BYTES 16384u /* most that the other side may send before it is open */

struct peer_side;
struct peer_tls;

enum peer_way { PEER_WAY_NONE, PEER_WAY_MEMBER, PEER_WAY_JOIN };

enum peer_tls_phase {
	PEER_TLS_HANDSHAKE,
	PEER_TLS_OPEN,
	PEER_TLS_CLOSED, /* the other side said that it is done */
	PEER_TLS_FAILED, /* see peer_tls_fault() */
};

/* X(ID, meaning): why a handshake or a session failed. */
#define PEER_TLS_FAULTS(X)                                                                         \
	X(NONE, "it did not fail")                                                                 \
	X(GARBAGE, "what came is not TLS as this release speaks it")                               \
	X(WAY, "the two sides speak no common protocol")                                           \
	X(CERTIFICATE, "the other side's certificate was refused here")                            \
	X(REFUSED, "the other side refused this one's certificate")                                \
	X(FLOOD, "the handshake has too many bytes")

enum peer_tls_fault {
#define X(id, meaning) PEER_TLS_FAULT_##id,
	PEER_TLS_FAULTS(X)
#undef X
};

/*
 * What a member shows and believes, for any number of sessions of both directions: its channel key,
 * its certificate, the CAs that it trusts. All is copied; the pair is shared. -FL_EINVALID when the
 * parts do not belong together. Whether the certificate is good at present is not asked, since one
 * that has expired is good enough to come back with.
 */
must_check int peer_side_new(struct evp_pkey_st *pair, const char *fabric,
			     const struct wire_bytes *certificate, const struct wire_bytes *cas,
			     size_t ca_count, struct peer_side **ret_side, struct error *err);

/* What a machine that has nothing but a token shows and believes. */
struct peer_side *peer_side_new_joiner(struct evp_pkey_st *pair, const char *fabric,
				       const struct digest *ca, struct random *random,
				       uint64_t now_s);

/* Sessions that use it go on. NULL is fine. */
void peer_side_unref(struct peer_side *side);

struct peer_tls *peer_tls_new_server(struct peer_side *side);

/* `node`: whose certificate it must be; NULL: any member's. A joiner's side has the way `join`. */
struct peer_tls *peer_tls_new_client(struct peer_side *side, enum peer_way way, const char *node);

void peer_tls_free(struct peer_tls *tls); /* NULL is fine */

/* Bytes came from the network; the plaintext in them is appended to `plain`. `now_s`: wall clock,
 * by which certificates are judged. Look at the phase and the output afterwards. */
void peer_tls_take(struct peer_tls *tls, const void *bytes, size_t length, uint64_t now_s,
		   struct buffer *plain);

/* Plaintext to send; only while it is open. */
void peer_tls_put(struct peer_tls *tls, const void *bytes, size_t length);

/* Tell the other side that nothing more comes from here. */
void peer_tls_close(struct peer_tls *tls);

/* Bytes for the network, borrowed until the next call on `tls`; NULL when there are none. */
const void *peer_tls_output(const struct peer_tls *tls, size_t *ret_length);
/* The first `length` of them were sent. */
void peer_tls_sent(struct peer_tls *tls, size_t length);

enum peer_tls_phase peer_tls_phase(const struct peer_tls *tls);
enum peer_way peer_tls_way(const struct peer_tls *tls);
enum peer_tls_fault peer_tls_fault(const struct peer_tls *tls);
/* What was held against the other side's certificate; GOOD unless the fault is CERTIFICATE. */
enum peer_verdict peer_tls_verdict(const struct peer_tls *tls);
/* A sentence about the fault; empty when there is none. */
const char *peer_tls_sentence(const struct peer_tls *tls);

/* What `side` makes of the other side's certificate at this time, which is not that of the
 * handshake any more. Only of a session of members. */
enum peer_verdict peer_tls_judge(const struct peer_tls *tls, const struct peer_side *side,
				 uint64_t now_s);

/* Once it is open: the other side's public key, which it proved to hold. */
const uint8_t *peer_tls_key(const struct peer_tls *tls);
/* Once it is open: what its certificate says; all empty for the client of a join. */
const struct peer_certificate *peer_tls_certificate(const struct peer_tls *tls);

#endif
