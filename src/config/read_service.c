/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the file below `services`: ports, backends and where they listen, health, roll-out.
 */
#include "config/read.h"
#include "yaml/form.h"

#include "base/text.h"
#include "config/port.h"
#include "model/fabric.h"

#include <string.h>

#define DEFAULT_TTL_SECONDS 30u
#define DEFAULT_WEIGHT 10u
#define DEFAULT_PAUSE_MS 60000u
#define DEFAULT_PROBE_INTERVAL_MS 2000u
#define DEFAULT_FALL 3u
#define DEFAULT_RISE 2u

#define MAX_THRESHOLD 100u /* fall and rise */
#define MAX_TTL_MS (7ull * 86400 * 1000)
#define MAX_PATH 1024u

/* --- backends --- */

static void read_backend_name(struct form *form, const struct yaml_node *node, void *target)
{
	struct backend *backend = target;
	read_label(form, node, &backend->name);
}

static void read_backend_site(struct form *form, const struct yaml_node *node, void *target)
{
	struct backend *backend = target;
	read_label(form, node, &backend->site);
}

static void read_backend_address(struct form *form, const struct yaml_node *node, void *target)
{
	struct backend *backend = target;
	read_address(form, node, &backend->address);
}

static void read_weight(struct form *form, const struct yaml_node *node, void *target)
{
	struct backend *backend = target;
	read_number(form, node, MODEL_MAX_WEIGHT, &backend->weight);
}

static void read_landing(struct form *form, const struct yaml_node *node, void *target)
{
	struct backend *backend = target;
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	if (strcmp(node->text, "none") == 0)
		backend->no_landing = true;
	else
		form_note_value(form, node, "what `landing` takes",
				"leave it out where a landing runs, or write `landing: none`");
}

/* One endpoint; `listener` already knows which port it is for. */
static void read_endpoint(struct form *form, const struct yaml_node *node,
			  struct backend_listener *listener)
{
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	const char *fault = text_parse_endpoint(node->text, &listener->address, &listener->port);
	if (fault) {
		form_note_value(form, node, "a place to listen", fault);
		return;
	}
	static const uint8_t zeros[16];
	if (listener->address.family != IP_NONE &&
	    memcmp(listener->address.bytes, zeros, sizeof(zeros)) == 0)
		form_note_value(form, node, "a place to listen",
				"for any address of either family, write \":PORT\"");
}

/* The endpoints of one port: a single one, or one of each family. */
static void read_listener(struct form *form, const struct yaml_node *node,
			  struct backend_listener *listeners)
{
	struct service_port port;
	const char *fault = port_parse(node->key->text, &port);
	if (!fault && port.first != port.last)
		fault = "listen takes one port at a time";
	if (fault) {
		form_note_value(form, node->key, "a port", fault);
		return;
	}
	struct backend_listener listener = {.protocol = port.protocol, .service_port = port.first};
	if (node->kind != YAML_LIST) {
		*listeners = listener;
		read_endpoint(form, node, listeners);
		return;
	}
	form_expect_some(form, node);
	for (const struct yaml_node *item = node->first; item; item = item->next) {
		*listeners = listener;
		read_endpoint(form, item, listeners++);
	}
}

static void read_listen(struct form *form, const struct yaml_node *node, void *target)
{
	struct backend *backend = target;
	if (!form_expect(form, node, YAML_MAP))
		return;
	size_t count = 0;
	for (const struct yaml_node *value = node->first; value; value = value->next)
		count += value->kind == YAML_LIST ? value->count : 1;
	if (count > MODEL_MAX_LISTENERS) {
		notes_error(form->notes, form_place(node),
			    "%zu listeners, and at most %u are possible", count,
			    MODEL_MAX_LISTENERS);
		return;
	}
	if (count == 0) {
		form_expect_some(form, node);
		return;
	}
	backend->listeners = arena_array(form->arena, count, sizeof(*backend->listeners));
	if (!backend->listeners) {
		form_out_of_memory(form);
		return;
	}
	for (const struct yaml_node *value = node->first; value; value = value->next) {
		read_listener(form, value, backend->listeners + backend->listener_count);
		backend->listener_count += value->kind == YAML_LIST ? value->count : 1;
	}
}

