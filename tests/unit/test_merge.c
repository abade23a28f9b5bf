/* SPDX-License-Identifier: Apache-2.0 */
/* Merge: who is waited for is what the ledger says, and who said nothing has acknowledged nothing.
 */
#include "fabric/merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD 100u /* the ledger's last entry */
#define INTERVAL_MS 1000u
#define MOST 4

/* A fabric of edges and name servers, and what they said. */
struct bench {
	struct image image;
	struct fabric fabric;
	struct member members[MOST];
	struct image_member records[MOST];
	struct placement placement;
	const char *sites[2];
	struct placed_pool pools[1];
	struct observations *observations;
	struct reports *reports;
	uint64_t now_ms;
};

static struct ledger_position entry(uint64_t sequence, uint8_t chain)
{
	struct ledger_position position = {.sequence = sequence};
	memset(position.digest.bytes, (int)(sequence + chain), DIGEST_BYTES);
	return position;
}

static void add_member(struct bench *bench, const char *name, unsigned roles)
{
	size_t at = bench->image.member_count++;
	bench->members[at] =
	    (struct member){.name = name, .site = "fra", .key = "", .roles = roles};
	bench->records[at].member = &bench->members[at];
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	bench->now_ms = 1000000;
	bench->image.members = bench->records;
	bench->image.head.sequence = HEAD;
	for (uint64_t i = 1; i <= HEAD; i++)
		bench->image.chain[i] = entry(i, 0);
	bench->fabric.settings.report_interval_ms = INTERVAL_MS;
	bench->image.fabric = &bench->fabric;
	bench->sites[0] = "fra";
	bench->placement.sites = bench->sites;
	bench->placement.site_count = 1;
	bench->placement.pools = bench->pools;
	bench->placement.pool_count = 1;
	assert_int_equal(ip_prefix_parse("198.51.100.0/26", &bench->pools[0].pool.prefix), 0);
	bench->image.placement = &bench->placement;
	assert_int_equal(observations_new(&bench->observations), 0);
	assert_int_equal(reports_new(&bench->reports), 0);
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	observations_free(bench->observations);
	reports_free(bench->reports);
	free(bench);
	return 0;
}

static struct sights sights(const struct bench *bench)
{
	return (struct sights){.image = &bench->image,
			       .observations = bench->observations,
			       .reports = bench->reports,
			       .now_ms = bench->now_ms};
}

/* An edge or name server says that it has applied `sequence` of the chain. */
static void say(struct bench *bench, const char *node, const char *instance, unsigned roles,
		struct ledger_position position)
{
	const struct observation said = {.node = node,
					 .instance = instance,
					 .is_edge = (roles & MEMBER_EDGE) != 0,
					 .edge_applied = position,
					 .is_names = (roles & MEMBER_NAMES) != 0,
					 .names_applied = position};
	assert_int_equal(
	    observations_take(bench->observations, &bench->image, &said, bench->now_ms), 0);
}

static void who_said_nothing_has_acknowledged_nothing(void **state)
{
	struct bench *bench = *state;
	struct sights seen = sights(bench);
	assert_int_equal(merge_applied(&seen), 0);
	add_member(bench, "edge1", MEMBER_EDGE);
	add_member(bench, "edge2", MEMBER_EDGE);
	say(bench, "edge1", "a", MEMBER_EDGE, entry(90, 0));
	assert_int_equal(merge_applied(&seen), 0);
	assert_int_equal(merge_applied_for_ms(&seen, 1), 0);
	say(bench, "edge2", "a", MEMBER_EDGE, entry(80, 0));
	assert_int_equal(merge_applied(&seen), 80);
	assert_int_equal(merge_applied_for_ms(&seen, 80), 1);
	assert_int_equal(merge_applied_for_ms(&seen, 81), 0);
}

