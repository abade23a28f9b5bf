/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: every bad file of tests/golden/config gives exactly the findings beside it, the
 * example survives a round trip and being cut anywhere, and random fabrics are read as written.
 */
#include "base/random.h"
#include "base/text.h"
#include "config/config.h"
#include "golden_findings.h"
#include "model/fabric.h"
#include "tests/same_fabric.h"
#include "yaml/findings.h"
#include "yaml/yaml.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GOLDEN SOURCE_ROOT "/tests/golden/config"
#define EXAMPLE SOURCE_ROOT "/docs/example.yaml"

/* A parse with its own memory. */
struct attempt {
	struct arena arena;
	struct fabric *fabric; /* NULL when refused */
	struct findings findings;
	struct buffer text; /* the findings as shown */
	int result;
};

static void attempt_init(struct attempt *attempt, const char *text, size_t length, const char *file)
{
	memset(attempt, 0, sizeof(*attempt));
	arena_init(&attempt->arena, 0);
	buffer_init(&attempt->text, 0);
	attempt->result =
	    config_parse(text, length, file, &attempt->arena, &attempt->fabric, &attempt->findings);
	findings_render(&attempt->findings, &attempt->text);
	/* One or the other: a fabric, or at least one error. */
	assert_int_equal(attempt->result == 0, attempt->fabric != NULL);
	assert_int_equal(attempt->result == 0, attempt->findings.errors == 0);
}

static void attempt_done(struct attempt *attempt)
{
	buffer_done(&attempt->text);
	arena_done(&attempt->arena);
}

/* --- golden files --- */

static void refuse(const char *text, size_t length, const char *name, struct buffer *shown)
{
	struct attempt attempt;
	attempt_init(&attempt, text, length, name);
	assert_int_equal(attempt.result, -FL_EINVALID);
	buffer_append(shown, attempt.text.data, attempt.text.length);
	attempt_done(&attempt);
}

static void every_bad_file_gives_its_expected_findings(void **state)
{
	(void)state;
	golden_check_findings(GOLDEN, 100, refuse);
}

/* --- the example --- */

static void the_example_is_read_as_written(void **state)
{
	(void)state;
	struct buffer bytes = golden_read(EXAMPLE);
	struct attempt attempt;
	attempt_init(&attempt, bytes.data, bytes.length, "example.yaml");
	assert_int_equal(attempt.findings.count, 0);
	const struct fabric *fabric = attempt.fabric;
	assert_non_null(fabric);
	assert_string_equal(fabric->zone, "svc.example.net");
	assert_int_equal(fabric->pool_count, 2);
	assert_int_equal(fabric->pools[0].prefix.length, 108);
	assert_int_equal(fabric->pools[0].slots_per_service, 256);
	assert_int_equal(fabric->pools[1].site_bits, 1);
	assert_int_equal(fabric->settings.quiet_ms, 3600000);
	assert_int_equal(fabric->settings.quarantine_ms, 604800000);
	const struct service *web = fabric_service(fabric, "web");
	assert_non_null(web);
	assert_int_equal(web->port_count, 2);
	assert_int_equal(web->ports[1].first, 443);
	assert_int_equal(web->rollout.shares[0], 3277); /* 5 % of 65536, to nearest */
	assert_int_equal(web->rollout.shares[2], SHARE_WHOLE);
	assert_int_equal(web->rollout.pause_ms, 60000);
	assert_int_equal(service_backend(web, "web2")->address.family, IP_V6);
	assert_int_equal(service_backend(web, "web3")->weight, 10);
	attempt_done(&attempt);
	buffer_done(&bytes);
}

