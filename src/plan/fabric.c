/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between two fabrics apart from their services: names, settings, name servers, pools,
 * sites.
 */
#include "plan/details.h"

#include "base/error.h"
#include "base/text.h"
#include "model/fabric.h"
#include "model/zone_name.h"

#include <stdio.h>
#include <string.h>

static void compare_settings(struct plan_details *details, const struct settings *before,
			     const struct settings *after)
{
	plan_note_duration(details, "settings", "quiet", before->quiet_ms, after->quiet_ms);
	plan_note_duration(details, "settings", "stale", before->stale_ms, after->stale_ms);
	plan_note_duration(details, "settings", "quarantine", before->quarantine_ms,
			   after->quarantine_ms);
	plan_note_duration(details, "settings", "report_interval", before->report_interval_ms,
			   after->report_interval_ms);
}

static const char *addresses_text(struct plan_details *details, const struct nameserver *nameserver)
{
	struct buffer text;
	char address[IP_TEXT_BYTES];
	buffer_init(&text, 0);
	for (size_t i = 0; i < nameserver->address_count; i++)
		buffer_printf(&text, "%s%s", i ? ", " : "",
			      ip_address_format(&nameserver->addresses[i], address));
	return plan_keep_buffer(details, &text);
}

static const struct nameserver *find_nameserver(const struct fabric *fabric, const char *name)
{
	for (size_t i = 0; i < fabric->nameserver_count; i++)
		if (strcmp(fabric->nameservers[i].name, name) == 0)
			return &fabric->nameservers[i];
	return NULL;
}

static void compare_nameservers(struct plan_details *details, const struct fabric *before,
				const struct fabric *after)
{
	for (size_t i = 0; i < after->nameserver_count; i++) {
		const struct nameserver *now = &after->nameservers[i];
		const struct nameserver *was = find_nameserver(before, now->name);
		const char *addresses = addresses_text(details, now);
		if (was)
			plan_note_change(details, "nameserver", now->name, "addresses",
					 addresses_text(details, was), addresses);
		else
			plan_note_added(details, "nameserver", now->name, addresses);
	}
	for (size_t i = 0; i < before->nameserver_count; i++) {
		const struct nameserver *was = &before->nameservers[i];
		if (!find_nameserver(after, was->name))
			plan_note_removed(details, "nameserver", was->name,
					  addresses_text(details, was));
	}
}

/* --- the zone --- */

static const char *values_text(struct plan_details *details, const struct zone_set *set,
			       uint32_t ttl_s)
{
	struct buffer text;
	char ttl[TEXT_BYTES];
	buffer_init(&text, 0);
	for (size_t i = 0; i < set->value_count; i++)
		buffer_printf(&text, "%s%s", i ? "; " : "", set->values[i]);
	if (ttl_s)
		buffer_printf(&text, " (ttl %s)", text_format_duration(ttl_s * 1000ull, ttl));
	return plan_keep_buffer(details, &text);
}

static const char *set_name(struct plan_details *details, const struct zone_name *owner,
			    const struct zone_set *set)
{
	struct buffer text;
	buffer_init(&text, 0);
	buffer_printf(&text, "%s %s", owner->name, zone_record_rows[set->type].key);
	return plan_keep_buffer(details, &text);
}

static void compare_records(struct plan_details *details, const struct zone_settings *before,
			    const struct zone_settings *after)
{
	uint32_t ttl_s;
	for (size_t i = 0; i < after->name_count; i++) {
		const struct zone_name *owner = &after->names[i];
		for (size_t j = 0; j < owner->set_count; j++) {
			const struct zone_set *now = &owner->sets[j];
			const struct zone_set *was =
			    zone_find_set(before, owner->name, now->type, &ttl_s);
			const char *name = set_name(details, owner, now);
			const char *values = values_text(details, now, owner->ttl_s);
			if (was)
				plan_note_change(details, "record", name, NULL,
						 values_text(details, was, ttl_s), values);
			else
				plan_note_added(details, "record", name, values);
		}
	}
	for (size_t i = 0; i < before->name_count; i++) {
		const struct zone_name *owner = &before->names[i];
		for (size_t j = 0; j < owner->set_count; j++)
			if (!zone_find_set(after, owner->name, owner->sets[j].type, &ttl_s))
				plan_note_removed(
				    details, "record", set_name(details, owner, &owner->sets[j]),
				    values_text(details, &owner->sets[j], owner->ttl_s));
	}
}

