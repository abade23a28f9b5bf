/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a snapshot: check the input, collect nodes and records in growing arrays, then lay them
 * out in one block.
 */
#include "naming/snapshot.h"

#include "base/buffer.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The limits of the input bound every answer: */
enum {
	NAME_RECORD_MAX = 2 + 10 + DNS_NAME_MAX,
	ADDRESS_RECORD_MAX = 2 + 10 + 16,
	OPT_MAX = 11 + 4 + 20 + 4 + NAMING_NSID_MAX,
};
_Static_assert(DNS_HEADER_BYTES + DNS_QUESTION_MAX + OPT_MAX <= DNS_UDP_MIN,
	       "an answer without records fits every client");
_Static_assert(DNS_HEADER_BYTES + DNS_QUESTION_MAX + OPT_MAX +
		       NAMING_NAMESERVERS_MAX * NAME_RECORD_MAX <=
		   NAMING_ANSWER_MAX,
	       "all name servers fit a TCP answer");
_Static_assert(DNS_HEADER_BYTES + DNS_QUESTION_MAX + OPT_MAX +
		       NAMING_NAMESERVER_ADDRESSES_MAX * ADDRESS_RECORD_MAX <=
		   NAMING_ANSWER_MAX,
	       "all addresses of a name server fit a TCP answer");
/* Most names a zone can come to: each service may bring names above it into being. */
#define NODES_MAX (4u * NAMING_SERVICES_MAX)

struct snapshot_builder {
	const struct naming_input *input;
	struct error *err;
	struct dns_name zone;
	uint32_t *table; /* owned; node index + 1 */
	uint32_t table_size; /* a power of two */
	struct buffer nodes, choices, glue, patches, bytes;
	struct naming_snapshot head; /* the fixed part, filled as we go */
};

static struct naming_node *node_at(const struct snapshot_builder *b, uint32_t index)
{
	void *nodes = b->nodes.data;
	return (struct naming_node *)nodes + index;
}

static uint32_t node_count(const struct snapshot_builder *b)
{
	return (uint32_t)(b->nodes.length / sizeof(struct naming_node));
}

/* The place in the table where this name is, or where it would go. */
static uint32_t table_place(const struct snapshot_builder *b, const uint8_t *labels, size_t length)
{
	uint32_t mask = b->table_size - 1;
	uint32_t place = naming_label_hash(labels, length) & mask;
	for (; b->table[place]; place = (place + 1) & mask) {
		const struct naming_node *node = node_at(b, b->table[place] - 1);
		if (node->label_length == length &&
		    memcmp(b->bytes.data + node->label_offset, labels, length) == 0)
			break;
	}
	return place;
}

static int table_grow(struct snapshot_builder *b)
{
	uint32_t size = b->table_size ? 2 * b->table_size : 64;
	uint32_t *table = calloc(size, sizeof(*table));
	if (!table)
		return -ENOMEM;
	free(b->table);
	b->table = table;
	b->table_size = size;
	for (uint32_t i = 0; i < node_count(b); i++) {
		const struct naming_node *node = node_at(b, i);
		const uint8_t *labels = (const uint8_t *)b->bytes.data + node->label_offset;
		b->table[table_place(b, labels, node->label_length)] = i + 1;
	}
	return 0;
}

/* Find or add the node of a name, and the nodes between it and the zone. */
static int node_add(struct snapshot_builder *b, const uint8_t *labels, size_t length,
		    uint32_t *ret_index)
{
	for (size_t at = 0;; at += 1u + labels[at]) {
		/* At most half full, so that probing is short. */
		if (2 * (node_count(b) + 1) > b->table_size) {
			int result = table_grow(b);
			if (result != 0)
				return result;
		}
		uint32_t place = table_place(b, labels + at, length - at);
		if (!b->table[place]) {
			if (node_count(b) >= NODES_MAX) {
				error_set(b->err, -FL_ELIMIT,
					  "the zone would have more than %u names", NODES_MAX);
				return -FL_ELIMIT;
			}
			struct naming_node node = {.label_offset = (uint32_t)b->bytes.length,
						   .label_length = (uint8_t)(length - at)};
			buffer_append(&b->bytes, labels + at, length - at);
			buffer_append(&b->nodes, &node, sizeof(node));
			if (b->bytes.status < 0 || b->nodes.status < 0)
				return -ENOMEM;
			b->table[place] = node_count(b);
		}
		if (at == 0)
			*ret_index = b->table[place] - 1;
		if (at == length)
			return 0;
	}
}