static void what_is_left_out_takes_its_default(void **state)
{
	(void)state;
	static const char TEXT[] = "fabric: f\nzone: example.net\nnameservers: {ns1: [192.0.2.1]}\n"
				   "pools: [{prefix: \"2001:db8::/64\"}, {prefix: 10.9.0.0/24}]\n"
				   "sites: {one: }\n"
				   "services: {web: {ports: [tcp/80], backends: "
				   "[{name: a, site: one, address: 10.0.0.1}]}}\n";
	struct attempt attempt;
	attempt_init(&attempt, TEXT, sizeof(TEXT) - 1, "f.yaml");
	assert_int_equal(attempt.result, 0);
	assert_int_equal(attempt.fabric->pools[0].site_bits, 4);
	assert_int_equal(attempt.fabric->pools[1].site_bits, 0);
	assert_int_equal(attempt.fabric->settings.report_interval_ms, 1000);
	const struct service *web = &attempt.fabric->services[0];
	assert_int_equal(web->ttl_seconds, 30);
	assert_int_equal(web->rollout.share_count, 1);
	assert_int_equal(web->rollout.shares[0], SHARE_WHOLE);
	assert_int_equal(web->backends[0].weight, 10);
	assert_int_equal(web->drain_limit_ms, 0);
	attempt_done(&attempt);
}

/* The seeds of the fuzzer that are valid: every notation at once, CRLF with a byte order mark,
 * JSON. */
static void other_ways_of_writing_are_read(void **state)
{
	(void)state;
	static const char *const FILES[] = {"full", "crlf", "json"};
	struct attempt attempts[3];
	for (size_t i = 0; i < 3; i++) {
		char path[512];
		snprintf(path, sizeof(path), SOURCE_ROOT "/tests/fuzz/corpus/yaml/%s", FILES[i]);
		struct buffer bytes = golden_read(path);
		attempt_init(&attempts[i], bytes.data, bytes.length, FILES[i]);
		assert_int_equal(attempts[i].result, 0);
		buffer_done(&bytes);
	}
	assert_true(same_fabric(attempts[0].fabric, attempts[1].fabric));
	const struct backend *web1 = &attempts[0].fabric->services[0].backends[0];
	assert_int_equal(web1->listener_count, 3);
	assert_int_equal(web1->listeners[1].address.family, IP_V6);
	assert_int_equal(web1->listeners[2].service_port, 443);
	assert_true(attempts[0].fabric->sites[0].longitude == -8.68);
	assert_string_equal(attempts[0].fabric->services[0].health.path, "/a?b=\"c\"");
	for (size_t i = 0; i < 3; i++)
		attempt_done(&attempts[i]);
}

static void the_example_cut_anywhere_is_valid_or_says_where(void **state)
{
	(void)state;
	struct buffer bytes = golden_read(EXAMPLE);
	size_t valid = 0;
	for (size_t length = 0; length <= bytes.length; length++) {
		/* A copy of just that size, so that a sanitizer sees one byte too far. */
		char *copy = malloc(length ? length : 1);
		assert_non_null(copy);
		memcpy(copy, bytes.data, length);
		struct attempt attempt;
		attempt_init(&attempt, copy, length, "example.yaml");
		valid += attempt.result == 0;
		for (size_t i = 0; i < attempt.findings.count; i++) {
			const struct finding *finding = &attempt.findings.items[i];
			assert_true(finding->offset <= length);
			assert_non_null(finding->message);
			if (strcmp(finding->message, "the file is empty") != 0)
				assert_true(finding->line > 0 && finding->column > 0);
		}
		attempt_done(&attempt);
		free(copy);
	}
	assert_true(valid > 0);
	buffer_done(&bytes);
}

/* --- random fabrics --- */

struct maker {
	struct random random;
	struct arena arena;
};

static uint32_t below(struct maker *maker, uint32_t bound)
{
	return (uint32_t)random_below(&maker->random, bound);
}

static struct ip_address make_address(struct maker *maker, uint32_t number)
{
	struct ip_address address = {.family = below(maker, 2) ? IP_V6 : IP_V4};
	address.bytes[0] = address.family == IP_V6 ? 0x20 : 10;
	ip_address_or_low_bits(&address, number, 0);
	return address;
}

