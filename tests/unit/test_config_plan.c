/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plan: what a changed file does, in words and numbers, against versions that the model really
 * built. The rings' shares are worked out by hand beside each expectation.
 */
#include "base/file.h"
#include "base/netaddr.h"
#include "base/random.h"
#include "config/config.h"
#include "model/fabric.h"
#include "model/version.h"
#include "plan/plan.h"
#include "yaml/findings.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD                                                                                       \
	"fabric: example\n"                                                                        \
	"zone: svc.example.net\n"                                                                  \
	"nameservers: {ns1: [203.0.113.53]}\n"                                                     \
	"pools: [{prefix: 198.51.100.0/24, site_bits: 2}]\n"
#define SITES "sites: {fra: {}, nyc: {}}\n"
#define WEB                                                                                        \
	"services:\n"                                                                              \
	"  web:\n"                                                                                 \
	"    ports: [tcp/80]\n"
#define BACKENDS "    backends:\n"
#define WEB1 "      - {name: web1, site: fra, address: 10.0.1.11}\n"
#define WEB2 "      - {name: web2, site: fra, address: 10.0.1.12}\n"
#define WEB3 "      - {name: web3, site: nyc, address: 10.0.1.13}\n"
#define BASE HEAD SITES WEB BACKENDS WEB1 WEB2 WEB3

struct bench {
	struct arena arena;
	struct fabric *previous;
	struct fabric *fabric;
	struct version *current; /* of `web`, as `previous` means it */
	struct plan_live_version versions[2];
	struct plan_live_service live;
	struct plan *plan;
	struct buffer text;
};

static struct fabric *parse(struct arena *arena, const char *text)
{
	struct findings findings;
	struct fabric *fabric = NULL;
	struct error err;
	if (config_parse(text, strlen(text), "plan.yaml", arena, &fabric, &findings) < 0) {
		findings_error(&findings, &err);
		fail_msg("%s", err.text);
	}
	return fabric;
}

/* Plan the passage from `before` (NULL: nothing) to `after`, with version 1 of web live. */
static void bench_init(struct bench *bench, const char *before, const char *after)
{
	struct error err;
	memset(bench, 0, sizeof(*bench));
	arena_init(&bench->arena, 0);
	buffer_init(&bench->text, 0);
	bench->fabric = parse(&bench->arena, after);
	if (before) {
		struct random random;
		random_init_seeded(&random, 7);
		bench->previous = parse(&bench->arena, before);
		assert_int_equal(version_build(bench->previous,
					       fabric_service(bench->previous, "web"), 1, NULL,
					       &random, &bench->arena, &bench->current, &err),
				 0);
		bench->versions[0] = (struct plan_live_version){
		    .number = 1, .state = "serving", .connections_known = true, .connections = 212};
		bench->live = (struct plan_live_service){.name = "web",
							 .current = bench->current,
							 .next_version = 2,
							 .versions = bench->versions,
							 .version_count = 1};
	}
}

static const char *bench_plan(struct bench *bench)
{
	struct error err = {0};
	if (plan_build(bench->previous, bench->fabric, &bench->live, bench->live.name ? 1 : 0,
		       &bench->arena, &bench->plan, &err) < 0)
		fail_msg("%s", err.text);
	buffer_clear(&bench->text);
	plan_render(bench->plan, &bench->text);
	return bench->text.data;
}

/* How many losses want a yes. */
static size_t bench_asks(const struct bench *bench)
{
	struct buffer text;
	buffer_init(&text, 0);
	size_t count = plan_asks(bench->plan, 4096, &text);
	buffer_done(&text);
	return count;
}

static void bench_done(struct bench *bench)
{
	buffer_done(&bench->text);
	arena_done(&bench->arena);
}

static void assert_plan(const char *before, const char *after, const char *expected)
{
	struct bench bench;
	bench_init(&bench, before, after);
	assert_string_equal(bench_plan(&bench), expected);
	assert_int_equal(plan_is_empty(bench.plan),
			 strcmp(expected, "nothing would change\n") == 0);
	bench_done(&bench);
}

