/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Naming: what the fabric answers in DNS, as one immutable snapshot and one pure function.
 *
 * The caller describes the zone in a struct naming_input: plain values, no life cycles. Building
 * it checks everything, copies everything, and lays out every record in wire form, so that an
 * answer is a hash look-up and a copy. A snapshot is never changed; naming/server.h swaps whole
 * ones under load.
 *
 * Who gets which version. Each service lists its shares in order, each with an upper bound. A
 * client is a prefix of the service's length for its family: of the EDNS client subnet if the query
 * carries one, else of the resolver's own address. A keyed hash of the prefix gives a number in
 * 0…65535, and the first share whose upper bound exceeds it is the client's. So with the newest
 * version listed first and its bound only growing, no client goes back: the first 5 % are among the
 * first 10 %. A and AAAA of one client always come from the same share.
 *
 * The answer also has to be true to caches: the scope it states for a client subnet (RFC 7871) is
 * the service's length, whatever the query told, and 0 when every client would have got the same. A
 * subnet told in fewer bits is hashed with zeros behind them, and the scope above its source keeps
 * a cache from giving that answer to anybody who tells more (section 7.3.1). So scopes of one name
 * never overlap (section 7.2.1), and behind a cache nobody goes back either.
 */
#ifndef FAIRLEAD_NAMING_NAMING_H
#define FAIRLEAD_NAMING_NAMING_H

#include "base/error.h"
#include "base/netaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAMING_SALT_BYTES 16
#define NAMING_SHARE_WHOLE 65536u /* the upper bound that leaves no client out */
#define NAMING_PREFIX_BITS_V4 24u /* what a client is, unless its service says otherwise */
#define NAMING_PREFIX_BITS_V6 56u

#define NAMING_NAMESERVERS_MAX 16u
#define NAMING_NAMESERVER_ADDRESSES_MAX 16u
#define NAMING_SERVICES_MAX 65536u
#define NAMING_SHARES_MAX 64u /* of one service */
#define NAMING_SETS_MAX 65536u
#define NAMING_NSID_MAX 128u /* bytes; keeps every OPT record within a 512-byte answer */
#define NAMING_TTL_MAX 0x7fffffffu /* seconds (RFC 2181 §8) */

#define NAMING_QUERY_MAX 4096u /* bytes over UDP; a longer query is dropped */
#define NAMING_TCP_QUERY_MAX 65535u /* bytes; all that its length can say */
#define NAMING_UDP_ANSWER_MAX 1232u /* bytes; fits an unfragmented IPv6 packet on any link */
#define NAMING_ANSWER_MAX 16384u /* bytes; the limits above allow no longer answer */

struct naming_nameserver {
	const char *name; /* fully qualified; its addresses are served if it is in the zone */
	const struct ip_address *addresses;
	size_t address_count; /* at least one if the name is in the zone */
};

struct naming_share {
	uint32_t upper; /* 1…65536, never below the share before; the last is 65536 */
	struct ip_address v4, v6; /* service addresses; IP_NONE where the version has none */
	uint32_t version; /* from 1; it is not in the answer, but in its outcome */
	bool held; /* invariant 1: every lease-holding edge that must hold it does */
};

struct naming_service {
	const char *name; /* labels below the zone ("web", "api.eu"); "@" is the zone itself */
	uint32_t ttl_s;
	uint8_t salt[NAMING_SALT_BYTES]; /* one per rollout */
	uint8_t bits_v4, bits_v6; /* what a client is; 0: NAMING_PREFIX_BITS_… */
	const struct naming_share *shares;
	size_t share_count; /* none: what to answer is not known here, SERVFAIL */
};

/* The records of one name and type that an operator wrote. */
struct naming_set {
	const char *name; /* as of a service; the first label may be "*" (RFC 4592) */
	unsigned type; /* one that wire/dns_data.h reads */
	uint32_t ttl_s;
	const char *const *values; /* at least one, at most 255 */
	size_t value_count;
};

