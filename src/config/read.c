/* SPDX-License-Identifier: Apache-2.0 */
#include "config/read.h"

#include "config/text.h"
#include "model/fabric.h"

#include <stdalign.h>
#include <string.h>

#define DEFAULT_QUIET_MS (3600ull * 1000)
#define DEFAULT_STALE_MS (24ull * 3600 * 1000)
#define DEFAULT_QUARANTINE_MS (7ull * 86400 * 1000)
#define DEFAULT_REPORT_INTERVAL_MS 1000u
#define DEFAULT_TTL_SECONDS 30u
#define DEFAULT_WEIGHT 10u
#define DEFAULT_PAUSE_MS 60000u
#define DEFAULT_PROBE_INTERVAL_MS 2000u
#define DEFAULT_FALL 3u
#define DEFAULT_RISE 2u
#define DEFAULT_SITE_BITS_V6 4u /* IPv4 has no bits to give away: 0 */

#define MAX_SITE_BITS 8u /* four times MODEL_MAX_SITES: numbers of gone sites are kept */
#define MAX_CLIENTS 65536u /* prefixes per site */
#define MAX_SLOTS_PER_SERVICE (1u << 20)
#define MAX_THRESHOLD 100u /* fall and rise */
#define MAX_TTL_MS (7ull * 86400 * 1000)
#define MAX_PATH 1024u

struct reader {
	struct report *report;
	struct arena *arena;
};

/* Reads one node into `target`, whose type each reader knows. */
typedef void read_fn(struct reader *reader, const struct yaml_node *node, void *target);