static void the_same_file_changes_nothing(void **state)
{
	(void)state;
	assert_plan(BASE, BASE, "nothing would change\n");
}

static void what_get_writes_changes_nothing(void **state)
{
	(void)state;
	struct bench bench;
	bench_init(&bench, BASE, BASE);
	struct buffer emitted;
	buffer_init(&emitted, 0);
	config_emit(bench.previous, &emitted);
	bench.fabric = parse(&bench.arena, emitted.data);
	assert_string_equal(bench_plan(&bench), "nothing would change\n");
	buffer_done(&emitted);
	bench_done(&bench);
}

static void another_order_changes_nothing(void **state)
{
	(void)state;
	assert_plan(BASE, HEAD "sites: {nyc: {}, fra: {}}\n" WEB BACKENDS WEB3 WEB1 WEB2,
		    "nothing would change\n");
}

static void the_first_file_adds_everything(void **state)
{
	(void)state;
	assert_plan(NULL, BASE,
		    "+ fabric example\n"
		    "+ zone svc.example.net\n"
		    "+ nameserver ns1 (203.0.113.53)\n"
		    "+ pool 198.51.100.0/24 (site_bits 2)\n"
		    "+ site fra\n"
		    "+ site nyc\n"
		    "+ service web: version 1\n"
		    "    + port tcp/80\n"
		    "    + backend web1 (fra, 10.0.1.11, weight 10)\n"
		    "    + backend web2 (fra, 10.0.1.12, weight 10)\n"
		    "    + backend web3 (nyc, 10.0.1.13, weight 10)\n");
}

/* fra goes from web1 and web2, half each, to web2 with 20/30 and web4 with 10/30: all of web1's
 * 2048 entries move and none of web2's need to. nyc keeps its only backend. */
static void backends_come_go_and_change_weight(void **state)
{
	(void)state;
	assert_plan(BASE,
		    HEAD SITES WEB BACKENDS
		    "      - {name: web2, site: fra, address: 10.0.1.12, weight: 20}\n" WEB3
		    "      - {name: web4, site: fra, address: 10.0.1.14}\n",
		    "~ service web: version 1 → 2\n"
		    "    + backend web4 (fra, 10.0.1.14, weight 10)\n"
		    "    - backend web1\n"
		    "    ~ backend web2: weight 10 → 20\n"
		    "    2048 of 8192 ring entries (25.0 %) get another backend: fra 50.0 %, nyc "
		    "0.0 %\n"
		    "    212 connections stay on version 1; 0 move\n");
}

static void ports_addresses_and_listeners_make_a_version(void **state)
{
	(void)state;
	assert_plan(
	    BASE,
	    HEAD SITES "services:\n  web:\n    ports: [tcp/8080, quic/443]\n" BACKENDS
		       "      - {name: web1, site: fra, address: 10.0.1.21}\n"
		       "      - {name: web2, site: nyc, address: 10.0.1.12}\n"
		       "      - {name: web3, site: nyc, address: 10.0.1.13, "
		       "listen: {quic/443: \":8443\"}}\n",
	    "~ service web: version 1 → 2\n"
	    "    + port tcp/8080\n"
	    "    + port quic/443\n"
	    "    - port tcp/80\n"
	    "    ~ backend web1: address 10.0.1.11 → 10.0.1.21\n"
	    "    ~ backend web2: site fra → nyc\n"
	    "    ~ backend web3: listen on the service's ports → udp/443 at :8443\n"
	    "    4096 of 8192 ring entries (50.0 %) get another backend\n"
	    "    flows that are there keep going to web1 at 10.0.1.11: its landing must report "
	    "from there until they end\n"
	    "    212 connections stay on version 1; 0 move\n"
	    "clients lose:\n"
	    "    nobody new reaches web.svc.example.net at tcp/80: version 2 does not have it; "
	    "connections on version 1 stay\n");
}

