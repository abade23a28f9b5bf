/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Why a packet was dropped: one number per reason, shared by the BPF programs, user space and the
 * metrics, so that nothing is mirrored by hand. A number is never given a second meaning: a reason
 * that goes leaves a gap. The edge owns 1 … 63, landing 64 … 127.
 *
 * X(name, number, label, text): `label` is the metric's label, `text` is for people.
 */
#ifndef FAIRLEAD_ABI_DROP_H
#define FAIRLEAD_ABI_DROP_H

#define EDGE_PACKET_DROPS(X)                                                                       \
	X(V4_SHORT, 1, "v4_short", "the frame ends inside the IPv4 header")                        \
	X(V4_HEADER, 2, "v4_header", "the IPv4 version or header length is wrong")                 \
	X(V4_LENGTH, 3, "v4_length", "the IPv4 total length does not fit header and frame")        \
	X(V6_SHORT, 4, "v6_short", "the frame ends inside the IPv6 header")                        \
	X(V6_HEADER, 5, "v6_header", "the IPv6 version is wrong")                                  \
	X(V6_LENGTH, 6, "v6_length", "the IPv6 payload length does not fit the frame")             \
	X(V6_EXTENSION, 7, "v6_extension", "an IPv6 extension header is cut off or misplaced")     \
	X(V6_CHAIN, 8, "v6_chain", "too many IPv6 extension headers")                              \
	X(V6_ROUTING, 9, "v6_routing", "an IPv6 routing header with segments left")                \
	X(FRAGMENT, 10, "fragment", "a fragment: its ports cannot be seen")                        \
	X(ICMP, 11, "icmp", "ICMP to a service address")                                           \
	X(PROTOCOL, 12, "protocol", "neither TCP nor UDP")                                         \
	X(L4_SHORT, 13, "l4_short", "the packet ends inside the TCP or UDP header")                \
	X(L4_LENGTH, 14, "l4_length", "the TCP data offset or the UDP length is wrong")            \
	X(TTL, 15, "ttl", "the time to live or hop limit is used up")                              \
	X(LINK_GROUP, 16, "link_group", "sent to a link-layer group address")                      \
	X(NO_SITE, 17, "no_site", "this edge holds nothing of the address's site")                 \
	X(NO_BINDING, 18, "no_binding", "no version is bound to the address")                      \
	X(PORT, 19, "port", "the version does not serve this port")                                \
	X(REFUSED, 20, "refused", "a new flow to an address that is closing")                      \
	X(NO_BACKEND, 21, "no_backend", "the ring names no backend for the flow")                  \
	X(TOO_BIG, 22, "too_big", "too big for the path to the backend once encapsulated")         \
	X(HEADROOM, 23, "headroom", "no room in front of the frame for the outer header")          \
	X(ALGORITHM, 24, "algorithm", "the version needs a pick algorithm this program lacks")     \
	X(ICMP_TOO_BIG, 25, "icmp_too_big",                                                        \
	  "word of a router that a packet of a backend was too big")

/* Of what edges pass to each other: the first six are of whom it was passed to. */
#define EDGE_PASSING_DROPS(X)                                                                      \
	X(PASSED_MALFORMED, 26, "passed_malformed",                                                \
	  "what an edge passed on is cut off, or of no form that is known")                        \
	X(PASSED_NOT_EDGE, 27, "passed_not_edge", "passed on by no edge of ours")                  \
	X(PASSED_TOKEN, 28, "passed_token", "passed on with a token that is not this edge's")      \
	X(PASSED_INNER, 29, "passed_inner", "what was passed on is not for a service address")     \
	X(PASSED_CHECKSUM, 30, "passed_checksum",                                                  \
	  "the outer IPv4 header of what was passed on has a wrong checksum")                      \
	X(PASSED_UNKNOWN, 31, "passed_unknown",                                                    \
	  "passed on by an edge that is behind, and not known here either")                        \
	X(PASS_LIMIT, 32, "pass_limit",                                                            \
	  "this edge is behind, and passes on no more packets a second")

#define EDGE_DROPS(X) EDGE_PACKET_DROPS(X) EDGE_PASSING_DROPS(X)

/* Landing's reasons: 64 … 127. */
#define LANDING_DROPS(X)                                                                           \
	X(LANDING_OUTER_MALFORMED, 64, "landing_outer_malformed",                                  \
	  "the tunnel's outer header does not fit the frame")                                      \
	X(LANDING_OUTER_CHECKSUM, 65, "landing_outer_checksum",                                    \
	  "the tunnel's outer IPv4 header has a wrong checksum")                                   \
	X(LANDING_OUTER_FRAGMENT, 66, "landing_outer_fragment", "a fragment of a tunnel packet")   \
	X(LANDING_NOT_EDGE, 67, "landing_not_edge", "a tunnel packet from no edge of ours")        \
	X(LANDING_INNER_MALFORMED, 68, "landing_inner_malformed",                                  \
	  "the packet in the tunnel is cut off or has wrong lengths")                              \
	X(LANDING_NOT_IN_POOL, 69, "landing_not_in_pool",                                          \
	  "the packet in the tunnel is not for a service address")                                 \
	X(LANDING_SOURCE_IN_POOL, 70, "landing_source_in_pool",                                    \
	  "the packet in the tunnel pretends to come from a service address")                      \
	X(LANDING_ECN, 71, "landing_ecn",                                                          \
	  "congestion was marked on a packet whose transport has no ECN")                          \
	X(LANDING_BARE, 72, "landing_bare", "a packet for a service address without a tunnel")

#define DROP_REASONS 128 /* entries of a table indexed by reason; 0 is no reason */

enum drop_reason {
#define X(name, number, label, text) DROP_##name = (number),
	EDGE_DROPS(X) LANDING_DROPS(X)
#undef X
};

#endif
