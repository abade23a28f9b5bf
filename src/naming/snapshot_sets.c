/* SPDX-License-Identifier: Apache-2.0 */
/* The records that an operator wrote into the zone, and where they may stand. */
#include "naming/snapshot_builder.h"
#include "wire/dns_data.h"

#include <string.h>

static int put_values(struct snapshot_builder *b, const struct naming_set *set,
		      struct naming_piece *ret_piece)
{
	struct naming_piece piece = snapshot_piece_begin(b);
	if (set->value_count == 0 || set->value_count > UINT8_MAX || set->ttl_s > NAMING_TTL_MAX)
		return error_set(b->err, -FL_ELIMIT,
				 "record %s: too few or too many values, or a TTL too large",
				 set->name);
	for (size_t i = 0; i < set->value_count; i++) {
		uint8_t bytes[DNS_DATA_MAX];
		const char *fault = "";
		int length = dns_data_parse(set->type, set->values[i], &b->zone, bytes, &fault);
		if (length < 0)
			return error_set(b->err, -FL_EINVALID, "record %s, \"%s\": %s", set->name,
					 set->values[i], fault);
		snapshot_put_question(b);
		size_t data = snapshot_record_begin(b, &piece, set->type, DNS_CLASS_IN, set->ttl_s);
		buffer_append(&b->bytes, bytes, (size_t)length);
		snapshot_record_end(b, data);
		if (b->bytes.length - piece.offset > DNS_SET_MAX)
			return error_set(b->err, -FL_ELIMIT,
					 "record %s: its values are more than %u bytes", set->name,
					 DNS_SET_MAX);
	}
	snapshot_piece_end(b, &piece);
	*ret_piece = piece;
	return b->bytes.status;
}

/* Addresses lie where those of services do, as the one choice of all clients. */
static int add_addresses(struct snapshot_builder *b, const struct naming_set *set,
			 struct naming_node *node, const struct naming_piece *piece)
{
	struct naming_choice choice = {.upper = NAMING_SHARE_WHOLE};
	if (node->defined)
		return error_set(b->err, -FL_EINVALID,
				 "record %s: a service or a name server has that name", set->name);
	if (node->choice_count == 0) {
		node->first_choice = (uint32_t)(b->choices.length / sizeof(choice));
		node->choice_count = 1;
		buffer_append(&b->choices, &choice, sizeof(choice));
		if (b->choices.status < 0)
			return b->choices.status;
	}
	void *choices = b->choices.data;
	struct naming_choice *own = (struct naming_choice *)choices + node->first_choice;
	*(set->type == DNS_A ? &own->a : &own->aaaa) = *piece;
	return 0;
}

int snapshot_add_set(struct snapshot_builder *b, const struct naming_set *set)
{
	struct dns_name name = {.length = 1}; /* "@": no labels, and the root's byte */
	struct naming_piece piece;
	uint32_t index = 0;
	if (strcmp(set->name, "@") != 0 && dns_name_parse(set->name, &name) < 0)
		return error_set(b->err, -FL_EINVALID, "record \"%s\" is not a domain name",
				 set->name);
	if (name.length - 1u + b->zone.length > DNS_NAME_MAX)
		return error_set(b->err, -FL_EINVALID, "record %s: the name is too long in zone %s",
				 set->name, b->input->zone);
	int result = put_values(b, set, &piece);
	if (result == 0)
		result = snapshot_node_add(b, name.bytes, name.length - 1u, &index);
	if (result != 0)
		return result;
	struct naming_node *node = snapshot_node_at(b, index);
	bool is_alias = set->type == DNS_CNAME;
	if (node->alias || (is_alias && (node->defined || node->choice_count || node->first_other ||
					 node->label_length == 0)))
		return error_set(b->err, -FL_EINVALID,
				 "record %s: beside a CNAME a name has nothing", set->name);
	b->head.has_wildcards |= name.bytes[0] == 1 && name.bytes[1] == '*';
	if (set->type == DNS_A || set->type == DNS_AAAA)
		return add_addresses(b, set, node, &piece);
	struct naming_other other = {.next = node->first_other, .type = set->type, .piece = piece};
	buffer_append(&b->others, &other, sizeof(other));
	node->first_other = (uint32_t)(b->others.length / sizeof(other));
	node->alias = is_alias;
	return b->others.status;
}