/* ---- records ---- */

static void put_u16(struct snapshot_builder *b, unsigned value)
{
	uint8_t bytes[2];
	dns_put_u16(bytes, value);
	buffer_append(&b->bytes, bytes, sizeof(bytes));
}

static void put_u32(struct snapshot_builder *b, uint32_t value)
{
	uint8_t bytes[4];
	dns_put_u32(bytes, value);
	buffer_append(&b->bytes, bytes, sizeof(bytes));
}

static struct naming_piece piece_begin(const struct snapshot_builder *b)
{
	return (struct naming_piece){
	    .offset = (uint32_t)b->bytes.length,
	    .patches = (uint32_t)(b->patches.length / sizeof(uint16_t)),
	};
}

static void piece_end(const struct snapshot_builder *b, struct naming_piece *piece)
{
	piece->length = (uint16_t)(b->bytes.length - piece->offset);
}

/* A name: as labels and a pointer to the zone if it lies in it, else in full. */
static void put_name(struct snapshot_builder *b, struct naming_piece *piece,
		     const struct dns_name *name)
{
	int below = dns_name_below(name, &b->zone);
	if (below < 0) {
		buffer_append(&b->bytes, name->bytes, name->length);
		return;
	}
	buffer_append(&b->bytes, name->bytes, (size_t)below);
	uint16_t patch = (uint16_t)(b->bytes.length - piece->offset);
	buffer_append(&b->patches, &patch, sizeof(patch));
	piece->patch_count++;
	put_u16(b, 0);
}

/* Type, class, TTL and a length to be set by record_end, which wants what this returns. */
static size_t record_begin(struct snapshot_builder *b, struct naming_piece *piece, unsigned type,
			   uint32_t ttl_s)
{
	put_u16(b, type);
	put_u16(b, DNS_CLASS_IN);
	put_u32(b, ttl_s);
	put_u16(b, 0);
	piece->records++;
	return b->bytes.length;
}

static void record_end(struct snapshot_builder *b, size_t data)
{
	if (b->bytes.status == 0)
		dns_put_u16((uint8_t *)b->bytes.data + data - 2,
			    (unsigned)(b->bytes.length - data));
}

/* The question's own name begins right behind the header. */
static void put_question_pointer(struct snapshot_builder *b)
{
	put_u16(b, 0xc000 | DNS_HEADER_BYTES);
}

static struct naming_piece put_soa(struct snapshot_builder *b, const struct dns_name *mname,
				   const struct dns_name *rname, uint32_t ttl_s)
{
	const struct naming_input *input = b->input;
	struct naming_piece piece = piece_begin(b);
	put_name(b, &piece, &b->zone);
	size_t data = record_begin(b, &piece, DNS_SOA, ttl_s);
	put_name(b, &piece, mname);
	put_name(b, &piece, rname);
	put_u32(b, input->serial);
	put_u32(b, input->refresh_s);
	put_u32(b, input->retry_s);
	put_u32(b, input->expire_s);
	put_u32(b, input->negative_ttl_s);
	record_end(b, data);
	piece_end(b, &piece);
	return piece;
}

static struct naming_piece put_hinfo(struct snapshot_builder *b)
{
	/* RFC 8482 §4.2: CPU "RFC8482", OS empty. */
	static const uint8_t data_bytes[] = {7, 'R', 'F', 'C', '8', '4', '8', '2', 0};
	struct naming_piece piece = piece_begin(b);
	put_question_pointer(b);
	size_t data = record_begin(b, &piece, DNS_HINFO, b->input->ttl_s);
	buffer_append(&b->bytes, data_bytes, sizeof(data_bytes));
	record_end(b, data);
	piece_end(b, &piece);
	return piece;
}

