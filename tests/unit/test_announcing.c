/* SPDX-License-Identifier: Apache-2.0 */
/* Announcing: when an edge may attract traffic, and what for. */
#include "fabric/announcing.h"

#include "model/placement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* An edge that holds all it must, in a fabric with another one. */
struct bench {
	struct fabric fabric;
	struct member members[2];
	struct image_member records[2];
	struct image image;
	struct replica replica;
	struct acting acting;
	struct announcing_facts facts;
};

static void make(struct bench *bench)
{
	*bench = (struct bench){.members = {{.name = "edge1", .roles = MEMBER_EDGE | MEMBER_NAMES},
					    {.name = "edge2", .roles = MEMBER_EDGE}},
				.acting = {.has_published = true}};
	for (size_t i = 0; i < 2; i++)
		bench->records[i].member = &bench->members[i];
	bench->image.fabric = &bench->fabric;
	bench->image.members = bench->records;
	bench->image.member_count = 2;
	bench->acting.options.replica = &bench->replica;
	bench->facts = (struct announcing_facts){
	    .image = &bench->image, .acting = &bench->acting, .node = "edge1", .asked = true};
}

/* Judged in a fabric with another edge, and in one without. */
static void assert_judged(struct bench *bench, enum announcing among_others, enum announcing alone,
			  const char *why)
{
	const char *told;
	assert_int_equal(announcing_judge(&bench->facts, &told), among_others);
	assert_string_equal(told, why);
	bench->members[1].roles = MEMBER_NAMES | MEMBER_VOTER;
	assert_int_equal(announcing_judge(&bench->facts, &told), alone);
	assert_string_equal(told, why);
}

static void who_holds_all_announces(void **state)
{
	(void)state;
	struct bench bench;
	make(&bench);
	assert_judged(&bench, ANNOUNCING_ANNOUNCE, ANNOUNCING_ANNOUNCE, "");
}

static void who_lacks_something_leaves_it_to_others(void **state)
{
	(void)state;
	struct bench bench;
	make(&bench);
	bench.replica.standing = REPLICA_OLDER;
	assert_judged(&bench, ANNOUNCING_WITHDRAW, ANNOUNCING_KEEP,
		      "what it has is older than what it acknowledged once");
	make(&bench);
	bench.replica.standing = REPLICA_FORKED;
	assert_judged(&bench, ANNOUNCING_WITHDRAW, ANNOUNCING_KEEP,
		      "what it has is older than what it acknowledged once");
	make(&bench);
	bench.acting.has_published = false;
	assert_judged(&bench, ANNOUNCING_WITHDRAW, ANNOUNCING_KEEP, "its maps are not filled yet");
	make(&bench);
	bench.facts.lacks = "its maps could not take version web/2";
	assert_judged(&bench, ANNOUNCING_WITHDRAW, ANNOUNCING_KEEP,
		      "its maps could not take version web/2");
}

static void without_its_programs_nobody_announces(void **state)
{
	(void)state;
	struct bench bench;
	make(&bench);
	bench.facts.detached = "interface eth0 does not carry the edge's program";
	assert_judged(&bench, ANNOUNCING_WITHDRAW, ANNOUNCING_WITHDRAW,
		      "interface eth0 does not carry the edge's program");
}

static void only_members_announce(void **state)
{
	(void)state;
	struct bench bench;
	make(&bench);
	bench.facts.node = "edge3";
	assert_judged(&bench, ANNOUNCING_WITHDRAW, ANNOUNCING_WITHDRAW,
		      "the ledger does not know it as an edge");
	make(&bench);
	bench.facts.removed = true;
	assert_judged(&bench, ANNOUNCING_WITHDRAW, ANNOUNCING_WITHDRAW,
		      "it was removed from the fabric");
	make(&bench);
	bench.members[0].roles = MEMBER_NAMES;
	assert_judged(&bench, ANNOUNCING_WITHDRAW, ANNOUNCING_WITHDRAW,
		      "the ledger does not know it as an edge");
}

