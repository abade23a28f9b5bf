/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of a fabric say to each other: the table of messages. codec.h says how a row
 * becomes bytes; docs/design/messages.md is rendered from this table.
 *
 * A node and a voter. The node says `observation` when something changed and in each interval, and
 * its landing's `report`, which is answered as below, but for what its own replica tells it. It may
 * pass on what it is asked: `api_call`, answered by `api_answer` once. An edge is told of the
 * `foremost` every second.
 *
 * By `path_try` a voter asks a backend's node whether what it sends as a service comes back
 * (`fairlead doctor return-path`); the node says what it saw by `path_seen`.
 *
 * Any two nodes. Each says `standing`, when the session begins and when it has changed: what it
 * has and acknowledged, and what it remembers of the other one. Each serves its store to the other,
 * a voter's as below, and any other's to be read. Over the network both sides say `hello` first,
 * and `beat` whenever they said nothing else for a second; `parting` is the last of a session that
 * one side ends with a reason. A machine that wants to become a member says `join_ask`, once, and
 * nothing else; the voter answers `join_take` or `join_refuse`, and the session is over
 * (peer/session.h). A voter may say `warning`.
 *
 * A landing and its node. The landing says `hello` once, then a `report` in each interval. The node
 * answers each report with `heard` or `refused`. Before that it sends `configure` when what the
 * landing shall be is another than what it sent in this session: differences, or, as the first of a
 * session, everything. Likewise `cut`. The landing carries out each `configure` in turn and names
 * in its reports the generation that it has carried out. Both sides compute a generation from what
 * they hold (fabric/landing_set.h), so that they notice if they ever differ.
 *
 * A store's client and its server. The server says `store_serves` once. Each call has a number that
 * the client chose, and is answered once, by the message of its kind or by `store_failed`. A watch
 * is answered by `store_watching`, then by `store_events` as they come, until `store_watch_over`.
 *
 * A row's fields are F(struct, kind, name, least, most, level, meaning), and lists are L(struct,
 * row, name, least, most, level, meaning); wire_kind says what least and most count. From the rows
 * follow the structs below: a flag is a bool, a number a uint64_t, a text a const char *, and a
 * list a pointer `items` with a `count`.
 */
#ifndef FAIRLEAD_WIRE_PEER_H
#define FAIRLEAD_WIRE_PEER_H

#include "base/digest.h"
#include "base/netaddr.h"
#include "wire/codec.h"

#include <stdbool.h>

#define PEER_LEVEL 4u /* the highest level of a field or message here */
#define PEER_FRAME_MAX (16u << 20) /* bytes of a frame whose number is not known */

enum {
	PEER_NAME_MAX = 63,
	PEER_ID_MAX = 64,
	PEER_SENTENCE_MAX = 2048,
	PEER_ALARMS_MAX = 128,
	PEER_INTERFACES_MAX = 64,
	PEER_COUNTS_MAX = 262144,
	PEER_ROWS_MAX = 65536, /* of one list of a configuration */
	PEER_API_LINE_MAX = 12582912,
	PEER_STORE_ID_BYTES = 16,
	PEER_STORE_KEY_MAX = 512,
	PEER_STORE_VALUE_MAX = 1048576,
	PEER_STORE_PARTS_MAX = 128, /* compares or ops of a txn */
	PEER_STORE_RECORDS_MAX = 1000,
	PEER_SOURCES_MAX = 8, /* of a node's tunnels */
	PEER_HOLDERS_MAX = 16, /* edges that another may pass packets on to */
	PEER_DOORS_MAX = 16, /* voters that a joiner is told of */
	PEER_DER_MAX = 2048, /* bytes of a certificate */
	PEER_PROOF_MAX = 16384, /* bytes of a removal, as the ledger has it */
	PEER_PATHS_MAX = 1024, /* backends whose way back is tried at once */
};

/* X(ID, number, sentence): why a side ends a session. */
#define PEER_PARTINGS(X)                                                                           \
	X(STOP, 1, "it stops")                                                                     \
	X(REMOVED, 2, "the node was removed from the fabric; `proof` says so")                     \
	X(COPIED, 3, "another process speaks by the same key")                                     \
	X(NAME, 4, "the name belongs to another key")                                              \
	X(SLOW, 5, "it does not read what it is sent")                                             \
	X(REPLACED, 6, "a newer session of the same process takes this one's place")               \
	X(LEVEL, 7, "the two releases do not understand each other")                               \
	X(OTHER, 8, "the sentence says why")

enum peer_parting_reason {
#define X(id, number, sentence) PEER_PARTING_##id = (number),
	PEER_PARTINGS(X)
#undef X
};

/* X(ID, number, meaning): why a join is refused. */
#define PEER_JOIN_REFUSALS(X)                                                                      \
	X(SECRET, 1, "the token's secret is not one that was given out")                           \
	X(USED, 2, "the token was used")                                                           \
	X(EXPIRED, 3, "the token has expired")                                                     \
	X(FABRIC, 4, "the token is another fabric's")                                              \
	X(CLOCK, 5, "the joiner's clock is too far off")                                           \
	X(NAME, 6, "the name is taken")                                                            \
	X(NO_VOTER, 7, "this node is no voter; `voters` says who is")                              \
	X(LATER, 8, "it cannot be decided now: try again")                                         \
	X(ROLES, 9, "the token does not allow what was asked for")                                 \
	X(UNKNOWN_KEY, 10, "no member has this key")                                               \
	X(REMOVED, 11, "the key is that of a node that was removed; `proof` says so")