struct naming_input {
	const char *zone; /* "svc.example.net", with or without the last dot; not the root */
	uint32_t serial;
	const char *contact; /* SOA RNAME as a domain name: "hostmaster.example.net" */
	uint32_t refresh_s, retry_s, expire_s;
	uint32_t ttl_s; /* of SOA, NS and the name servers' addresses */
	uint32_t negative_ttl_s; /* of "no such name" and "no such data" (RFC 2308) */
	uint32_t rate; /* answers a second to one network over UDP; 0: as many as it asks for */

	const struct naming_nameserver
	    *nameservers; /* at least one; the first is the SOA's MNAME */
	size_t nameserver_count;

	const uint8_t *nsid; /* RFC 5001, and id.server (RFC 4892); may be NULL */
	size_t nsid_length;
	const char *version; /* version.bind; NULL: nobody is told */

	const struct naming_service *services;
	size_t service_count;

	/* No CNAME beside others; no addresses where a service or a name server has its own. */
	const struct naming_set *sets;
	size_t set_count;

	/* Build what can be built, where a part of the input is refused: a name server is not
	 * named; a service counts as one without shares, if its name can stand in the zone; a
	 * contact, and a lack of name servers, become names that nobody has (RFC 6761 §6.4). */
	bool in_part;
};

struct cookie_secrets; /* naming/cookies.h */
struct naming_snapshot; /* immutable; read by any number of threads */

/*
 * Check and copy `input`, which is only read during the call. The result is owned by the caller.
 * -FL_EINVALID with a sentence that names the service or name server; -FL_ELIMIT; -ENOMEM.
 * Asserts invariant 1: every share is marked held.
 */
must_check int naming_snapshot_build(const struct naming_input *input,
				     struct naming_snapshot **ret_snapshot, struct error *err);
void naming_snapshot_free(struct naming_snapshot *snapshot);

/* What was refused of an input that was to be built in part: the first of it, as a sentence; "" if
 * nothing was. */
const char *naming_snapshot_refused(const struct naming_snapshot *snapshot);

/* How many answers a second one network gets over UDP; 0: no limit. */
uint32_t naming_snapshot_rate(const struct naming_snapshot *snapshot);

uint32_t naming_snapshot_serial(const struct naming_snapshot *snapshot);
size_t naming_snapshot_bytes(const struct naming_snapshot *snapshot); /* of memory */

enum naming_transport { NAMING_UDP, NAMING_TCP, NAMING_TRANSPORTS };

/* X(name, text): what was asked, as metrics tell it apart. */
#define NAMING_QTYPES(X)                                                                           \
	X(NAMING_QTYPE_A, "A")                                                                     \
	X(NAMING_QTYPE_AAAA, "AAAA")                                                               \
	X(NAMING_QTYPE_SOA, "SOA")                                                                 \
	X(NAMING_QTYPE_NS, "NS")                                                                   \
	X(NAMING_QTYPE_ANY, "ANY")                                                                 \
	X(NAMING_QTYPE_CAA, "CAA")                                                                 \
	X(NAMING_QTYPE_CNAME, "CNAME")                                                             \
	X(NAMING_QTYPE_HTTPS, "HTTPS")                                                             \
	X(NAMING_QTYPE_MX, "MX")                                                                   \
	X(NAMING_QTYPE_SVCB, "SVCB")                                                               \
	X(NAMING_QTYPE_TXT, "TXT")                                                                 \
	X(NAMING_QTYPE_OTHER, "other")                                                             \
	X(NAMING_QTYPE_UNREAD, "unread") /* the question was never reached */

/* X(name, text): how it was answered. */
#define NAMING_RESULTS(X)                                                                          \
	X(NAMING_RESULT_DATA, "data")                                                              \
	X(NAMING_RESULT_NODATA, "nodata")                                                          \
	X(NAMING_RESULT_NXDOMAIN, "nxdomain")                                                      \
	X(NAMING_RESULT_FORMERR, "formerr")                                                        \
	X(NAMING_RESULT_SERVFAIL, "servfail") /* what to answer is not known */                    \
	X(NAMING_RESULT_NOTIMP, "notimp")                                                          \
	X(NAMING_RESULT_REFUSED, "refused")                                                        \
	X(NAMING_RESULT_BADVERS, "badvers")                                                        \
	X(NAMING_RESULT_BADCOOKIE, "badcookie") /* limited: come again with this cookie */         \
	X(NAMING_RESULT_LIMITED, "limited") /* the same to who has none: come by TCP */

