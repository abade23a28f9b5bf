/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file's top and what it says of the fabric itself: settings, name servers, pools, sites. The
 * services are read_service.c's.
 */
#include "config/read.h"

#include "base/text.h"
#include "model/fabric.h"
#include "yaml/form.h"

#define DEFAULT_QUIET_MS (3600ull * 1000)
#define DEFAULT_STALE_MS (24ull * 3600 * 1000)
#define DEFAULT_QUARANTINE_MS (7ull * 86400 * 1000)
#define DEFAULT_REPORT_INTERVAL_MS 1000u
#define DEFAULT_SITE_BITS_V6 4u /* IPv4 has no bits to give away: 0 */

#define MAX_SITE_BITS 8u /* four times MODEL_MAX_SITES: numbers of gone sites are kept */
#define MAX_CLIENTS 65536u /* prefixes per site */
#define MAX_SLOTS_PER_SERVICE (1u << 20)

/* --- settings --- */

static void read_quiet(struct form *form, const struct yaml_node *node, void *target)
{
	struct settings *settings = target;
	read_duration(form, node, 0, TEXT_MAX_DURATION_MS, &settings->quiet_ms);
}

static void read_stale(struct form *form, const struct yaml_node *node, void *target)
{
	struct settings *settings = target;
	read_duration(form, node, 0, TEXT_MAX_DURATION_MS, &settings->stale_ms);
}

static void read_quarantine(struct form *form, const struct yaml_node *node, void *target)
{
	struct settings *settings = target;
	read_duration(form, node, 0, TEXT_MAX_DURATION_MS, &settings->quarantine_ms);
}

static void read_report_interval(struct form *form, const struct yaml_node *node, void *target)
{
	struct settings *settings = target;
	read_duration(form, node, 100, 60000, &settings->report_interval_ms);
}

static void read_settings(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {
	    {.name = "quiet", .read = read_quiet},
	    {.name = "stale", .read = read_stale},
	    {.name = "quarantine", .read = read_quarantine},
	    {.name = "report_interval", .read = read_report_interval}};
	struct fabric *fabric = target;
	read_fields(form, node, "settings", FIELDS, COUNT(FIELDS), &fabric->settings);
}

/* --- name servers --- */

static void read_nameserver(struct form *form, const struct yaml_node *node, void *target)
{
	struct nameserver *nameserver = target;
	nameserver->name = form_copy_text(form, node->key);
	nameserver->addresses =
	    read_items(form, node, YAML_LIST, MODEL_MAX_NAMESERVER_ADDRESSES,
		       sizeof(struct ip_address), read_address, &nameserver->address_count);
}

static void read_nameservers(struct form *form, const struct yaml_node *node, void *target)
{
	struct fabric *fabric = target;
	fabric->nameservers =
	    read_items(form, node, YAML_MAP, MODEL_MAX_NAMESERVERS, sizeof(struct nameserver),
		       read_nameserver, &fabric->nameserver_count);
}

/* --- pools --- */

static void read_pool_prefix(struct form *form, const struct yaml_node *node, void *target)
{
	struct pool *pool = target;
	read_prefix(form, node, &pool->prefix);
}

static void read_site_bits(struct form *form, const struct yaml_node *node, void *target)
{
	struct pool *pool = target;
	uint32_t bits = 0;
	read_number(form, node, MAX_SITE_BITS, &bits);
	pool->site_bits = (uint8_t)bits;
}

static void read_slots_per_service(struct form *form, const struct yaml_node *node, void *target)
{
	struct pool *pool = target;
	read_number(form, node, MAX_SLOTS_PER_SERVICE, &pool->slots_per_service);
}

static void read_pool(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {
	    {.name = "prefix", .read = read_pool_prefix, .is_required = true},
	    {.name = "site_bits", .read = read_site_bits},
	    {.name = "slots_per_service", .read = read_slots_per_service}};
	struct pool *pool = target;
	read_fields(form, node, "a pool", FIELDS, COUNT(FIELDS), pool);
	if (pool->prefix.address.family == IP_V6 && !yaml_get(node, "site_bits"))
		pool->site_bits = DEFAULT_SITE_BITS_V6;
}