/* A closing must not be proven without the edge that is starting just then. */
static void an_acknowledgement_ends_with_its_process(void **state)
{
	struct bench *bench = *state;
	struct sights seen = sights(bench);
	add_member(bench, "edge1", MEMBER_EDGE);
	add_member(bench, "edge2", MEMBER_EDGE);
	say(bench, "edge1", "a", MEMBER_EDGE, entry(90, 0));
	say(bench, "edge2", "a", MEMBER_EDGE, entry(90, 0));
	assert_int_equal(merge_applied(&seen), 90);
	say(bench, "edge2", "b", MEMBER_EDGE, (struct ledger_position){0});
	assert_int_equal(merge_applied(&seen), 0);
	assert_int_equal(merge_applied_for_ms(&seen, 80), 0);
	say(bench, "edge2", "b", MEMBER_EDGE, entry(85, 0));
	assert_int_equal(merge_applied(&seen), 85);
}

/* It may still forward: only its removal ends the waiting. Publishing waits for who is heard. */
static void a_silent_edge_is_waited_for_by_closings_only(void **state)
{
	struct bench *bench = *state;
	add_member(bench, "edge1", MEMBER_EDGE);
	add_member(bench, "edge2", MEMBER_EDGE);
	say(bench, "edge1", "a", MEMBER_EDGE, entry(50, 0));
	say(bench, "edge2", "a", MEMBER_EDGE, entry(50, 0));
	bench->now_ms += OBSERVATION_EDGE_HEARD_MS + 1;
	say(bench, "edge1", "a", MEMBER_EDGE, entry(60, 0));
	struct sights seen = sights(bench);
	assert_int_equal(merge_applied(&seen), 50);
	assert_true(merge_is_held(&seen, 60));
	assert_string_equal(merge_unheard(&seen), "edge2");
	assert_false(merge_is_held(&seen, 61));
	say(bench, "edge2", "a", MEMBER_EDGE, entry(50, 0));
	assert_false(merge_is_held(&seen, 60));
	assert_null(merge_unheard(&seen));
	bench->now_ms += OBSERVATION_EDGE_HEARD_MS + 1;
	seen = sights(bench);
	assert_false(merge_is_held(&seen, 1));
	bench->image.member_count = 1;
	assert_int_equal(merge_applied(&seen), 60);
}

/* Nobody told it, so it may forward as before: only its fence ends the waiting (PROTOCOL.md 9). */
static void a_removed_edge_is_waited_for_until_its_fence_stands(void **state)
{
	struct bench *bench = *state;
	struct removed_member removed = {.sequence = 70, .name = "edge2", .roles = MEMBER_EDGE};
	struct binding binding = {.version = 1, .slot = 1};
	struct binding_observation seen_of = {0};
	add_member(bench, "edge1", MEMBER_EDGE | MEMBER_NAMES);
	say(bench, "edge1", "a", MEMBER_EDGE | MEMBER_NAMES, entry(90, 0));
	struct sights seen = sights(bench);
	assert_int_equal(merge_applied(&seen), 90);
	bench->image.removed = (struct removed_list){.items = &removed, .count = 1};
	assert_int_equal(merge_applied(&seen), 0);
	assert_int_equal(merge_applied_for_ms(&seen, 50), 0);
	assert_string_equal(merge_behind(&seen, MEMBER_EDGE, 50), "edge2");
	assert_string_equal(merge_unheard(&seen), "edge2");
	merge_activity(&seen, &binding, &seen_of);
	assert_false(seen_of.packets_known);
	/* Neither what clients are told, nor publishing, waits for it. */
	assert_true(merge_is_held(&seen, 90));
	assert_null(merge_behind(&seen, MEMBER_NAMES, 50));
	removed.fenced = 80;
	assert_int_equal(merge_applied(&seen), 90);
	assert_int_equal(merge_applied_for_ms(&seen, 50), 1);
	assert_null(merge_unheard(&seen));
}