static void read_backend(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {
	    {.name = "name", .read = read_backend_name, .is_required = true},
	    {.name = "site", .read = read_backend_site, .is_required = true},
	    {.name = "address", .read = read_backend_address, .is_required = true},
	    {.name = "weight", .read = read_weight},
	    {.name = "listen", .read = read_listen},
	    {.name = "landing", .read = read_landing}};
	struct backend *backend = target;
	backend->weight = DEFAULT_WEIGHT;
	read_fields(form, node, "a backend", FIELDS, COUNT(FIELDS), backend);
}

static void read_backends(struct form *form, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	service->backends =
	    read_items(form, node, YAML_LIST, MODEL_MAX_BACKENDS, sizeof(struct backend),
		       read_backend, &service->backend_count);
	form_expect_some(form, node);
}

/* --- rollout --- */

static void read_share(struct form *form, const struct yaml_node *node, void *target)
{
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	const char *fault = text_parse_share(node->text, target);
	if (fault)
		form_note_value(form, node, "a share of the clients", fault);
}

static void read_shares(struct form *form, const struct yaml_node *node, void *target)
{
	struct rollout_policy *rollout = target;
	rollout->share_count = read_items_into(form, node, MODEL_MAX_SHARES, sizeof(uint32_t),
					       read_share, rollout->shares);
	form_expect_some(form, node);
}

static void read_pause(struct form *form, const struct yaml_node *node, void *target)
{
	struct rollout_policy *rollout = target;
	read_duration(form, node, 0, TEXT_MAX_DURATION_MS, &rollout->pause_ms);
}

static void read_rollout(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {{.name = "shares", .read = read_shares},
						   {.name = "pause", .read = read_pause}};
	struct service *service = target;
	read_fields(form, node, "a rollout", FIELDS, COUNT(FIELDS), &service->rollout);
}

/* --- health --- */

static void read_probe_port(struct form *form, const struct yaml_node *node, void *target)
{
	struct health_check *health = target;
	uint32_t port = 0;
	size_t errors = form->notes->findings->errors;
	read_number(form, node, UINT16_MAX, &port);
	if (port == 0 && form->notes->findings->errors == errors)
		form_note_value(form, node, "a port", "ports are numbers from 1 to 65535");
	health->port = (uint16_t)port;
}

static void read_probe_path(struct form *form, const struct yaml_node *node, void *target)
{
	struct health_check *health = target;
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	if (node->text[0] != '/' || strchr(node->text, ' ') || strlen(node->text) > MAX_PATH)
		form_note_value(form, node, "a path",
				"a path begins with a slash and holds no space, such as /healthz");
	else
		health->path = form_copy_text(form, node);
}

static void read_http(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {
	    {.name = "port", .read = read_probe_port, .is_required = true},
	    {.name = "path", .read = read_probe_path}};
	struct health_check *health = target;
	health->kind = HEALTH_HTTP;
	health->path = "/";
	read_fields(form, node, "an http probe", FIELDS, COUNT(FIELDS), health);
}

static void read_tcp(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {
	    {.name = "port", .read = read_probe_port, .is_required = true}};
	struct health_check *health = target;
	health->kind = HEALTH_TCP;
	read_fields(form, node, "a tcp probe", FIELDS, COUNT(FIELDS), health);
}

static void read_interval(struct form *form, const struct yaml_node *node, void *target)
{
	struct health_check *health = target;
	read_duration(form, node, 100, 3600000, &health->interval_ms);
}

static void read_threshold(struct form *form, const struct yaml_node *node, uint32_t *target)
{
	size_t errors = form->notes->findings->errors;
	read_number(form, node, MAX_THRESHOLD, target);
	if (*target == 0 && form->notes->findings->errors == errors)
		notes_error(form->notes, node->span, "`%s` must be at least 1", node->key->text);
}

static void read_fall(struct form *form, const struct yaml_node *node, void *target)
{
	struct health_check *health = target;
	read_threshold(form, node, &health->fall);
}

static void read_rise(struct form *form, const struct yaml_node *node, void *target)
{
	struct health_check *health = target;
	read_threshold(form, node, &health->rise);
}