static void clients_are_kept_by_source(void **state)
{
	(void)state;
#define BY_SOURCE "    balance_by: source\n"
	assert_plan(BASE, HEAD SITES WEB BY_SOURCE BACKENDS WEB1 WEB2 WEB3,
		    "~ service web: version 1 → 2\n"
		    "    ~ balance_by: flow → source\n"
		    "    0 of 8192 ring entries (0.0 %) get another backend\n"
		    "    212 connections stay on version 1; 0 move\n");
	assert_plan(
	    HEAD SITES WEB BY_SOURCE BACKENDS WEB1 WEB2 WEB3,
	    HEAD SITES WEB BY_SOURCE BACKENDS WEB1 WEB3,
	    "~ service web: version 1 → 2\n"
	    "    - backend web2\n"
	    "    2048 of 8192 ring entries (25.0 %) get another backend: fra 50.0 %, nyc 0.0 %\n"
	    "    clients of all other entries keep their backends\n"
	    "    212 connections stay on version 1; 0 move\n");
#undef BY_SOURCE
}

static void policies_make_no_version(void **state)
{
	(void)state;
	assert_plan(BASE,
		    HEAD SITES WEB "    ttl: 10s\n"
				   "    rollout: {shares: [5%, 100%], pause: 5m}\n"
				   "    client_subnet: {ipv4: 20}\n"
				   "    health: {http: {port: 80, path: /up}}\n"
				   "    drain_limit: 1h\n" BACKENDS WEB1 WEB2 WEB3,
		    "~ service web: version 1 stays\n"
		    "    ~ ttl: 30s → 10s\n"
		    "    ~ client_subnet ipv4 24 → 20\n"
		    "    ~ rollout shares 100% → 5%, 100%\n"
		    "    ~ rollout pause 1m → 5m\n"
		    "    ~ health: none → http 80 /up every 2s, fall 3, rise 2\n"
		    "    ~ drain_limit: none → 1h\n");
}

static void the_fabric_itself_changes(void **state)
{
	(void)state;
	assert_plan(
	    BASE,
	    "fabric: other\n"
	    "zone: example.org\n"
	    "settings: {quiet: 5m}\n"
	    "nameservers: {ns1: [203.0.113.54], ns.example.com.: []}\n"
	    "pools: [{prefix: \"2001:db8::/112\"}, {prefix: 198.51.100.0/24, site_bits: 1}]\n"
	    "sites: {fra: {location: [50, 8.5]}, nyc: {clients: [192.0.2.0/24]}}\n" WEB BACKENDS
		WEB1 WEB2 WEB3,
	    "~ fabric: example → other\n"
	    "~ zone: svc.example.net → example.org\n"
	    "~ settings quiet 1h → 5m\n"
	    "~ nameserver ns1: addresses 203.0.113.53 → 203.0.113.54\n"
	    "+ nameserver ns.example.com.\n"
	    "+ pool 2001:db8::/112 (site_bits 4)\n"
	    "~ pool 198.51.100.0/24: site_bits 2 → 1\n"
	    "~ site fra: location none → 50, 8.5\n"
	    "~ site nyc: clients 0 → 1 (1 added, 0 removed)\n"
	    "clients lose:\n"
	    "    every name in svc.example.net is REFUSED from then on; only those in "
	    "example.org are answered\n");
}

static void the_zone_is_told_of_record_by_record(void **state)
{
	(void)state;
#define ZONE(dns)                                                                                  \
	"fabric: f\nzone: z\nnameservers: {ns1: [203.0.113.53]}\n" dns                             \
	"pools: [{prefix: 198.51.100.0/24, site_bits: 2, slots_per_service: 8}]\n"                 \
	"sites: {fra: {}}\nservices: {web: {ports: [tcp/80], backends: [{name: a, site: fra, "     \
	"address: 10.0.0.1}]}}\n"
	assert_plan(
	    ZONE(""),
	    ZONE("dns: {contact: me@example.org, ttl: 1h, rate_limit: none, records: {\"@\": "
		 "{mx: [10 a, 20 b]}, www: {cname: web, ttl: 60s}}}\n"),
	    "~ dns contact hostmaster → me@example.org\n"
	    "~ dns ttl 5m → 1h\n"
	    "~ dns rate_limit 1000 → none\n"
	    "+ record @ mx (10 a; 20 b)\n"
	    "+ record www cname (web (ttl 1m))\n");
	assert_plan(
	    ZONE("dns: {negative_ttl: 1m, records: {a: {txt: x, a: 203.0.113.1}, b: {txt: y}, "
		 "c: {txt: z}}}\n"),
	    ZONE("dns: {records: {a: {txt: [x, w], a: 203.0.113.1}, c: {txt: z, ttl: 1h}}}\n"),
	    "~ dns negative_ttl 1m → 5s\n"
	    "~ record a txt: x → x; w\n"
	    "~ record c txt: z → z (ttl 1h)\n"
	    "- record b txt\n"
	    "clients lose:\n"
	    "    b.z (txt) is NXDOMAIN from then on\n");
#undef ZONE
}

