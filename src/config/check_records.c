/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that the file gives the zone: the name server makes the same bytes of them
 * (wire/dns_data.h) and has to find nothing to refuse. None may name an address of a pool (which
 * versions give out, and only they), nor take what belongs to a service or a name server.
 */
#include "config/check.h"
#include "config/config.h"

#include "base/netaddr.h"
#include "model/fabric.h"
#include "model/zone_name.h"
#include "wire/dns_data.h"

#include <string.h>

/* One name's records and where they stand. */
struct record_check {
	struct config_check *check;
	const struct zone_name *owner;
	const struct yaml_node *node;
	const struct dns_name *zone;
};

static bool is_service(const struct fabric *fabric, const char *name)
{
	for (size_t i = 0; i < fabric->service_count; i++)
		if (strcmp(fabric->services[i].name, name) == 0)
			return true;
	return false;
}

static bool is_nameserver(const struct fabric *fabric, const char *name)
{
	for (size_t i = 0; i < fabric->nameserver_count; i++)
		if (strcmp(fabric->nameservers[i].name, name) == 0)
			return true;
	return false;
}

/* Letters, digits, hyphens and underscores, in lower case; why not, or NULL. */
static const char *label_fault(const char *label, size_t length, bool is_first)
{
	if (length == 0)
		return "a label is empty";
	if (length > DNS_LABEL_MAX)
		return "a label has at most 63 characters";
	if (length == 1 && label[0] == '*')
		return is_first ? NULL : "only the first label may be *";
	for (size_t i = 0; i < length; i++) {
		char c = label[i];
		if (c >= 'A' && c <= 'Z')
			return "names are written in lower case";
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
			return "a name has letters, digits, hyphens, underscores, and dots between "
			       "labels";
	}
	return NULL;
}

static void check_owner(const struct record_check *at)
{
	struct notes *notes = at->check->notes;
	const char *name = at->owner->name, *fault = NULL, *label = name;
	const char *zone = at->check->fabric->zone;
	char text[ZONE_NAME_BYTES];
	size_t length = strlen(name), zone_length = strlen(zone);
	if (strcmp(name, "@") == 0)
		return;
	if (length > 0 && name[length - 1] == '.')
		fault = "write it without the dot, and without the zone; `@` is the zone itself";
	else if (length > zone_length && name[length - zone_length - 1] == '.' &&
		 strcmp(name + length - zone_length, zone) == 0)
		fault = "it already holds the zone; write what stands before that, or `@`";
	while (!fault) {
		size_t label_length = strcspn(label, ".");
		fault = label_fault(label, label_length, label == name);
		if (!label[label_length])
			break;
		label += label_length + 1;
	}
	if (!fault && !zone_name(zone, name, text))
		fault = "with the zone it is longer than 253 characters";
	if (!fault)
		return;
	notes_error(notes, at->node->key->span, "`%s` cannot be a name in the zone", name);
	notes_advise(notes, "%s", fault);
}

/* What a name is already, and what it then may not have besides. */
static void check_conflicts(const struct record_check *at)
{
	const struct fabric *fabric = at->check->fabric;
	struct notes *notes = at->check->notes;
	const struct zone_name *owner = at->owner;
	const char *what = is_service(fabric, owner->name)      ? "a service"
			   : is_nameserver(fabric, owner->name) ? "a name server"
			   : strcmp(owner->name, "@") == 0      ? "the zone itself"
								: NULL;
	bool is_zone = strcmp(owner->name, "@") == 0;
	for (size_t i = 0; i < owner->set_count; i++) {
		enum zone_record_type type = owner->sets[i].type;
		const struct yaml_node *set = yaml_get(at->node, zone_record_rows[type].key);
		bool is_address = type == ZONE_RECORD_A || type == ZONE_RECORD_AAAA;
		if (type == ZONE_RECORD_CNAME && (what || owner->set_count > 1)) {
			notes_error(notes, set->key->span, "`%s` is %s, and cannot be an alias",
				    owner->name, what ? what : "a name with other records");
			notes_advise(notes, "beside a CNAME a name has nothing (RFC 1034)");
		} else if (is_address && what && !is_zone) {
			notes_error(notes, set->key->span,
				    "`%s` is %s, whose addresses are given elsewhere", owner->name,
				    what);
			notes_advise(notes,
				     "other types can stand beside them; for these addresses "
				     "choose another name");
		}
	}
	if (owner->set_count == 0) {
		notes_error(notes, at->node->key->span, "`%s` has no records", owner->name);
		notes_advise(notes, "write some, such as {txt: \"hello\"}, or remove it");
	}
}

