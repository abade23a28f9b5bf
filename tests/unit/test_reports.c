/* SPDX-License-Identifier: Apache-2.0 */
/* Reports: silence is never zero, and only what was begun late enough names a closing. */
#include "fabric/reports.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define INTERVAL_MS 1000u

#define WEB1 {.bytes = {10, 0, 1, 11}, .family = IP_V4}
#define WEB2 {.bytes = {10, 0, 1, 12}, .family = IP_V4}

static struct backend backends[2] = {{.name = "web1", .address = WEB1},
				     {.name = "web2", .address = WEB2}};
static const struct version version = {.backends = backends, .backend_count = 2};

static struct ip_address address_of(const char *text)
{
	struct ip_address address;
	assert_int_equal(ip_address_parse(text, &address), 0);
	return address;
}

#define SEQUENCE 100u /* the ledger's last entry */

/* An image with the ledger's last entries; the hash of entry N is N in each byte. */
static struct image image_of(struct image_forgotten *forgotten)
{
	struct image image = {.forgotten = forgotten, .forgotten_count = forgotten ? 1 : 0};
	image.head.sequence = SEQUENCE;
	for (uint64_t i = 1; i <= SEQUENCE; i++) {
		image.chain[i].sequence = i;
		memset(image.chain[i].digest.bytes, (int)i, DIGEST_BYTES);
	}
	return image;
}

/* Counts of at most two addresses; `closing` names the entry of that number on our chain. */
struct sample {
	const char *backend, *instance;
	const char *addresses[2];
	uint64_t connections[2];
	uint64_t closing;
	uint8_t closing_byte; /* of another hash, if it is not 0 */
	uint64_t no_cookie_ms; /* since the last SYN cookie; 0: there was none */
	bool cookies_unknown;
	const char *owns; /* an address of the machine; NULL: what the backend of that name has */
};

static int take(struct reports *reports, const struct sample *sample, uint64_t now_ms)
{
	const struct image image = image_of(NULL);
	const struct report_moment moment = {
	    .now_ms = now_ms, .interval_ms = INTERVAL_MS, .image = &image};
	const struct peer_hello who = {.node = sample->backend,
				       .boot_id = "b",
				       .instance = sample->instance ? sample->instance : "i"};
	struct peer_report said = {.closing_sequence = sample->closing,
				   .cookies_known = !sample->cookies_unknown,
				   .cookies_ms =
				       sample->no_cookie_ms ? sample->no_cookie_ms : UINT64_MAX};
	struct arena arena;
	arena_init(&arena, 0);
	struct peer_count *counts = arena_array(&arena, 2, sizeof(*counts));
	assert_non_null(counts);
	for (; said.counts.count < 2 && sample->addresses[said.counts.count]; said.counts.count++)
		counts[said.counts.count] =
		    (struct peer_count){.address = address_of(sample->addresses[said.counts.count]),
					.connections = sample->connections[said.counts.count]};
	said.counts.items = counts;
	struct peer_end *owned = arena_array(&arena, 1, sizeof(*owned));
	assert_non_null(owned);
	for (size_t i = 0; i < 2 && !sample->owns; i++) {
		if (strcmp(backends[i].name, sample->backend) == 0)
			owned[said.owned.count++].address = backends[i].address;
	}
	if (sample->owns && *sample->owns)
		owned[said.owned.count++].address = address_of(sample->owns);
	said.owned.items = owned;
	said.generation.bytes[0] = 1;
	memset(said.closing_hash.bytes,
	       sample->closing_byte ? sample->closing_byte : (uint8_t)sample->closing,
	       DIGEST_BYTES);
	struct error err = {0};
	int result = reports_take(reports, &who, &said, &arena, &moment, &err);
	assert_int_equal(result < 0, *err.text != '\0');
	assert_int_equal(result == 0, arena.used == 0); /* moved, or still ours */
	arena_done(&arena);
	return result;
}

#define REPORT(...) (&(const struct sample){__VA_ARGS__})
#define NAMED(node, number) REPORT(.backend = (node), .closing = (number))
#define COUNTED(node, text, number)                                                                \
	REPORT(.backend = (node), .addresses = {(text)}, .connections = {(number)})