/* X(name, text): why something was not answered, or a connection ended. */
#define NAMING_DROPS(X)                                                                            \
	X(NAMING_DROP_NONE, "none")                                                                \
	X(NAMING_DROP_SHORT, "short") /* less than a header: nothing to answer to */               \
	X(NAMING_DROP_RESPONSE, "response") /* QR set: answering would make loops */               \
	X(NAMING_DROP_OVERSIZED, "oversized") /* over UDP; over TCP too many at once */            \
	X(NAMING_DROP_LIMITED, "limited") /* above the rate of answers to one network */           \
	X(NAMING_DROP_SEND, "send") /* the kernel refused the reply */                             \
	X(NAMING_DROP_TCP_EVICTED, "tcp_evicted") /* made room for a newer connection */           \
	X(NAMING_DROP_TCP_SOURCE, "tcp_source") /* made room for another of the same source */     \
	X(NAMING_DROP_TCP_IDLE, "tcp_idle") /* no whole query, or no drained answer, in time */    \
	X(NAMING_DROP_TCP_ACCEPT, "tcp_accept") /* no descriptor or memory to accept with */       \
	X(NAMING_DROP_TCP_RESET, "tcp_reset") /* the client went away while owed an answer */

#define X(name, ...) name,
enum naming_qtype { NAMING_QTYPES(X) NAMING_QTYPE_COUNT };
enum naming_result { NAMING_RESULTS(X) NAMING_RESULT_COUNT };
enum naming_drop { NAMING_DROPS(X) NAMING_DROP_COUNT };
#undef X

/* The texts of the lists above; never NULL. */
const char *naming_qtype_text(enum naming_qtype qtype);
const char *naming_result_text(enum naming_result result);
const char *naming_drop_text(enum naming_drop drop);

/* Who asks, and how. */
struct naming_request {
	struct ip_address client; /* that the query came from */
	enum naming_transport transport;
	const struct cookie_secrets *secrets; /* borrowed; NULL: there are no cookies */
	uint32_t now_s; /* since 1970, for them */
	/* The client's network has had its share: say no more than how to ask again, by a cookie if
	 * it knows of them (RFC 7873 §5.2.3), else over TCP. */
	bool limited;
};

/* What an answer was, for counters. */
struct naming_outcome {
	enum naming_qtype qtype;
	enum naming_result result; /* meaningless when dropped */
	enum naming_drop drop; /* NAMING_DROP_NONE: it was answered */
	uint32_t version; /* whose service address was given out; 0: of none */
	bool truncated;
	bool known; /* the query showed a cookie of ours */
};

/*
 * Answer one query, which `request` tells of; `answer` has room for `capacity` bytes, at least
 * NAMING_UDP_ANSWER_MAX (UDP) or NAMING_ANSWER_MAX (TCP). `snapshot` may be NULL (not ready):
 * SERVFAIL. Returns the length of the answer in bytes, or 0 to send nothing. Pure: no allocation,
 * no clock, no state. Any thread.
 */
size_t naming_answer(const struct naming_snapshot *snapshot, const struct naming_request *request,
		     const uint8_t *query, size_t length, uint8_t *answer, size_t capacity,
		     struct naming_outcome *ret_outcome);

/*
 * The number in 0…65535 that settles a client's share: SipHash-2-4, keyed by `salt`, of the
 * family, length and bits of `prefix`, which must be cut (naming_client_prefix) already.
 */
uint32_t naming_client_number(const uint8_t salt[NAMING_SALT_BYTES],
			      const struct ip_prefix *prefix);

/* The first `bits` of `address`, at most all of it. */
struct ip_prefix naming_client_prefix(const struct ip_address *address, unsigned bits);

#endif