/* After a recovery, entry 90 is another one; and nobody can have applied what is to come. */
static void another_chain_acknowledges_nothing(void **state)
{
	struct bench *bench = *state;
	struct sights seen = sights(bench);
	add_member(bench, "edge1", MEMBER_EDGE);
	say(bench, "edge1", "a", MEMBER_EDGE, entry(90, 1));
	assert_int_equal(merge_applied(&seen), 0);
	say(bench, "edge1", "a", MEMBER_EDGE, entry(HEAD + 1, 0));
	assert_int_equal(merge_applied(&seen), 0);
	say(bench, "edge1", "a", MEMBER_EDGE, entry(90, 0));
	assert_int_equal(merge_applied(&seen), 90);
	assert_int_equal(merge_applied_for_ms(&seen, 90), 1);
}

static void time_counts_from_the_slowest(void **state)
{
	struct bench *bench = *state;
	add_member(bench, "edge1", MEMBER_EDGE);
	add_member(bench, "edge2", MEMBER_EDGE);
	say(bench, "edge1", "a", MEMBER_EDGE, entry(5, 0));
	bench->now_ms += 700;
	say(bench, "edge2", "a", MEMBER_EDGE, entry(4, 0));
	bench->now_ms += 300;
	struct sights seen = sights(bench);
	assert_int_equal(merge_applied_for_ms(&seen, 4), 301);
	assert_int_equal(merge_applied_for_ms(&seen, 5), 0);
	say(bench, "edge1", "a", MEMBER_EDGE, entry(9, 0));
	assert_int_equal(merge_applied_for_ms(&seen, 4), 301);
	say(bench, "edge2", "a", MEMBER_EDGE, entry(9, 0));
	assert_int_equal(merge_applied_for_ms(&seen, 4), 301);
	assert_int_equal(merge_applied_for_ms(&seen, 9), 1);
}

/* The flows that it let in by the old meaning may still be on their way to a socket. */
static void who_ceased_counts_from_then(void **state)
{
	struct bench *bench = *state;
	add_member(bench, "edge1", MEMBER_EDGE);
	add_member(bench, "edge2", MEMBER_EDGE);
	say(bench, "edge1", "a", MEMBER_EDGE, entry(50, 0));
	bench->now_ms += 9000;
	struct sights seen = sights(bench);
	assert_int_equal(merge_applied_for_ms(&seen, 50), 0);
	bench->image.member_count = 1;
	bench->image.ceased_ms = bench->now_ms - 200;
	assert_int_equal(merge_applied_for_ms(&seen, 50), 201);
}

/* A node with names alone acknowledges, too; and both roles of one node count. */
static void name_servers_acknowledge(void **state)
{
	struct bench *bench = *state;
	struct sights seen = sights(bench);
	assert_int_equal(merge_unanswered_ms(&seen, 7), UINT64_MAX);
	add_member(bench, "edge1", MEMBER_EDGE);
	add_member(bench, "names1", MEMBER_NAMES);
	say(bench, "edge1", "a", MEMBER_EDGE, entry(90, 0));
	assert_int_equal(merge_applied(&seen), 0);
	assert_true(merge_is_held(&seen, 90));
	assert_int_equal(merge_unanswered_ms(&seen, 7), 0);
	say(bench, "names1", "a", MEMBER_NAMES, entry(70, 0));
	bench->now_ms += 40;
	seen = sights(bench);
	assert_int_equal(merge_applied(&seen), 70);
	assert_int_equal(merge_unanswered_ms(&seen, 70), 40);
	/* It was started without its role: what the record says counts. */
	say(bench, "names1", "b", 0, entry(90, 0));
	assert_int_equal(merge_applied(&seen), 0);
}

static void a_stranger_is_not_listened_to(void **state)
{
	struct bench *bench = *state;
	const struct observation said = {.node = "edge9", .instance = "a", .is_edge = true};
	assert_int_equal(
	    observations_take(bench->observations, &bench->image, &said, bench->now_ms),
	    -FL_ENOTFOUND);
	assert_null(observations_find(bench->observations, "edge9"));
}