/* Who reports from the address that the version names. */
static const struct report *owner(const struct reports *reports, const char *name)
{
	return reports_owner(reports, name, &version_backend(&version, name)->address);
}

#define PUBLISHED 50u

static struct connection_sum sum_at(struct reports *reports, const struct image *image,
				    uint64_t closing, uint64_t now_ms)
{
	struct ip_address address = address_of("198.51.100.1");
	const struct connection_query query = {.version = &version,
					       .published = PUBLISHED,
					       .addresses = &address,
					       .address_count = 1,
					       .closing = closing,
					       .interval_ms = INTERVAL_MS,
					       .now_ms = now_ms};
	return reports_sum(reports, image, &query);
}

static void silence_is_not_zero(void **state)
{
	(void)state;
	struct reports *reports;
	const struct image image = image_of(NULL);
	assert_int_equal(reports_new(&reports), 0);
	struct connection_sum sum = sum_at(reports, &image, 0, 0);
	assert_false(sum.known);

	assert_int_equal(take(reports, COUNTED("web1", "198.51.100.1", 3), 100), 0);
	sum = sum_at(reports, &image, 0, 100);
	assert_false(sum.known);
	assert_string_equal(sum.silent, "web2");

	assert_int_equal(take(reports, COUNTED("web2", "198.51.100.2", 9), 200), 0);
	sum = sum_at(reports, &image, 0, 200);
	assert_true(sum.known);
	assert_int_equal(sum.count, 3);
	assert_true(sum_at(reports, &image, 0, 100 + 3 * INTERVAL_MS).known);
	sum = sum_at(reports, &image, 0, 101 + 3 * INTERVAL_MS);
	assert_false(sum.known);
	assert_string_equal(sum.silent, "web1");
	reports_free(reports);
}

/* PROTOCOL.md, rule 14. */
static void a_count_after_syn_cookies_proves_nothing(void **state)
{
	(void)state;
	struct reports *reports;
	const struct image image = image_of(NULL);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, NAMED("web1", 0), 0), 0);
	assert_int_equal(take(reports, NAMED("web2", 0), 0), 0);
	assert_null(sum_at(reports, &image, 0, 0).cookies);
	assert_int_equal(take(reports, REPORT(.backend = "web2", .no_cookie_ms = 119999), 0), 0);
	assert_string_equal(sum_at(reports, &image, 0, 0).cookies, "web2");
	assert_true(sum_at(reports, &image, 0, 0).known);
	assert_int_equal(take(reports, REPORT(.backend = "web2", .no_cookie_ms = 120000), 0), 0);
	assert_null(sum_at(reports, &image, 0, 0).cookies);
	assert_int_equal(take(reports, REPORT(.backend = "web1", .cookies_unknown = true), 0), 0);
	assert_string_equal(sum_at(reports, &image, 0, 0).cookies, "web1");
	reports_free(reports);
}

/* Also what a backend outside the version reports for the address keeps it in use. */
static void every_report_of_the_address_counts(void **state)
{
	(void)state;
	struct reports *reports;
	const struct image image = image_of(NULL);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, NAMED("web1", 0), 0), 0);
	assert_int_equal(take(reports, NAMED("web2", 0), 0), 0);
	assert_int_equal(take(reports, COUNTED("old", "198.51.100.1", 2), 0), 0);
	assert_int_equal(sum_at(reports, &image, 0, 0).count, 2);
	assert_int_equal(take(reports, NAMED("old", 0), 0), 0);
	assert_int_equal(sum_at(reports, &image, 0, 0).count, 0);
	reports_free(reports);
}

static void a_closing_wants_every_report_to_name_it(void **state)
{
	(void)state;
	struct reports *reports;
	const struct image image = image_of(NULL);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, NAMED("web1", 17), 0), 0);
	assert_int_equal(take(reports, NAMED("web2", 16), 0), 0);
	assert_true(sum_at(reports, &image, 17, 0).known);
	assert_false(sum_at(reports, &image, 17, 0).names_closing);
	assert_int_equal(take(reports, NAMED("web2", 17), 0), 0);
	assert_true(sum_at(reports, &image, 17, 0).names_closing);
	assert_false(sum_at(reports, &image, 18, 0).names_closing);
	reports_free(reports);
}