/* A store that lost its configuration is no reason to withdraw (invariant 6). */
static void what_is_not_known_is_left_as_it_is(void **state)
{
	(void)state;
	struct bench bench;
	make(&bench);
	bench.image.fabric = NULL;
	assert_judged(&bench, ANNOUNCING_KEEP, ANNOUNCING_KEEP, "nothing was applied yet");
	make(&bench);
	bench.facts.asked = false;
	assert_judged(&bench, ANNOUNCING_KEEP, ANNOUNCING_KEEP,
		      "it waits for a voter to tell what is new");
}

static void who_is_stopped_withdraws_unless_it_is_the_only_one(void **state)
{
	(void)state;
	struct bench bench;
	make(&bench);
	bench.facts.leaving = true;
	assert_judged(&bench, ANNOUNCING_WITHDRAW, ANNOUNCING_KEEP, "it is being stopped");
}

static void assert_prefix(const struct ip_prefix *prefix, const char *text)
{
	char own[IP_TEXT_BYTES];
	assert_string_equal(ip_prefix_format(prefix, own), text);
}

/* Exactly the site's slice, and never another site's. */
static void a_site_announces_its_slice_of_each_pool(void **state)
{
	(void)state;
	struct placed_pool pools[3] = {
	    {.pool = {.site_bits = 1}}, {.pool = {.site_bits = 4}}, {.pool = {.site_bits = 0}}};
	const char *sites[] = {"fra", "nyc"};
	struct placement placement = {
	    .pools = pools, .pool_count = 3, .sites = sites, .site_count = 2};
	struct image image = {.placement = &placement};
	struct ip_prefix prefixes[MODEL_MAX_POOLS];
	assert_int_equal(ip_prefix_parse("198.51.100.0/26", &pools[0].pool.prefix), 0);
	assert_int_equal(ip_prefix_parse("2001:db8:f::/108", &pools[1].pool.prefix), 0);
	assert_int_equal(ip_prefix_parse("203.0.113.0/24", &pools[2].pool.prefix), 0);
	assert_int_equal(announcing_prefixes(&image, "fra", prefixes), 3);
	assert_prefix(&prefixes[0], "198.51.100.0/27");
	assert_prefix(&prefixes[1], "2001:db8:f::/112");
	assert_prefix(&prefixes[2], "203.0.113.0/24");
	/* The third pool has no number for a second site. */
	assert_int_equal(announcing_prefixes(&image, "nyc", prefixes), 2);
	assert_prefix(&prefixes[0], "198.51.100.32/27");
	assert_prefix(&prefixes[1], "2001:db8:f::1:0/112");
	assert_int_equal(announcing_prefixes(&image, "sin", prefixes), 0);
	image.placement = NULL;
	assert_int_equal(announcing_prefixes(&image, "fra", prefixes), 0);
}

/* While a version has an address there its packets come; then nothing does. */
static void a_pool_that_left_is_announced_until_nobody_uses_it(void **state)
{
	(void)state;
	struct placed_pool pools[1] = {{.removed = true}};
	const char *sites[] = {"fra"};
	struct placement placement = {
	    .pools = pools, .pool_count = 1, .sites = sites, .site_count = 1};
	struct binding binding = {.pool = 0, .slot = 1};
	struct service_state service = {.bindings = &binding, .binding_count = 1};
	const struct service_state *states[] = {&service};
	struct image image = {.placement = &placement, .states = states, .state_count = 1};
	struct ip_prefix prefixes[MODEL_MAX_POOLS];
	assert_int_equal(ip_prefix_parse("198.51.100.0/26", &pools[0].pool.prefix), 0);
	assert_int_equal(announcing_prefixes(&image, "fra", prefixes), 1);
	image.state_count = 0;
	assert_int_equal(announcing_prefixes(&image, "fra", prefixes), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(who_holds_all_announces),
	    cmocka_unit_test(who_lacks_something_leaves_it_to_others),
	    cmocka_unit_test(without_its_programs_nobody_announces),
	    cmocka_unit_test(only_members_announce),
	    cmocka_unit_test(what_is_not_known_is_left_as_it_is),
	    cmocka_unit_test(who_is_stopped_withdraws_unless_it_is_the_only_one),
	    cmocka_unit_test(a_site_announces_its_slice_of_each_pool),
	    cmocka_unit_test(a_pool_that_left_is_announced_until_nobody_uses_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