static void check_pools_of(const struct record_check *at, const struct yaml_node *value,
			   unsigned number, const uint8_t *data, size_t length)
{
	struct ip_address addresses[DNS_DATA_ADDRESSES_MAX];
	size_t count = dns_data_addresses(number, data, length, addresses);
	for (size_t i = 0; i < count && i < DNS_DATA_ADDRESSES_MAX; i++) {
		char text[IP_TEXT_BYTES];
		const struct pool *pool = check_pool_around(at->check, &addresses[i]);
		if (!pool)
			continue;
		notes_error(at->check->notes, value->span,
			    "a record must not name an address of the pool %s",
			    ip_prefix_format(&pool->prefix, text));
		notes_advise(at->check->notes, "they mean versions, which come and go; an alias "
					       "(cname) of the service follows them");
		return;
	}
}

static bool is_within(const struct zone_set *set, const struct dns_name *zone,
		      const struct ip_prefix *prefix)
{
	unsigned number = zone_record_rows[set->type].number;
	for (size_t i = 0; i < set->value_count; i++) {
		uint8_t data[DNS_DATA_MAX];
		struct ip_address addresses[DNS_DATA_ADDRESSES_MAX];
		const char *fault = NULL;
		int length = dns_data_parse(number, set->values[i], zone, data, &fault);
		size_t count =
		    length < 0 ? 0 : dns_data_addresses(number, data, (size_t)length, addresses);
		for (size_t j = 0; j < count && j < DNS_DATA_ADDRESSES_MAX; j++)
			if (ip_prefix_contains(prefix, &addresses[j]))
				return true;
	}
	return false;
}

const char *config_record_within(const struct fabric *fabric, const struct ip_prefix *prefix)
{
	struct dns_name zone;
	if (dns_name_parse(fabric->zone, &zone) < 0)
		return NULL;
	for (size_t i = 0; i < fabric->dns.name_count; i++) {
		const struct zone_name *owner = &fabric->dns.names[i];
		for (size_t j = 0; j < owner->set_count; j++)
			if (is_within(&owner->sets[j], &zone, prefix))
				return owner->name;
	}
	return NULL;
}

static void check_set(const struct record_check *at, const struct zone_set *set)
{
	const struct zone_record_row *row = &zone_record_rows[set->type];
	struct notes *notes = at->check->notes;
	const struct yaml_node *node = yaml_get(at->node, row->key);
	const struct yaml_node *value = node->kind == YAML_LIST ? node->first : node;
	size_t bytes = 0;
	for (size_t i = 0; i < set->value_count; i++, value = value->next) {
		uint8_t data[DNS_DATA_MAX];
		const char *fault = NULL;
		int length = dns_data_parse(row->number, set->values[i], at->zone, data, &fault);
		for (size_t j = 0; j < i && !fault; j++)
			if (strcmp(set->values[i], set->values[j]) == 0)
				fault = "it is there twice";
		if (set->type == ZONE_RECORD_CNAME && set->value_count > 1)
			fault = "an alias has one name";
		if (fault) {
			notes_error(notes, value->span, "`%s` cannot be a record of type %s",
				    set->values[i], row->key);
			notes_advise(notes, "%s", fault);
			continue;
		}
		bytes += DNS_RECORD_HEAD_MAX + (size_t)length;
		check_pools_of(at, value, row->number, data, (size_t)length);
	}
	if (bytes > DNS_SET_MAX) {
		notes_error(notes, node->key->span,
			    "the records of type %s are %zu bytes, and an answer has room for %u",
			    row->key, bytes, DNS_SET_MAX);
		notes_advise(notes, "an answer holds all of a name's records of one type");
	}
}