/* The addresses of one family as records of `owner`, or of the question's name if that is NULL. */
static struct naming_piece put_addresses(struct snapshot_builder *b, const struct dns_name *owner,
					 const struct ip_address *addresses, size_t count,
					 enum ip_family family, uint32_t ttl_s)
{
	struct naming_piece piece = piece_begin(b);
	for (size_t i = 0; i < count; i++) {
		if (addresses[i].family != family)
			continue;
		if (owner)
			put_name(b, &piece, owner);
		else
			put_question_pointer(b);
		size_t data = record_begin(b, &piece, family == IP_V4 ? DNS_A : DNS_AAAA, ttl_s);
		buffer_append(&b->bytes, addresses[i].bytes, ip_family_bits(family) / 8);
		record_end(b, data);
	}
	piece_end(b, &piece);
	return piece;
}

/* ---- the zone itself ---- */

static int add_nameserver(struct snapshot_builder *b, const struct naming_nameserver *nameserver,
			  const struct dns_name *name)
{
	int below = dns_name_below(name, &b->zone);
	if (below < 0)
		return 0; /* its addresses are another zone's to say */
	if (nameserver->address_count == 0)
		return error_set(b->err, -FL_EINVALID,
				 "name server %s lies in the zone and needs an address",
				 nameserver->name);
	for (size_t i = 0; i < nameserver->address_count; i++) {
		const struct ip_address *address = &nameserver->addresses[i];
		if (address->family == IP_NONE)
			return error_set(b->err, -FL_EINVALID,
					 "name server %s has an address of no family",
					 nameserver->name);
		for (size_t j = 0; j < i; j++)
			if (ip_address_equal(address, &nameserver->addresses[j]))
				return error_set(b->err, -FL_EINVALID,
						 "name server %s has an address twice",
						 nameserver->name);
	}

	uint32_t index;
	int result = node_add(b, name->bytes, (size_t)below, &index);
	if (result != 0)
		return result;

	struct naming_choice choice = {.upper = NAMING_SHARE_WHOLE};
	struct naming_piece *own[] = {&choice.a, &choice.aaaa};
	enum ip_family families[] = {IP_V4, IP_V6};
	for (unsigned i = 0; i < 2; i++) {
		*own[i] = put_addresses(b, NULL, nameserver->addresses, nameserver->address_count,
					families[i], b->input->ttl_s);
		struct naming_piece glue =
		    put_addresses(b, name, nameserver->addresses, nameserver->address_count,
				  families[i], b->input->ttl_s);
		if (glue.records > 0)
			buffer_append(&b->glue, &glue, sizeof(glue));
	}
	struct naming_node *node = node_at(b, index);
	node->defined = true;
	node->first_choice = (uint32_t)(b->choices.length / sizeof(choice));
	node->choice_count = 1;
	buffer_append(&b->choices, &choice, sizeof(choice));
	return 0;
}

static int parse_name(struct snapshot_builder *b, const char *what, const char *text,
		      struct dns_name *ret_name)
{
	if (dns_name_parse(text, ret_name) < 0)
		return error_set(b->err, -FL_EINVALID, "%s \"%s\" is not a domain name", what,
				 text);
	return 0;
}

