/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answering: read the query, find the name, choose the client's share, copy the records.
 *
 * An answer is the header, the question exactly as it came (0x20 spelling included), then pieces of
 * the snapshot, then OPT. What is owed by the protocol is RFC 1034/1035 and 2308 (negative
 * answers), 4892 (the server's own name), 5001 (NSID), 6891 (EDNS), 7871 (client subnet), 8020
 * (NXDOMAIN is final), 8482 (ANY), 8914 (extended errors), 9660 (the zone's version).
 */
#include "naming/snapshot.h"

#include "base/siphash.h"
#include "naming/cookies.h"

#include <string.h>

/* The question's own name, which begins right behind the header. */
#define QUESTION_POINTER (0xc000u | DNS_HEADER_BYTES)
/* Of a record whose owner is a pointer: that, type, class, TTL and the length of its data. */
#define ALIAS_HEAD_BYTES 12u

/* The records of an answer, by section, before they are written. */
struct reply {
	enum dns_rcode rcode;
	enum naming_result result;
	enum dns_extended_error extended;
	bool authoritative;
	bool in_zone; /* so that the zone's version may be told */
	const struct naming_piece *aliases[DNS_ALIASES_MAX]; /* that led to what is answered */
	unsigned alias_count;
	const struct naming_piece *answer; /* NULL: none */
	const struct naming_piece *authority;
	bool glue;
	bool subnet; /* state a scope: the answer is one that a cache would keep */
	unsigned scope;
	uint32_t version;
	bool cut; /* TC, whatever there is to say */
};

struct ip_prefix naming_client_prefix(const struct ip_address *address, unsigned bits)
{
	unsigned most = ip_family_bits(address->family);
	struct ip_prefix prefix = {.address = *address,
				   .length = (uint8_t)(bits < most ? bits : most)};
	ip_address_mask(&prefix.address, prefix.length);
	return prefix;
}

uint32_t naming_client_number(const uint8_t salt[NAMING_SALT_BYTES], const struct ip_prefix *prefix)
{
	uint8_t key[2 + sizeof(prefix->address.bytes)];
	key[0] = prefix->address.family;
	key[1] = prefix->length;
	memcpy(key + 2, prefix->address.bytes, sizeof(prefix->address.bytes));
	return (uint32_t)(siphash24(salt, key, sizeof(key)) >> 48);
}

static const struct naming_node *find(const struct naming_snapshot *snapshot, const uint8_t *labels,
				      size_t length)
{
	uint32_t place = naming_label_hash(labels, length) & snapshot->table_mask;
	for (; snapshot->table[place]; place = (place + 1) & snapshot->table_mask) {
		const struct naming_node *node = &snapshot->nodes[snapshot->table[place] - 1];
		if (node->label_length == length &&
		    memcmp(snapshot->bytes + node->label_offset, labels, length) == 0)
			return node;
	}
	return NULL;
}

/* RFC 4592 §3.3.1: a name that does not exist gets what is below the nearest name above it that
 * does, under the label "*". Every name of the zone has such a one, which is the zone if no other.
 */
static const struct naming_node *find_wildcard(const struct naming_snapshot *snapshot,
					       const uint8_t *labels, size_t length)
{
	uint8_t name[DNS_NAME_MAX + 2] = {1, '*'};
	size_t at = 1u + labels[0];
	while (at < length && !find(snapshot, labels + at, length - at))
		at += 1u + labels[at];
	memcpy(name + 2, labels + at, length - at);
	return find(snapshot, name, 2 + length - at);
}

/* The client as far as it is told: the client subnet, unless it tells nothing (a client that opted
 * out, RFC 7871 §7.1.2); else the resolver. */
static struct ip_prefix client_of(const struct naming_node *node, const struct dns_edns *edns,
				  const struct ip_address *source)
{
	const struct ip_address *told = edns->subnet.source > 0 ? &edns->subnet.address : source;
	return naming_client_prefix(told, told->family == IP_V4 ? node->bits_v4 : node->bits_v6);
}

static const struct naming_choice *choose(const struct naming_snapshot *snapshot,
					  const struct naming_node *node,
					  const struct ip_prefix *client)
{
	const struct naming_choice *choice = &snapshot->choices[node->first_choice];
	if (node->choice_count == 1)
		return choice;
	/* The builder saw to it that the last upper bound is above every number. */
	uint32_t number = naming_client_number(node->salt, client);
	while (choice->upper <= number)
		choice++;
	return choice;
}

static void reply_failure(struct reply *reply, enum dns_rcode rcode, enum naming_result result,
			  enum dns_extended_error extended)
{
	reply->rcode = rcode;
	reply->result = result;
	reply->extended = extended;
}

static void reply_negative(struct reply *reply, const struct naming_snapshot *snapshot,
			   enum dns_rcode rcode)
{
	reply->rcode = rcode;
	reply->result = rcode == DNS_NXDOMAIN ? NAMING_RESULT_NXDOMAIN : NAMING_RESULT_NODATA;
	reply->authority = &snapshot->negative_soa;
}

static void reply_records(struct reply *reply, const struct naming_piece *piece)
{
	reply->result = NAMING_RESULT_DATA;
	reply->answer = piece;
}

static void reply_addresses(struct reply *reply, const struct naming_snapshot *snapshot,
			    const struct naming_node *node, const struct dns_query *query,
			    const struct ip_address *source)
{
	if (node->unknown) {
		/* Another name server may know; nobody should keep that there is nothing. */
		*reply = (struct reply){0};
		reply_failure(reply, DNS_SERVFAIL, NAMING_RESULT_SERVFAIL, DNS_EXTENDED_NOT_READY);
		return;
	}
	if (node->choice_count == 0) {
		reply_negative(reply, snapshot, DNS_NOERROR);
		return;
	}
	struct ip_prefix client = client_of(node, &query->edns, source);
	const struct naming_choice *choice = choose(snapshot, node, &client);
	bool is_a = query->type == DNS_A;
	const struct naming_piece *piece = is_a ? &choice->a : &choice->aaaa;
	/* If the resolver's address decided, it is the same for all its clients: scope 0. */
	if ((is_a ? node->a_depends : node->aaaa_depends) && query->edns.subnet.source > 0)
		reply->scope = client.length;
	if (piece->records == 0) {
		reply_negative(reply, snapshot, DNS_NOERROR);
		return;
	}
	reply_records(reply, piece);
	reply->version = choice->version;
}

/* Records that are no addresses. */
static void reply_other(struct reply *reply, const struct naming_snapshot *snapshot,
			const struct naming_node *node, unsigned type)
{
	for (uint32_t at = node->first_other; at; at = snapshot->others[at - 1].next) {
		if (snapshot->others[at - 1].type != type)
			continue;
		reply_records(reply, &snapshot->others[at - 1].piece);
		return;
	}
	reply_negative(reply, snapshot, DNS_NOERROR);
}

static const struct naming_node *find_name(const struct naming_snapshot *snapshot,
					   const uint8_t *labels, size_t length)
{
	const struct naming_node *node = find(snapshot, labels, length);
	return node || !snapshot->has_wildcards ? node : find_wildcard(snapshot, labels, length);
}

/* The name that an alias stands for. Its record has a pointer for an owner, and one name. */
static void alias_target(const struct naming_snapshot *snapshot, const struct naming_piece *alias,
			 struct dns_name *ret_name)
{
	const uint8_t *record = snapshot->bytes + alias->offset;
	ret_name->length = (uint8_t)dns_get_u16(record + ALIAS_HEAD_BYTES - 2);
	memcpy(ret_name->bytes, record + ALIAS_HEAD_BYTES, ret_name->length);
}

/* RFC 1034 §4.3.2 step 3a: an alias is answered, and the search begins again with the name that it
 * stands for, whatever the type but CNAME. Returns false where who asked has to go on himself: the
 * name is not of this zone, or there are too many aliases in a row. */
static bool follow_aliases(struct reply *reply, const struct naming_snapshot *snapshot,
			   const struct naming_node **node, size_t *below)
{
	while (*node && (*node)->alias) {
		struct dns_name target;
		if (reply->alias_count == DNS_ALIASES_MAX)
			return false;
		const struct naming_piece *alias =
		    &snapshot->others[(*node)->first_other - 1].piece;
		reply->aliases[reply->alias_count++] = alias;
		reply->result = NAMING_RESULT_DATA;
		alias_target(snapshot, alias, &target);
		int labels = dns_name_below(&target, &snapshot->zone);
		if (labels < 0)
			return false;
		*below = (size_t)labels;
		*node = find_name(snapshot, target.bytes, *below);
	}
	return true;
}

/* A question about a name of the zone. */
static void reply_name(struct reply *reply, const struct naming_snapshot *snapshot, size_t below,
		       const struct dns_query *query, const struct ip_address *source)
{
	reply->authoritative = reply->in_zone = true;
	reply->subnet = query->edns.has_subnet;
	const struct naming_node *node = find_name(snapshot, query->name.bytes, below);
	bool is_any = query->type == DNS_ANY;
	if (!is_any && query->type != DNS_CNAME && !follow_aliases(reply, snapshot, &node, &below))
		return;
	if (!node)
		reply_negative(reply, snapshot, DNS_NXDOMAIN); /* of the last name: RFC 6604 §3 */
	else if (is_any)
		reply_records(reply, &snapshot->hinfo);
	else if (query->type == DNS_A || query->type == DNS_AAAA)
		reply_addresses(reply, snapshot, node, query, source);
	else if (query->type == DNS_SOA && below == 0)
		reply_records(reply, &snapshot->soa);
	else if (query->type == DNS_NS && below == 0) {
		reply_records(reply, &snapshot->ns);
		reply->glue = true;
	} else
		reply_other(reply, snapshot, node, query->type);
}

/* Questions about the server itself (RFC 4892); "bind" is where they came from. */
static void reply_chaos(struct reply *reply, const struct naming_snapshot *snapshot,
			const struct dns_query *query)
{
	static const struct {
		const char *name; /* in wire form */
		bool is_version;
	} NAMES[] = {{"\7version\4bind", true},
		     {"\7version\6server", true},
		     {"\2id\6server", false},
		     {"\x08hostname\4bind", false}};
	for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
		const struct naming_piece *piece =
		    NAMES[i].is_version ? &snapshot->chaos_version : &snapshot->chaos_id;
		if (query->name.length != strlen(NAMES[i].name) + 1 || piece->records == 0 ||
		    memcmp(query->name.bytes, NAMES[i].name, query->name.length) != 0)
			continue;
		reply->authoritative = true;
		if (query->type == DNS_TXT || query->type == DNS_ANY)
			reply_records(reply, piece);
		else
			reply->result = NAMING_RESULT_NODATA;
		return;
	}
	reply_failure(reply, DNS_REFUSED, NAMING_RESULT_REFUSED, DNS_EXTENDED_NOT_AUTHORITATIVE);
}

/* Returns how many bytes of the question's name stand before the zone's. */
static size_t reply_answer(struct reply *reply, const struct naming_snapshot *snapshot,
			   const struct dns_query *query, const struct ip_address *source)
{
	*reply = (struct reply){.rcode = DNS_NOERROR};
	int below;
	if (query->rcode == DNS_FORMERR)
		reply_failure(reply, DNS_FORMERR, NAMING_RESULT_FORMERR, DNS_EXTENDED_NONE);
	else if (query->rcode == DNS_BADVERS)
		reply_failure(reply, DNS_BADVERS, NAMING_RESULT_BADVERS, DNS_EXTENDED_NONE);
	else if (query->rcode == DNS_NOTIMP)
		reply_failure(reply, DNS_NOTIMP, NAMING_RESULT_NOTIMP, DNS_EXTENDED_NOT_SUPPORTED);
	else if (!snapshot)
		reply_failure(reply, DNS_SERVFAIL, NAMING_RESULT_SERVFAIL, DNS_EXTENDED_NOT_READY);
	else if (query->class == DNS_CLASS_CH)
		reply_chaos(reply, snapshot, query);
	else if (query->class != DNS_CLASS_IN)
		reply_failure(reply, DNS_REFUSED, NAMING_RESULT_REFUSED,
			      DNS_EXTENDED_NOT_SUPPORTED);
	else if ((below = dns_name_below(&query->name, &snapshot->zone)) < 0)
		reply_failure(reply, DNS_REFUSED, NAMING_RESULT_REFUSED,
			      DNS_EXTENDED_NOT_AUTHORITATIVE);
	else if (query->type == DNS_AXFR || query->type == DNS_IXFR)
		reply_failure(reply, DNS_REFUSED, NAMING_RESULT_REFUSED, DNS_EXTENDED_PROHIBITED);
	else if (query->type == DNS_OPT || (query->type >= DNS_META_FIRST && query->type < DNS_ANY))
		reply_failure(reply, DNS_NOTIMP, NAMING_RESULT_NOTIMP, DNS_EXTENDED_NOT_SUPPORTED);
	else {
		reply_name(reply, snapshot, (size_t)below, query, source);
		return (size_t)below;
	}
	return 0;
}

/* To who has had enough: as short as the query. */
static void reply_limited(struct reply *reply, const struct dns_query *query, bool has_cookies)
{
	*reply = (struct reply){.rcode = DNS_NOERROR};
	if (has_cookies && query->edns.cookie) {
		reply_failure(reply, DNS_BADCOOKIE, NAMING_RESULT_BADCOOKIE, DNS_EXTENDED_NONE);
		return;
	}
	reply->result = NAMING_RESULT_LIMITED;
	reply->cut = true;
}

/* An answer being written; the header is filled in last. */
struct reply_writer {
	const struct naming_snapshot *snapshot;
	uint8_t *bytes;
	size_t length;
	size_t limit; /* with room for OPT already taken off */
	unsigned zone_pointer; /* the compression pointer to the zone's name in the question */
};

/* Write a piece, or nothing if it does not fit whole (RFC 2181 §9). Returns its records. */
static unsigned put_piece(struct reply_writer *w, const struct naming_piece *piece)
{
	if (w->limit - w->length < piece->length)
		return 0;
	uint8_t *at = w->bytes + w->length;
	memcpy(at, w->snapshot->bytes + piece->offset, piece->length);
	const uint16_t *patches = w->snapshot->patches + piece->patches;
	for (unsigned i = 0; i < piece->patch_count; i++)
		dns_put_u16(at + patches[i], w->zone_pointer);
	w->length += piece->length;
	return piece->records;
}

/* An alias led here: what would answer the question itself answers the name that it stands for. */
static void set_owner(const struct reply_writer *w, size_t begin, unsigned owner)
{
	while (begin < w->length) {
		uint8_t *record = w->bytes + begin;
		if (dns_get_u16(record) == QUESTION_POINTER)
			dns_put_u16(record, owner);
		begin += ALIAS_HEAD_BYTES + dns_get_u16(record + ALIAS_HEAD_BYTES - 2);
	}
}

/* Returns the pointer to the name that the last of them stands for; 0: there is none, or not all of
 * them fit. */
static unsigned put_aliases(struct reply_writer *w, const struct reply *reply)
{
	unsigned owner = QUESTION_POINTER;
	for (unsigned i = 0; i < reply->alias_count; i++) {
		size_t begin = w->length;
		if (put_piece(w, reply->aliases[i]) == 0)
			return 0;
		set_owner(w, begin, owner);
		owner = 0xc000u | (unsigned)(begin + ALIAS_HEAD_BYTES);
	}
	return owner;
}

/* Write the sections and their counts into the header. Returns whether something owed did not
 * fit: then the sections are empty, and the client comes again over TCP. */
static bool put_sections(struct reply_writer *w, const struct reply *reply)
{
	const struct naming_piece *owed = reply->answer ? reply->answer : reply->authority;
	unsigned aliases = reply->alias_count;
	size_t begin = w->length;
	unsigned owner = put_aliases(w, reply);
	size_t at = w->length;
	unsigned records = owed && owner ? put_piece(w, owed) : 0;
	unsigned glue = 0;
	bool is_cut = !owner || (owed && records == 0);
	if (is_cut) {
		w->length = begin;
		aliases = 0;
	} else if (aliases && reply->answer) {
		set_owner(w, at, owner);
	}
	/* Addresses of name servers are a courtesy here (this is no referral): as many as fit. */
	for (uint32_t i = 0; reply->glue && records > 0 && i < w->snapshot->glue_count; i++)
		glue += put_piece(w, &w->snapshot->glue[i]);
	dns_put_u16(w->bytes + 6, aliases + (reply->answer ? records : 0));
	dns_put_u16(w->bytes + 8, reply->answer ? 0 : records);
	dns_put_u16(w->bytes + 10, glue);
	return is_cut;
}

static size_t answer_limit(enum naming_transport transport, const struct dns_edns *edns)
{
	if (transport == NAMING_TCP)
		return NAMING_ANSWER_MAX;
	/* RFC 6891 §6.2.5: less than 512 is treated as 512. */
	if (!edns->present || edns->payload < DNS_UDP_MIN)
		return DNS_UDP_MIN;
	return edns->payload < NAMING_UDP_ANSWER_MAX ? edns->payload : NAMING_UDP_ANSWER_MAX;
}

static struct dns_opt opt_of(const struct naming_snapshot *snapshot, const struct reply *reply,
			     const struct dns_query *query, const struct naming_request *request,
			     struct dns_client_subnet *subnet, uint8_t *cookie)
{
	struct dns_opt opt = {.payload = NAMING_UDP_ANSWER_MAX,
			      .rcode = reply->rcode,
			      .dnssec_ok = query->edns.dnssec_ok};
	opt.extended = reply->extended;
	if (request->secrets && query->edns.cookie) {
		cookie_make(request->secrets, query->edns.cookie, &request->client, request->now_s,
			    cookie);
		opt.cookie = cookie;
	}
	if (reply->in_zone && query->edns.zone_version) {
		opt.zone_labels = snapshot->zone_labels;
		opt.zone_serial = snapshot->serial;
	}
	if (snapshot && query->edns.nsid && snapshot->nsid_length > 0) {
		opt.nsid = snapshot->nsid;
		opt.nsid_length = snapshot->nsid_length;
	}
	if (reply->subnet) {
		*subnet = query->edns.subnet;
		subnet->scope = (uint8_t)reply->scope;
		opt.subnet = subnet;
	}
	return opt;
}

static size_t write_answer(const struct naming_snapshot *snapshot, const struct reply *reply,
			   size_t below, const struct dns_query *query,
			   const struct naming_request *request, const uint8_t *question,
			   uint8_t *answer, bool *ret_truncated)
{
	struct dns_client_subnet subnet;
	uint8_t cookie[DNS_COOKIE_BYTES];
	struct dns_opt opt;
	size_t opt_bytes = 0;
	if (query->edns.present) {
		opt = opt_of(snapshot, reply, query, request, &subnet, cookie);
		opt_bytes = dns_opt_bytes(&opt);
	}
	struct reply_writer w = {
	    .snapshot = snapshot,
	    .bytes = answer,
	    .length = DNS_HEADER_BYTES + query->question_length,
	    .limit = answer_limit(request->transport, &query->edns) - opt_bytes,
	    .zone_pointer = 0xc000u | (unsigned)(DNS_HEADER_BYTES + below),
	};
	memcpy(answer + DNS_HEADER_BYTES, question, query->question_length);
	bool truncated = put_sections(&w, reply) || reply->cut;

	/* RFC 1035 §4.1.1: opcode and RD are copied; everything else, AD, CD and the reserved bit
	 * included (RFC 4035 §3.1.6), is ours to say. */
	unsigned flags = DNS_FLAG_QR | (unsigned)query->opcode << 11 | (reply->rcode & 0xfu);
	if (reply->authoritative)
		flags |= DNS_FLAG_AA;
	if (truncated)
		flags |= DNS_FLAG_TC;
	if (query->recursion_desired)
		flags |= DNS_FLAG_RD;
	dns_put_u16(answer, query->id);
	dns_put_u16(answer + 2, flags);
	dns_put_u16(answer + 4, query->question_length > 0);
	if (query->edns.present) {
		dns_put_u16(answer + 10, dns_get_u16(answer + 10) + 1u);
		w.length += dns_opt_write(&opt, answer + w.length);
	}
	*ret_truncated = truncated;
	return w.length;
}

static enum naming_qtype classify(const struct dns_query *query)
{
	if (query->question_length == 0)
		return NAMING_QTYPE_UNREAD;
	switch (query->type) {
	case DNS_A:
		return NAMING_QTYPE_A;
	case DNS_AAAA:
		return NAMING_QTYPE_AAAA;
	case DNS_SOA:
		return NAMING_QTYPE_SOA;
	case DNS_NS:
		return NAMING_QTYPE_NS;
	case DNS_ANY:
		return NAMING_QTYPE_ANY;
	case DNS_CAA:
		return NAMING_QTYPE_CAA;
	case DNS_CNAME:
		return NAMING_QTYPE_CNAME;
	case DNS_HTTPS:
		return NAMING_QTYPE_HTTPS;
	case DNS_MX:
		return NAMING_QTYPE_MX;
	case DNS_SVCB:
		return NAMING_QTYPE_SVCB;
	case DNS_TXT:
		return NAMING_QTYPE_TXT;
	default:
		return NAMING_QTYPE_OTHER;
	}
}

size_t naming_answer(const struct naming_snapshot *snapshot, const struct naming_request *request,
		     const uint8_t *query_bytes, size_t length, uint8_t *answer, size_t capacity,
		     struct naming_outcome *ret_outcome)
{
	ASSERT(capacity >=
	       (request->transport == NAMING_UDP ? NAMING_UDP_ANSWER_MAX : NAMING_ANSWER_MAX));
	*ret_outcome =
	    (struct naming_outcome){.qtype = NAMING_QTYPE_UNREAD, .drop = NAMING_DROP_NONE};
	struct dns_query query;
	switch (dns_query_read(query_bytes, length, &query)) {
	case DNS_VERDICT_SHORT:
		ret_outcome->drop = NAMING_DROP_SHORT;
		return 0;
	case DNS_VERDICT_RESPONSE:
		ret_outcome->drop = NAMING_DROP_RESPONSE;
		return 0;
	case DNS_VERDICT_ANSWER:
		break;
	}

	struct reply reply;
	size_t below = 0;
	if (request->limited)
		reply_limited(&reply, &query, request->secrets != NULL);
	else
		below = reply_answer(&reply, snapshot, &query, &request->client);
	ret_outcome->known =
	    request->secrets && query.edns.cookie &&
	    cookie_is_ours(request->secrets, query.edns.cookie, query.edns.cookie_length,
			   &request->client, request->now_s);
	ret_outcome->qtype = classify(&query);
	ret_outcome->result = reply.result;
	ret_outcome->version = reply.version;
	return write_answer(snapshot, &reply, below, &query, request,
			    query_bytes + DNS_HEADER_BYTES, answer, &ret_outcome->truncated);
}

#define X(name, text)                                                                              \
	case name:                                                                                 \
		return text;

const char *naming_qtype_text(enum naming_qtype qtype)
{
	switch (qtype) {
		NAMING_QTYPES(X)
	case NAMING_QTYPE_COUNT:
		break;
	}
	return "unknown";
}

const char *naming_result_text(enum naming_result result)
{
	switch (result) {
		NAMING_RESULTS(X)
	case NAMING_RESULT_COUNT:
		break;
	}
	return "unknown";
}

const char *naming_drop_text(enum naming_drop drop)
{
	switch (drop) {
		NAMING_DROPS(X)
	case NAMING_DROP_COUNT:
		break;
	}
	return "unknown";
}