/* After a recovery the same number is another entry's: what a landing says of that is none of ours,
 * and neither is what it says of an entry that is to come, or without naming its hash. */
static void a_closing_of_another_chain_is_none(void **state)
{
	(void)state;
	struct reports *reports;
	const struct image image = image_of(NULL);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, NAMED("web1", 17), 0), 0);
	assert_int_equal(
	    take(reports, REPORT(.backend = "web2", .closing = 17, .closing_byte = 99), 0), 0);
	assert_true(sum_at(reports, &image, 17, 0).known);
	assert_false(sum_at(reports, &image, 17, 0).names_closing);
	assert_int_equal(take(reports, NAMED("web2", 101), 0), 0);
	assert_false(sum_at(reports, &image, 17, 0).names_closing);
	assert_int_equal(take(reports, NAMED("web2", 17), 0), 0);
	assert_true(sum_at(reports, &image, 17, 0).names_closing);
	reports_free(reports);
}

static void a_forgotten_backend_is_no_longer_waited_for(void **state)
{
	(void)state;
	struct reports *reports;
	struct image_forgotten forgotten = {.backend = "web2", .sequence = PUBLISHED + 1};
	const struct image image = image_of(&forgotten);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, NAMED("web1", 9), 0), 0);
	struct connection_sum sum = sum_at(reports, &image, 9, 0);
	assert_true(sum.known);
	assert_true(sum.names_closing);
	reports_free(reports);
}

/* What was said of a machine's connections says nothing of those it gets later. */
static void a_version_published_later_waits_for_it_again(void **state)
{
	(void)state;
	struct reports *reports;
	struct image_forgotten forgotten = {.backend = "web2", .sequence = PUBLISHED - 1};
	const struct image image = image_of(&forgotten);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, NAMED("web1", 0), 0), 0);
	struct connection_sum sum = sum_at(reports, &image, 0, 0);
	assert_false(sum.known);
	assert_string_equal(sum.silent, "web2");
	reports_free(reports);
}

/* In order, each once: so of two counts of an address none can hide the other. */
static void counts_out_of_order_change_nothing(void **state)
{
	(void)state;
	struct reports *reports;
	struct ip_address address = address_of("10.0.0.1");
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, COUNTED("web1", "10.0.0.1", 4), 7), 0);
	assert_int_equal(take(reports,
			      REPORT(.backend = "web1", .instance = NULL,
				     .addresses = {"10.0.0.1", "10.0.0.1"}, .connections = {0, 3}),
			      9),
			 -FL_EINVALID);
	assert_int_equal(take(reports,
			      REPORT(.backend = "web1", .instance = NULL,
				     .addresses = {"::1", "10.0.0.1"}, .connections = {0, 3}),
			      9),
			 -FL_EINVALID);
	const struct report *report = owner(reports, "web1");
	assert_int_equal(report->received_ms, 7);
	assert_int_equal(report_connections(report, &address), 4);
	reports_free(reports);
}