static void make_listeners(struct maker *maker, const struct service *service,
			   struct backend *backend)
{
	static const struct ip_address LOCAL[] = {
	    {.family = IP_V4, .bytes = {127, 0, 0, 1}},
	    {.family = IP_V6, .bytes = {[15] = 1}},
	};
	backend->listeners =
	    arena_array(&maker->arena, (size_t)2 * MODEL_MAX_PORTS, sizeof(*backend->listeners));
	assert_non_null(backend->listeners);
	for (size_t i = 0; i < service->port_count; i++) {
		const struct service_port *port = &service->ports[i];
		struct backend_listener listener = {
		    .protocol = port->protocol,
		    .service_port =
			(uint16_t)(port->first + below(maker, port->last - port->first + 1u)),
		    .port = (uint16_t)(1 + below(maker, 65535))};
		uint32_t choice = below(maker, 4);
		if (choice == 0)
			continue;
		if (choice > 1)
			listener.address = LOCAL[choice - 2];
		backend->listeners[backend->listener_count++] = listener;
		if (choice == 2 && below(maker, 2)) {
			listener.address = LOCAL[1];
			backend->listeners[backend->listener_count++] = listener;
		}
	}
}

static void make_rollout(struct maker *maker, struct rollout_policy *rollout)
{
	uint32_t share = 0;
	rollout->pause_ms = below(maker, 10000000);
	while (rollout->share_count + 1 < MODEL_MAX_SHARES && below(maker, 4)) {
		share += 1 + below(maker, (SHARE_WHOLE - share) / 2);
		if (share >= SHARE_WHOLE)
			break;
		rollout->shares[rollout->share_count++] = share;
	}
	rollout->shares[rollout->share_count++] = SHARE_WHOLE;
}

static void make_health(struct maker *maker, struct health_check *health)
{
	static const char *const PATHS[] = {"/", "/healthz", "/a?b=\"c\"&d=\\e#{}[]", "/ünïcode"};
	health->kind = (enum health_kind)below(maker, 3);
	if (health->kind == HEALTH_NONE)
		return;
	health->port = (uint16_t)(1 + below(maker, 65535));
	health->interval_ms = 100 + below(maker, 3599900);
	health->fall = 1 + below(maker, 100);
	health->rise = 1 + below(maker, 100);
	if (health->kind == HEALTH_HTTP)
		health->path = PATHS[below(maker, 4)];
}

/* Names that a careless writer would let a YAML reader take for something else. */
static const char *make_name(struct maker *maker, const char *stem, uint32_t number)
{
	static const char *const ODD[] = {"no", "true", "null", "1e3", "0x1f", "12", "y", "off"};
	if (number < sizeof(ODD) / sizeof(ODD[0]))
		return ODD[number];
	return arena_printf(&maker->arena, "%s%u", stem, number);
}

static void make_service(struct maker *maker, const struct fabric *fabric, uint32_t number,
			 struct service *service)
{
	service->name = make_name(maker, "svc", number);
	service->port_count = 1 + below(maker, MODEL_MAX_PORTS);
	for (uint32_t i = 0; i < service->port_count; i++) {
		struct service_port *port = &service->ports[i];
		port->protocol = below(maker, 2) ? SERVICE_TCP : SERVICE_UDP;
		port->quic = port->protocol == SERVICE_UDP && below(maker, 2);
		port->first = (uint16_t)(1 + 8000 * i + below(maker, 4000));
		port->last = (uint16_t)(port->first + (below(maker, 2) ? below(maker, 3999) : 0));
	}
	service->ttl_seconds = 1 + below(maker, 604800);
	service->balance_by = below(maker, 2) ? BALANCE_SOURCE : BALANCE_FLOW;
	service->client_bits_v4 = (uint8_t)(below(maker, 2) ? 8 + below(maker, 16) : 0);
	service->client_bits_v6 = (uint8_t)(below(maker, 2) ? 16 + below(maker, 40) : 0);
	service->drain_limit_ms = below(maker, 2) ? 1000 + below(maker, 100000000) : 0;
	make_health(maker, &service->health);
	make_rollout(maker, &service->rollout);
	service->backend_count = 1 + below(maker, 12);
	service->backends =
	    arena_array(&maker->arena, service->backend_count, sizeof(*service->backends));
	assert_non_null(service->backends);
	for (uint32_t i = 0; i < service->backend_count; i++) {
		struct backend *backend = &service->backends[i];
		backend->name = make_name(maker, "b", i);
		backend->site = fabric->sites[below(maker, (uint32_t)fabric->site_count)].name;
		backend->address = make_address(maker, 1 + i);
		backend->weight = i ? below(maker, MODEL_MAX_WEIGHT + 1) : 1;
		if (below(maker, 3) == 0)
			make_listeners(maker, service, backend);
	}
}

