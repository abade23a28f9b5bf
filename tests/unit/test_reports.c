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

static struct backend backends[2] = {{.name = "web1"}, {.name = "web2"}};
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

static void set_digest(json_t *report, uint8_t byte)
{
	struct digest digest;
	char text[DIGEST_HEX_BYTES];
	memset(digest.bytes, byte, DIGEST_BYTES);
	hex_encode(digest.bytes, DIGEST_BYTES, text);
	json_object_set_new(report, "closing_digest", json_string(text));
}

static int take(struct reports *reports, const char *text, uint64_t now_ms)
{
	const struct image image = image_of(NULL);
	const struct report_moment moment = {
	    .now_ms = now_ms, .interval_ms = INTERVAL_MS, .image = &image};
	json_t *json = json_loads(text, 0, NULL);
	assert_non_null(json);
	json_int_t closing = json_integer_value(json_object_get(json, "closing"));
	if (closing > 0 && !json_object_get(json, "closing_digest"))
		set_digest(json, (uint8_t)closing);
	struct error err = {0};
	int result = reports_take(reports, json, &moment, &err);
	if (result < 0)
		assert_true(*err.text != '\0');
	json_decref(json);
	return result;
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

#define REPORT_OF(node, instance, connections, closing)                                            \
	"{\"node\": \"" node "\", \"boot_id\": \"b\", \"instance\": \"" instance                   \
	"\", \"connections\": {" connections "}, \"closing\": " #closing "}"
#define REPORT_AS(rest)                                                                            \
	"{\"node\": \"web1\", \"boot_id\": \"b\", \"instance\": \"i\", \"connections\": {}, " rest \
	"}"
#define REPORT(node, connections, closing) REPORT_OF(node, "i", connections, closing)

static void silence_is_not_zero(void **state)
{
	(void)state;
	struct reports *reports;
	const struct image image = image_of(NULL);
	assert_int_equal(reports_new(&reports), 0);
	struct connection_sum sum = sum_at(reports, &image, 0, 0);
	assert_false(sum.known);

	assert_int_equal(take(reports, REPORT("web1", "\"198.51.100.1\": 3", 0), 100), 0);
	sum = sum_at(reports, &image, 0, 100);
	assert_false(sum.known);
	assert_string_equal(sum.silent, "web2");

	assert_int_equal(take(reports, REPORT("web2", "\"198.51.100.2\": 9", 0), 200), 0);
	sum = sum_at(reports, &image, 0, 200);
	assert_true(sum.known);
	assert_int_equal(sum.count, 3);
	assert_true(sum_at(reports, &image, 0, 100 + 3 * INTERVAL_MS).known);
	sum = sum_at(reports, &image, 0, 101 + 3 * INTERVAL_MS);
	assert_false(sum.known);
	assert_string_equal(sum.silent, "web1");
	reports_free(reports);
}

/* Also what a backend outside the version reports for the address keeps it in use. */
static void every_report_of_the_address_counts(void **state)
{
	(void)state;
	struct reports *reports;
	const struct image image = image_of(NULL);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, REPORT("web1", "", 0), 0), 0);
	assert_int_equal(take(reports, REPORT("web2", "", 0), 0), 0);
	assert_int_equal(take(reports, REPORT("old", "\"198.51.100.1\": 2", 0), 0), 0);
	assert_int_equal(sum_at(reports, &image, 0, 0).count, 2);
	assert_int_equal(take(reports, REPORT("old", "", 0), 0), 0);
	assert_int_equal(sum_at(reports, &image, 0, 0).count, 0);
	reports_free(reports);
}

static void a_closing_wants_every_report_to_name_it(void **state)
{
	(void)state;
	struct reports *reports;
	const struct image image = image_of(NULL);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, REPORT("web1", "", 17), 0), 0);
	assert_int_equal(take(reports, REPORT("web2", "", 16), 0), 0);
	assert_true(sum_at(reports, &image, 17, 0).known);
	assert_false(sum_at(reports, &image, 17, 0).names_closing);
	assert_int_equal(take(reports, REPORT("web2", "", 17), 0), 0);
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
	char other[512];
	char digest[DIGEST_HEX_BYTES];
	struct digest bytes;
	memset(bytes.bytes, 99, DIGEST_BYTES);
	hex_encode(bytes.bytes, DIGEST_BYTES, digest);
	snprintf(
	    other, sizeof(other),
	    "{\"node\": \"web2\", \"boot_id\": \"b\", \"instance\": \"i\", \"connections\": {}, "
	    "\"closing\": 17, \"closing_digest\": \"%s\"}",
	    digest);
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, REPORT("web1", "", 17), 0), 0);
	assert_int_equal(take(reports, other, 0), 0);
	assert_true(sum_at(reports, &image, 17, 0).known);
	assert_false(sum_at(reports, &image, 17, 0).names_closing);
	assert_int_equal(take(reports, REPORT("web2", "", 101), 0), 0);
	assert_false(sum_at(reports, &image, 17, 0).names_closing);
	assert_int_equal(take(reports, REPORT("web2", "", 17), 0), 0);
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
	assert_int_equal(take(reports, REPORT("web1", "", 9), 0), 0);
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
	assert_int_equal(take(reports, REPORT("web1", "", 0), 0), 0);
	struct connection_sum sum = sum_at(reports, &image, 0, 0);
	assert_false(sum.known);
	assert_string_equal(sum.silent, "web2");
	reports_free(reports);
}