enum peer_join_refusal {
#define X(id, number, meaning) PEER_JOIN_##id = (number),
	PEER_JOIN_REFUSALS(X)
#undef X
};

enum { PEER_LEASE_GRANT = 1, PEER_LEASE_KEEP_ALIVE, PEER_LEASE_REVOKE };

/* --- rows of lists ---------------------------------------------------------------------------- */

#define PEER_COUNT_FIELDS(F, L, of)                                                                \
	F(of, ADDRESS, address, 1, 1, 1, "a service address")                                      \
	F(of, NUMBER, connections, 0, UINT32_MAX, 1, "its TCP connections here")

#define PEER_ACTIVITY_FIELDS(F, L, of)                                                             \
	F(of, ADDRESS, address, 1, 1, 1, "a service address")                                      \
	F(of, NUMBER, new_flow_ago_ms, 0, UINT64_MAX, 1, "since a flow began here, at least")      \
	F(of, NUMBER, packet_ago_ms, 0, UINT64_MAX, 1, "since a packet came here, at least")

/* A row has the level of the lists that it is in. */
#define PEER_ALARM_FIELDS_OF(F, of, level)                                                         \
	F(of, KEY, code, 1, PEER_ID_MAX, level, "which alarm, as in docs/design/alarms.md")        \
	F(of, KEY, severity, 1, PEER_ID_MAX, level, "how bad it is")                               \
	F(of, TEXT, subject, 0, PEER_SENTENCE_MAX, level, "the thing that it is about")            \
	F(of, TEXT, text, 1, PEER_SENTENCE_MAX, level, "the sentence that a person reads")         \
	F(of, TEXT, advice, 0, PEER_SENTENCE_MAX, level, "what to do about it")
#define PEER_ALARM_FIELDS(F, L, of) PEER_ALARM_FIELDS_OF(F, of, 1)
#define PEER_NODE_ALARM_FIELDS(F, L, of) PEER_ALARM_FIELDS_OF(F, of, 3)

#define PEER_INTERFACE_FIELDS(F, L, of)                                                            \
	F(of, TEXT, name, 1, PEER_NAME_MAX, 1, "an underlay interface")                            \
	F(of, KEY, mode, 1, PEER_NAME_MAX, 1,                                                      \
	  "how its program is attached: `native`, `generic` or `detached`")

#define PEER_PREFIX_FIELDS(F, L, of) F(of, PREFIX, prefix, 0, 0, 1, "a prefix")

#define PEER_ADDRESS_FIELDS(F, L, of) F(of, ADDRESS, address, 1, 1, 1, "an address")

#define PEER_END_FIELDS(F, L, of) F(of, ADDRESS, address, 1, 1, 2, "an address")

#define PEER_SOURCE_FIELDS(F, L, of) F(of, ADDRESS, address, 1, 1, 3, "an address")

#define PEER_AUTHORITY_FIELDS(F, L, of)                                                            \
	F(of, BYTES, certificate, 1, PEER_DER_MAX, 3, "X.509, in DER")

#define PEER_DOOR_FIELDS(F, L, of)                                                                 \
	F(of, NAME, node, 1, PEER_NAME_MAX, 3, "the voter's name")                                 \
	F(of, ADDRESS, address, 1, 1, 3, "where its node channel listens")                         \
	F(of, NUMBER, port, 1, UINT16_MAX, 3, "and its port")

#define PEER_HOLDER_FIELDS(F, L, of) F(of, NAME, node, 1, PEER_NAME_MAX, 4, "the edge's name")

#define PEER_LISTENER_FIELDS(F, L, of)                                                             \
	F(of, PREFIX, destination, 0, 0, 1, "where the flows go to that it gets")                  \
	F(of, NUMBER, protocol, 1, UINT8_MAX, 1, "their protocol, by its number in IP")            \
	F(of, NUMBER, port, 1, UINT16_MAX, 1, "their port, as clients see it")                     \
	F(of, ADDRESS, listen_address, 0, 1, 1, "what it is bound to; none: the wildcard")         \
	F(of, NUMBER, listen_port, 1, UINT16_MAX, 1, "the port that it is bound to")

#define PEER_PATH_FIELDS(F, L, of)                                                                 \
	F(of, NUMBER, place, 0, PEER_PATHS_MAX - 1, 4,                                             \
	  "of the sender among those that were sent for")

#define PEER_RECORD_FIELDS(F, L, of)                                                               \
	F(of, KEY, key, 1, PEER_STORE_KEY_MAX, 1, "the key")                                       \
	F(of, BYTES, value, 0, PEER_STORE_VALUE_MAX, 1, "its value")                               \
	F(of, NUMBER, create_revision, 0, UINT64_MAX, 1, "the revision that created it")           \
	F(of, NUMBER, mod_revision, 0, UINT64_MAX, 1, "the revision that changed it last")         \
	F(of, NUMBER, lease, 0, UINT64_MAX, 1, "the lease that it hangs on; 0: none")