static void make_site(struct maker *maker, uint32_t number, struct site *site)
{
	site->name = make_name(maker, "site", number);
	site->has_location = below(maker, 2);
	if (site->has_location) {
		site->latitude = ((double)below(maker, 1800000001) - 900000000.0) / 1e7;
		site->longitude = ((double)below(maker, 360001) - 180000.0) / 1e3;
	}
	site->client_count = below(maker, 4);
	site->clients = arena_array(&maker->arena, 4, sizeof(*site->clients));
	assert_non_null(site->clients);
	for (uint32_t i = 0; i < site->client_count; i++) {
		struct ip_prefix *prefix = &site->clients[i];
		*prefix = (struct ip_prefix){.address = {.family = IP_V4}, .length = 24};
		ip_address_or_low_bits(&prefix->address, 0xc0000000u + (number * 4 + i) * 256, 0);
	}
}

static void make_zone(struct maker *maker, struct zone_settings *zone)
{
	static const char *const VALUES[ZONE_RECORD_TYPE_COUNT][2] = {
	    [ZONE_RECORD_A] = {"203.0.113.1", "203.0.113.2"},
	    [ZONE_RECORD_AAAA] = {"2001:db8:1::1", "2001:db8:1::2"},
	    [ZONE_RECORD_CAA] = {"0 issue \"ca.example.org; a=b\"", "128 iodef x"},
	    [ZONE_RECORD_CNAME] = {"web", NULL},
	    [ZONE_RECORD_HTTPS] = {"1 . alpn=\"h2,h3\" port=8443", "0 web"},
	    [ZONE_RECORD_MX] = {"10 mail", "20 mail.example.org."},
	    [ZONE_RECORD_SVCB] = {"1 . key9=\"a\\001\\\"\"", "2 @"},
	    [ZONE_RECORD_TXT] = {"\"quoted \\\" \\\\\" \"two\"", "plain: [text] # 'it' \\ 1e3"},
	};
	if (below(maker, 2))
		return;
	zone->contact = below(maker, 2) ? "dns.admin@example.org" : NULL;
	zone->ttl_s = below(maker, 2) ? 1 + below(maker, 299) : 0;
	zone->negative_ttl_s = below(maker, 2) ? 6 + below(maker, 1000) : 0;
	zone->rate = below(maker, 2) ? ZONE_RATE_NONE : below(maker, 2) ? 7 : 0;
	zone->name_count = below(maker, 20);
	zone->names = arena_array(&maker->arena, zone->name_count + 1, sizeof(*zone->names));
	assert_non_null(zone->names);
	for (uint32_t i = 0; i < zone->name_count; i++) {
		struct zone_name *owner = &zone->names[i];
		owner->name = arena_printf(&maker->arena, "%s%u.no", i % 3 ? "_x" : "*.y", i);
		owner->ttl_s = below(maker, 2) ? 1 + below(maker, 86400) : 0;
		owner->sets =
		    arena_array(&maker->arena, ZONE_RECORD_TYPE_COUNT, sizeof(*owner->sets));
		assert_non_null(owner->sets);
		bool is_alias = below(maker, 4) == 0;
		for (unsigned type = 0; type < ZONE_RECORD_TYPE_COUNT; type++) {
			bool is_last = type == ZONE_RECORD_TYPE_COUNT - 1 && !owner->set_count;
			if (is_alias ? type != ZONE_RECORD_CNAME
				     : type == ZONE_RECORD_CNAME || (!is_last && below(maker, 2)))
				continue;
			owner->sets[owner->set_count++] =
			    (struct zone_set){.type = (enum zone_record_type)type,
					      .values = (const char **)(uintptr_t)VALUES[type],
					      .value_count = is_alias ? 1 : 1 + below(maker, 2)};
		}
	}
}