static void parts_of_the_fabric_go(void **state)
{
	(void)state;
	assert_plan("fabric: f\nzone: z\nnameservers: {ns1: [203.0.113.53], ns2: [203.0.113.54]}\n"
		    "pools: [{prefix: 198.51.100.0/24, site_bits: 2, slots_per_service: 8},\n"
		    "        {prefix: \"2001:db8::/112\", slots_per_service: 16}]\n"
		    "sites: {fra: {clients: [192.0.2.0/25, 192.0.2.128/25]}, nyc: {}}\n"
		    "services: {web: {ports: [tcp/80], backends: [{name: a, site: fra, address: "
		    "10.0.0.1}]}}\n",
		    "fabric: f\nzone: z\nnameservers: {ns1: [203.0.113.53]}\n"
		    "pools: [{prefix: 198.51.100.0/24, site_bits: 2, slots_per_service: 8}]\n"
		    "sites: {fra: {clients: [192.0.2.128/25, 198.18.0.0/24]}}\n"
		    "services: {web: {ports: [tcp/80], backends: [{name: a, site: fra, address: "
		    "10.0.0.1}]}}\n",
		    "- nameserver ns2\n"
		    "- pool 2001:db8::/112\n"
		    "~ site fra: clients 2 → 2 (1 added, 1 removed)\n"
		    "- site nyc\n"
		    "~ service web: version 1 → 2\n"
		    "    ~ sites: fra, nyc → fra\n"
		    "    0 of 4096 ring entries (0.0 %) get another backend\n"
		    "    212 connections stay on version 1; 0 move\n");
}

/* Listeners in another order are the same; another port is not. */
static void listeners_are_compared_as_a_set(void **state)
{
	(void)state;
#define LISTEN(listen)                                                                             \
	HEAD SITES "services:\n  web:\n    ports: [tcp/80, tcp/443]\n" BACKENDS                    \
		   "      - {name: web1, site: fra, address: 10.0.1.11, listen: {" listen "}}\n"
	assert_plan(LISTEN("tcp/80: \":1\", tcp/443: \":2\""),
		    LISTEN("tcp/443: \":2\", tcp/80: \":1\""), "nothing would change\n");
	assert_plan(
	    LISTEN("tcp/80: \":1\", tcp/443: \":2\""), LISTEN("tcp/80: \":1\", tcp/443: \":3\""),
	    "~ service web: version 1 → 2\n"
	    "    ~ backend web1: listen tcp/80 at :1, tcp/443 at :2 → tcp/80 at :1, tcp/443 "
	    "at :3\n"
	    "    0 of 8192 ring entries (0.0 %) get another backend\n"
	    "    212 connections stay on version 1; 0 move\n");
#undef LISTEN
}

static void the_order_of_pools_is_a_change(void **state)
{
	(void)state;
	static const char ONE[] = "fabric: f\nzone: z\nnameservers: {ns1: [203.0.113.53]}\n"
				  "pools: [{prefix: 198.51.100.0/24, site_bits: 2}, {prefix: "
				  "192.0.2.0/24, site_bits: 2}]\n" SITES WEB BACKENDS WEB1;
	static const char TWO[] = "fabric: f\nzone: z\nnameservers: {ns1: [203.0.113.53]}\n"
				  "pools: [{prefix: 192.0.2.0/24, site_bits: 2}, {prefix: "
				  "198.51.100.0/24, site_bits: 2}]\n" SITES WEB BACKENDS WEB1;
	assert_plan(ONE, TWO, "~ pools first of IPv4 198.51.100.0/24 → 192.0.2.0/24\n");
}

