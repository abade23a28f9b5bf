/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS messages (RFC 1035, EDNS: RFC 6891): bytes ↔ structs, no I/O. Only what an authoritative
 * server of addresses needs: names, the reading of queries, and the pieces of answers.
 *
 * All input is taken as hostile. Names are held in wire form (length byte, label, …, zero byte),
 * uncompressed; so any byte may stand in a label, and a name's length in bytes is explicit. Every
 * compression pointer must land strictly before the name that holds it and after the header, so
 * that reading ends; limits are checked before bytes are touched.
 */
#ifndef FAIRLEAD_WIRE_DNS_H
#define FAIRLEAD_WIRE_DNS_H

#include "base/error.h"
#include "base/netaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DNS_HEADER_BYTES 12u
#define DNS_LABEL_MAX 63u
#define DNS_NAME_MAX 255u /* bytes in wire form, with the root's zero byte */
#define DNS_NAME_TEXT_BYTES 1024u /* the longest name with every byte as \DDD, and a NUL */
#define DNS_QUESTION_MAX (DNS_NAME_MAX + 4u)
#define DNS_RECORD_HEAD_MAX 12u /* bytes before a record's data, with a pointer for its name */
#define DNS_STRING_MAX 255u /* bytes of a character string (RFC 1035 §3.3) */
#define DNS_UDP_MIN 512u /* what every client takes (RFC 1035 §4.2.1) */

enum dns_type {
	DNS_A = 1,
	DNS_NS = 2,
	DNS_CNAME = 5,
	DNS_SOA = 6,
	DNS_HINFO = 13,
	DNS_MX = 15,
	DNS_TXT = 16,
	DNS_AAAA = 28,
	DNS_OPT = 41,
	DNS_SVCB = 64,
	DNS_HTTPS = 65,
	DNS_META_FIRST = 128, /* 128…255 are questions and meta types (RFC 6895 §3.1) */
	DNS_IXFR = 251,
	DNS_AXFR = 252,
	DNS_ANY = 255,
	DNS_CAA = 257,
};

enum { DNS_CLASS_IN = 1, DNS_CLASS_CH = 3 };
enum { DNS_OPCODE_QUERY = 0 };

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
	DNS_BADVERS = 16, /* the upper bits go into OPT (RFC 6891 §6.1.3) */
	DNS_BADCOOKIE = 23,
};

/* Flags of the header's second word. */
enum {
	DNS_FLAG_QR = 0x8000,
	DNS_FLAG_AA = 0x0400,
	DNS_FLAG_TC = 0x0200,
	DNS_FLAG_RD = 0x0100,
};

enum {
	DNS_OPTION_NSID = 3,
	DNS_OPTION_CLIENT_SUBNET = 8,
	DNS_OPTION_COOKIE = 10,
	DNS_OPTION_EXTENDED_ERROR = 15,
	DNS_OPTION_ZONE_VERSION = 19,
};

/* RFC 8914 §5.2: those that we have a use for. */
enum dns_extended_error {
	DNS_EXTENDED_NONE = 0, /* "other error", of which nobody learns anything */
	DNS_EXTENDED_NOT_READY = 14,
	DNS_EXTENDED_PROHIBITED = 18,
	DNS_EXTENDED_NOT_AUTHORITATIVE = 20,
	DNS_EXTENDED_NOT_SUPPORTED = 21,
};

/* A cookie (RFC 7873 §4): the client's part, and a server's behind it, of 8 to 32 bytes; RFC 9018
 * has it at 16. */
#define DNS_COOKIE_CLIENT_BYTES 8u
#define DNS_COOKIE_SERVER_BYTES 16u
#define DNS_COOKIE_BYTES (DNS_COOKIE_CLIENT_BYTES + DNS_COOKIE_SERVER_BYTES)

#define DNS_ZONE_VERSION_SERIAL 0u /* the type that is an SOA serial (RFC 9660 §2.1) */

/* So many aliases in a row lead on to a name of the same zone; who asked follows the rest. */
#define DNS_ALIASES_MAX 8u

struct dns_name {
	uint8_t length; /* 1…255 */
	uint8_t bytes[DNS_NAME_MAX];
};