static struct fabric *make_fabric(struct maker *maker)
{
	struct fabric *fabric = arena_alloc(&maker->arena, sizeof(*fabric));
	assert_non_null(fabric);
	fabric->name = make_name(maker, "fabric", below(maker, 20));
	fabric->zone = below(maker, 2) ? "svc.example.net" : "1.example";
	fabric->settings = (struct settings){.quiet_ms = below(maker, 100000000),
					     .stale_ms = below(maker, 1000) * 60000ull,
					     .quarantine_ms = below(maker, 300) * 86400000ull,
					     .report_interval_ms = 100 + below(maker, 59900)};
	static struct ip_address nameserver_addresses[2] = {
	    {.family = IP_V4, .bytes = {203, 0, 113, 53}},
	    {.family = IP_V6, .bytes = {0x20, 1, 0xd, 0xb8, [15] = 0x53}},
	};
	static struct nameserver nameservers[] = {{"ns1", nameserver_addresses, 2},
						  {"ns.example.org.", NULL, 0}};
	fabric->nameservers = nameservers;
	fabric->nameserver_count = below(maker, 3);
	make_zone(maker, &fabric->dns);

	static struct pool pools[2];
	assert_int_equal(ip_prefix_parse("2001:db8:f::/100", &pools[0].prefix), 0);
	assert_int_equal(ip_prefix_parse("198.18.0.0/16", &pools[1].prefix), 0);
	for (size_t i = 0; i < 2; i++) {
		pools[i].site_bits = (uint8_t)(4 + below(maker, 4));
		pools[i].slots_per_service = below(maker, 2) ? 2 + below(maker, 4) : 0;
	}
	fabric->pools = pools;
	fabric->pool_count = 2;
	fabric->site_count = 1 + below(maker, 12);
	fabric->sites = arena_array(&maker->arena, fabric->site_count, sizeof(*fabric->sites));
	assert_non_null(fabric->sites);
	for (uint32_t i = 0; i < fabric->site_count; i++)
		make_site(maker, i, &fabric->sites[i]);
	fabric->service_count = below(maker, 12);
	fabric->services =
	    arena_array(&maker->arena, fabric->service_count, sizeof(*fabric->services));
	assert_non_null(fabric->services);
	for (uint32_t i = 0; i < fabric->service_count; i++)
		make_service(maker, fabric, i, &fabric->services[i]);
	return fabric;
}