/* Only what may make something due is news: not that the same is said again. */
static void news_are_what_was_not_known(void **state)
{
	struct bench *bench = *state;
	struct ip_address lost;
	struct observation said = {.node = "edge1",
				   .instance = "a",
				   .is_edge = true,
				   .edge_applied = entry(90, 0),
				   .unreached = &lost};
	assert_int_equal(ip_address_parse("192.0.2.1", &lost), 0);
	static const struct {
		uint64_t sequence;
		const char *instance;
		size_t lost;
		bool news;
	} steps[] = {
	    {90, "a", 0, true},  {90, "a", 0, false}, {91, "a", 0, true}, {91, "a", 1, true},
	    {91, "a", 1, false}, {91, "a", 0, true},  {91, "b", 0, true}, {91, "b", 0, false},
	};
	add_member(bench, "edge1", MEMBER_EDGE);
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		uint64_t before = observations_news(bench->observations);
		said.instance = steps[i].instance;
		said.edge_applied = entry(steps[i].sequence, 0);
		said.unreached_count = steps[i].lost;
		assert_int_equal(
		    observations_take(bench->observations, &bench->image, &said, bench->now_ms), 0);
		assert_int_equal(observations_news(bench->observations) != before, steps[i].news);
	}
}

static void tell_activity(struct bench *bench, const char *node, uint64_t ago_ms)
{
	struct activity activity = {.new_flow_ago_ms = ago_ms, .packet_ago_ms = ago_ms};
	assert_int_equal(ip_address_parse("198.51.100.1", &activity.address), 0);
	const struct observation said = {.node = node,
					 .instance = "a",
					 .is_edge = true,
					 .edge_applied = entry(90, 0),
					 .activity = &activity,
					 .activity_count = 1};
	assert_int_equal(
	    observations_take(bench->observations, &bench->image, &said, bench->now_ms), 0);
}

static struct binding_observation activity_of(const struct bench *bench,
					      const struct binding *binding)
{
	struct binding_observation observation = {0};
	struct sights seen = sights(bench);
	merge_activity(&seen, binding, &observation);
	return observation;
}

static void quiet_is_what_every_edge_says(void **state)
{
	struct bench *bench = *state;
	const struct binding binding = {.slot = 1, .sequence = 90};
	add_member(bench, "edge1", MEMBER_EDGE);
	add_member(bench, "edge2", MEMBER_EDGE);
	assert_false(activity_of(bench, &binding).packets_known);
	tell_activity(bench, "edge1", 5000);
	assert_false(activity_of(bench, &binding).packets_known);
	tell_activity(bench, "edge2", 3000);
	assert_true(activity_of(bench, &binding).packets_known);
	assert_int_equal(activity_of(bench, &binding).packet_ago_ms, 3000);
	/* Of another address nothing was said. */
	const struct binding other = {.slot = 2, .sequence = 90};
	assert_false(activity_of(bench, &other).packets_known);
	/* What was said long ago says nothing of now. */
	bench->now_ms += OBSERVATION_HEARD_INTERVALS * INTERVAL_MS + 1;
	assert_false(activity_of(bench, &binding).packets_known);
}

/* Of a closing only what was observed after it was acknowledged counts. */
static void quiet_before_the_closing_proves_nothing(void **state)
{
	struct bench *bench = *state;
	const struct binding closing = {.slot = 1, .sequence = 90, .refusing = true};
	add_member(bench, "edge1", MEMBER_EDGE);
	tell_activity(bench, "edge1", 5000);
	assert_false(activity_of(bench, &closing).packets_known);
	bench->now_ms += 1;
	tell_activity(bench, "edge1", 5001);
	assert_true(activity_of(bench, &closing).packets_known);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(who_said_nothing_has_acknowledged_nothing),
	    TEST(an_acknowledgement_ends_with_its_process),
	    TEST(a_silent_edge_is_waited_for_by_closings_only),
	    TEST(a_removed_edge_is_waited_for_until_its_fence_stands),
	    TEST(another_chain_acknowledges_nothing),
	    TEST(time_counts_from_the_slowest),
	    TEST(who_ceased_counts_from_then),
	    TEST(name_servers_acknowledge),
	    TEST(a_stranger_is_not_listened_to),
	    TEST(news_are_what_was_not_known),
	    TEST(quiet_is_what_every_edge_says),
	    TEST(quiet_before_the_closing_proves_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