#define PEER_COMPARE_FIELDS(F, L, of)                                                              \
	F(of, KEY, key, 1, PEER_STORE_KEY_MAX, 1, "the key")                                       \
	F(of, NUMBER, mod_revision, 0, UINT64_MAX, 1, "must be the key's; 0: it must be absent")

#define PEER_OP_FIELDS(F, L, of)                                                                   \
	F(of, FLAG, deletes, 0, 1, 1, "delete the key; otherwise put it")                          \
	F(of, KEY, key, 1, PEER_STORE_KEY_MAX, 1, "the key")                                       \
	F(of, BYTES, value, 0, PEER_STORE_VALUE_MAX, 1, "what to put")                             \
	F(of, NUMBER, lease, 0, UINT64_MAX, 1, "the lease that the key is to hang on; 0: none")

#define PEER_EVENT_FIELDS(F, L, of)                                                                \
	F(of, FLAG, deleted, 0, 1, 1, "the key was deleted; otherwise it was put")                 \
	PEER_RECORD_FIELDS(F, L, of)

/* X(ID, name, fields, meaning) */
#define PEER_ROWS(X)                                                                               \
	X(COUNT, count, PEER_COUNT_FIELDS, "connections of one service address")                   \
	X(ACTIVITY, activity, PEER_ACTIVITY_FIELDS, "how long an address has been quiet")          \
	X(ALARM, alarm, PEER_ALARM_FIELDS, "something that is not as it should be")                \
	X(NODE_ALARM, node_alarm, PEER_NODE_ALARM_FIELDS, "the same, of a node")                   \
	X(INTERFACE, interface, PEER_INTERFACE_FIELDS, "an underlay interface of a landing")       \
	X(PREFIX, prefix, PEER_PREFIX_FIELDS, "a pool")                                            \
	X(ADDRESS, address, PEER_ADDRESS_FIELDS, "an address")                                     \
	X(END, end, PEER_END_FIELDS, "where tunnels end")                                          \
	X(SOURCE, source, PEER_SOURCE_FIELDS, "where tunnels come from")                           \
	X(AUTHORITY, authority, PEER_AUTHORITY_FIELDS, "a CA of the fabric")                       \
	X(DOOR, door, PEER_DOOR_FIELDS, "where a voter is reached")                                \
	X(HOLDER, holder, PEER_HOLDER_FIELDS, "an edge that is as far as any")                     \
	X(PATH, path, PEER_PATH_FIELDS, "an answer that came back")                                \
	X(LISTENER, listener, PEER_LISTENER_FIELDS, "where flows go that no socket takes")         \
	X(RECORD, record, PEER_RECORD_FIELDS, "a record of the store")                             \
	X(COMPARE, compare, PEER_COMPARE_FIELDS, "a condition of a txn")                           \
	X(OP, op, PEER_OP_FIELDS, "a change that a txn makes")                                     \
	X(EVENT, event, PEER_EVENT_FIELDS, "a change that a watch tells of")

/* --- a landing and its node ------------------------------------------------------------------- */

#define PEER_HELLO_FIELDS(F, L, of)                                                                \
	F(of, NUMBER, level, 1, UINT16_MAX, 1, "the highest level that the sender knows")          \
	F(of, NAME, node, 1, PEER_NAME_MAX, 1, "the sender's name")                                \
	F(of, KEY, boot_id, 1, PEER_ID_MAX, 1, "of the sender's kernel")                           \
	F(of, KEY, instance, 1, PEER_ID_MAX, 1,                                                    \
	  "drawn at random when the sender's process started: of two that use one name, one is "   \
	  "refused")

#define PEER_REPORT_FIELDS(F, L, of)                                                               \
	F(of, DIGEST, generation, 0, 0, 1,                                                         \
	  "of the configuration that it has carried out; zero: none")                              \
	F(of, NUMBER, closing_sequence, 0, UINT64_MAX, 1,                                          \
	  "the ledger entry of the closing that was known when the count began; 0: none")          \
	F(of, DIGEST, closing_hash, 0, 0, 1, "that entry's hash")                                  \
	F(of, FLAG, cookies_known, 0, 1, 1, "whether the next field is known")                     \
	F(of, NUMBER, cookies_ms, 0, UINT64_MAX, 1,                                                \
	  "since the landing last sent a SYN cookie; the greatest number: never")                  \
	F(of, NUMBER, cut, 0, UINT64_MAX, 1, "connections that it ended by order, in its life")    \
	L(of, count, counts, 0, PEER_COUNTS_MAX, 1, "an address that is not here has none")        \
	L(of, alarm, alarms, 0, PEER_ALARMS_MAX, 1, "what is wrong here")                          \
	L(of, interface, interfaces, 0, PEER_INTERFACES_MAX, 1, "its underlay interfaces")         \
	F(of, KEY, program, 0, PEER_ID_MAX, 1, "the kernel's tag of its program")                  \
	F(of, KEY, layout, 0, PEER_ID_MAX, 1, "digest of its maps' layout")                        \
	F(of, NUMBER, listeners, 0, UINT32_MAX, 1, "listeners that it was told of")                \
	F(of, NUMBER, listeners_bound, 0, UINT32_MAX, 1, "those of them that exist")               \
	F(of, NUMBER, accepted, 0, UINT64_MAX, 1, "packets taken out of tunnels")                  \
	L(of, end, owned, 0, PEER_ROWS_MAX, 2,                                                     \
	  "the ends of tunnels that it was told of, as far as they were addresses of this "        \
	  "machine when the count began; sorted, each once")