static bool names_equal(const struct dns_name *a, const struct dns_name *b)
{
	return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

/* Whether the input is to be built without the part of which `result` tells. */
static bool leave_out(struct snapshot_builder *b, int result)
{
	if (!b->input->in_part || result == 0 || result == -ENOMEM)
		return false;
	if (!b->head.refused[0])
		snprintf(b->head.refused, sizeof(b->head.refused), "%.*s",
			 (int)sizeof(b->head.refused) - 1, b->err->text);
	return true;
}

/* The names of the name servers that can be served, and their addresses. */
static int add_nameservers(struct snapshot_builder *b, struct dns_name *names, size_t *ret_count)
{
	const struct naming_input *input = b->input;
	size_t count = 0;
	for (size_t i = 0; i < input->nameserver_count; i++) {
		const struct naming_nameserver *nameserver = &input->nameservers[i];
		struct dns_name *name = &names[count];
		int result = parse_name(b, "name server", nameserver->name, name);
		for (size_t j = 0; result == 0 && j < count; j++)
			if (names_equal(name, &names[j]))
				result =
				    error_set(b->err, -FL_EINVALID,
					      "name server %s is listed twice", nameserver->name);
		if (result == 0)
			result = add_nameserver(b, nameserver, name);
		if (result == 0)
			count++;
		else if (!leave_out(b, result))
			return result;
	}
	if (count == 0)
		count += dns_name_parse("ns.invalid", &names[0]) == 0;
	*ret_count = count;
	return 0;
}

/* SOA, NS and the name servers' addresses. */
static int add_apex(struct snapshot_builder *b)
{
	const struct naming_input *input = b->input;
	struct dns_name names[NAMING_NAMESERVERS_MAX], contact;
	size_t name_count = 0;
	int result = parse_name(b, "contact", input->contact, &contact);
	if (leave_out(b, result))
		result = dns_name_parse("hostmaster.invalid", &contact);
	if (result == 0)
		result = add_nameservers(b, names, &name_count);
	if (result != 0)
		return result;
	ASSERT(name_count > 0); /* names[0] is the MNAME */

	/* RFC 2308 §5: a negative answer's SOA has the lesser of the two TTLs. */
	uint32_t negative_s =
	    input->negative_ttl_s < input->ttl_s ? input->negative_ttl_s : input->ttl_s;
	b->head.soa = put_soa(b, &names[0], &contact, input->ttl_s);
	b->head.negative_soa = put_soa(b, &names[0], &contact, negative_s);
	b->head.hinfo = put_hinfo(b);

	struct naming_piece ns = piece_begin(b);
	for (size_t i = 0; i < name_count; i++) {
		put_name(b, &ns, &b->zone);
		size_t data = record_begin(b, &ns, DNS_NS, input->ttl_s);
		put_name(b, &ns, &names[i]);
		record_end(b, data);
	}
	piece_end(b, &ns);
	b->head.ns = ns;
	return 0;
}

/* ---- services ---- */

static int check_service(struct snapshot_builder *b, const struct naming_service *service)
{
	if (service->ttl_s > NAMING_TTL_MAX || service->share_count > NAMING_SHARES_MAX)
		return error_set(b->err, -FL_ELIMIT,
				 "service %s: TTL or number of shares too large", service->name);
	if (service->bits_v4 > ip_family_bits(IP_V4) || service->bits_v6 > ip_family_bits(IP_V6))
		return error_set(b->err, -FL_ELIMIT,
				 "service %s: an address has fewer bits than a client would be of",
				 service->name);
	uint32_t before = 0;
	for (size_t i = 0; i < service->share_count; i++) {
		const struct naming_share *share = &service->shares[i];
		ASSERT_INVARIANT(1, share->held);
		if (share->upper < before || share->upper == 0 || share->upper > NAMING_SHARE_WHOLE)
			return error_set(b->err, -FL_EINVALID,
					 "service %s: the upper bound of share %zu is %u, which is "
					 "not in %u…%u",
					 service->name, i + 1, share->upper, before ? before : 1,
					 NAMING_SHARE_WHOLE);
		if ((share->v4.family != IP_NONE && share->v4.family != IP_V4) ||
		    (share->v6.family != IP_NONE && share->v6.family != IP_V6) ||
		    (share->v4.family == IP_NONE && share->v6.family == IP_NONE))
			return error_set(b->err, -FL_EINVALID,
					 "service %s: share %zu needs an IPv4 or an IPv6 address",
					 service->name, i + 1);
		before = share->upper;
	}
	if (service->share_count > 0 && before != NAMING_SHARE_WHOLE)
		return error_set(b->err, -FL_EINVALID,
				 "service %s: the last share ends at %u and leaves clients out",
				 service->name, before);
	return 0;
}

static void add_shares(struct snapshot_builder *b, const struct naming_service *service,
		       struct naming_node *node)
{
	const struct naming_share *first = NULL;
	uint32_t before = 0;
	node->first_choice = (uint32_t)(b->choices.length / sizeof(struct naming_choice));
	for (size_t i = 0; i < service->share_count; i++) {
		const struct naming_share *share = &service->shares[i];
		if (share->upper == before)
			continue; /* of no width: nobody's */
		before = share->upper;
		struct naming_choice choice = {
		    .upper = share->upper,
		    .version = share->version,
		    .a = put_addresses(b, NULL, &share->v4, 1, IP_V4, service->ttl_s),
		    .aaaa = put_addresses(b, NULL, &share->v6, 1, IP_V6, service->ttl_s),
		};
		buffer_append(&b->choices, &choice, sizeof(choice));
		node->choice_count++;
		if (!first)
			first = share;
		node->a_depends |= !ip_address_equal(&first->v4, &share->v4);
		node->aaaa_depends |= !ip_address_equal(&first->v6, &share->v6);
	}
}

static int add_service(struct snapshot_builder *b, const struct naming_service *service)
{
	int result = 0;
	struct dns_name name = {.length = 1}; /* "@": no labels, and the root's byte */
	if (strcmp(service->name, "@") != 0)
		result = parse_name(b, "service", service->name, &name);
	if (result != 0)
		return result;
	if (name.length - 1u + b->zone.length > DNS_NAME_MAX)
		return error_set(b->err, -FL_EINVALID,
				 "service %s: the name is too long in zone %s", service->name,
				 b->input->zone);

	uint32_t index;
	result = node_add(b, name.bytes, name.length - 1u, &index);
	if (result != 0)
		return result;
	struct naming_node *node = node_at(b, index);
	if (node->defined)
		return error_set(b->err, -FL_EINVALID,
				 "service %s: another service or a name server has that name",
				 service->name);
	node->defined = true;
	result = check_service(b, service);
	node->unknown = result != 0 || service->share_count == 0;
	if (node->unknown)
		return result;
	memcpy(node->salt, service->salt, sizeof(node->salt));
	node->bits_v4 = service->bits_v4 ? service->bits_v4 : NAMING_PREFIX_BITS_V4;
	node->bits_v6 = service->bits_v6 ? service->bits_v6 : NAMING_PREFIX_BITS_V6;
	add_shares(b, service, node);
	return 0;
}

/* ---- the whole ---- */

static int check_input(struct snapshot_builder *b)
{
	const struct naming_input *input = b->input;
	int result = parse_name(b, "zone", input->zone, &b->zone);
	if (result != 0)
		return result;
	if (b->zone.length == 1)
		return error_set(b->err, -FL_EINVALID, "the zone cannot be the root");
	if (input->nameserver_count == 0 && !input->in_part)
		return error_set(b->err, -FL_EINVALID, "zone %s needs a name server", input->zone);
	if (input->nameserver_count > NAMING_NAMESERVERS_MAX)
		return error_set(b->err, -FL_ELIMIT, "zone %s has %zu name servers; the most is %u",
				 input->zone, input->nameserver_count, NAMING_NAMESERVERS_MAX);
	for (size_t i = 0; i < input->nameserver_count; i++)
		if (input->nameservers[i].address_count > NAMING_NAMESERVER_ADDRESSES_MAX)
			return error_set(
			    b->err, -FL_ELIMIT, "name server %s has more than %u addresses",
			    input->nameservers[i].name, NAMING_NAMESERVER_ADDRESSES_MAX);
	if (input->service_count > NAMING_SERVICES_MAX)
		return error_set(b->err, -FL_ELIMIT, "zone %s has more than %u services",
				 input->zone, NAMING_SERVICES_MAX);
	if (input->nsid_length > NAMING_NSID_MAX)
		return error_set(b->err, -FL_ELIMIT, "the NSID is longer than %u bytes",
				 NAMING_NSID_MAX);
	if (input->ttl_s > NAMING_TTL_MAX || input->negative_ttl_s > NAMING_TTL_MAX)
		return error_set(b->err, -FL_ELIMIT, "zone %s: a TTL is above %u s", input->zone,
				 NAMING_TTL_MAX);
	return 0;
}

/* Copy an array to `*at` in the block and move `*at` behind it. */
static const void *lay_out(uint8_t **at, const void *data, size_t length)
{
	const void *place = *at;
	if (length > 0)
		memcpy(*at, data, length);
	/* The arrays come in falling order of alignment, so none needs padding before it. */
	*at += length;
	return place;
}

static int assemble(struct snapshot_builder *b, struct naming_snapshot **ret_snapshot)
{
	const struct buffer *all[] = {&b->nodes, &b->choices, &b->glue, &b->patches, &b->bytes};
	size_t table_bytes = b->table_size * sizeof(*b->table);
	size_t size = sizeof(struct naming_snapshot) + table_bytes;
	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++) {
		if (all[i]->status < 0)
			return error_set(b->err, all[i]->status, "no memory for the zone");
		size += all[i]->length;
	}
	struct naming_snapshot *snapshot = malloc(size);
	if (!snapshot)
		return error_set(b->err, -ENOMEM, "no memory for the zone");

	*snapshot = b->head;
	snapshot->size = size;
	snapshot->serial = b->input->serial;
	snapshot->zone = b->zone;
	snapshot->nsid_length = (uint8_t)b->input->nsid_length;
	if (b->input->nsid_length > 0)
		memcpy(snapshot->nsid, b->input->nsid, b->input->nsid_length);
	snapshot->table_mask = b->table_size - 1;
	snapshot->glue_count = (uint32_t)(b->glue.length / sizeof(struct naming_piece));

	uint8_t *at = (uint8_t *)(snapshot + 1);
	snapshot->table = lay_out(&at, b->table, table_bytes);
	snapshot->nodes = lay_out(&at, b->nodes.data, b->nodes.length);
	snapshot->choices = lay_out(&at, b->choices.data, b->choices.length);
	snapshot->glue = lay_out(&at, b->glue.data, b->glue.length);
	snapshot->patches = lay_out(&at, b->patches.data, b->patches.length);
	snapshot->bytes = lay_out(&at, b->bytes.data, b->bytes.length);
	*ret_snapshot = snapshot;
	return 0;
}