struct field {
	const char *name;
	read_fn *read;
	bool is_required;
	bool may_be_null;
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- shapes --- */

static void out_of_memory(struct reader *reader)
{
	reader->report->status = -ENOMEM;
}

/* Where to point for a node: nothing and nested blocks are best shown by their key. */
static struct span place(const struct yaml_node *node)
{
	bool use_key = node->key && (node->is_null || node->kind != YAML_SCALAR);
	return use_key ? node->key->span : node->span;
}

static const char *kind_name(const struct yaml_node *node)
{
	if (node->is_null)
		return "nothing";
	return node->kind == YAML_SCALAR ? "a single value"
	       : node->kind == YAML_LIST ? "a list"
					 : "a map";
}

static bool expect(struct reader *reader, const struct yaml_node *node, enum yaml_kind kind)
{
	static const char *const WANTED[] = {
	    [YAML_SCALAR] = "a single value", [YAML_LIST] = "a list", [YAML_MAP] = "a map"};
	static const char *const ADVICE[] = {
	    [YAML_SCALAR] = "write one value, without brackets or braces",
	    [YAML_LIST] = "write [a, b], or each item on a line of its own behind `- `",
	    [YAML_MAP] = "write {key: value}, or each key on an indented line of its own"};
	if (node->kind == kind && !node->is_null)
		return true;
	if (node->key)
		report_error(reader->report, place(node), "`%s` must be %s, and is %s",
			     node->key->text, WANTED[kind], kind_name(node));
	else
		report_error(reader->report, place(node), "%s belongs here, not %s", WANTED[kind],
			     kind_name(node));
	report_advise(reader->report, "%s", ADVICE[kind]);
	return false;
}

static const char *nearest_field(const char *name, const struct field *fields, size_t count)
{
	const char *nearest = NULL;
	size_t least = strlen(name) / 3 + 2; /* one slip in a short word, more in a long one */
	for (size_t i = 0; i < count; i++) {
		size_t distance = text_distance(name, fields[i].name);
		if (distance < least) {
			least = distance;
			nearest = fields[i].name;
		}
	}
	return nearest;
}

static void report_unknown(struct reader *reader, const struct yaml_node *key, const char *what,
			   const struct field *fields, size_t count)
{
	report_error(reader->report, key->span, "%s has no key `%s`", what, key->text);
	const char *nearest = nearest_field(key->text, fields, count);
	if (nearest) {
		report_advise(reader->report, "did you mean `%s`?", nearest);
		return;
	}
	struct buffer names;
	buffer_init(&names, 0);
	for (size_t i = 0; i < count; i++)
		buffer_printf(&names, "%s%s", i ? ", " : "", fields[i].name);
	report_advise(reader->report, "its keys are: %s", names.data ? names.data : "");
	buffer_done(&names);
}

/* Read a map with known keys; `what` names it with its article. */
static void read_fields(struct reader *reader, const struct yaml_node *node, const char *what,
			const struct field *fields, size_t count, void *target)
{
	if (!expect(reader, node, YAML_MAP))
		return;
	for (const struct yaml_node *value = node->first; value; value = value->next) {
		size_t i = 0;
		while (i < count && strcmp(fields[i].name, value->key->text) != 0)
			i++;
		if (i == count) {
			report_unknown(reader, value->key, what, fields, count);
		} else if (value->is_null && !fields[i].may_be_null) {
			report_error(reader->report, value->key->span, "`%s` has no value",
				     value->key->text);
			report_advise(reader->report, "write a value, or remove the key");
		} else {
			fields[i].read(reader, value, target);
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (!fields[i].is_required || yaml_get(node, fields[i].name))
			continue;
		report_error(reader->report, place(node), "%s needs the key `%s`", what,
			     fields[i].name);
	}
}

/* Read every item of a list or map of at most `max` into a new array of `size`-byte items. NULL
 * when that failed or there is none. */
static void *read_items(struct reader *reader, const struct yaml_node *node, enum yaml_kind kind,
			size_t max, size_t size, read_fn *read, size_t *ret_count)
{
	if (!expect(reader, node, kind))
		return NULL;
	if (node->count > max) {
		report_error(reader->report, place(node), "%zu items, and at most %zu are possible",
			     node->count, max);
		return NULL;
	}
	if (node->count == 0)
		return NULL;
	char *items = arena_array(reader->arena, node->count, size);
	if (!items) {
		out_of_memory(reader);
		return NULL;
	}
	size_t i = 0;
	for (const struct yaml_node *item = node->first; item; item = item->next)
		read(reader, item, items + size * i++);
	*ret_count = node->count;
	return items;
}

/* The same into storage of the caller, for arrays of fixed size. */
static size_t read_items_into(struct reader *reader, const struct yaml_node *node, size_t max,
			      size_t size, read_fn *read, void *target)
{
	size_t count = 0;
	const void *items = read_items(reader, node, YAML_LIST, max, size, read, &count);
	if (!items)
		return 0;
	memcpy(target, items, count * size);
	return count;
}

static void expect_some(struct reader *reader, const struct yaml_node *node)
{
	if (node->kind == YAML_SCALAR || node->count > 0)
		return;
	report_error(reader->report, place(node), "`%s` is empty", node->key->text);
	report_advise(reader->report, "it needs at least one entry");
}

/* --- single values --- */

static void report_value(struct reader *reader, const struct yaml_node *node, const char *what,
			 const char *fault)
{
	report_error(reader->report, node->span, "`%s` is not %s", node->text, what);
	report_advise(reader->report, "%s", fault);
}

static const char *copy_text(struct reader *reader, const struct yaml_node *node)
{
	const char *copy = arena_strdup(reader->arena, node->text);
	if (!copy)
		out_of_memory(reader);
	return copy;
}

static void read_label(struct reader *reader, const struct yaml_node *node, const char **target)
{
	if (!expect(reader, node, YAML_SCALAR))
		return;
	const char *fault = text_check_label(node->text);
	if (fault)
		report_value(reader, node, "a valid name", fault);
	else
		*target = copy_text(reader, node);
}

static void read_number(struct reader *reader, const struct yaml_node *node, uint32_t max,
			uint32_t *target)
{
	if (!expect(reader, node, YAML_SCALAR))
		return;
	const char *fault = text_parse_number(node->text, max, target);
	if (node->is_plain && !fault)
		return;
	report_error(reader->report, node->span, "`%s` must be a whole number from 0 to %u",
		     node->key->text, max);
	report_advise(reader->report, "%s", fault ? fault : "write it without quotes");
}

static void read_duration(struct reader *reader, const struct yaml_node *node, uint64_t min_ms,
			  uint64_t max_ms, uint64_t *target)
{
	if (!expect(reader, node, YAML_SCALAR))
		return;
	uint64_t ms;
	const char *fault = text_parse_duration(node->text, &ms);
	if (fault) {
		report_value(reader, node, "a duration", fault);
		return;
	}
	if (ms < min_ms || ms > max_ms) {
		char min[TEXT_BYTES], max[TEXT_BYTES];
		report_error(reader->report, node->span, "`%s` must be from %s to %s",
			     node->key->text, text_format_duration(min_ms, min),
			     text_format_duration(max_ms, max));
		return;
	}
	*target = ms;
}

static void read_address(struct reader *reader, const struct yaml_node *node, void *target)
{
	if (!expect(reader, node, YAML_SCALAR))
		return;
	struct ip_address *address = target;
	if (ip_address_parse(node->text, address) < 0) {
		report_value(reader, node, "an IP address",
			     strchr(node->text, '/')
				 ? "write one address here, without a prefix length"
				 : "write an address such as 192.0.2.1 or \"2001:db8::1\"");
		return;
	}
	const char *fault = text_check_unicast(address);
	if (fault) {
		report_error(reader->report, node->span, "`%s` cannot be used here", node->text);
		report_advise(reader->report, "%s", fault);
	}
}

/* Say which prefix was meant when only the host bits are wrong. */
static void report_prefix(struct reader *reader, const struct yaml_node *node)
{
	char address_text[IP_TEXT_BYTES];
	struct ip_prefix prefix;
	size_t slash = strcspn(node->text, "/");
	uint32_t length;
	report_error(reader->report, node->span, "`%s` is not a prefix", node->text);
	if (slash < sizeof(address_text)) {
		memcpy(address_text, node->text, slash);
		address_text[slash] = '\0';
		if (node->text[slash] && ip_address_parse(address_text, &prefix.address) == 0 &&
		    !text_parse_number(node->text + slash + 1,
				       ip_family_bits(prefix.address.family), &length)) {
			prefix.length = (uint8_t)length;
			ip_address_mask(&prefix.address, length);
			report_advise(reader->report,
				      "its bits behind the first %u must be zero; did you mean %s?",
				      length, ip_prefix_format(&prefix, address_text));
			return;
		}
	}
	report_advise(reader->report,
		      "write an address and a length, such as 192.0.2.0/24 or \"2001:db8::/32\"");
}

static void read_prefix(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct ip_prefix *prefix = target;
	if (expect(reader, node, YAML_SCALAR) && ip_prefix_parse(node->text, prefix) < 0)
		report_prefix(reader, node);
}

/* --- settings --- */

static void read_quiet(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct settings *settings = target;
	read_duration(reader, node, 0, TEXT_MAX_DURATION_MS, &settings->quiet_ms);
}

static void read_stale(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct settings *settings = target;
	read_duration(reader, node, 0, TEXT_MAX_DURATION_MS, &settings->stale_ms);
}

static void read_quarantine(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct settings *settings = target;
	read_duration(reader, node, 0, TEXT_MAX_DURATION_MS, &settings->quarantine_ms);
}

static void read_report_interval(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct settings *settings = target;
	read_duration(reader, node, 100, 60000, &settings->report_interval_ms);
}

static void read_settings(struct reader *reader, const struct yaml_node *node, void *target)
{
	static const struct field FIELDS[] = {
	    {.name = "quiet", .read = read_quiet},
	    {.name = "stale", .read = read_stale},
	    {.name = "quarantine", .read = read_quarantine},
	    {.name = "report_interval", .read = read_report_interval}};
	struct fabric *fabric = target;
	read_fields(reader, node, "settings", FIELDS, COUNT(FIELDS), &fabric->settings);
}

/* --- name servers --- */

static void read_nameserver(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct nameserver *nameserver = target;
	nameserver->name = copy_text(reader, node->key);
	nameserver->addresses =
	    read_items(reader, node, YAML_LIST, MODEL_MAX_NAMESERVER_ADDRESSES,
		       sizeof(struct ip_address), read_address, &nameserver->address_count);
}

static void read_nameservers(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct fabric *fabric = target;
	fabric->nameservers =
	    read_items(reader, node, YAML_MAP, MODEL_MAX_NAMESERVERS, sizeof(struct nameserver),
		       read_nameserver, &fabric->nameserver_count);
}

/* --- pools --- */

static void read_pool_prefix(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct pool *pool = target;
	read_prefix(reader, node, &pool->prefix);
}

static void read_site_bits(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct pool *pool = target;
	uint32_t bits = 0;
	read_number(reader, node, MAX_SITE_BITS, &bits);
	pool->site_bits = (uint8_t)bits;
}

static void read_slots_per_service(struct reader *reader, const struct yaml_node *node,
				   void *target)
{
	struct pool *pool = target;
	read_number(reader, node, MAX_SLOTS_PER_SERVICE, &pool->slots_per_service);
}

static void read_pool(struct reader *reader, const struct yaml_node *node, void *target)
{
	static const struct field FIELDS[] = {
	    {.name = "prefix", .read = read_pool_prefix, .is_required = true},
	    {.name = "site_bits", .read = read_site_bits},
	    {.name = "slots_per_service", .read = read_slots_per_service}};
	struct pool *pool = target;
	read_fields(reader, node, "a pool", FIELDS, COUNT(FIELDS), pool);
	if (pool->prefix.address.family == IP_V6 && !yaml_get(node, "site_bits"))
		pool->site_bits = DEFAULT_SITE_BITS_V6;
}

static void read_pools(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct fabric *fabric = target;
	fabric->pools = read_items(reader, node, YAML_LIST, MODEL_MAX_POOLS, sizeof(struct pool),
				   read_pool, &fabric->pool_count);
	expect_some(reader, node);
}

/* --- sites --- */

static void read_location(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct site *site = target;
	if (!expect(reader, node, YAML_LIST))
		return;
	if (node->count != 2) {
		report_error(reader->report, place(node),
			     "`location` must be two numbers, and has %zu", node->count);
		report_advise(reader->report, "write [latitude, longitude] in degrees, such as "
					      "[50.11, 8.68]");
		return;
	}
	const struct yaml_node *latitude = node->first, *longitude = node->first->next;
	if (!expect(reader, latitude, YAML_SCALAR) || !expect(reader, longitude, YAML_SCALAR))
		return;
	const char *fault = text_parse_degrees(latitude->text, 90, &site->latitude);
	if (fault)
		report_value(reader, latitude, "a latitude from -90 to 90 degrees", fault);
	fault = text_parse_degrees(longitude->text, 180, &site->longitude);
	if (fault)
		report_value(reader, longitude, "a longitude from -180 to 180 degrees", fault);
	site->has_location = true;
}

static void read_clients(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct site *site = target;
	site->clients = read_items(reader, node, YAML_LIST, MAX_CLIENTS, sizeof(struct ip_prefix),
				   read_prefix, &site->client_count);
}

static void read_site(struct reader *reader, const struct yaml_node *node, void *target)
{
	static const struct field FIELDS[] = {{.name = "location", .read = read_location},
					      {.name = "clients", .read = read_clients}};
	struct site *site = target;
	read_label(reader, node->key, &site->name);
	if (!node->is_null) /* `fra:` alone is a site of which nothing is known */
		read_fields(reader, node, "a site", FIELDS, COUNT(FIELDS), site);
}

static void read_sites(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct fabric *fabric = target;
	fabric->sites = read_items(reader, node, YAML_MAP, MODEL_MAX_SITES, sizeof(struct site),
				   read_site, &fabric->site_count);
	expect_some(reader, node);
}

/* --- backends --- */

static void read_backend_name(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct backend *backend = target;
	read_label(reader, node, &backend->name);
}

static void read_backend_site(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct backend *backend = target;
	read_label(reader, node, &backend->site);
}

static void read_backend_address(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct backend *backend = target;
	read_address(reader, node, &backend->address);
}

static void read_weight(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct backend *backend = target;
	read_number(reader, node, MODEL_MAX_WEIGHT, &backend->weight);
}

/* One endpoint; `listener` already knows which port it is for. */
static void read_endpoint(struct reader *reader, const struct yaml_node *node,
			  struct backend_listener *listener)
{
	if (!expect(reader, node, YAML_SCALAR))
		return;
	const char *fault = text_parse_endpoint(node->text, &listener->address, &listener->port);
	if (fault) {
		report_value(reader, node, "a place to listen", fault);
		return;
	}
	static const uint8_t zeros[16];
	if (listener->address.family != IP_NONE &&
	    memcmp(listener->address.bytes, zeros, sizeof(zeros)) == 0)
		report_value(reader, node, "a place to listen",
			     "for any address of either family, write \":PORT\"");
}

/* The endpoints of one port: a single one, or one of each family. */
static void read_listener(struct reader *reader, const struct yaml_node *node,
			  struct backend_listener *listeners)
{
	struct service_port port;
	const char *fault = text_parse_port(node->key->text, &port);
	if (!fault && port.first != port.last)
		fault = "listen takes one port at a time";
	if (fault) {
		report_value(reader, node->key, "a port", fault);
		return;
	}
	struct backend_listener listener = {.protocol = port.protocol, .service_port = port.first};
	if (node->kind != YAML_LIST) {
		*listeners = listener;
		read_endpoint(reader, node, listeners);
		return;
	}
	expect_some(reader, node);
	for (const struct yaml_node *item = node->first; item; item = item->next) {
		*listeners = listener;
		read_endpoint(reader, item, listeners++);
	}
}

static void read_listen(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct backend *backend = target;
	if (!expect(reader, node, YAML_MAP))
		return;
	size_t count = 0;
	for (const struct yaml_node *value = node->first; value; value = value->next)
		count += value->kind == YAML_LIST ? value->count : 1;
	if (count > MODEL_MAX_LISTENERS) {
		report_error(reader->report, place(node),
			     "%zu listeners, and at most %u are possible", count,
			     MODEL_MAX_LISTENERS);
		return;
	}
	if (count == 0) {
		expect_some(reader, node);
		return;
	}
	backend->listeners = arena_array(reader->arena, count, sizeof(*backend->listeners));
	if (!backend->listeners) {
		out_of_memory(reader);
		return;
	}
	for (const struct yaml_node *value = node->first; value; value = value->next) {
		read_listener(reader, value, backend->listeners + backend->listener_count);
		backend->listener_count += value->kind == YAML_LIST ? value->count : 1;
	}
}

static void read_backend(struct reader *reader, const struct yaml_node *node, void *target)
{
	static const struct field FIELDS[] = {
	    {.name = "name", .read = read_backend_name, .is_required = true},
	    {.name = "site", .read = read_backend_site, .is_required = true},
	    {.name = "address", .read = read_backend_address, .is_required = true},
	    {.name = "weight", .read = read_weight},
	    {.name = "listen", .read = read_listen}};
	struct backend *backend = target;
	backend->weight = DEFAULT_WEIGHT;
	read_fields(reader, node, "a backend", FIELDS, COUNT(FIELDS), backend);
}

static void read_backends(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	service->backends =
	    read_items(reader, node, YAML_LIST, MODEL_MAX_BACKENDS, sizeof(struct backend),
		       read_backend, &service->backend_count);
	expect_some(reader, node);
}

/* --- rollout --- */

static void read_share(struct reader *reader, const struct yaml_node *node, void *target)
{
	if (!expect(reader, node, YAML_SCALAR))
		return;
	const char *fault = text_parse_share(node->text, target);
	if (fault)
		report_value(reader, node, "a share of the clients", fault);
}

static void read_shares(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct rollout_policy *rollout = target;
	rollout->share_count = read_items_into(reader, node, MODEL_MAX_SHARES, sizeof(uint32_t),
					       read_share, rollout->shares);
	expect_some(reader, node);
}

static void read_pause(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct rollout_policy *rollout = target;
	read_duration(reader, node, 0, TEXT_MAX_DURATION_MS, &rollout->pause_ms);
}

static void read_rollout(struct reader *reader, const struct yaml_node *node, void *target)
{
	static const struct field FIELDS[] = {{.name = "shares", .read = read_shares},
					      {.name = "pause", .read = read_pause}};
	struct service *service = target;
	read_fields(reader, node, "a rollout", FIELDS, COUNT(FIELDS), &service->rollout);
}

/* --- health --- */

static void read_probe_port(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct health_check *health = target;
	uint32_t port = 0;
	size_t errors = reader->report->findings->errors;
	read_number(reader, node, UINT16_MAX, &port);
	if (port == 0 && reader->report->findings->errors == errors)
		report_value(reader, node, "a port", "ports are numbers from 1 to 65535");
	health->port = (uint16_t)port;
}

static void read_probe_path(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct health_check *health = target;
	if (!expect(reader, node, YAML_SCALAR))
		return;
	if (node->text[0] != '/' || strchr(node->text, ' ') || strlen(node->text) > MAX_PATH)
		report_value(reader, node, "a path",
			     "a path begins with a slash and holds no space, such as /healthz");
	else
		health->path = copy_text(reader, node);
}

static void read_http(struct reader *reader, const struct yaml_node *node, void *target)
{
	static const struct field FIELDS[] = {
	    {.name = "port", .read = read_probe_port, .is_required = true},
	    {.name = "path", .read = read_probe_path}};
	struct health_check *health = target;
	health->kind = HEALTH_HTTP;
	health->path = "/";
	read_fields(reader, node, "an http probe", FIELDS, COUNT(FIELDS), health);
}

static void read_tcp(struct reader *reader, const struct yaml_node *node, void *target)
{
	static const struct field FIELDS[] = {
	    {.name = "port", .read = read_probe_port, .is_required = true}};
	struct health_check *health = target;
	health->kind = HEALTH_TCP;
	read_fields(reader, node, "a tcp probe", FIELDS, COUNT(FIELDS), health);
}

static void read_interval(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct health_check *health = target;
	read_duration(reader, node, 100, 3600000, &health->interval_ms);
}

static void read_threshold(struct reader *reader, const struct yaml_node *node, uint32_t *target)
{
	size_t errors = reader->report->findings->errors;
	read_number(reader, node, MAX_THRESHOLD, target);
	if (*target == 0 && reader->report->findings->errors == errors)
		report_error(reader->report, node->span, "`%s` must be at least 1",
			     node->key->text);
}

static void read_fall(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct health_check *health = target;
	read_threshold(reader, node, &health->fall);
}

static void read_rise(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct health_check *health = target;
	read_threshold(reader, node, &health->rise);
}

static void read_health(struct reader *reader, const struct yaml_node *node, void *target)
{
	static const struct field FIELDS[] = {{.name = "http", .read = read_http},
					      {.name = "tcp", .read = read_tcp},
					      {.name = "interval", .read = read_interval},
					      {.name = "fall", .read = read_fall},
					      {.name = "rise", .read = read_rise}};
	struct service *service = target;
	service->health = (struct health_check){
	    .interval_ms = DEFAULT_PROBE_INTERVAL_MS, .fall = DEFAULT_FALL, .rise = DEFAULT_RISE};
	read_fields(reader, node, "a health check", FIELDS, COUNT(FIELDS), &service->health);
	if (node->kind != YAML_MAP)
		return;
	if (!yaml_get(node, "http") == !yaml_get(node, "tcp")) {
		report_error(reader->report, place(node), "`health` needs one of `http` and `tcp`");
		report_advise(reader->report, "such as {http: {port: 80, path: /healthz}}");
		return;
	}
	report_warning(reader->report, place(node),
		       "health checks are kept but not run yet: every backend counts as healthy");
	report_advise(reader->report, "until they are, take a broken backend out by `weight: 0` or "
				      "by removing it");
}

/* --- services --- */

static void read_port(struct reader *reader, const struct yaml_node *node, void *target)
{
	if (!expect(reader, node, YAML_SCALAR))
		return;
	const char *fault = text_parse_port(node->text, target);
	if (fault)
		report_value(reader, node, "a port", fault);
}

static void read_ports(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	service->port_count = read_items_into(
	    reader, node, MODEL_MAX_PORTS, sizeof(struct service_port), read_port, service->ports);
	expect_some(reader, node);
}

static void read_ttl(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	uint64_t ms = 0;
	read_duration(reader, node, 1000, MAX_TTL_MS, &ms);
	if (ms % 1000 != 0)
		report_value(reader, node, "a whole number of seconds",
			     "DNS counts a TTL in seconds");
	service->ttl_seconds = (uint32_t)(ms / 1000);
}

static void read_drain_limit(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	read_duration(reader, node, 1000, TEXT_MAX_DURATION_MS, &service->drain_limit_ms);
}

static void read_service(struct reader *reader, const struct yaml_node *node, void *target)
{
	static const struct field FIELDS[] = {
	    {.name = "ports", .read = read_ports, .is_required = true},
	    {.name = "ttl", .read = read_ttl},
	    {.name = "health", .read = read_health},
	    {.name = "rollout", .read = read_rollout},
	    {.name = "drain_limit", .read = read_drain_limit},
	    {.name = "backends", .read = read_backends, .is_required = true}};
	struct service *service = target;
	service->name = copy_text(reader, node->key); /* check.c knows the zone, and judges it */
	service->ttl_seconds = DEFAULT_TTL_SECONDS;
	service->rollout = (struct rollout_policy){
	    .shares = {SHARE_WHOLE}, .share_count = 1, .pause_ms = DEFAULT_PAUSE_MS};
	read_fields(reader, node, "a service", FIELDS, COUNT(FIELDS), service);
}

static void read_services(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct fabric *fabric = target;
	fabric->services = read_items(reader, node, YAML_MAP, MODEL_MAX_SERVICES,
				      sizeof(struct service), read_service, &fabric->service_count);
}

/* --- the fabric --- */

static void read_name(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct fabric *fabric = target;
	read_label(reader, node, &fabric->name);
}

static void read_zone(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct fabric *fabric = target;
	if (!expect(reader, node, YAML_SCALAR))
		return;
	const char *fault = text_check_domain(node->text);
	if (fault)
		report_value(reader, node, "a domain name", fault);
	else
		fabric->zone = copy_text(reader, node);
}

void read_fabric(struct report *report, const struct yaml_node *root, struct arena *arena,
		 struct fabric *fabric)
{
	static const struct field FIELDS[] = {
	    {.name = "fabric", .read = read_name, .is_required = true},
	    {.name = "zone", .read = read_zone, .is_required = true},
	    {.name = "settings", .read = read_settings},
	    {.name = "nameservers", .read = read_nameservers},
	    {.name = "pools", .read = read_pools, .is_required = true},
	    {.name = "sites", .read = read_sites, .is_required = true},
	    {.name = "services", .read = read_services}};
	struct reader reader = {.report = report, .arena = arena};
	*fabric = (struct fabric){.settings = {.quiet_ms = DEFAULT_QUIET_MS,
					       .stale_ms = DEFAULT_STALE_MS,
					       .quarantine_ms = DEFAULT_QUARANTINE_MS,
					       .report_interval_ms = DEFAULT_REPORT_INTERVAL_MS}};
	read_fields(&reader, root, "the configuration", FIELDS, COUNT(FIELDS), fabric);
}