static void read_pools(struct form *form, const struct yaml_node *node, void *target)
{
	struct fabric *fabric = target;
	fabric->pools = read_items(form, node, YAML_LIST, MODEL_MAX_POOLS, sizeof(struct pool),
				   read_pool, &fabric->pool_count);
	form_expect_some(form, node);
}

/* --- sites --- */

static void read_location(struct form *form, const struct yaml_node *node, void *target)
{
	struct site *site = target;
	if (!form_expect(form, node, YAML_LIST))
		return;
	if (node->count != 2) {
		notes_error(form->notes, form_place(node),
			    "`location` must be two numbers, and has %zu", node->count);
		notes_advise(form->notes, "write [latitude, longitude] in degrees, such as "
					  "[50.11, 8.68]");
		return;
	}
	const struct yaml_node *latitude = node->first, *longitude = node->first->next;
	if (!form_expect(form, latitude, YAML_SCALAR) || !form_expect(form, longitude, YAML_SCALAR))
		return;
	const char *fault = text_parse_degrees(latitude->text, 90, &site->latitude);
	if (fault)
		form_note_value(form, latitude, "a latitude from -90 to 90 degrees", fault);
	fault = text_parse_degrees(longitude->text, 180, &site->longitude);
	if (fault)
		form_note_value(form, longitude, "a longitude from -180 to 180 degrees", fault);
	site->has_location = true;
}

static void read_clients(struct form *form, const struct yaml_node *node, void *target)
{
	struct site *site = target;
	site->clients = read_items(form, node, YAML_LIST, MAX_CLIENTS, sizeof(struct ip_prefix),
				   read_prefix, &site->client_count);
}

static void read_site(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {{.name = "location", .read = read_location},
						   {.name = "clients", .read = read_clients}};
	struct site *site = target;
	read_label(form, node->key, &site->name);
	if (!node->is_null) /* `fra:` alone is a site of which nothing is known */
		read_fields(form, node, "a site", FIELDS, COUNT(FIELDS), site);
}

static void read_sites(struct form *form, const struct yaml_node *node, void *target)
{
	struct fabric *fabric = target;
	fabric->sites = read_items(form, node, YAML_MAP, MODEL_MAX_SITES, sizeof(struct site),
				   read_site, &fabric->site_count);
	form_expect_some(form, node);
}

/* --- the fabric --- */

static void read_name(struct form *form, const struct yaml_node *node, void *target)
{
	struct fabric *fabric = target;
	read_label(form, node, &fabric->name);
}

static void read_zone(struct form *form, const struct yaml_node *node, void *target)
{
	struct fabric *fabric = target;
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	const char *fault = text_check_domain(node->text);
	if (fault)
		form_note_value(form, node, "a domain name", fault);
	else
		fabric->zone = form_copy_text(form, node);
}

void read_fabric(struct notes *notes, const struct yaml_node *root, struct arena *arena,
		 struct fabric *fabric)
{
	static const struct form_field FIELDS[] = {
	    {.name = "fabric", .read = read_name, .is_required = true},
	    {.name = "zone", .read = read_zone, .is_required = true},
	    {.name = "settings", .read = read_settings},
	    {.name = "nameservers", .read = read_nameservers},
	    {.name = "dns", .read = read_zone_settings},
	    {.name = "pools", .read = read_pools, .is_required = true},
	    {.name = "sites", .read = read_sites, .is_required = true},
	    {.name = "services", .read = read_services, .is_required = true}};
	struct form form = {.notes = notes, .arena = arena};
	*fabric = (struct fabric){.settings = {.quiet_ms = DEFAULT_QUIET_MS,
					       .stale_ms = DEFAULT_STALE_MS,
					       .quarantine_ms = DEFAULT_QUARANTINE_MS,
					       .report_interval_ms = DEFAULT_REPORT_INTERVAL_MS}};
	read_fields(&form, root, "the configuration", FIELDS, COUNT(FIELDS), fabric);
}