/* sgp has no backend of its own, so it gets all three; it had no ring, so nothing moves there. */
static void a_new_site_rebuilds_the_rings(void **state)
{
	(void)state;
	assert_plan(BASE, HEAD "sites: {fra: {}, nyc: {}, sgp: {}}\n" WEB BACKENDS WEB1 WEB2 WEB3,
		    "+ site sgp\n"
		    "~ service web: version 1 → 2\n"
		    "    ~ sites: fra, nyc → fra, nyc, sgp\n"
		    "    0 of 8192 ring entries (0.0 %) get another backend\n"
		    "    212 connections stay on version 1; 0 move\n");
}

static void a_service_that_goes_keeps_its_connections(void **state)
{
	(void)state;
	struct bench bench;
	bench_init(&bench, BASE, HEAD SITES "services: {}\n");
	bench.versions[0].connections = 1;
	bench.versions[1] = (struct plan_live_version){.number = 2, .state = "draining"};
	bench.live.version_count = 2;
	assert_string_equal(
	    bench_plan(&bench),
	    "- service web: DNS stops naming it, and its versions drain\n"
	    "    1 connection stays on version 1; 0 move\n"
	    "    the connections on version 2 are not known, since a backend is "
	    "silent; 0 move\n"
	    "clients lose:\n"
	    "    web.svc.example.net is NXDOMAIN from then on, and nobody new reaches "
	    "tcp/80\n");
	assert_int_equal(bench_asks(&bench), 1);
	bench_done(&bench);
}

/* Its addresses stand on until nobody is left there; the name itself may stay for other reasons. */
static void a_service_that_goes_is_said_to_leave_its_addresses(void **state)
{
	(void)state;
	static const char *const RECORDS[] = {"web: {txt: x}", "a.web: {a: 203.0.113.1}",
					      "\"*\": {a: 203.0.113.1}"};
	struct ip_address addresses[3];
	struct bench bench;
	assert_int_equal(ip_address_parse("198.51.100.1", &addresses[0]), 0);
	assert_int_equal(ip_address_parse("2001:db8::1", &addresses[1]), 0);
	assert_int_equal(ip_address_parse("198.51.100.2", &addresses[2]), 0);
	for (size_t i = 0; i < 3; i++) {
		char text[1024];
		snprintf(text, sizeof(text), HEAD SITES "dns: {records: {%s}}\nservices: {}\n",
			 RECORDS[i]);
		bench_init(&bench, BASE, text);
		bench.versions[0].addresses = addresses;
		bench.versions[0].address_count = 2;
		bench.versions[1] = (struct plan_live_version){.number = 2,
							       .state = "draining",
							       .addresses = addresses + 2,
							       .address_count = 1};
		bench.live.version_count = 2;
		assert_non_null(strstr(
		    bench_plan(&bench),
		    "clients lose:\n    web.svc.example.net is a service's name no more, and "
		    "nobody "
		    "new reaches tcp/80; 198.51.100.1, 2001:db8::1, 198.51.100.2 go when the last "
		    "connection there has ended\n"));
		assert_int_equal(bench_asks(&bench), 1);
		bench_done(&bench);
	}
}

static void what_is_lost(const char *ports_before, const char *ports_after, const char *lost)
{
	char before[1024], after[1024], said[1024] = "";
	struct bench bench;
	snprintf(before, sizeof(before),
		 HEAD SITES "services:\n  web:\n    ports: [%s]\n" BACKENDS WEB1, ports_before);
	snprintf(after, sizeof(after),
		 HEAD SITES "services:\n  web:\n    ports: [%s]\n" BACKENDS WEB1, ports_after);
	bench_init(&bench, before, after);
	bench_plan(&bench);
	for (size_t i = 0; i < bench.plan->loss_count; i++) {
		assert_string_equal(bench.plan->losses[i].kind, "port");
		snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s%s", i ? ", " : "",
			 bench.plan->losses[i].name);
	}
	assert_string_equal(said, lost);
	assert_int_equal(bench_asks(&bench), bench.plan->loss_count);
	bench_done(&bench);
}

