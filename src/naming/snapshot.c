/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a snapshot: check the input, collect nodes and records in growing arrays, then lay them
 * out in one block.
 */
#include "naming/limiter.h"
#include "naming/snapshot_builder.h"
#include "wire/dns_data.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The limits of the input bound every answer: */
enum {
	NAME_RECORD_MAX = 2 + 10 + DNS_NAME_MAX,
	ADDRESS_RECORD_MAX = 2 + 10 + 16,
	/* Client subnet, NSID, ZONEVERSION, an extended error, a cookie. */
	OPT_MAX = 11 + 4 + 20 + 4 + NAMING_NSID_MAX + 4 + 6 + 4 + 2 + 4 + 24,
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
_Static_assert(DNS_HEADER_BYTES + DNS_QUESTION_MAX + OPT_MAX + DNS_SET_MAX <= NAMING_ANSWER_MAX,
	       "all records of a name and type fit a TCP answer");

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
	int result = snapshot_node_add(b, name->bytes, (size_t)below, &index);
	if (result != 0)
		return result;

	struct naming_choice choice = {.upper = NAMING_SHARE_WHOLE};
	struct naming_piece *own[] = {&choice.a, &choice.aaaa};
	enum ip_family families[] = {IP_V4, IP_V6};
	for (unsigned i = 0; i < 2; i++) {
		*own[i] =
		    snapshot_put_addresses(b, NULL, nameserver->addresses,
					   nameserver->address_count, families[i], b->input->ttl_s);
		struct naming_piece glue =
		    snapshot_put_addresses(b, name, nameserver->addresses,
					   nameserver->address_count, families[i], b->input->ttl_s);
		if (glue.records > 0)
			buffer_append(&b->glue, &glue, sizeof(glue));
	}
	struct naming_node *node = snapshot_node_at(b, index);
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
	b->head.soa = snapshot_put_soa(b, &names[0], &contact, input->ttl_s);
	b->head.negative_soa = snapshot_put_soa(b, &names[0], &contact, negative_s);
	b->head.hinfo = snapshot_put_hinfo(b);
	b->head.chaos_id = snapshot_put_chaos(b, input->nsid, input->nsid_length);
	if (input->version)
		b->head.chaos_version =
		    snapshot_put_chaos(b, input->version, strlen(input->version));

	struct naming_piece ns = snapshot_piece_begin(b);
	for (size_t i = 0; i < name_count; i++) {
		snapshot_put_name(b, &ns, &b->zone);
		size_t data = snapshot_record_begin(b, &ns, DNS_NS, DNS_CLASS_IN, input->ttl_s);
		snapshot_put_name(b, &ns, &names[i]);
		snapshot_record_end(b, data);
	}
	snapshot_piece_end(b, &ns);
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
		    .a = snapshot_put_addresses(b, NULL, &share->v4, 1, IP_V4, service->ttl_s),
		    .aaaa = snapshot_put_addresses(b, NULL, &share->v6, 1, IP_V6, service->ttl_s),
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
	result = snapshot_node_add(b, name.bytes, name.length - 1u, &index);
	if (result != 0)
		return result;
	struct naming_node *node = snapshot_node_at(b, index);
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
	if (input->set_count > NAMING_SETS_MAX)
		return error_set(b->err, -FL_ELIMIT, "zone %s has more than %u records",
				 input->zone, NAMING_SETS_MAX);
	if (input->nsid_length > NAMING_NSID_MAX)
		return error_set(b->err, -FL_ELIMIT, "the NSID is longer than %u bytes",
				 NAMING_NSID_MAX);
	if (input->rate > LIMITER_RATE_MAX)
		return error_set(b->err, -FL_ELIMIT, "a rate of more than %u answers a second",
				 LIMITER_RATE_MAX);
	if (input->version && strlen(input->version) > DNS_STRING_MAX)
		return error_set(b->err, -FL_ELIMIT,
				 "the program's version is longer than %u bytes", DNS_STRING_MAX);
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
	const struct buffer *all[] = {&b->nodes, &b->choices, &b->others,
				      &b->glue,  &b->patches, &b->bytes};
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
	snapshot->rate = b->input->rate;
	snapshot->zone = b->zone;
	for (unsigned at = 0; b->zone.bytes[at]; at += 1u + b->zone.bytes[at])
		snapshot->zone_labels++;
	snapshot->nsid_length = (uint8_t)b->input->nsid_length;
	if (b->input->nsid_length > 0)
		memcpy(snapshot->nsid, b->input->nsid, b->input->nsid_length);
	snapshot->table_mask = b->table_size - 1;
	snapshot->glue_count = (uint32_t)(b->glue.length / sizeof(struct naming_piece));

	uint8_t *at = (uint8_t *)(snapshot + 1);
	snapshot->table = lay_out(&at, b->table, table_bytes);
	snapshot->nodes = lay_out(&at, b->nodes.data, b->nodes.length);
	snapshot->choices = lay_out(&at, b->choices.data, b->choices.length);
	snapshot->others = lay_out(&at, b->others.data, b->others.length);
	snapshot->glue = lay_out(&at, b->glue.data, b->glue.length);
	snapshot->patches = lay_out(&at, b->patches.data, b->patches.length);
	snapshot->bytes = lay_out(&at, b->bytes.data, b->bytes.length);
	*ret_snapshot = snapshot;
	return 0;
}

_Static_assert(alignof(struct naming_snapshot) >= alignof(uint32_t) &&
		   alignof(struct naming_node) == alignof(uint32_t) &&
		   alignof(struct naming_choice) == alignof(uint32_t) &&
		   alignof(struct naming_other) == alignof(uint32_t) &&
		   alignof(struct naming_piece) == alignof(uint32_t) &&
		   sizeof(struct naming_snapshot) % alignof(uint32_t) == 0,
	       "lay_out needs no padding");

int naming_snapshot_build(const struct naming_input *input, struct naming_snapshot **ret_snapshot,
			  struct error *err)
{
	struct error found = {0}; /* what is left out is no error */
	struct snapshot_builder b = {.input = input, .err = &found};
	struct buffer *all[] = {&b.nodes, &b.choices, &b.others, &b.glue, &b.patches, &b.bytes};
	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++)
		buffer_init(all[i], 0);

	uint32_t apex;
	int result = check_input(&b);
	if (result == 0)
		result = snapshot_node_add(&b, (const uint8_t *)"", 0, &apex);
	if (result == 0)
		result = add_apex(&b);
	for (size_t i = 0; result == 0 && i < input->service_count; i++) {
		result = add_service(&b, &input->services[i]);
		if (leave_out(&b, result))
			result = 0;
	}
	for (size_t i = 0; result == 0 && i < input->set_count; i++) {
		result = snapshot_add_set(&b, &input->sets[i]);
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

uint32_t naming_snapshot_rate(const struct naming_snapshot *snapshot)
{
	return snapshot->rate;
}

uint32_t naming_snapshot_serial(const struct naming_snapshot *snapshot)
{
	return snapshot->serial;
}

size_t naming_snapshot_bytes(const struct naming_snapshot *snapshot)
{
	return snapshot->size;
}