#define PEER_CONFIGURE_FIELDS(F, L, of)                                                            \
	F(of, FLAG, whole, 0, 1, 1,                                                                \
	  "what is added here is all there is; otherwise these are differences to `base`")         \
	F(of, DIGEST, base, 0, 0, 1, "the generation that this changes; zero if whole")            \
	F(of, DIGEST, generation, 0, 0, 1, "what it is after this")                                \
	L(of, prefix, pools_removed, 0, PEER_ROWS_MAX, 1, "no pools any more")                     \
	L(of, prefix, pools_added, 0, PEER_ROWS_MAX, 1, "prefixes of service addresses")           \
	L(of, address, edges_removed, 0, PEER_ROWS_MAX, 1, "off the fence")                        \
	L(of, address, edges_added, 0, PEER_ROWS_MAX, 1,                                           \
	  "the fence: sources whose tunnels are believed")                                         \
	L(of, address, addresses_removed, 0, PEER_ROWS_MAX, 1, "no ends of tunnels any more")      \
	L(of, address, addresses_added, 0, PEER_ROWS_MAX, 1, "where tunnels to it end")            \
	L(of, listener, listeners_removed, 0, PEER_ROWS_MAX, 1, "told no more")                    \
	L(of, listener, listeners_added, 0, PEER_ROWS_MAX, 1, "which flows its listeners get")

#define PEER_CUT_FIELDS(F, L, of)                                                                  \
	L(of, address, addresses, 0, PEER_ROWS_MAX, 1,                                             \
	  "service addresses whose connections are to be ended, until a list comes without them: " \
	  "all there are")

#define PEER_HEARD_FIELDS(F, L, of)                                                                \
	F(of, NUMBER, interval_ms, 1, UINT32_MAX, 1, "until the next report")                      \
	F(of, NUMBER, closing_sequence, 0, UINT64_MAX, 1,                                          \
	  "the newest closing that the next count may name; 0: none")                              \
	F(of, DIGEST, closing_hash, 0, 0, 1, "that entry's hash")                                  \
	F(of, NUMBER, path_mtu, 0, UINT32_MAX, 2,                                                  \
	  "the largest tunnel packet that the way from this edge carries, in bytes; 0: not known")

#define PEER_OBSERVATION_FIELDS(F, L, of)                                                          \
	F(of, FLAG, is_edge, 0, 1, 1, "the node acts as an edge")                                  \
	F(of, NUMBER, edge_sequence, 0, UINT64_MAX, 1,                                             \
	  "its maps do what the ledger says up to this entry; 0: none")                            \
	F(of, DIGEST, edge_hash, 0, 0, 1, "that entry's hash")                                     \
	F(of, FLAG, activity_known, 0, 1, 1, "whether the list is told this time")                 \
	L(of, activity, activity, 0, PEER_COUNTS_MAX, 1, "sorted by address, each once")           \
	F(of, FLAG, is_names, 0, 1, 1, "the node acts as a name server")                           \
	F(of, NUMBER, names_sequence, 0, UINT64_MAX, 1,                                            \
	  "it answers what the ledger says up to this entry; 0: none")                             \
	F(of, DIGEST, names_hash, 0, 0, 1, "that entry's hash")                                    \
	L(of, end, unreached, 0, PEER_ROWS_MAX, 2,                                                 \
	  "backends that the edge has no next hop for; sorted, each once")                         \
	F(of, FLAG, alarms_known, 0, 1, 3, "whether the list is told this time")                   \
	L(of, node_alarm, alarms, 0, PEER_ALARMS_MAX, 3, "what is wrong there")

#define PEER_FOREMOST_FIELDS(F, L, of)                                                             \
	F(of, NUMBER, sequence, 0, UINT64_MAX, 4,                                                  \
	  "the newest entry that an edge acknowledged which is heard; 0: none did")                \
	L(of, holder, holders, 0, PEER_HOLDERS_MAX, 4, "some that acknowledged it, of other nodes")

#define PEER_STANDING_FIELDS(F, L, of)                                                             \
	F(of, FLAG, decides, 0, 1, 4, "the node is a voter, and takes orders")                     \
	F(of, NUMBER, head_sequence, 0, UINT64_MAX, 4,                                             \
	  "the newest ledger entry of its replica; 0: none")                                       \
	F(of, DIGEST, head_hash, 0, 0, 4, "that entry's hash")                                     \
	F(of, NUMBER, mark_sequence, 0, UINT64_MAX, 4,                                             \
	  "the newest entry that it ever acknowledged; 0: none")                                   \
	F(of, DIGEST, mark_hash, 0, 0, 4, "that entry's hash")                                     \
	F(of, NUMBER, yours_sequence, 0, UINT64_MAX, 4,                                            \
	  "the newest entry that it remembers the other one to have acknowledged; 0: none")        \
	F(of, DIGEST, yours_hash, 0, 0, 4, "that entry's hash")