/* What counts is which ports are served, not in which ranges they are written. */
static void ports_that_go_are_lost(void **state)
{
	(void)state;
	what_is_lost("tcp/80, tcp/443", "tcp/443, tcp/80", "");
	what_is_lost("tcp/80", "udp/80", "web tcp/80");
	what_is_lost("quic/443", "udp/443", "");
	what_is_lost("tcp/80-90", "tcp/80-84, tcp/85-90", "");
	what_is_lost("tcp/80-90", "tcp/82-84, tcp/86, tcp/88-95",
		     "web tcp/80-81, web tcp/85, web tcp/87");
	what_is_lost("tcp/65000-65535", "tcp/65000", "web tcp/65001-65535");
	what_is_lost("tcp/1-65535", "tcp/1-65534", "web tcp/65535");
}

/* A name that leads somewhere asks when it goes; what else goes is only said. */
static void records_that_go_are_lost(void **state)
{
	(void)state;
	struct bench bench;
	bench_init(&bench,
		   HEAD SITES "dns: {records: {mail: {a: 203.0.113.1, txt: x}, old: {txt: y}, www: "
			      "{a: 203.0.113.2}, \"@\": {txt: z}}}\n" WEB BACKENDS WEB1,
		   HEAD SITES "dns: {records: {www: {cname: web}}}\n" WEB BACKENDS WEB1);
	assert_non_null(strstr(bench_plan(&bench),
			       "clients lose:\n"
			       "    mail.svc.example.net (a) is NXDOMAIN from then on\n"
			       "    mail.svc.example.net (txt) is NXDOMAIN from then on\n"
			       "    old.svc.example.net (txt) is NXDOMAIN from then on\n"
			       "    www.svc.example.net has no a records any more\n"
			       "    svc.example.net has no txt records any more\n"));
	assert_int_equal(bench_asks(&bench), 1);
	bench_done(&bench);
}

static void what_asks_is_told_as_far_as_there_is_room(void **state)
{
	(void)state;
	struct bench bench;
	struct buffer text;
	bench_init(&bench, BASE,
		   "fabric: example\nzone: z\nnameservers: {ns1: [203.0.113.53]}\n"
		   "pools: [{prefix: 198.51.100.0/24, site_bits: 2}]\n" SITES "services: {}\n");
	bench_plan(&bench);
	buffer_init(&text, 0);
	assert_int_equal(plan_asks(bench.plan, 100, &text), 2);
	assert_string_equal(text.data,
			    "  every name in svc.example.net is REFUSED from then on; only "
			    "those in z are answered\n  and 1 more\n");
	buffer_done(&text);
	bench_done(&bench);
}

/* Version 1 serves, version 2 drains since 10 minutes. */
static const char *plan_with_limit(struct bench *bench, const char *limit, const char *backends)
{
	char after[1024];
	snprintf(after, sizeof(after), HEAD SITES WEB "    drain_limit: %s\n" BACKENDS "%s", limit,
		 backends);
	bench_init(bench, BASE, after);
	bench->versions[1] = (struct plan_live_version){
	    .number = 2, .state = "draining", .drains = true, .drained_ms = 600000};
	bench->live.version_count = 2;
	return bench_plan(bench);
}

static void a_drain_limit_is_said_to_cut(void **state)
{
	(void)state;
	struct bench bench;
	const char *text = plan_with_limit(&bench, "1h", WEB1 WEB2 WEB3);
	assert_non_null(
	    strstr(text, "    what is left on version 2 is cut in 50m (drain_limit)\n"));
	assert_null(strstr(text, "version 1 is cut"));
	bench_done(&bench);
	text = plan_with_limit(&bench, "5m", WEB1);
	assert_non_null(
	    strstr(text, "    212 connections stay on version 1; 0 move\n"
			 "    what is left on version 1 is cut 5m after DNS stopped naming it "
			 "(drain_limit)\n"));
	assert_non_null(
	    strstr(text, "    what is left on version 2 is cut at once (drain_limit)\n"));
	json_t *json = plan_json(bench.plan);
	json_t *versions =
	    json_object_get(json_array_get(json_object_get(json, "services"), 0), "versions");
	assert_int_equal(
	    json_integer_value(json_object_get(json_array_get(versions, 0), "cut_after_ms")),
	    300000);
	assert_true(json_is_integer(json_object_get(json_array_get(versions, 1), "cut_in_ms")));
	json_decref(json);
	bench.versions[1].cut = true;
	assert_null(strstr(bench_plan(&bench), "on version 2 is cut"));
	bench_done(&bench);
}