_Static_assert(alignof(struct naming_snapshot) >= alignof(uint32_t) &&
		   alignof(struct naming_node) == alignof(uint32_t) &&
		   alignof(struct naming_choice) == alignof(uint32_t) &&
		   alignof(struct naming_piece) == alignof(uint32_t) &&
		   sizeof(struct naming_snapshot) % alignof(uint32_t) == 0,
	       "lay_out needs no padding");

int naming_snapshot_build(const struct naming_input *input, struct naming_snapshot **ret_snapshot,
			  struct error *err)
{
	struct error found = {0}; /* what is left out is no error */
	struct snapshot_builder b = {.input = input, .err = &found};
	struct buffer *all[] = {&b.nodes, &b.choices, &b.glue, &b.patches, &b.bytes};
	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++)
		buffer_init(all[i], 0);

	uint32_t apex;
	int result = check_input(&b);
	if (result == 0)
		result = node_add(&b, (const uint8_t *)"", 0, &apex);
	if (result == 0)
		result = add_apex(&b);
	for (size_t i = 0; result == 0 && i < input->service_count; i++) {
		result = add_service(&b, &input->services[i]);
		if (leave_out(&b, result))
			result = 0;
	}
	if (result == 0)
		result = assemble(&b, ret_snapshot);
	if (result == -ENOMEM)
		error_set(err, -ENOMEM, "no memory for the zone");
	else if (result != 0)
		error_set(err, result, "%s", found.text);

	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++)
		buffer_done(all[i]);
	free(b.table);
	return result;
}

void naming_snapshot_free(struct naming_snapshot *snapshot)
{
	free(snapshot);
}

const char *naming_snapshot_refused(const struct naming_snapshot *snapshot)
{
	return snapshot->refused;
}

uint32_t naming_snapshot_serial(const struct naming_snapshot *snapshot)
{
	return snapshot->serial;
}

size_t naming_snapshot_bytes(const struct naming_snapshot *snapshot)
{
	return snapshot->size;
}