#define PEER_API_CALL_FIELDS(F, L, of)                                                             \
	F(of, NUMBER, call, 1, UINT64_MAX, 3,                                                      \
	  "the call's number, never used again in the session")                                    \
	F(of, TEXT, who, 1, PEER_SENTENCE_MAX, 3, "who asks, for the ledger")                      \
	F(of, BYTES, line, 1, PEER_API_LINE_MAX, 3, "the request, a line of the local API")

#define PEER_API_ANSWER_FIELDS(F, L, of)                                                           \
	F(of, NUMBER, call, 1, UINT64_MAX, 3, "the call's number")                                 \
	F(of, BYTES, line, 1, PEER_API_LINE_MAX, 3, "the answer, a line of the local API")

#define PEER_PATH_TRY_FIELDS(F, L, of)                                                             \
	F(of, NUMBER, call, 1, UINT64_MAX, 4,                                                      \
	  "the trial's number, never used again in the session")                                   \
	F(of, ADDRESS, source, 1, 1, 4, "a service address of the backend's version")              \
	F(of, NUMBER, source_port, 1, UINT16_MAX, 4, "a TCP port that the service has")            \
	F(of, ADDRESS, to, 1, 1, 4, "a machine outside, of the same family")                       \
	F(of, NUMBER, to_port, 1, UINT16_MAX, 4, "a TCP port there, open or refused")              \
	F(of, NUMBER, sequence, 0, UINT32_MAX, 4,                                                  \
	  "of the SYN of the sender at place 0; each place after it has two more, so that the "    \
	  "answer says whose it is wherever it lands")                                             \
	F(of, NUMBER, count, 1, PEER_PATHS_MAX, 4, "how many send")                                \
	F(of, NUMBER, place, 0, PEER_PATHS_MAX - 1, 4, "this node's")

#define PEER_PATH_SEEN_FIELDS(F, L, of)                                                            \
	F(of, NUMBER, call, 1, UINT64_MAX, 4, "the trial's number")                                \
	F(of, TEXT, failure, 0, PEER_SENTENCE_MAX, 4, "why nothing was sent; empty: it was")       \
	L(of, path, paths, 0, PEER_PATHS_MAX, 4, "whose answers landed here; each once")

#define PEER_REFUSED_FIELDS(F, L, of)                                                              \
	F(of, NUMBER, code, 1, UINT16_MAX, 1, "of the error, without its sign")                    \
	F(of, TEXT, sentence, 1, PEER_SENTENCE_MAX, 1, "what a person should know")

/* --- any two nodes ---------------------------------------------------------------------------- */

#define PEER_BEAT_FIELDS(F, L, of)                                                                 \
	F(of, NUMBER, clock_ms, 0, UINT64_MAX, 3,                                                  \
	  "the sender's wall clock, milliseconds since 1970")

#define PEER_PARTING_FIELDS(F, L, of)                                                              \
	F(of, NUMBER, reason, 1, UINT16_MAX, 3, "of enum peer_parting_reason")                     \
	F(of, TEXT, sentence, 1, PEER_SENTENCE_MAX, 3, "what a person should know")                \
	F(of, BYTES, proof, 0, PEER_PROOF_MAX, 3,                                                  \
	  "the ledger's entry of a removal, with its signature; empty otherwise")

#define PEER_JOIN_ASK_FIELDS(F, L, of)                                                             \
	F(of, BYTES, secret, 0, 16, 3,                                                             \
	  "the token's; empty when a member comes back by its key after its certificate's end")    \
	F(of, NAME, fabric, 1, PEER_NAME_MAX, 3, "the fabric that it means to join")               \
	F(of, NAME, node, 1, PEER_NAME_MAX, 3, "the name that it wants")                           \
	F(of, NUMBER, roles, 1, UINT16_MAX, 3, "the roles that it wants, as in a member's record") \
	F(of, NAME, site, 0, PEER_NAME_MAX, 3, "the site that it stands at; empty: the token's")   \
	F(of, NUMBER, features, 0, UINT32_MAX, 3, "its feature level, as in a member's record")    \
	F(of, KEY, ledger_key, 1, PEER_ID_MAX, 3,                                                  \
	  "of its signatures, \"ed25519:BASE64\"; the key of its sessions is the one that its "    \
	  "handshake proved")                                                                      \
	L(of, source, sources, 0, PEER_SOURCES_MAX, 3, "where its tunnels will come from")         \
	F(of, ADDRESS, address, 0, 1, 3,                                                           \
	  "where its node channel will listen; none: where it asks from")                          \
	F(of, NUMBER, port, 0, UINT16_MAX, 3, "and its port; 0: it will not listen")               \
	F(of, KEY, boot_id, 1, PEER_ID_MAX, 3, "of its kernel")                                    \
	F(of, NUMBER, clock_ms, 0, UINT64_MAX, 3, "its wall clock, milliseconds since 1970")