static const char *rate_text(uint32_t rate, char *text)
{
	if (rate == ZONE_RATE_NONE)
		return "none";
	snprintf(text, TEXT_BYTES, "%u", rate ? rate : ZONE_DEFAULT_RATE);
	return text;
}

static uint64_t ttl_ms(uint32_t own_s, uint32_t default_s)
{
	return (own_s ? own_s : default_s) * 1000ull;
}

static void compare_zone_settings(struct plan_details *details, const struct zone_settings *before,
				  const struct zone_settings *after)
{
	char was[TEXT_BYTES], now[TEXT_BYTES];
	plan_note_change(details, "dns", NULL, "contact",
			 before->contact ? before->contact : ZONE_CONTACT,
			 after->contact ? after->contact : ZONE_CONTACT);
	plan_note_duration(details, "dns", "ttl", ttl_ms(before->ttl_s, ZONE_DEFAULT_TTL_S),
			   ttl_ms(after->ttl_s, ZONE_DEFAULT_TTL_S));
	plan_note_duration(details, "dns", "negative_ttl",
			   ttl_ms(before->negative_ttl_s, ZONE_DEFAULT_NEGATIVE_TTL_S),
			   ttl_ms(after->negative_ttl_s, ZONE_DEFAULT_NEGATIVE_TTL_S));
	plan_note_change(details, "dns", NULL, "rate_limit", rate_text(before->rate, was),
			 rate_text(after->rate, now));
	compare_records(details, before, after);
}

/* --- pools and sites --- */

static const struct pool *find_pool(const struct fabric *fabric, const struct pool *wanted)
{
	for (size_t i = 0; i < fabric->pool_count; i++)
		if (ip_prefix_equal(&fabric->pools[i].prefix, &wanted->prefix))
			return &fabric->pools[i];
	return NULL;
}

static const char *pool_text(struct plan_details *details, const struct pool *pool)
{
	struct buffer text;
	ASSERT(pool);
	buffer_init(&text, 0);
	buffer_printf(&text, "site_bits %u", pool->site_bits);
	if (pool->slots_per_service)
		buffer_printf(&text, ", slots_per_service %u", pool->slots_per_service);
	return plan_keep_buffer(details, &text);
}

/* The pool that new versions take their addresses from: the first of its family. */
static const struct pool *first_pool(const struct fabric *fabric, enum ip_family family)
{
	for (size_t i = 0; i < fabric->pool_count; i++)
		if (fabric->pools[i].prefix.address.family == family)
			return &fabric->pools[i];
	return NULL;
}

static void compare_first_pools(struct plan_details *details, const struct fabric *before,
				const struct fabric *after)
{
	static const struct {
		enum ip_family family;
		const char *name;
	} FAMILIES[] = {{IP_V4, "first of IPv4"}, {IP_V6, "first of IPv6"}};
	for (size_t i = 0; i < 2; i++) {
		char was_text[IP_TEXT_BYTES], now_text[IP_TEXT_BYTES];
		const struct pool *was = first_pool(before, FAMILIES[i].family);
		const struct pool *now = first_pool(after, FAMILIES[i].family);
		/* Where either pool is new or gone, that is said already. */
		if (was && now && find_pool(after, was) && find_pool(before, now))
			plan_note_change(details, "pools", NULL, FAMILIES[i].name,
					 ip_prefix_format(&was->prefix, was_text),
					 ip_prefix_format(&now->prefix, now_text));
	}
}

