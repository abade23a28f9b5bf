/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the file below `services`: ports, backends and where they listen, health, roll-out.
 */
#include "config/reader.h"

#include "config/text.h"
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
	if (!reader_expect(reader, node, YAML_SCALAR))
		return;
	const char *fault = text_parse_endpoint(node->text, &listener->address, &listener->port);
	if (fault) {
		reader_report_value(reader, node, "a place to listen", fault);
		return;
	}
	static const uint8_t zeros[16];
	if (listener->address.family != IP_NONE &&
	    memcmp(listener->address.bytes, zeros, sizeof(zeros)) == 0)
		reader_report_value(reader, node, "a place to listen",
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
		reader_report_value(reader, node->key, "a port", fault);
		return;
	}
	struct backend_listener listener = {.protocol = port.protocol, .service_port = port.first};
	if (node->kind != YAML_LIST) {
		*listeners = listener;
		read_endpoint(reader, node, listeners);
		return;
	}
	reader_expect_some(reader, node);
	for (const struct yaml_node *item = node->first; item; item = item->next) {
		*listeners = listener;
		read_endpoint(reader, item, listeners++);
	}
}

static void read_listen(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct backend *backend = target;
	if (!reader_expect(reader, node, YAML_MAP))
		return;
	size_t count = 0;
	for (const struct yaml_node *value = node->first; value; value = value->next)
		count += value->kind == YAML_LIST ? value->count : 1;
	if (count > MODEL_MAX_LISTENERS) {
		report_error(reader->report, reader_place(node),
			     "%zu listeners, and at most %u are possible", count,
			     MODEL_MAX_LISTENERS);
		return;
	}
	if (count == 0) {
		reader_expect_some(reader, node);
		return;
	}
	backend->listeners = arena_array(reader->arena, count, sizeof(*backend->listeners));
	if (!backend->listeners) {
		reader_out_of_memory(reader);
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
	reader_expect_some(reader, node);
}

/* --- rollout --- */

static void read_share(struct reader *reader, const struct yaml_node *node, void *target)
{
	if (!reader_expect(reader, node, YAML_SCALAR))
		return;
	const char *fault = text_parse_share(node->text, target);
	if (fault)
		reader_report_value(reader, node, "a share of the clients", fault);
}

static void read_shares(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct rollout_policy *rollout = target;
	rollout->share_count = read_items_into(reader, node, MODEL_MAX_SHARES, sizeof(uint32_t),
					       read_share, rollout->shares);
	reader_expect_some(reader, node);
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
		reader_report_value(reader, node, "a port", "ports are numbers from 1 to 65535");
	health->port = (uint16_t)port;
}

static void read_probe_path(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct health_check *health = target;
	if (!reader_expect(reader, node, YAML_SCALAR))
		return;
	if (node->text[0] != '/' || strchr(node->text, ' ') || strlen(node->text) > MAX_PATH)
		reader_report_value(
		    reader, node, "a path",
		    "a path begins with a slash and holds no space, such as /healthz");
	else
		health->path = reader_copy_text(reader, node);
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
		report_error(reader->report, reader_place(node),
			     "`health` needs one of `http` and `tcp`");
		report_advise(reader->report, "such as {http: {port: 80, path: /healthz}}");
		return;
	}
	report_warning(reader->report, reader_place(node),
		       "health checks are kept but not run yet: every backend counts as healthy");
	report_advise(reader->report, "until they are, take a broken backend out by `weight: 0` or "
				      "by removing it");
}

/* --- services --- */

static void read_port(struct reader *reader, const struct yaml_node *node, void *target)
{
	if (!reader_expect(reader, node, YAML_SCALAR))
		return;
	const char *fault = text_parse_port(node->text, target);
	if (fault)
		reader_report_value(reader, node, "a port", fault);
}

static void read_ports(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	service->port_count = read_items_into(
	    reader, node, MODEL_MAX_PORTS, sizeof(struct service_port), read_port, service->ports);
	reader_expect_some(reader, node);
}

static void read_ttl(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	uint64_t ms = 0;
	read_duration(reader, node, 1000, MAX_TTL_MS, &ms);
	if (ms % 1000 != 0)
		reader_report_value(reader, node, "a whole number of seconds",
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
	service->name =
	    reader_copy_text(reader, node->key); /* check.c knows the zone, and judges it */
	service->ttl_seconds = DEFAULT_TTL_SECONDS;
	service->rollout = (struct rollout_policy){
	    .shares = {SHARE_WHOLE}, .share_count = 1, .pause_ms = DEFAULT_PAUSE_MS};
	read_fields(reader, node, "a service", FIELDS, COUNT(FIELDS), service);
}

void read_services(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct fabric *fabric = target;
	fabric->services = read_items(reader, node, YAML_MAP, MODEL_MAX_SERVICES,
				      sizeof(struct service), read_service, &fabric->service_count);
}