/* Compared value by value where the canonical text could hide a slip common to both sides. */
static void assert_same_values(const struct fabric *a, const struct fabric *b)
{
	assert_memory_equal(&a->settings, &b->settings, sizeof(a->settings));
	assert_true(zone_settings_equal(&a->dns, &b->dns));
	assert_int_equal(a->site_count, b->site_count);
	for (size_t i = 0; i < a->site_count; i++) {
		assert_string_equal(a->sites[i].name, b->sites[i].name);
		assert_true(a->sites[i].latitude == b->sites[i].latitude);
		assert_true(a->sites[i].longitude == b->sites[i].longitude);
		assert_int_equal(a->sites[i].client_count, b->sites[i].client_count);
	}
	assert_int_equal(a->service_count, b->service_count);
	for (size_t i = 0; i < a->service_count; i++) {
		const struct service *left = &a->services[i], *right = &b->services[i];
		assert_string_equal(left->name, right->name);
		assert_int_equal(left->ttl_seconds, right->ttl_seconds);
		assert_int_equal(left->health.kind, right->health.kind);
		assert_memory_equal(left->ports, right->ports, sizeof(left->ports));
		assert_memory_equal(&left->rollout, &right->rollout, sizeof(left->rollout));
		assert_int_equal(left->backend_count, right->backend_count);
		for (size_t j = 0; j < left->backend_count; j++) {
			const struct backend *one = &left->backends[j], *two = &right->backends[j];
			assert_string_equal(one->name, two->name);
			assert_true(ip_address_equal(&one->address, &two->address));
			assert_int_equal(one->weight, two->weight);
			assert_int_equal(one->listener_count, two->listener_count);
			for (size_t k = 0; k < one->listener_count; k++)
				assert_memory_equal(&one->listeners[k], &two->listeners[k],
						    sizeof(one->listeners[k]));
		}
	}
}

static void random_fabrics_are_read_as_emitted(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct maker maker;
		arena_init(&maker.arena, 0);
		random_init_seeded(&maker.random, seed);
		struct fabric *fabric = make_fabric(&maker);
		struct buffer text;
		buffer_init(&text, 0);
		config_emit(fabric, &text);
		struct attempt attempt;
		attempt_init(&attempt, text.data, text.length, "emitted.yaml");
		if (attempt.result < 0)
			fail_msg("seed %ju: %s\n%s", (uintmax_t)seed, attempt.text.data, text.data);
		assert_same_values(fabric, attempt.fabric);
		assert_true(same_fabric(fabric, attempt.fabric));
		attempt_done(&attempt);
		buffer_done(&text);
		arena_done(&maker.arena);
	}
}

static void a_single_difference_makes_fabrics_unequal(void **state)
{
	(void)state;
	struct buffer bytes = golden_read(EXAMPLE);
	struct attempt one, two;
	attempt_init(&one, bytes.data, bytes.length, "example.yaml");
	attempt_init(&two, bytes.data, bytes.length, "example.yaml");
	assert_true(same_fabric(one.fabric, two.fabric));
	two.fabric->services[0].backends[1].weight++;
	assert_false(same_fabric(one.fabric, two.fabric));
	attempt_done(&one);
	attempt_done(&two);
	buffer_done(&bytes);
}

/* --- limits and failures --- */

/* `count` times `unit`, which must be refused with a message that begins with `expected`. */
static void assert_flood_refused(const char *unit, size_t count, const char *expected)
{
	size_t step = strlen(unit);
	char *text = malloc(step * count);
	assert_non_null(text);
	for (size_t i = 0; i < count; i++)
		memcpy(text + step * i, unit, step);
	struct attempt attempt;
	attempt_init(&attempt, text, step * count, "flood");
	assert_int_equal(attempt.result, -FL_EINVALID);
	assert_memory_equal(attempt.text.data, expected, strlen(expected));
	/* However long the input, what is shown stays short. */
	assert_true(attempt.text.length < 4000);
	attempt_done(&attempt);
	free(text);
}

static void floods_are_refused_by_the_limit_they_hit(void **state)
{
	(void)state;
	assert_flood_refused("#", YAML_MAX_BYTES + 1,
			     "flood: error: the file has 4194305 bytes; the most is 4194304\n");
	assert_flood_refused("[", YAML_MAX_BYTES,
			     "flood:1:262145: error: the line is longer than 262144 bytes\n");
	assert_flood_refused("[", YAML_MAX_LINE,
			     "flood:1:13: error: lists and maps are nested more than 12 deep\n");
	assert_flood_refused("- a\n", YAML_MAX_NODES + 1,
			     "flood:1000000:3: error: the file holds more than 1000000 keys and ");
	assert_flood_refused("k: 1\n", 100000, "flood:2:1: error: the key `k` is there twice\n");
}