static void backends_that_are_waited_for_are_named(void **state)
{
	(void)state;
	struct bench bench;
	struct ip_address address;
	assert_int_equal(ip_address_parse("10.0.1.19", &address), 0);
	const struct plan_wait wait = {.backend = "web9",
				       .address = &address,
				       .reason = "never-reported",
				       .text = "it has not reported since this daemon started"};
	bench_init(&bench, BASE, HEAD SITES WEB BACKENDS WEB1);
	bench.live.waits = &wait;
	bench.live.wait_count = 1;
	bench.live.waits_for = 4;
	assert_non_null(strstr(bench_plan(&bench),
			       "    waits for web9: it has not reported since this daemon started\n"
			       "    waits for 3 more\n"));
	bench_done(&bench);
}

/* Without live versions, two files are compared as if each had been applied. */
static void two_files_can_be_compared_offline(void **state)
{
	(void)state;
	struct bench bench;
	bench_init(&bench, BASE, HEAD SITES WEB BACKENDS WEB1 WEB3);
	memset(&bench.live, 0, sizeof(bench.live));
	assert_string_equal(
	    bench_plan(&bench),
	    "~ service web: a new version\n"
	    "    - backend web2\n"
	    "    2048 of 8192 ring entries (25.0 %) get another backend: fra 50.0 %, nyc 0.0 %\n");
	bench_done(&bench);
}

/* The stored file is what the newest version means, but what is live decides. */
static void a_live_version_that_differs_from_the_file_is_replaced(void **state)
{
	(void)state;
	struct bench bench;
	bench_init(&bench, BASE, HEAD SITES WEB BACKENDS WEB1 WEB3);
	bench.previous = bench.fabric;
	assert_string_equal(bench_plan(&bench),
			    "~ service web: version 1 → 2\n"
			    "    - backend web2\n"
			    "    2048 of 8192 ring entries (25.0 %) get another backend: fra 50.0 "
			    "%, nyc 0.0 %\n"
			    "    212 connections stay on version 1; 0 move\n");
	bench_done(&bench);
}

static void json_says_the_same(void **state)
{
	(void)state;
	struct bench bench;
	bench_init(&bench, BASE,
		   HEAD SITES WEB
		   "    ttl: 10s\n" BACKENDS WEB1
		   "      - {name: web2, site: fra, address: 10.0.1.12, weight: 30}\n" WEB3);
	bench_plan(&bench);
	json_t *json = plan_json(bench.plan);
	char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
	/* fra: web1's share falls from 2048 of 4096 entries to 1024. */
	assert_string_equal(
	    text,
	    "{\"changes\":[],\"empty\":false,\"losses\":[],\"services\":[{\"change\":\"change\","
	    "\"changes\":["
	    "{\"after\":\"30\",\"attribute\":\"weight\",\"before\":\"10\",\"change\":\"change\","
	    "\"kind\":\"backend\",\"name\":\"web2\"},"
	    "{\"after\":\"10s\",\"before\":\"30s\",\"change\":\"change\",\"kind\":\"ttl\"}],"
	    "\"from_version\":1,\"moves\":["
	    "{\"entries\":4096,\"moved\":1024,\"site\":\"fra\"},"
	    "{\"entries\":4096,\"moved\":0,\"site\":\"nyc\"}],"
	    "\"new_version\":true,\"service\":\"web\",\"to_version\":2,\"versions\":["
	    "{\"addresses\":[],\"connections\":212,\"state\":\"serving\",\"version\":1}],"
	    "\"waits\":[],\"waits_for\":0}]}");
	free(text);
	json_decref(json);
	bench_done(&bench);
}