#define PEER_JOIN_TAKE_FIELDS(F, L, of)                                                            \
	F(of, NAME, node, 1, PEER_NAME_MAX, 3, "the member's name")                                \
	F(of, BYTES, certificate, 1, PEER_DER_MAX, 3, "the member's; X.509, in DER")               \
	L(of, authority, authorities, 1, 2, 3, "the CAs that members trust")                       \
	L(of, door, voters, 0, PEER_DOORS_MAX, 3, "where the voters are")

#define PEER_JOIN_REFUSE_FIELDS(F, L, of)                                                          \
	F(of, NUMBER, reason, 1, UINT16_MAX, 3, "of enum peer_join_refusal")                       \
	F(of, TEXT, sentence, 1, PEER_SENTENCE_MAX, 3, "what a person should know")                \
	F(of, TEXT, command, 0, PEER_SENTENCE_MAX, 3, "the command that helps")                    \
	L(of, door, voters, 0, PEER_DOORS_MAX, 3, "where the voters are")                          \
	F(of, BYTES, proof, 0, PEER_PROOF_MAX, 3,                                                  \
	  "the ledger's entry of the asker's removal, with its signature; empty otherwise")

#define PEER_WARNING_FIELDS(F, L, of)                                                              \
	F(of, KEY, code, 1, PEER_ID_MAX, 3, "which alarm, as in docs/design/alarms.md")            \
	F(of, TEXT, text, 1, PEER_SENTENCE_MAX, 3, "the sentence that a person reads")             \
	F(of, TEXT, advice, 0, PEER_SENTENCE_MAX, 3, "what to do about it")

/* --- a store's client and its server ---------------------------------------------------------- */

#define PEER_STORE_CALL(F, of)                                                                     \
	F(of, NUMBER, call, 1, UINT64_MAX, 1, "the call's number, never used again in the session")

#define PEER_STORE_WATCH_NUMBER(F, of)                                                             \
	F(of, NUMBER, watch, 1, UINT64_MAX, 1, "the watch's number, the client's choice")

#define PEER_STORE_SERVES_FIELDS(F, L, of)                                                         \
	F(of, NUMBER, level, 1, UINT16_MAX, 1, "the highest level that the server knows")          \
	F(of, BYTES, history, PEER_STORE_ID_BYTES, PEER_STORE_ID_BYTES, 1,                         \
	  "whose revisions these are: with another id, no revision of before means anything")      \
	F(of, NUMBER, revision, 0, UINT64_MAX, 1, "the store's, now")

#define PEER_STORE_RANGE_FIELDS(F, L, of)                                                          \
	PEER_STORE_CALL(F, of)                                                                     \
	F(of, FLAG, prefix, 0, 1, 1, "`key` is a prefix")                                          \
	F(of, KEY, key, 0, PEER_STORE_KEY_MAX, 1, "the key, or the prefix")                        \
	F(of, KEY, after, 0, PEER_STORE_KEY_MAX, 1, "leave out keys up to this one; empty: none")  \
	F(of, NUMBER, limit, 0, UINT32_MAX, 1, "records; 0: a page's most")                        \
	F(of, NUMBER, revision, 0, UINT64_MAX, 1, "what was true then; 0: now")

#define PEER_STORE_PAGE_FIELDS(F, L, of)                                                           \
	PEER_STORE_CALL(F, of)                                                                     \
	F(of, NUMBER, revision, 0, UINT64_MAX, 1, "that of the store, or the one asked for")       \
	F(of, FLAG, more, 0, 1, 1, "the limit cut the page short")                                 \
	L(of, record, records, 0, PEER_STORE_RECORDS_MAX, 1, "in the order of their keys")

#define PEER_STORE_TXN_FIELDS(F, L, of)                                                            \
	PEER_STORE_CALL(F, of)                                                                     \
	F(of, KEY, id, 0, PEER_ID_MAX, 1, "by which a retry is known; empty: none")                \
	L(of, compare, compares, 0, PEER_STORE_PARTS_MAX, 1, "all must hold")                      \
	L(of, op, ops, 0, PEER_STORE_PARTS_MAX, 1, "what is then done")

#define PEER_STORE_OUTCOME_FIELDS(F, L, of)                                                        \
	PEER_STORE_CALL(F, of)                                                                     \
	F(of, TEXT, conflict, 0, PEER_SENTENCE_MAX, 1,                                             \
	  "which compare failed, so that nothing changed; empty: none did")                        \
	F(of, NUMBER, revision, 0, UINT64_MAX, 1,                                                  \
	  "that the txn made; the store's if it changed nothing")                                  \
	F(of, FLAG, repeated, 0, 1, 1, "an earlier call with this id did it")                      \
	F(of, NUMBER, failed_compare, 0, PEER_STORE_PARTS_MAX, 1, "the first that failed")         \
	F(of, NUMBER, failed_mod_revision, 0, UINT64_MAX, 1, "what that key's is")