static void a_long_text_is_cut_between_characters(void **state)
{
	(void)state;
	/* One byte more or less before them moves the cut through the two bytes of each é. */
	for (size_t shift = 0; shift < 2; shift++) {
		char text[2100] = {0};
		memset(text, 'a', shift);
		for (size_t i = 0; i < 1000; i++)
			memcpy(text + shift + 2 * i, "é", 2);
		strncat(text, ": 1", 4);
		struct attempt attempt;
		attempt_init(&attempt, text, strlen(text), "long");
		const char *message = attempt.findings.items[0].message;
		size_t length = strlen(message);
		assert_true(length > 390 && length < 410);
		assert_string_equal(message + length - 3, "…");
		for (size_t at = 0, step; at < length; at += step) {
			step = text_utf8_step(message + at, length - at);
			assert_true(step > 0);
		}
		attempt_done(&attempt);
	}
}

static void running_out_of_memory_is_said_and_leaves_nothing(void **state)
{
	(void)state;
	struct buffer bytes = golden_read(EXAMPLE);
	size_t limit = 1;
	for (int result = -ENOMEM; result != 0; limit += 16) {
		struct arena arena;
		struct findings findings;
		struct fabric *fabric = NULL;
		arena_init(&arena, limit);
		result = config_parse(bytes.data, bytes.length, "example.yaml", &arena, &fabric,
				      &findings);
		assert_true(result == 0 || result == -ENOMEM);
		assert_int_equal(result == 0, fabric != NULL);
		arena_done(&arena);
		assert_true(limit < 100000);
	}
	buffer_done(&bytes);
}

static void findings_reach_struct_error_and_json(void **state)
{
	(void)state;
	struct buffer bytes = golden_read(GOLDEN "/form_many_errors.yaml");
	struct attempt attempt;
	attempt_init(&attempt, bytes.data, bytes.length, "many.yaml");
	assert_int_equal(attempt.findings.errors, 30);
	struct error err;
	assert_int_equal(findings_error(&attempt.findings, &err), -FL_EINVALID);
	/* Whole findings only: the text is the beginning of the rendered one, up to a line end. */
	size_t length = strlen(err.text);
	assert_true(length > 1000 && length < sizeof(err.text));
	assert_memory_equal(err.text, attempt.text.data, length);
	assert_int_equal(attempt.text.data[length], '\n');
	assert_memory_equal(attempt.text.data + length + 1, "many.yaml:", 10);

	json_t *array = findings_json(&attempt.findings);
	assert_int_equal(json_array_size(array), FINDINGS_MAX);
	const json_t *first = json_array_get(array, 0);
	assert_string_equal(json_string_value(json_object_get(first, "severity")), "error");
	assert_int_equal(json_integer_value(json_object_get(first, "line")), 16);
	assert_int_equal(json_integer_value(json_object_get(first, "column")), 50);
	json_decref(array);
	attempt_done(&attempt);
	buffer_done(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_bad_file_gives_its_expected_findings),
	    cmocka_unit_test(the_example_is_read_as_written),
	    cmocka_unit_test(what_is_left_out_takes_its_default),
	    cmocka_unit_test(other_ways_of_writing_are_read),
	    cmocka_unit_test(the_example_cut_anywhere_is_valid_or_says_where),
	    cmocka_unit_test(random_fabrics_are_read_as_emitted),
	    cmocka_unit_test(a_single_difference_makes_fabrics_unequal),
	    cmocka_unit_test(floods_are_refused_by_the_limit_they_hit),
	    cmocka_unit_test(a_long_text_is_cut_between_characters),
	    cmocka_unit_test(running_out_of_memory_is_said_and_leaves_nothing),
	    cmocka_unit_test(findings_reach_struct_error_and_json),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