static void read_health(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {{.name = "http", .read = read_http},
						   {.name = "tcp", .read = read_tcp},
						   {.name = "interval", .read = read_interval},
						   {.name = "fall", .read = read_fall},
						   {.name = "rise", .read = read_rise}};
	struct service *service = target;
	service->health = (struct health_check){
	    .interval_ms = DEFAULT_PROBE_INTERVAL_MS, .fall = DEFAULT_FALL, .rise = DEFAULT_RISE};
	read_fields(form, node, "a health check", FIELDS, COUNT(FIELDS), &service->health);
	if (node->kind != YAML_MAP)
		return;
	if (!yaml_get(node, "http") == !yaml_get(node, "tcp")) {
		notes_error(form->notes, form_place(node),
			    "`health` needs one of `http` and `tcp`");
		notes_advise(form->notes, "such as {http: {port: 80, path: /healthz}}");
		return;
	}
	notes_warning(form->notes, form_place(node),
		      "health checks are kept but not run yet: every backend counts as healthy");
	notes_advise(form->notes, "until they are, take a broken backend out by `weight: 0` or "
				  "by removing it");
}

/* --- services --- */

static void read_port(struct form *form, const struct yaml_node *node, void *target)
{
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	const char *fault = port_parse(node->text, target);
	if (fault)
		form_note_value(form, node, "a port", fault);
}

static void read_ports(struct form *form, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	service->port_count = read_items_into(
	    form, node, MODEL_MAX_PORTS, sizeof(struct service_port), read_port, service->ports);
	form_expect_some(form, node);
}

static void read_ttl(struct form *form, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	uint64_t ms = 0;
	read_duration(form, node, 1000, MAX_TTL_MS, &ms);
	if (ms % 1000 != 0)
		form_note_value(form, node, "a whole number of seconds",
				"DNS counts a TTL in seconds");
	service->ttl_seconds = (uint32_t)(ms / 1000);
}

static void read_balance_by(struct form *form, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	if (strcmp(node->text, "source") == 0)
		service->balance_by = BALANCE_SOURCE;
	else if (strcmp(node->text, "flow") != 0)
		form_note_value(form, node, "a way to balance", "it is `flow` or `source`");
}

/* Below the least, one client would be a continent; longer ones are nothing that resolvers tell
 * (RFC 7871 section 11.1), and would only fill their caches. */
static void read_bits(struct form *form, const struct yaml_node *node, uint32_t least,
		      uint32_t most, uint8_t *target)
{
	uint32_t bits = least;
	size_t errors = form->notes->findings->errors;
	read_number(form, node, UINT8_MAX, &bits);
	if ((bits < least || bits > most) && form->notes->findings->errors == errors)
		notes_error(form->notes, node->span, "`%s` must be from %u to %u bits",
			    node->key->text, least, most);
	*target = (uint8_t)(bits == most ? 0 : bits); /* the most is the default */
}

static void read_bits_v4(struct form *form, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	read_bits(form, node, 8, MODEL_CLIENT_BITS_V4, &service->client_bits_v4);
}

static void read_bits_v6(struct form *form, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	read_bits(form, node, 16, MODEL_CLIENT_BITS_V6, &service->client_bits_v6);
}

static void read_client_subnet(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {{.name = "ipv4", .read = read_bits_v4},
						   {.name = "ipv6", .read = read_bits_v6}};
	read_fields(form, node, "a client subnet", FIELDS, COUNT(FIELDS), target);
}

static void read_drain_limit(struct form *form, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	read_duration(form, node, 1000, TEXT_MAX_DURATION_MS, &service->drain_limit_ms);
}

static void read_service(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {
	    {.name = "ports", .read = read_ports, .is_required = true},
	    {.name = "ttl", .read = read_ttl},
	    {.name = "balance_by", .read = read_balance_by},
	    {.name = "client_subnet", .read = read_client_subnet},
	    {.name = "health", .read = read_health},
	    {.name = "rollout", .read = read_rollout},
	    {.name = "drain_limit", .read = read_drain_limit},
	    {.name = "backends", .read = read_backends, .is_required = true}};
	struct service *service = target;
	service->name = form_copy_text(form, node->key); /* check.c knows the zone, and judges it */
	service->ttl_seconds = DEFAULT_TTL_SECONDS;
	service->rollout = (struct rollout_policy){
	    .shares = {SHARE_WHOLE}, .share_count = 1, .pause_ms = DEFAULT_PAUSE_MS};
	read_fields(form, node, "a service", FIELDS, COUNT(FIELDS), service);
}

void read_services(struct form *form, const struct yaml_node *node, void *target)
{
	struct fabric *fabric = target;
	fabric->services = read_items(form, node, YAML_MAP, MODEL_MAX_SERVICES,
				      sizeof(struct service), read_service, &fabric->service_count);
}