static void run_out_of_memory(const char *after)
{
	struct bench bench;
	bench_init(&bench, BASE, after);
	int result = -ENOMEM;
	for (size_t limit = 1; result != 0; limit += 64) {
		struct arena arena;
		struct plan *plan = NULL;
		arena_init(&arena, limit);
		result =
		    plan_build(bench.previous, bench.fabric, &bench.live, 1, &arena, &plan, NULL);
		assert_true(result == 0 || result == -ENOMEM);
		assert_int_equal(result == 0, plan != NULL);
		arena_done(&arena);
		assert_true(limit < 1000000);
	}
	bench_done(&bench);
}

static void running_out_of_memory_gives_no_plan(void **state)
{
	(void)state;
	run_out_of_memory(HEAD SITES WEB BACKENDS WEB1 WEB3);
	/* Nor one without what clients lose. */
	run_out_of_memory(HEAD SITES "services: {}\n");
	run_out_of_memory(HEAD SITES "services:\n  web:\n    ports: [tcp/81]\n" BACKENDS WEB1);
}

static void capacity_counts_rollouts(void **state)
{
	(void)state;
	/* 63 slots a site, one serves, each of 62 is held for 25 h: 59 a day. A held time of
	 * nothing bounds nothing. */
	struct bench bench;
	bench_init(&bench, NULL, BASE);
	config_capacity_render(bench.fabric, &bench.text);
	assert_string_equal(bench.text.data, "pool 198.51.100.0/24: 63 slots at each site, 1 "
					     "service: 59 rollouts a day of each\n");
	json_t *json = config_capacity_json(bench.fabric);
	char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, "[{\"prefix\":\"198.51.100.0/24\",\"rollouts_per_day\":59,"
				  "\"services\":1,\"slots_per_site\":63}]");
	free(text);
	json_decref(json);

	bench.fabric->settings.stale_ms = bench.fabric->settings.quiet_ms = 0;
	buffer_clear(&bench.text);
	config_capacity_render(bench.fabric, &bench.text);
	assert_non_null(strstr(bench.text.data, "any number of rollouts a day"));
	bench_done(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_same_file_changes_nothing),
	    cmocka_unit_test(what_get_writes_changes_nothing),
	    cmocka_unit_test(another_order_changes_nothing),
	    cmocka_unit_test(the_first_file_adds_everything),
	    cmocka_unit_test(backends_come_go_and_change_weight),
	    cmocka_unit_test(ports_addresses_and_listeners_make_a_version),
	    cmocka_unit_test(clients_are_kept_by_source),
	    cmocka_unit_test(policies_make_no_version),
	    cmocka_unit_test(the_fabric_itself_changes),
	    cmocka_unit_test(the_zone_is_told_of_record_by_record),
	    cmocka_unit_test(parts_of_the_fabric_go),
	    cmocka_unit_test(listeners_are_compared_as_a_set),
	    cmocka_unit_test(the_order_of_pools_is_a_change),
	    cmocka_unit_test(a_new_site_rebuilds_the_rings),
	    cmocka_unit_test(a_service_that_goes_keeps_its_connections),
	    cmocka_unit_test(a_service_that_goes_is_said_to_leave_its_addresses),
	    cmocka_unit_test(ports_that_go_are_lost),
	    cmocka_unit_test(records_that_go_are_lost),
	    cmocka_unit_test(what_asks_is_told_as_far_as_there_is_room),
	    cmocka_unit_test(a_drain_limit_is_said_to_cut),
	    cmocka_unit_test(backends_that_are_waited_for_are_named),
	    cmocka_unit_test(two_files_can_be_compared_offline),
	    cmocka_unit_test(a_live_version_that_differs_from_the_file_is_replaced),
	    cmocka_unit_test(json_says_the_same),
	    cmocka_unit_test(running_out_of_memory_gives_no_plan),
	    cmocka_unit_test(capacity_counts_rollouts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