#define PEER_STORE_LEASE_FIELDS(F, L, of)                                                          \
	PEER_STORE_CALL(F, of)                                                                     \
	F(of, NUMBER, verb, PEER_LEASE_GRANT, PEER_LEASE_REVOKE, 1,                                \
	  "1: grant, 2: keep alive, 3: revoke")                                                    \
	F(of, NUMBER, lease, 0, UINT64_MAX, 1, "which; 0 with a grant")                            \
	F(of, NUMBER, ttl_ms, 0, UINT32_MAX, 1, "time to live of a grant")

#define PEER_STORE_LEASED_FIELDS(F, L, of)                                                         \
	PEER_STORE_CALL(F, of)                                                                     \
	F(of, NUMBER, lease, 1, UINT64_MAX, 1, "which")                                            \
	F(of, NUMBER, ttl_ms, 0, UINT64_MAX, 1, "its time to live as granted")

#define PEER_STORE_FAILED_FIELDS(F, L, of)                                                         \
	PEER_STORE_CALL(F, of)                                                                     \
	PEER_REFUSED_FIELDS(F, L, of)

#define PEER_STORE_WATCH_FIELDS(F, L, of)                                                          \
	PEER_STORE_WATCH_NUMBER(F, of)                                                             \
	F(of, KEY, prefix, 0, PEER_STORE_KEY_MAX, 1, "of the keys")                                \
	F(of, NUMBER, revision, 0, UINT64_MAX, 1, "the first to tell of; 0: the next")

#define PEER_STORE_WATCHING_FIELDS(F, L, of)                                                       \
	PEER_STORE_WATCH_NUMBER(F, of)                                                             \
	F(of, NUMBER, revision, 1, UINT64_MAX, 1, "the first that it will tell of")

#define PEER_STORE_UNWATCH_FIELDS(F, L, of) PEER_STORE_WATCH_NUMBER(F, of)

#define PEER_STORE_EVENTS_FIELDS(F, L, of)                                                         \
	PEER_STORE_WATCH_NUMBER(F, of)                                                             \
	F(of, NUMBER, revision, 1, UINT64_MAX, 1, "that made these changes")                       \
	F(of, FLAG, more, 0, 1, 1, "the next message has more of this revision")                   \
	L(of, event, events, 1, PEER_STORE_RECORDS_MAX, 1, "in the order of the txn's ops")

#define PEER_STORE_WATCH_OVER_FIELDS(F, L, of)                                                     \
	PEER_STORE_WATCH_NUMBER(F, of)                                                             \
	PEER_REFUSED_FIELDS(F, L, of)

/* X(number, ID, name, level, most bytes of a frame, fields, meaning) */
#define PEER_MESSAGES(X)                                                                           \
	X(1, HELLO, hello, 1, 4096, PEER_HELLO_FIELDS, "Who opens a session says so.")             \
	X(2, REPORT, report, 1, 8u << 20, PEER_REPORT_FIELDS,                                      \
	  "A landing says what it counted and how it fares.")                                      \
	X(3, CONFIGURE, configure, 1, 8u << 20, PEER_CONFIGURE_FIELDS,                             \
	  "The node says what the landing shall be.")                                              \
	X(4, CUT, cut, 1, 4u << 20, PEER_CUT_FIELDS,                                               \
	  "The node passes on the operator's order to end connections.")                           \
	X(5, HEARD, heard, 1, 4096, PEER_HEARD_FIELDS, "The node took the report in.")             \
	X(6, REFUSED, refused, 1, 4096, PEER_REFUSED_FIELDS,                                       \
	  "The node did not take the report in.")                                                  \
	X(7, BEAT, beat, 3, 64, PEER_BEAT_FIELDS, "A node is still there.")                        \
	X(8, PARTING, parting, 3, 32768, PEER_PARTING_FIELDS, "A node ends the session.")          \
	X(9, JOIN_ASK, join_ask, 3, 4096, PEER_JOIN_ASK_FIELDS,                                    \
	  "A machine wants to become a member, or a member its next certificate.")                 \
	X(10, JOIN_TAKE, join_take, 3, 16384, PEER_JOIN_TAKE_FIELDS, "It is a member.")            \
	X(11, JOIN_REFUSE, join_refuse, 3, 32768, PEER_JOIN_REFUSE_FIELDS, "It is none.")          \
	X(12, WARNING, warning, 3, 8192, PEER_WARNING_FIELDS,                                      \
	  "A voter tells a member of what concerns it alone.")                                     \
	X(16, OBSERVATION, observation, 1, 12u << 20, PEER_OBSERVATION_FIELDS,                     \
	  "What a node saw, as it tells every voter.")                                             \
	X(17, API_CALL, api_call, 3, 13u << 20, PEER_API_CALL_FIELDS,                              \
	  "A node passes on what it was asked by its local API.")                                  \
	X(18, API_ANSWER, api_answer, 3, 13u << 20, PEER_API_ANSWER_FIELDS, "The answer to it.")   \
	X(19, FOREMOST, foremost, 4, 4096, PEER_FOREMOST_FIELDS,                                   \
	  "A voter says to an edge how far the foremost edge is.")                                 \
	X(20, STANDING, standing, 4, 4096, PEER_STANDING_FIELDS, "Where a node stands.")           \
	X(24, PATH_TRY, path_try, 4, 4096, PEER_PATH_TRY_FIELDS,                                   \
	  "The voter has a backend's machine speak to one outside, as a service.")                 \
	X(25, PATH_SEEN, path_seen, 4, 32768, PEER_PATH_SEEN_FIELDS, "What came back there.")      \
	X(32, STORE_SERVES, store_serves, 1, 4096, PEER_STORE_SERVES_FIELDS,                       \
	  "The server says whose store it is.")                                                    \
	X(33, STORE_RANGE, store_range, 1, 4096, PEER_STORE_RANGE_FIELDS, "A call: range.")        \
	X(34, STORE_PAGE, store_page, 1, 12u << 20, PEER_STORE_PAGE_FIELDS, "A range's answer.")   \
	X(35, STORE_TXN, store_txn, 1, 2u << 20, PEER_STORE_TXN_FIELDS, "A call: txn.")            \
	X(36, STORE_OUTCOME, store_outcome, 1, 4096, PEER_STORE_OUTCOME_FIELDS, "A txn's answer.") \
	X(37, STORE_LEASE, store_lease, 1, 4096, PEER_STORE_LEASE_FIELDS,                          \
	  "A call: grant, keep alive or revoke a lease.")                                          \
	X(38, STORE_LEASED, store_leased, 1, 4096, PEER_STORE_LEASED_FIELDS, "A lease's answer.")  \
	X(39, STORE_FAILED, store_failed, 1, 4096, PEER_STORE_FAILED_FIELDS,                       \
	  "Any call's answer, if it failed.")                                                      \
	X(40, STORE_WATCH, store_watch, 1, 4096, PEER_STORE_WATCH_FIELDS,                          \
	  "The client wants to be told of changes.")                                               \
	X(41, STORE_WATCHING, store_watching, 1, 4096, PEER_STORE_WATCHING_FIELDS,                 \
	  "The server will tell of them.")                                                         \
	X(42, STORE_UNWATCH, store_unwatch, 1, 4096, PEER_STORE_UNWATCH_FIELDS,                    \
	  "The client wants to be told no more.")                                                  \
	X(43, STORE_EVENTS, store_events, 1, 12u << 20, PEER_STORE_EVENTS_FIELDS,                  \
	  "What one revision changed.")                                                            \
	X(44, STORE_WATCH_OVER, store_watch_over, 1, 4096, PEER_STORE_WATCH_OVER_FIELDS,           \
	  "The server will tell of no more: changes may have been missed.")