/* Of two processes that count, neither is the whole truth: the newer one is not heard. */
static void another_process_of_the_same_name_is_refused(void **state)
{
	(void)state;
	struct reports *reports;
	const struct image image = image_of(NULL);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, NAMED("web2", 9), 3000), 0);
	assert_int_equal(take(reports,
			      REPORT(.backend = "web1", .instance = "a",
				     .addresses = {"198.51.100.1"}, .connections = {5}),
			      0),
			 0);
	assert_int_equal(
	    take(reports, REPORT(.backend = "web1", .instance = "b", .closing = 9), 3000),
	    -FL_ECONFLICT);
	assert_int_equal(sum_at(reports, &image, 0, 3000).count, 5);
	assert_false(sum_at(reports, &image, 0, 3000).known);
	assert_int_equal(sum_at(reports, &image, 0, 3000).doubt, REPORT_DISPUTED);
	const struct report *report = owner(reports, "web1");
	assert_true(report_is_disputed(report, INTERVAL_MS, 3000));
	assert_int_equal(take(reports,
			      REPORT(.backend = "web1", .instance = "a",
				     .addresses = {"198.51.100.1"}, .connections = {4}),
			      3000),
			 0);
	report = owner(reports, "web1");
	assert_true(report_is_disputed(report, INTERVAL_MS, 6000));
	assert_false(report_is_disputed(report, INTERVAL_MS, 6001));

	/* The first has gone silent: unknown until the other one speaks, which is then heard. */
	assert_false(sum_at(reports, &image, 0, 6001).known);
	assert_int_equal(
	    take(reports, REPORT(.backend = "web1", .instance = "b", .closing = 9), 6001), 0);
	report = owner(reports, "web1");
	assert_false(report_is_disputed(report, INTERVAL_MS, 6001));
	assert_string_equal(report->instance, "b");
	assert_int_equal(
	    take(reports, REPORT(.backend = "web1", .instance = "a", .closing = 9), 6002),
	    -FL_ECONFLICT);
	reports_free(reports);
}

/* The version names 10.0.1.11, where its flows are. */
static void a_machine_without_the_address_proves_nothing(void **state)
{
	(void)state;
	struct reports *reports;
	const struct image image = image_of(NULL);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, NAMED("web2", 9), 0), 0);
	assert_int_equal(take(reports, REPORT(.backend = "web1", .owns = "", .closing = 9), 0), 0);
	struct connection_sum sum = sum_at(reports, &image, 9, 0);
	assert_false(sum.known);
	assert_false(sum.names_closing);
	assert_string_equal(sum.silent, "web1");
	assert_int_equal(sum.doubt, REPORT_ELSEWHERE);
	/* It has gone; so has the mistake. */
	assert_int_equal(sum_at(reports, &image, 9, 3001).doubt, REPORT_SILENT);

	/* What it counts is there all the same. */
	assert_int_equal(take(reports, NAMED("web1", 9), 10), 0);
	assert_int_equal(take(reports,
			      REPORT(.backend = "web1", .instance = "j", .owns = "",
				     .addresses = {"198.51.100.1"}, .connections = {7}),
			      10),
			 0);
	sum = sum_at(reports, &image, 9, 10);
	assert_true(sum.known);
	assert_true(sum.names_closing);
	assert_int_equal(sum.count, 7);
	reports_free(reports);
}

/* web1 gets another machine: for the versions that name the old address only the old one speaks,
 * and each is heard. */
static void a_name_that_moves_is_two_backends(void **state)
{
	(void)state;
	struct reports *reports;
	const struct image image = image_of(NULL);
	const struct ip_address new_address = address_of("10.0.1.21");
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, NAMED("web2", 9), 0), 0);
	assert_int_equal(take(reports, NAMED("web1", 9), 0), 0);
	assert_int_equal(
	    take(reports,
		 REPORT(.backend = "web1", .instance = "j", .owns = "10.0.1.21", .closing = 9), 1),
	    0);
	assert_true(sum_at(reports, &image, 9, 1).known);
	assert_null(sum_at(reports, &image, 9, 1).silent);
	assert_string_equal(reports_owner(reports, "web1", &new_address)->instance, "j");

	/* The old machine stops. */
	assert_int_equal(take(reports, NAMED("web2", 9), 4000), 0);
	assert_int_equal(
	    take(reports,
		 REPORT(.backend = "web1", .instance = "j", .owns = "10.0.1.21", .closing = 9),
		 4000),
	    0);
	struct connection_sum sum = sum_at(reports, &image, 9, 4000);
	assert_false(sum.known);
	assert_int_equal(sum.doubt, REPORT_SILENT);
	/* Its last word stays known of. */
	assert_non_null(owner(reports, "web1"));
	reports_free(reports);
}

