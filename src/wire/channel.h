/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon and its channel process say to each other: a table of messages like peer.h's,
 * over a socket pair between a parent and its child, which are one program. So all is of level 1,
 * and what is not understood ends the conversation.
 *
 * A *peer* here is one session of the node channel, by a number: an even one that the daemon chose
 * for its `connect`, an odd one that the process chose for who connected to it. It is used once.
 * The process tells of a peer `up`, then its frames, then `down`; of a connect that fails only
 * `down`; of a joiner that asks only `join`, then `down`. What is in a frame is peer.h's; both
 * sides decode it.
 */
#ifndef FAIRLEAD_WIRE_CHANNEL_H
#define FAIRLEAD_WIRE_CHANNEL_H

#include "wire/peer.h"

#define CHANNEL_LEVEL 1u
#define CHANNEL_FRAME_MAX (17u << 20)

enum {
	CHANNEL_KEY_BYTES = 32,
	CHANNEL_MEMBERS_MAX = 16384,
};

/* --- rows of lists ---------------------------------------------------------------------------- */

#define CHANNEL_MEMBER_FIELDS(F, L, of)                                                            \
	F(of, NAME, node, 1, PEER_NAME_MAX, 1, "its name")                                         \
	F(of, BYTES, key, CHANNEL_KEY_BYTES, CHANNEL_KEY_BYTES, 1, "its channel key, public")      \
	F(of, FLAG, removed, 0, 1, 1, "it was one, and is refused with the next field")            \
	F(of, BYTES, proof, 0, PEER_PROOF_MAX, 1, "the ledger's entry of its removal")

#define CHANNEL_AUTHORITY_FIELDS(F, L, of)                                                         \
	F(of, BYTES, certificate, 1, PEER_DER_MAX, 1, "X.509, in DER")

#define CHANNEL_RECIPIENT_FIELDS(F, L, of) F(of, NUMBER, peer, 1, UINT64_MAX, 1, "which session")

/* X(ID, name, fields, meaning) */
#define CHANNEL_ROWS(X)                                                                            \
	X(MEMBER, member, CHANNEL_MEMBER_FIELDS, "a member, present or removed")                   \
	X(AUTHORITY, authority, CHANNEL_AUTHORITY_FIELDS, "a CA that is trusted")                  \
	X(RECIPIENT, recipient, CHANNEL_RECIPIENT_FIELDS, "who gets a frame")

/* --- from the daemon -------------------------------------------------------------------------- */

#define CHANNEL_IDENTITY_FIELDS(F, L, of)                                                          \
	F(of, NAME, fabric, 1, PEER_NAME_MAX, 1, "this node's fabric")                             \
	F(of, NAME, node, 1, PEER_NAME_MAX, 1, "this node's name")                                 \
	F(of, KEY, boot_id, 1, PEER_ID_MAX, 1, "of this kernel")                                   \
	F(of, KEY, instance, 1, PEER_ID_MAX, 1, "of this daemon's process")                        \
	F(of, BYTES, key, CHANNEL_KEY_BYTES, CHANNEL_KEY_BYTES, 1, "the channel key, private")     \
	F(of, BYTES, certificate, 0, PEER_DER_MAX, 1, "this node's; empty: it wants to join")      \
	L(of, authority, authorities, 0, 2, 1, "whom it trusts; none: it wants to join")           \
	F(of, DIGEST, token_ca, 0, 0, 1, "when it wants to join: the CA's hash, of the token")

#define CHANNEL_MEMBERS_FIELDS(F, L, of)                                                           \
	L(of, member, members, 0, CHANNEL_MEMBERS_MAX, 1, "all that are known")

#define CHANNEL_PEER_NUMBER(F, of) F(of, NUMBER, peer, 1, UINT64_MAX, 1, "which session")

#define CHANNEL_CONNECT_FIELDS(F, L, of)                                                           \
	CHANNEL_PEER_NUMBER(F, of)                                                                 \
	F(of, ADDRESS, address, 1, 1, 1, "where to")                                               \
	F(of, NUMBER, port, 1, UINT16_MAX, 1, "and its port")                                      \
	F(of, NAME, node, 0, PEER_NAME_MAX, 1, "who must be there; empty: any member")             \
	F(of, BYTES, question, 0, 4096, 1, "a frame `join_ask`: it is a join's session")

#define CHANNEL_SEND_FIELDS(F, L, of)                                                              \
	L(of, recipient, peers, 1, CHANNEL_MEMBERS_MAX, 1, "to whom, each a copy")                 \
	F(of, BYTES, frame, 1, PEER_FRAME_MAX, 1, "a frame of peer.h; a join's answer ends it")

#define CHANNEL_PART_FIELDS(F, L, of)                                                              \
	CHANNEL_PEER_NUMBER(F, of)                                                                 \
	F(of, NUMBER, reason, 1, UINT16_MAX, 1, "of enum peer_parting_reason")                     \
	F(of, TEXT, sentence, 1, PEER_SENTENCE_MAX, 1, "what the other side is told")              \
	F(of, BYTES, proof, 0, PEER_PROOF_MAX, 1, "the entry of its removal; empty otherwise")

