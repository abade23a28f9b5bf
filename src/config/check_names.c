/* SPDX-License-Identifier: Apache-2.0 */
/* The names that the zone will have in DNS: each has to fit, and to mean one thing. */
#include "config/check.h"

#include "base/text.h"
#include "model/fabric.h"
#include "model/zone_name.h"

#include <string.h>

static size_t zone_length(const struct config_check *check)
{
	return strlen(check->fabric->zone);
}

/* The part of a full name before the zone, as a length; 0 when the name is not below the zone. */
static size_t below_zone(const struct config_check *check, const char *name, size_t length)
{
	size_t zone = zone_length(check);
	if (length < zone + 2 || name[length - zone - 1] != '.' ||
	    strncmp(name + length - zone, check->fabric->zone, zone) != 0)
		return 0;
	return length - zone - 1;
}

/* A name in the zone is one label; say so in the words that fit what was written. */
bool check_name_in_zone(struct config_check *check, const struct yaml_node *key)
{
	char full[ZONE_NAME_BYTES];
	const char *name = key->text, *fault = text_check_label(name);
	size_t length = strlen(name);
	if (length > 0 && name[length - 1] == '.')
		length--;
	size_t below = below_zone(check, name, length);
	if (below) {
		notes_error(check->notes, key->span, "`%s` already holds the zone", name);
		notes_advise(check->notes, "write just `%.*s`", (int)below, name);
	} else if (strchr(name, '.')) {
		notes_error(check->notes, key->span, "`%s` is outside the zone %s", name,
			    check->fabric->zone);
		notes_advise(check->notes, "write one label; `web` means web.%s",
			     check->fabric->zone);
	} else if (fault) {
		notes_error(check->notes, key->span, "`%s` is not a valid name", name);
		notes_advise(check->notes, "%s", fault);
	} else if (!zone_name(check->fabric->zone, name, full)) {
		notes_error(check->notes, key->span,
			    "`%s` and the zone together are longer than %d characters", name,
			    ZONE_NAME_MAX);
	} else {
		return true;
	}
	return false;
}

static void check_foreign_nameserver(struct config_check *check, const struct yaml_node *key,
				     const struct nameserver *nameserver)
{
	char domain[ZONE_NAME_BYTES];
	size_t length = strlen(nameserver->name) - 1;
	const char *fault = "a domain name has at most 253 characters";
	if (zone_name(check->fabric->zone, nameserver->name, domain))
		fault = text_check_domain(domain);
	if (fault) {
		notes_error(check->notes, key->span, "`%s` is not a domain name", key->text);
		notes_advise(check->notes, "%s", fault);
	} else if (below_zone(check, nameserver->name, length) ||
		   strcmp(domain, check->fabric->zone) == 0) {
		notes_error(check->notes, key->span, "`%s` is inside the zone", key->text);
		notes_advise(check->notes, "write a label without the zone, such as `ns1`");
	} else if (nameserver->address_count > 0) {
		notes_error(check->notes, key->span,
			    "`%s` is outside the zone, which cannot give its address", key->text);
		notes_advise(check->notes, "write `%s: []`", key->text);
	}
}

static void check_nameserver_addresses(struct config_check *check, const struct yaml_node *node,
				       const struct nameserver *nameserver)
{
	size_t i = 0;
	for (const struct yaml_node *item = node->first; item; item = item->next, i++) {
		const struct ip_address *address = &nameserver->addresses[i];
		if (check_pool_around(check, address))
			notes_error(check->notes, item->span,
				    "a name server's address must not lie in a pool");
		for (size_t j = 0; j < i; j++) {
			if (ip_address_equal(&nameserver->addresses[j], address)) {
				notes_error(check->notes, item->span, "%s is there twice",
					    item->text);
				break;
			}
		}
	}
}

void check_names(struct config_check *check, const struct yaml_node *root)
{
	const struct yaml_node *map = yaml_get(root, "nameservers");
	if (check->fabric->nameserver_count == 0) {
		notes_warning(check->notes, check_place(root, map ? "nameservers" : "zone"),
			      "the zone names no name server");
		notes_advise(check->notes,
			     "write `nameservers: {ns1: [ADDRESS]}`, as the parent zone "
			     "delegates it");
		return;
	}
	size_t i = 0;
	for (const struct yaml_node *node = map->first; node; node = node->next, i++) {
		const struct nameserver *nameserver = &check->fabric->nameservers[i];
		size_t length = strlen(nameserver->name);
		if (length > 0 && nameserver->name[length - 1] == '.') {
			check_foreign_nameserver(check, node->key, nameserver);
			continue;
		}
		if (check_name_in_zone(check, node->key) && nameserver->address_count == 0) {
			notes_error(check->notes, node->key->span,
				    "the name server `%s` has no address", nameserver->name);
			notes_advise(check->notes,
				     "write `%s: [192.0.2.53]`, or its full name "
				     "with a dot at the end if another zone has it",
				     nameserver->name);
		}
		check_nameserver_addresses(check, node, nameserver);
	}
}