static void a_malformed_report_changes_nothing(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "{}",
	    "{\"node\": \"\", \"boot_id\": \"b\", \"instance\": \"i\", \"connections\": {}}",
	    "{\"node\": \"web1\", \"instance\": \"i\", \"connections\": {}}",
	    "{\"node\": \"web1\", \"boot_id\": \"b\", \"connections\": {}}",
	    "{\"node\": \"web1\", \"boot_id\": \"b\", \"instance\": \"i\"}",
	    REPORT("Web1", "", 0),
	    REPORT("-", "", 0),
	    REPORT("web1/x", "", 0),
	    REPORT("web1", "", -1), /* as an unsigned number it would prove every closing */
	    REPORT_AS("\"closing\": 3, \"closing_digest\": \"3\""),
	    REPORT("web1", "", "7"),
	    REPORT("web1", "\"10.0.0.1\": 4294967296", 0),
	    "{\"node\": \"web1\", \"boot_id\": \"b\", \"instance\": \"i\", \"connections\": []}",
	    "{\"node\": \"web1\", \"boot_id\": \"b\", \"instance\": \"i\", \"connections\": "
	    "{\"x\": 1}}",
	    "{\"node\": \"web1\", \"boot_id\": \"b\", \"instance\": \"i\", \"connections\": "
	    "{\"10.0.0.1\": -1}}",
	    "{\"node\": \"web1\", \"boot_id\": \"b\", \"instance\": \"i\", \"connections\": "
	    "{\"10.0.0.1\": \"1\"}}",
	};
	struct reports *reports;
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, REPORT("web1", "\"10.0.0.1\": 4", 0), 7), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(take(reports, bad[i], 9), -FL_EINVALID);
	const struct report *report = reports_find(reports, "web1");
	assert_int_equal(report->received_ms, 7);
	struct ip_address address = address_of("10.0.0.1");
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
	assert_int_equal(take(reports, REPORT("web2", "", 9), 3000), 0);
	assert_int_equal(take(reports, REPORT_OF("web1", "a", "\"198.51.100.1\": 5", 0), 0), 0);
	assert_int_equal(take(reports, REPORT_OF("web1", "b", "", 9), 3000), -FL_ECONFLICT);
	assert_int_equal(sum_at(reports, &image, 0, 3000).count, 5);
	const struct report *report = reports_find(reports, "web1");
	assert_true(report_is_disputed(report, INTERVAL_MS, 3000));
	assert_int_equal(take(reports, REPORT_OF("web1", "a", "\"198.51.100.1\": 4", 0), 3000), 0);
	report = reports_find(reports, "web1");
	assert_true(report_is_disputed(report, INTERVAL_MS, 6000));
	assert_false(report_is_disputed(report, INTERVAL_MS, 6001));

	/* The first has gone silent: unknown until the other one speaks, which is then heard. */
	assert_false(sum_at(reports, &image, 0, 6001).known);
	assert_int_equal(take(reports, REPORT_OF("web1", "b", "", 9), 6001), 0);
	report = reports_find(reports, "web1");
	assert_false(report_is_disputed(report, INTERVAL_MS, 6001));
	assert_string_equal(report->instance, "b");
	assert_int_equal(take(reports, REPORT_OF("web1", "a", "", 9), 6002), -FL_ECONFLICT);
	reports_free(reports);
}

/* An address has more than one spelling; none of them may hide the others. */
static void spellings_of_one_address_are_summed(void **state)
{
	(void)state;
	struct reports *reports;
	struct ip_address address = address_of("2001:db8::1");
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(
	    take(reports, REPORT("web1", "\"2001:db8::1\": 0, \"2001:DB8:0::1\": 3, \"::5\": 1", 0),
		 0),
	    0);
	const struct report *report = reports_find(reports, "web1");
	assert_int_equal(report->count, 2);
	assert_int_equal(report_connections(report, &address), 3);
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
	    take(reports, REPORT("web1", "\"198.51.100.1\": 1, \"198.51.100.33\": 20", 0), 0), 0);
	assert_int_equal(
	    take(reports, REPORT("web2", "\"198.51.100.33\": 300, \"198.51.100.34\": 4000", 0), 0),
	    0);
	assert_int_equal(reports_sum(reports, &image, &query).count, 321);
	reports_free(reports);
}

static void a_dropped_name_is_gone(void **state)
{
	(void)state;
	struct reports *reports;
	assert_int_equal(reports_new(&reports), 0);
	assert_int_equal(take(reports, REPORT("web1", "\"198.51.100.1\": 1", 0), 0), 0);
	assert_int_equal(take(reports, REPORT("wbe2", "\"198.51.100.1\": 5", 0), 0), 0);
	reports_drop(reports, "nobody");
	reports_drop(reports, "wbe2");
	assert_null(reports_find(reports, "wbe2"));
	assert_non_null(reports_find(reports, "web1"));
	assert_null(reports_at(reports, 1));
	const struct image image = image_of(NULL);
	assert_int_equal(sum_at(reports, &image, 0, 0).count, 1);
	reports_free(reports);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(silence_is_not_zero),
	    cmocka_unit_test(every_report_of_the_address_counts),
	    cmocka_unit_test(a_closing_wants_every_report_to_name_it),
	    cmocka_unit_test(a_closing_of_another_chain_is_none),
	    cmocka_unit_test(a_forgotten_backend_is_no_longer_waited_for),
	    cmocka_unit_test(a_version_published_later_waits_for_it_again),
	    cmocka_unit_test(a_malformed_report_changes_nothing),
	    cmocka_unit_test(a_dropped_name_is_gone),
	    cmocka_unit_test(another_process_of_the_same_name_is_refused),
	    cmocka_unit_test(spellings_of_one_address_are_summed),
	    cmocka_unit_test(connections_of_all_sites_are_summed),
	};
	return cmocka_run_group_tests_name("reports", tests, NULL, NULL);
}