/* --- what follows ----------------------------------------------------------------------------- */

#define PEER_MEMBER_FLAG(name) bool name;
#define PEER_MEMBER_NUMBER(name) uint64_t name;
#define PEER_MEMBER_TEXT(name) const char *name;
#define PEER_MEMBER_NAME(name) const char *name;
#define PEER_MEMBER_KEY(name) const char *name;
#define PEER_MEMBER_BYTES(name) struct wire_bytes name;
#define PEER_MEMBER_DIGEST(name) struct digest name;
#define PEER_MEMBER_ADDRESS(name) struct ip_address name;
#define PEER_MEMBER_PREFIX(name) struct ip_prefix name;
#define PEER_FIELD_MEMBER(of, kind, name, least, most, level, meaning) PEER_MEMBER_##kind(name)
/* NOLINTBEGIN(bugprone-macro-parentheses): a member's name takes none */
#define PEER_LIST_MEMBER(of, row, name, least, most, level, meaning)                               \
	struct {                                                                                   \
		const struct peer_##row *items;                                                    \
		size_t count;                                                                      \
	} name;
/* NOLINTEND(bugprone-macro-parentheses) */

/* struct peer_count, struct peer_alarm, … */
#define X(id, name, fields, meaning)                                                               \
	struct peer_##name {                                                                       \
		fields(PEER_FIELD_MEMBER, PEER_LIST_MEMBER, peer_##name)                           \
	};
PEER_ROWS(X)
#undef X

/* struct peer_hello, struct peer_report, … */
#define X(number, id, name, level, most, fields, meaning)                                          \
	struct peer_##name {                                                                       \
		fields(PEER_FIELD_MEMBER, PEER_LIST_MEMBER, peer_##name)                           \
	};
PEER_MESSAGES(X)
#undef X

enum peer_number {
#define X(number, id, name, level, most, fields, meaning) PEER_##id = (number),
	PEER_MESSAGES(X)
#undef X
};

struct peer_message {
	enum peer_number number;
	union {
#define X(number, id, name, level, most, fields, meaning) struct peer_##name name;
		PEER_MESSAGES(X)
#undef X
	};
};

extern const struct wire_table peer_table;

/* Append its frame; see wire_encode(). */
must_check int peer_encode(const struct peer_message *message, struct buffer *out,
			   struct error *err);

/* See wire_frame_bytes() and wire_decode(). -FL_EUNSUPPORTED: skip this frame and count it. */
must_check int peer_frame_bytes(const void *bytes, size_t length, size_t *ret_bytes,
				struct error *err);
must_check int peer_decode(const void *frame, size_t length, struct arena *arena,
			   struct peer_message *ret_message, struct error *err);

#endif