/* The name of the zone that an alias stands for, if that is an alias as well; else NULL. */
static const struct zone_name *next_alias(const struct record_check *at,
					  const struct zone_name *alias)
{
	const struct zone_settings *dns = &at->check->fabric->dns;
	const struct zone_set *set = alias->sets;
	struct dns_name target;
	char text[DNS_NAME_TEXT_BYTES];
	const char *fault = NULL;
	uint8_t data[DNS_DATA_MAX];
	if (alias->set_count != 1 || set->type != ZONE_RECORD_CNAME || set->value_count != 1)
		return NULL;
	int length = dns_data_parse(DNS_CNAME, set->values[0], at->zone, data, &fault);
	if (length < 0 || (size_t)length > sizeof(target.bytes))
		return NULL;
	target.length = (uint8_t)length;
	memcpy(target.bytes, data, (size_t)length);
	int below = dns_name_below(&target, at->zone);
	if (below <= 0)
		return NULL; /* the zone itself is no alias */
	target.bytes[below] = 0;
	target.length = (uint8_t)(below + 1);
	text[strlen(dns_name_format(&target, text)) - 1] = '\0';
	for (size_t i = 0; i < dns->name_count; i++) {
		const struct zone_name *name = &dns->names[i];
		if (strcmp(name->name, text) == 0)
			return name->set_count == 1 && name->sets[0].type == ZONE_RECORD_CNAME
				   ? name
				   : NULL;
	}
	return NULL;
}

/* The name server follows so many aliases in a row, and a loop has no end. */
static void check_alias(const struct record_check *at)
{
	const struct zone_name *alias = next_alias(at, at->owner);
	for (unsigned i = 1; alias && i < DNS_ALIASES_MAX; i++)
		alias = next_alias(at, alias);
	if (!alias)
		return;
	notes_error(at->check->notes, at->node->key->span,
		    "`%s` leads back to itself, or over more than %u aliases", at->owner->name,
		    DNS_ALIASES_MAX);
	notes_advise(at->check->notes, "let it stand for the last name itself");
}

/* A contact is a mailbox, or the same as a domain name (RFC 1035 section 8). */
static void check_contact(struct config_check *check, const struct yaml_node *root)
{
	char text[ZONE_CONTACT_BYTES];
	struct dns_name name;
	const char *contact = check->fabric->dns.contact;
	if (zone_contact(check->fabric->zone, contact, text) && dns_name_parse(text, &name) == 0)
		return;
	if (contact) {
		notes_error(check->notes, check_place(yaml_get(root, "dns"), "contact"),
			    "`%s` is no mailbox", contact);
		notes_advise(check->notes, "write hostmaster@example.net");
		return;
	}
	notes_error(check->notes, check_place(root, "zone"),
		    "the zone's name leaves no room for its contact, " ZONE_CONTACT
		    ".ZONE: that has at most %d characters",
		    ZONE_NAME_MAX);
	notes_advise(check->notes,
		     "name another by `dns: {contact: …}`, or a zone of at most %zu characters",
		     ZONE_NAME_MAX - sizeof(ZONE_CONTACT));
}

static size_t text_bytes(const struct zone_name *owner)
{
	size_t bytes = strlen(owner->name);
	for (size_t i = 0; i < owner->set_count; i++)
		for (size_t j = 0; j < owner->sets[i].value_count; j++)
			bytes += strlen(owner->sets[i].values[j]);
	return bytes;
}

void check_records(struct config_check *check, const struct yaml_node *root)
{
	const struct zone_settings *dns = &check->fabric->dns;
	const struct yaml_node *records = yaml_get(yaml_get(root, "dns"), "records");
	const struct yaml_node *node = records ? records->first : NULL;
	struct dns_name zone;
	size_t bytes = 0;
	check_contact(check, root);
	if (dns_name_parse(check->fabric->zone, &zone) < 0)
		return; /* its form was right, so it is one */
	for (size_t i = 0; node; node = node->next, i++) {
		const struct record_check at = {check, &dns->names[i], node, &zone};
		check_owner(&at);
		check_conflicts(&at);
		for (size_t j = 0; j < at.owner->set_count; j++)
			check_set(&at, &at.owner->sets[j]);
		check_alias(&at);
		bytes += text_bytes(at.owner);
	}
	if (bytes > ZONE_MAX_RECORD_BYTES) {
		notes_error(check->notes, records->key->span,
			    "the records are %zu bytes of text, and %u are possible", bytes,
			    ZONE_MAX_RECORD_BYTES);
		notes_advise(check->notes, "delegate a part of the names to a server of its own");
	}
}