/* The same machine is taken for gone, and the new one is not. */
static void a_machine_is_forgotten_and_not_its_name(void **state)
{
	(void)state;
	struct reports *reports;
	struct image_forgotten forgotten = {
	    .backend = "web1", .address = WEB2, .sequence = PUBLISHED + 1};
	const struct image image = image_of(&forgotten);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, NAMED("web2", 9), 0), 0);
	assert_false(sum_at(reports, &image, 9, 0).known);
	forgotten.address = (struct ip_address)WEB1;
	assert_true(sum_at(reports, &image, 9, 0).known);
	reports_free(reports);
}

/* A mistyped name takes nothing from the machine that has it by right, which starts anew. */
static void a_stranger_keeps_nobody_out(void **state)
{
	(void)state;
	struct reports *reports;
	const struct image image = image_of(NULL);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, NAMED("web2", 9), 0), 0);
	assert_int_equal(
	    take(reports, REPORT(.backend = "web1", .instance = "s", .owns = "", .closing = 9), 0),
	    0);
	assert_int_equal(take(reports, NAMED("web1", 9), 1), 0);
	assert_int_equal(
	    take(reports, REPORT(.backend = "web1", .instance = "s", .owns = "", .closing = 9), 2),
	    0);
	assert_true(sum_at(reports, &image, 9, 2).known);
	assert_false(report_is_disputed(owner(reports, "web1"), INTERVAL_MS, 2));
	reports_free(reports);
}

static void connections_of_all_sites_are_summed(void **state)
{
	(void)state;
	struct reports *reports;
	const struct image image = image_of(NULL);
	const struct ip_address addresses[] = {address_of("198.51.100.1"),
					       address_of("198.51.100.33")};
	const struct connection_query query = {.version = &version,
					       .addresses = addresses,
					       .address_count = 2,
					       .interval_ms = INTERVAL_MS};
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(
	    take(reports,
		 REPORT(.backend = "web1", .instance = NULL,
			.addresses = {"198.51.100.1", "198.51.100.33"}, .connections = {1, 20}),
		 0),
	    0);
	assert_int_equal(take(reports,
			      REPORT(.backend = "web2", .instance = NULL,
				     .addresses = {"198.51.100.33", "198.51.100.34"},
				     .connections = {300, 4000}),
			      0),
			 0);
	assert_int_equal(reports_sum(reports, &image, &query).count, 321);
	reports_free(reports);
}

static void a_dropped_name_is_gone(void **state)
{
	(void)state;
	struct reports *reports;
	const struct image image = image_of(NULL);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, COUNTED("web1", "198.51.100.1", 1), 0), 0);
	assert_int_equal(take(reports, COUNTED("wbe2", "198.51.100.1", 5), 0), 0);
	reports_drop(reports, "nobody");
	reports_drop(reports, "wbe2");
	assert_int_equal(sum_at(reports, &image, 0, 0).count, 1);
	assert_non_null(owner(reports, "web1"));
	assert_null(reports_at(reports, 1));
	reports_free(reports);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(silence_is_not_zero),
	    cmocka_unit_test(a_count_after_syn_cookies_proves_nothing),
	    cmocka_unit_test(every_report_of_the_address_counts),
	    cmocka_unit_test(a_closing_wants_every_report_to_name_it),
	    cmocka_unit_test(a_closing_of_another_chain_is_none),
	    cmocka_unit_test(a_forgotten_backend_is_no_longer_waited_for),
	    cmocka_unit_test(a_version_published_later_waits_for_it_again),
	    cmocka_unit_test(counts_out_of_order_change_nothing),
	    cmocka_unit_test(a_dropped_name_is_gone),
	    cmocka_unit_test(a_machine_without_the_address_proves_nothing),
	    cmocka_unit_test(a_name_that_moves_is_two_backends),
	    cmocka_unit_test(a_machine_is_forgotten_and_not_its_name),
	    cmocka_unit_test(a_stranger_keeps_nobody_out),
	    cmocka_unit_test(another_process_of_the_same_name_is_refused),
	    cmocka_unit_test(connections_of_all_sites_are_summed),
	};
	return cmocka_run_group_tests_name("reports", tests, NULL, NULL);
}