static void compare_pools(struct plan_details *details, const struct fabric *before,
			  const struct fabric *after)
{
	char prefix[IP_TEXT_BYTES];
	for (size_t i = 0; i < after->pool_count; i++) {
		const struct pool *now = &after->pools[i];
		const struct pool *was = find_pool(before, now);
		const char *name = plan_keep(details, ip_prefix_format(&now->prefix, prefix));
		if (!was) {
			plan_note_added(details, "pool", name, pool_text(details, now));
			continue;
		}
		plan_note_number(details, "pool", name, "site_bits", was->site_bits,
				 now->site_bits);
		plan_note_number(details, "pool", name, "slots_per_service", was->slots_per_service,
				 now->slots_per_service);
	}
	for (size_t i = 0; i < before->pool_count; i++) {
		const struct pool *was = &before->pools[i];
		if (!find_pool(after, was))
			plan_note_removed(details, "pool", ip_prefix_format(&was->prefix, prefix),
					  pool_text(details, was));
	}
	compare_first_pools(details, before, after);
}

#define LOCATION_BYTES ((size_t)2 * TEXT_BYTES)

/* `text` holds LOCATION_BYTES. */
static const char *location_text(const struct site *site, char *text)
{
	char latitude[TEXT_BYTES], longitude[TEXT_BYTES];
	if (!site->has_location)
		return "none";
	snprintf(text, LOCATION_BYTES, "%.60s, %.60s",
		 text_format_degrees(site->latitude, latitude),
		 text_format_degrees(site->longitude, longitude));
	return text;
}

static bool has_client(const struct site *site, const struct ip_prefix *client)
{
	for (size_t i = 0; i < site->client_count; i++)
		if (ip_prefix_equal(&site->clients[i], client))
			return true;
	return false;
}

static size_t count_missing(const struct site *in, const struct site *from)
{
	size_t count = 0;
	for (size_t i = 0; i < from->client_count; i++)
		count += !has_client(in, &from->clients[i]);
	return count;
}

static void compare_site(struct plan_details *details, const struct site *was,
			 const struct site *now)
{
	char before[LOCATION_BYTES], after[LOCATION_BYTES];
	plan_note_change(details, "site", now->name, "location", location_text(was, before),
			 location_text(now, after));
	size_t added = count_missing(was, now), removed = count_missing(now, was);
	if (added || removed) {
		snprintf(before, sizeof(before), "%zu", was->client_count);
		snprintf(after, sizeof(after), "%zu (%zu added, %zu removed)", now->client_count,
			 added, removed);
		plan_note_change(details, "site", now->name, "clients", before, after);
	}
}

static void compare_sites(struct plan_details *details, const struct fabric *before,
			  const struct fabric *after)
{
	for (size_t i = 0; i < after->site_count; i++) {
		const struct site *was = fabric_site(before, after->sites[i].name);
		if (was)
			compare_site(details, was, &after->sites[i]);
		else
			plan_note_added(details, "site", after->sites[i].name, NULL);
	}
	for (size_t i = 0; i < before->site_count; i++)
		if (!fabric_site(after, before->sites[i].name))
			plan_note_removed(details, "site", before->sites[i].name, NULL);
}

void plan_compare_fabrics(struct plan_details *details, const struct fabric *before,
			  const struct fabric *after)
{
	plan_note_change(details, "fabric", NULL, NULL, before->name, after->name);
	plan_note_change(details, "zone", NULL, NULL, before->zone, after->zone);
	compare_settings(details, &before->settings, &after->settings);
	compare_nameservers(details, before, after);
	compare_zone_settings(details, &before->dns, &after->dns);
	compare_pools(details, before, after);
	compare_sites(details, before, after);
}

void plan_list_fabric(struct plan_details *details, const struct fabric *fabric)
{
	static const struct fabric NOTHING;
	plan_note_added(details, "fabric", fabric->name, NULL);
	plan_note_added(details, "zone", fabric->zone, NULL);
	compare_nameservers(details, &NOTHING, fabric);
	compare_zone_settings(details, &NOTHING.dns, &fabric->dns);
	compare_pools(details, &NOTHING, fabric);
	compare_sites(details, &NOTHING, fabric);
}