/* --- from the process ------------------------------------------------------------------------- */

#define CHANNEL_READY_FIELDS(F, L, of) F(of, FLAG, listens, 0, 1, 1, "it has a socket to listen on")

#define CHANNEL_FROM(F, of)                                                                        \
	F(of, ADDRESS, address, 1, 1, 1, "the other side's address")                               \
	F(of, NUMBER, port, 0, UINT16_MAX, 1, "and its port")

#define CHANNEL_UP_FIELDS(F, L, of)                                                                \
	CHANNEL_PEER_NUMBER(F, of)                                                                 \
	CHANNEL_FROM(F, of)                                                                        \
	F(of, FLAG, outgoing, 0, 1, 1, "the daemon connected; otherwise the other side did")       \
	F(of, NAME, node, 1, PEER_NAME_MAX, 1, "who it is, by certificate and hello")              \
	F(of, BYTES, key, CHANNEL_KEY_BYTES, CHANNEL_KEY_BYTES, 1, "its channel key, public")      \
	F(of, FLAG, known, 0, 1, 1,                                                                \
	  "the list of members has it; otherwise only the CA's word says that it is one")          \
	F(of, KEY, boot_id, 1, PEER_ID_MAX, 1, "of its hello")                                     \
	F(of, KEY, instance, 1, PEER_ID_MAX, 1, "of its hello")                                    \
	F(of, NUMBER, level, 1, UINT16_MAX, 1, "of its hello")

#define CHANNEL_FRAME_FIELDS(F, L, of)                                                             \
	CHANNEL_PEER_NUMBER(F, of)                                                                 \
	F(of, BYTES, frame, 1, PEER_FRAME_MAX, 1, "a frame of peer.h")

#define CHANNEL_TAKEN_FIELDS(F, L, of)                                                             \
	CHANNEL_PEER_NUMBER(F, of)                                                                 \
	F(of, NUMBER, bytes, 0, UINT64_MAX, 1, "of frames that left the queue, since it is up")

#define CHANNEL_DOWN_FIELDS(F, L, of)                                                              \
	CHANNEL_PEER_NUMBER(F, of)                                                                 \
	F(of, NUMBER, how, 1, UINT8_MAX, 1, "of enum peer_session_end")                            \
	F(of, NUMBER, reason, 0, UINT16_MAX, 1, "of enum peer_parting_reason; 0: none was given")  \
	F(of, TEXT, sentence, 1, PEER_SENTENCE_MAX, 1, "what a person should know")                \
	F(of, BYTES, proof, 0, PEER_PROOF_MAX, 1, "the other side's, of a removal")

#define CHANNEL_JOIN_FIELDS(F, L, of)                                                              \
	CHANNEL_PEER_NUMBER(F, of)                                                                 \
	CHANNEL_FROM(F, of)                                                                        \
	F(of, BYTES, key, CHANNEL_KEY_BYTES, CHANNEL_KEY_BYTES, 1,                                 \
	  "the channel key that it proved to hold")                                                \
	F(of, BYTES, frame, 1, 4096, 1, "a frame `join_ask`")

#define CHANNEL_TURNED_AWAY_FIELDS(F, L, of)                                                       \
	CHANNEL_FROM(F, of)                                                                        \
	F(of, NUMBER, reason, 0, UINT16_MAX, 1,                                                    \
	  "of enum peer_parting_reason; 0: its handshake failed")                                  \
	F(of, NAME, node, 0, PEER_NAME_MAX, 1, "who it said that it is; empty: not known")         \
	F(of, TEXT, sentence, 1, PEER_SENTENCE_MAX, 1, "what a person should know")

#define CHANNEL_COUNT(F, of, name, meaning) F(of, NUMBER, name, 0, UINT64_MAX, 1, meaning)