/*
 * A name from its text (RFC 1035 §5.1): "web.example.net", with or without the last dot, "." for
 * the root; \. and \DDD escapes. Letters become lower-case. -FL_EINVALID if a label or the name is
 * empty or too long or an escape is wrong.
 */
must_check int dns_name_parse(const char *text, struct dns_name *ret_name);

/* Its text, with the last dot; `text` holds DNS_NAME_TEXT_BYTES. Returns `text`. */
const char *dns_name_format(const struct dns_name *name, char *text);

/*
 * How many bytes stand before `zone` if `name` is the zone or lies in it (0 for the zone itself),
 * else -FL_ENOTFOUND. Both in lower case.
 */
int dns_name_below(const struct dns_name *name, const struct dns_name *zone);

/*
 * Read the name at `offset` of a message, following compression, as it is spelt. Returns the bytes
 * that it takes at `offset`, or -FL_EINVALID.
 */
int dns_name_read(const uint8_t *message, size_t length, size_t offset, struct dns_name *ret_name);

/*
 * The same without following a pointer, though it must point where dns_name_read would accept it:
 * for names that only have to be passed.
 */
int dns_name_skip(const uint8_t *message, size_t length, size_t offset);

void dns_name_lower(struct dns_name *name);

/* An EDNS client subnet (RFC 7871). The address is zero behind the first `source` bits. */
struct dns_client_subnet {
	struct ip_address address;
	uint8_t source; /* bits given: 0…32 or 0…128 */
	uint8_t scope; /* bits that the answer depends on; 0 in a query */
};

struct dns_edns {
	bool present;
	uint8_t version;
	uint16_t payload; /* bytes of UDP answer that the client takes */
	bool dnssec_ok;
	bool nsid; /* wanted */
	bool zone_version; /* wanted (RFC 9660) */
	bool has_subnet;
	struct dns_client_subnet subnet;
	const uint8_t *cookie; /* borrowed from the message; NULL: none */
	uint8_t cookie_length; /* 8, or 16…40 */
};

struct dns_query {
	uint16_t id;
	uint8_t opcode;
	bool recursion_desired;
	/* What is wrong with it: NOERROR, FORMERR, NOTIMP or BADVERS. The fields below hold as far
	 * as reading came; EDNS also where there is not one question, or of another opcode. */
	enum dns_rcode rcode;
	size_t question_length; /* bytes from the end of the header; 0 if it was not read */
	struct dns_name name; /* lower case */
	uint16_t type;
	uint16_t class;
	struct dns_edns edns;
};

enum dns_verdict {
	DNS_VERDICT_ANSWER, /* answer it, if only with query->rcode */
	DNS_VERDICT_SHORT, /* shorter than a header: there is nobody to answer to */
	DNS_VERDICT_RESPONSE, /* itself an answer: answering it could make a loop */
};

/*
 * Read a whole query. Every record is passed, so that a message which does not end where its
 * counts say is a FORMERR; only OPT is looked into.
 */
enum dns_verdict dns_query_read(const uint8_t *message, size_t length, struct dns_query *ret_query);

/*
 * The OPT record of an answer (RFC 6891 §6.1.2): size first, to make room for it, then the bytes;
 * dns_opt_write returns what dns_opt_bytes said.
 */
struct dns_opt {
	uint16_t payload; /* bytes of UDP query that we take */
	enum dns_rcode rcode;
	bool dnssec_ok;
	const uint8_t *nsid; /* NULL: none */
	size_t nsid_length;
	const struct dns_client_subnet *subnet; /* NULL: none */
	const uint8_t *cookie; /* DNS_COOKIE_BYTES; NULL: none */
	enum dns_extended_error extended; /* DNS_EXTENDED_NONE: is not said */
	unsigned zone_labels; /* of the zone whose version is told, without the root; 0: none is */
	uint32_t zone_serial;
};
size_t dns_opt_bytes(const struct dns_opt *opt);
size_t dns_opt_write(const struct dns_opt *opt, uint8_t *bytes);

static inline uint16_t dns_get_u16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline void dns_put_u16(uint8_t *bytes, unsigned value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static inline void dns_put_u32(uint8_t *bytes, uint32_t value)
{
	dns_put_u16(bytes, value >> 16);
	dns_put_u16(bytes + 2, value & 0xffff);
}

#endif