#define CHANNEL_COUNTERS_FIELDS(F, L, of)                                                          \
	CHANNEL_COUNT(F, of, sessions, "that are up now")                                          \
	CHANNEL_COUNT(F, of, strangers, "connections that are not up yet")                         \
	CHANNEL_COUNT(F, of, accepted, "connections that came")                                    \
	CHANNEL_COUNT(F, of, garbage, "handshakes that were no TLS, or none of this release")      \
	CHANNEL_COUNT(F, of, other_fabric, "certificates of another fabric or CA")                 \
	CHANNEL_COUNT(F, of, expired, "certificates that had expired")                             \
	CHANNEL_COUNT(F, of, not_yet, "certificates that were not valid yet")                      \
	CHANNEL_COUNT(F, of, refused, "others' refusals of this node's certificate")               \
	CHANNEL_COUNT(F, of, late, "handshakes that took too long")                                \
	CHANNEL_COUNT(F, of, removed, "handshakes of removed nodes")                               \
	CHANNEL_COUNT(F, of, copied, "handshakes by a key that another process uses")              \
	CHANNEL_COUNT(F, of, names, "handshakes by a name that another key has")                   \
	CHANNEL_COUNT(F, of, limited, "connections that were closed unread: too many, too often")  \
	CHANNEL_COUNT(F, of, joins, "joins that were asked for")                                   \
	CHANNEL_COUNT(F, of, joins_limited, "of them, those from where there were too many")       \
	CHANNEL_COUNT(F, of, silent, "sessions that ended since nothing was heard")                \
	CHANNEL_COUNT(F, of, slow, "sessions that ended since the other side did not read")        \
	CHANNEL_COUNT(F, of, nonsense, "sessions that ended since what came makes no sense")       \
	CHANNEL_COUNT(F, of, held, "times that reading paused, since the daemon was slow")         \
	CHANNEL_COUNT(F, of, frames_in, "frames that came")                                        \
	CHANNEL_COUNT(F, of, frames_out, "frames that were queued")                                \
	CHANNEL_COUNT(F, of, bytes_in, "in them")                                                  \
	CHANNEL_COUNT(F, of, bytes_out, "in them")                                                 \
	CHANNEL_COUNT(F, of, skipped, "messages of later releases, passed over")

/* X(number, ID, name, level, most bytes of a frame, fields, meaning) */
#define CHANNEL_MESSAGES(X)                                                                        \
	X(1, IDENTITY, identity, 1, 16384, CHANNEL_IDENTITY_FIELDS,                                \
	  "What to show and whom to trust, from now on.")                                          \
	X(2, MEMBERS, members, 1, 16u << 20, CHANNEL_MEMBERS_FIELDS, "Who is a member.")           \
	X(3, CONNECT, connect, 1, 8192, CHANNEL_CONNECT_FIELDS, "Begin a session.")                \
	X(4, SEND, send, 1, CHANNEL_FRAME_MAX, CHANNEL_SEND_FIELDS, "Queue a frame.")              \
	X(5, PART, part, 1, 32768, CHANNEL_PART_FIELDS, "End a session and say why.")              \
	X(32, READY, ready, 1, 64, CHANNEL_READY_FIELDS, "The process has given up its rights.")   \
	X(33, UP, up, 1, 1024, CHANNEL_UP_FIELDS, "A session is up.")                              \
	X(34, FRAME, frame, 1, CHANNEL_FRAME_MAX, CHANNEL_FRAME_FIELDS, "A frame came.")           \
	X(35, TAKEN, taken, 1, 64, CHANNEL_TAKEN_FIELDS, "The network took what was queued.")      \
	X(36, DOWN, down, 1, 32768, CHANNEL_DOWN_FIELDS, "A session is over, or never came up.")   \
	X(37, JOIN, join, 1, 8192, CHANNEL_JOIN_FIELDS, "A machine asks to join.")                 \
	X(38, TURNED_AWAY, turned_away, 1, 4096, CHANNEL_TURNED_AWAY_FIELDS,                       \
	  "Somebody came and was refused; the same is not told too often.")                        \
	X(39, COUNTERS, counters, 1, 1024, CHANNEL_COUNTERS_FIELDS, "Sums since the start.")

/* --- what follows ----------------------------------------------------------------------------- */

/* NOLINTBEGIN(bugprone-macro-parentheses): a member's name takes none */
#define CHANNEL_LIST_MEMBER(of, row, name, least, most, level, meaning)                            \
	struct {                                                                                   \
		const struct channel_##row *items;                                                 \
		size_t count;                                                                      \
	} name;
/* NOLINTEND(bugprone-macro-parentheses) */

/* struct channel_member, … */
#define X(id, name, fields, meaning)                                                               \
	struct channel_##name {                                                                    \
		fields(PEER_FIELD_MEMBER, CHANNEL_LIST_MEMBER, channel_##name)                     \
	};
CHANNEL_ROWS(X)
#undef X

/* struct channel_identity, struct channel_members, … */
#define X(number, id, name, level, most, fields, meaning)                                          \
	struct channel_##name {                                                                    \
		fields(PEER_FIELD_MEMBER, CHANNEL_LIST_MEMBER, channel_##name)                     \
	};
CHANNEL_MESSAGES(X)
#undef X

enum channel_number {
#define X(number, id, name, level, most, fields, meaning) CHANNEL_##id = (number),
	CHANNEL_MESSAGES(X)
#undef X
};

struct channel_message {
	enum channel_number number;
	union {
#define X(number, id, name, level, most, fields, meaning) struct channel_##name name;
		CHANNEL_MESSAGES(X)
#undef X
	};
};

extern const struct wire_table channel_table;

/* As peer.h's. */
must_check int channel_encode(const struct channel_message *message, struct buffer *out,
			      struct error *err);
must_check int channel_frame_bytes(const void *bytes, size_t length, size_t *ret_bytes,
				   struct error *err);
must_check int channel_decode(const void *frame, size_t length, struct arena *arena,
			      struct channel_message *ret_message, struct error *err);

#endif
