/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a version: each guard, alone, and what the operator can do to it. */
#include "base/buffer.h"
#include "model/lifecycle_wait.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MOST 16
#define QUIET_MS 1000u
#define STALE_MS 5000u
#define PAUSE_MS 60000u

static const struct rollout_policy POLICY = {
    .shares = {3277, 16384, SHARE_WHOLE}, .share_count = 3, .pause_ms = PAUSE_MS};

/* One service and everything that may be observed of it. At first all is well: every edge holds
 * every version, nothing has a connection, and every wish is fulfilled. */
struct bench {
	struct service_state state;
	struct service_observation seen;
	struct version_observation versions[MOST];
	struct binding_observation bindings[MOST];
	uint64_t sequence;
	struct arena arena;
	struct buffer text;
};

static const struct binding_observation IDLE = {.connections_known = true,
						.packets_known = true,
						.new_flow_ago_ms = UINT64_MAX,
						.packet_ago_ms = UINT64_MAX,
						.applied_by_all_ms = CLOSING_SETTLE_MS};

static void idle(struct bench *bench)
{
	for (size_t i = 0; i < MOST; i++) {
		bench->versions[i] =
		    (struct version_observation){.held = true, .answered_ago_ms = UINT64_MAX};
		bench->bindings[i] = IDLE;
	}
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	bench->state = (struct service_state){.name = "web", .next_version = 1};
	bench->seen = (struct service_observation){.wall_ms = 1000000,
						   .quiet_ms = QUIET_MS,
						   .stale_ms = STALE_MS,
						   .report_interval_ms = 1000,
						   .policy = &POLICY,
						   .everyone_is_heard = true,
						   .versions = bench->versions,
						   .bindings = bench->bindings};
	arena_init(&bench->arena, 0);
	buffer_init(&bench->text, 0);
	idle(bench);
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	arena_done(&bench->arena);
	buffer_done(&bench->text);
	free(bench);
	return 0;
}

/* Publish the next version with the slots 2n of pool 0 and 2n+1 of pool 1. */
static void publish(struct bench *bench)
{
	uint32_t number = bench->state.next_version;
	struct version version = {.service = "web", .number = number};
	struct binding bindings[] = {{.pool = 0, .slot = 2 * number, .number = 1},
				     {.pool = 1, .slot = 2 * number + 1, .number = 1}};
	static const uint8_t salt[16] = {7};
	assert_int_equal(lifecycle_publish(&bench->state, &version, bindings, 2, salt,
					   ++bench->sequence, bench->seen.wall_ms, &bench->arena,
					   NULL),
			 0);
}

static int next(struct bench *bench, struct transition *transitions)
{
	int count = lifecycle_next(&bench->state, &bench->seen, &bench->arena, transitions);
	assert_in_range(count, 0, LIFECYCLE_MAX_TRANSITIONS);
	return count;
}

/* Ask what is due, compare it with `expected` ("confirm 1, share 2 25%, lift 3"), and do it. */
static void expect(struct bench *bench, const char *expected)
{
	struct transition transitions[LIFECYCLE_MAX_TRANSITIONS];
	int count = next(bench, transitions);
	buffer_clear(&bench->text);
	for (int i = 0; i < count; i++) {
		const struct transition *one = &transitions[i];
		bool is_event = one->kind == TRANSITION_VERSION;
		bool is_binding =
		    !is_event && one->kind != TRANSITION_SHARE && one->kind != TRANSITION_CUT;
		buffer_printf(&bench->text, "%s%s %zu", i ? ", " : "",
			      is_event ? version_event_name(one->event)
				       : transition_name(one->kind),
			      is_binding ? one->binding : one->version);
		if (one->share)
			buffer_printf(&bench->text, " %u%%",
				      (one->share * 100u + SHARE_WHOLE / 2) / SHARE_WHOLE);
		assert_true(strlen(one->why) > 10);
	}
	buffer_puts(&bench->text, "");
	assert_string_equal(bench->text.data, expected);
	for (int i = 0; i < count; i++)
		assert_int_equal(lifecycle_apply(&bench->state, &transitions[i], ++bench->sequence,
						 bench->seen.wall_ms),
				 0);
}

static void expect_states(const struct bench *bench, const char *expected)
{
	char letters[MOST + 1] = "";
	for (size_t i = 0; i < bench->state.version_count; i++)
		letters[i] = version_state_name(bench->state.versions[i].state)[0];
	assert_string_equal(letters, expected);
}

/* The backends have counted for the closings that are under way, and found nothing. */
static void count_closings(struct bench *bench)
{
	for (size_t i = 0; i < MOST; i++)
		bench->bindings[i].closing_counted = true;
}

/* Versions 1…count, each rolled out wholly over the one before. */
/* Time passes until each backend has counted since the last version drained. */
static void report_anew(struct bench *bench)
{
	bench->seen.wall_ms += bench->seen.report_interval_ms + 1;
}

static void roll_out(struct bench *bench, uint32_t count)
{
	static const struct rollout_policy at_once = {.shares = {SHARE_WHOLE}, .share_count = 1};
	struct transition transitions[LIFECYCLE_MAX_TRANSITIONS];
	/* With something going on everywhere, nothing closes meanwhile. */
	for (size_t i = 0; i < MOST; i++)
		bench->bindings[i].connections = 1;
	bench->seen.policy = &at_once;
	for (uint32_t i = 0; i < count; i++) {
		publish(bench);
		for (int due = next(bench, transitions); due > 0; due = next(bench, transitions))
			assert_int_equal(lifecycle_apply(&bench->state, &transitions[0],
							 ++bench->sequence, bench->seen.wall_ms),
					 0);
	}
	bench->seen.policy = &POLICY;
	idle(bench);
	report_anew(bench);
}

static void first_versions_serve_everybody(void **state)
{
	struct bench *bench = *state;
	publish(bench);
	bench->versions[0].held = false;
	expect(bench, "");
	bench->versions[0].held = true;
	expect(bench, "confirm 1");
	/* An edge that lost it in between is waited for again. */
	bench->versions[0].held = false;
	expect(bench, "");
	bench->versions[0].held = true;
	expect(bench, "start 1 100%");
	expect(bench, "");
	expect_states(bench, "s");
	assert_int_equal(service_share(&bench->state, 1), SHARE_WHOLE);
}

/* Not even the first of all: there is nobody whom it could hurt to wait. */
static void a_version_that_waits_gets_no_clients(void **state)
{
	struct bench *bench = *state;
	publish(bench);
	bench->versions[0].waits = true;
	expect(bench, "confirm 1");
	expect(bench, "");
	bench->versions[0].waits = false;
	expect(bench, "start 1 100%");
	publish(bench);
	expect(bench, "confirm 2");
	bench->versions[1].waits = true;
	expect(bench, "");
	bench->versions[1].waits = false;
	expect(bench, "start 2 5%");
	/* What falls later is another matter. */
	bench->versions[1].waits = true;
	bench->seen.wall_ms += PAUSE_MS;
	expect(bench, "share 2 25%");
}

static void nothing_that_served_closes_while_a_newer_one_waits(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 2);
	publish(bench);
	bench->versions[2].waits = true;
	expect(bench, "confirm 3");
	report_anew(bench);
	expect(bench, "");
	/* One that never served is in nobody's way back. */
	publish(bench);
	bench->versions[2].waits = false;
	bench->versions[3].waits = true;
	report_anew(bench);
	expect(bench, "close 3, confirm 4");
	bench->seen.exhausted_pools = 1;
	expect(bench, "close 1");
}

static void an_operator_forces_the_first_share(void **state)
{
	struct bench *bench = *state;
	struct error err;
	roll_out(bench, 1);
	assert_int_equal(lifecycle_force(&bench->state, &POLICY, true, 90, 5, &err), -FL_ESTATE);
	publish(bench);
	assert_int_equal(lifecycle_force(&bench->state, &POLICY, true, 90, 5, &err), -FL_ESTATE);
	assert_non_null(strstr(err.text, "is not held by every edge"));
	bench->versions[1].waits = true;
	expect(bench, "confirm 2");
	assert_int_equal(lifecycle_force(&bench->state, &POLICY, false, 91, 5, &err), -FL_ESTATE);
	assert_int_equal(lifecycle_pause(&bench->state, NULL), 0);
	assert_int_equal(
	    lifecycle_force(&bench->state, &POLICY, true, 92, bench->seen.wall_ms, &err), 0);
	assert_int_equal(service_share(&bench->state, 2), 3277);
	assert_false(bench->state.rollout.paused);
	expect_states(bench, "ss");
	assert_int_equal(lifecycle_force(&bench->state, &POLICY, true, 93, 5, &err), -FL_ESTATE);
	assert_non_null(strstr(err.text, "has clients already"));
	bench->seen.wall_ms += PAUSE_MS;
	expect(bench, "share 2 25%");
}

static void shares_grow_with_pauses(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 1);
	publish(bench);
	expect(bench, "confirm 2");
	expect(bench, "start 2 5%");
	assert_int_equal(service_share(&bench->state, 1), SHARE_WHOLE - 3277);
	expect(bench, "");
	bench->seen.wall_ms += PAUSE_MS - 1;
	expect(bench, "");
	bench->seen.wall_ms += 1;
	bench->versions[1].held = false;
	expect(bench, "");
	bench->versions[1].held = true;
	expect(bench, "share 2 25%");
	/* A wall clock that goes back is no time passed. */
	bench->seen.wall_ms -= 10 * PAUSE_MS;
	expect(bench, "");
	bench->seen.wall_ms += 11 * PAUSE_MS;
	for (size_t i = 0; i < MOST; i++)
		bench->bindings[i].connections = 1;
	expect(bench, "share 2 100%");
	expect_states(bench, "ds");
	assert_int_equal(service_share(&bench->state, 1), 0);
	assert_int_equal(bench->state.rollout.base, 2);
}

static void paused_rollouts_stay(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 1);
	assert_int_equal(lifecycle_pause(&bench->state, NULL), -FL_ESTATE);
	publish(bench);
	/* Ordered twice, or where it is so already, it changes nothing. */
	assert_int_equal(lifecycle_resume(&bench->state, 0, NULL), 0);
	expect(bench, "confirm 2");
	assert_int_equal(lifecycle_pause(&bench->state, NULL), 0);
	expect(bench, "");
	assert_int_equal(lifecycle_resume(&bench->state, bench->seen.wall_ms, NULL), 0);
	expect(bench, "start 2 5%");
	assert_int_equal(lifecycle_pause(&bench->state, NULL), 0);
	bench->seen.wall_ms += 2 * PAUSE_MS;
	expect(bench, "");
	/* The pause between shares begins anew. */
	assert_int_equal(lifecycle_resume(&bench->state, bench->seen.wall_ms, NULL), 0);
	expect(bench, "");
	bench->seen.wall_ms += PAUSE_MS;
	expect(bench, "share 2 25%");
}

static void newer_versions_take_the_rollout_over(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 1);
	publish(bench);
	publish(bench); /* 2 never served */
	expect_states(bench, "sds");
	assert_int_equal(bench->state.versions[2].state, VERSION_STAGED);
	bench->bindings[2].connections = 1;
	expect(bench, "confirm 3");
	expect(bench, "start 3 5%");
	publish(bench); /* 3 served 5 % */
	expect_states(bench, "sdds");
	assert_int_equal(service_share(&bench->state, 1), SHARE_WHOLE);
	assert_int_equal(bench->state.rollout.base, 1);

	struct error err = {0};
	struct version stranger = {.number = 9};
	assert_int_equal(lifecycle_publish(&bench->state, &stranger, NULL, 0,
					   (const uint8_t[16]){0}, 99, 0, &bench->arena, &err),
			 -FL_ESTATE);
	assert_string_equal(err.text,
			    "the next version of web is 5, not 9: somebody published first");
}

/* Each condition of CLOSE alone holds it off; two of them yield. Version 1 drains, 2 serves. */
static void closing_waits_for_every_condition(void **state)
{
	static const struct {
		struct binding_observation seen;
		uint64_t answered_ago_ms;
		uint8_t full;
		bool has_udp;
		bool closes;
	} cases[] = {
	    {{true, 0, true, QUIET_MS, 0, 1, false, 0, 0}, STALE_MS, 0, false, true},
	    {{true, 0, true, UINT64_MAX, 0, 1, false, 0, 0}, UINT64_MAX, 0, false, true},
	    {{false, 0, true, QUIET_MS, 0, 1, false, 0, 0}, STALE_MS, 3, false, false},
	    {{true, 1, true, QUIET_MS, 0, 1, false, 0, 0}, STALE_MS, 3, false, false},
	    {{true, 0, true, QUIET_MS, 0, 0, false, 0, 0}, STALE_MS, 3, false, false},
	    {{true, 0, true, QUIET_MS - 1, 0, 1, false, 0, 0}, STALE_MS, 0, false, false},
	    {{true, 0, true, QUIET_MS, 0, 1, false, 0, 0}, STALE_MS - 1, 0, false, false},
	    /* A count from before it drained knows nothing of its last clients. */
	    {{true, 0, true, QUIET_MS, 0, 1, false, 0, PAUSE_MS}, STALE_MS, 3, false, false},
	    /* The wishes yield when a pool that it has a slot of is full, and only then. */
	    {{true, 0, true, 0, 0, 1, false, 0, 0}, 0, 1 << 1, false, true},
	    {{true, 0, true, 0, 0, 1, false, 0, 0}, 0, 1 << 2, false, false},
	    /* With UDP, packets count, and nothing yields. */
	    {{true, 0, true, QUIET_MS, QUIET_MS, 1, false, 0, 0}, STALE_MS, 0, true, true},
	    {{true, 0, true, QUIET_MS, QUIET_MS - 1, 1, false, 0, 0}, STALE_MS, 3, true, false},
	    /* What an edge does not say is no idleness: a wish that yields, but not for UDP. */
	    {{true, 0, false, QUIET_MS, QUIET_MS, 1, false, 0, 0}, STALE_MS, 0, false, false},
	    {{true, 0, false, QUIET_MS, QUIET_MS, 1, false, 0, 0}, STALE_MS, 3, false, true},
	    {{true, 0, false, QUIET_MS, QUIET_MS, 1, false, 0, 0}, STALE_MS, 3, true, false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* Each of the version's two addresses must look unused. */
		for (size_t which = 0; which < 2; which++) {
			tear_down(state);
			set_up(state);
			struct bench *bench = *state;
			roll_out(bench, 2);
			bench->bindings[which] = cases[i].seen;
			bench->versions[0].answered_ago_ms = cases[i].answered_ago_ms;
			bench->seen.exhausted_pools = cases[i].full;
			bench->seen.has_udp = cases[i].has_udp;
			expect(bench, cases[i].closes ? "close 1" : "");
		}
	}
}

/* A closing that one node cannot acknowledge would refuse clients for nothing, again and again. */
static void no_closing_begins_while_somebody_is_silent(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 2);
	bench->seen.everyone_is_heard = false;
	expect(bench, "");
	bench->seen.everyone_is_heard = true;
	expect(bench, "close 1");
}

/* What version 1 waits for, as "connections, stale 1000". */
static void expect_waits(struct bench *bench, const char *expected)
{
	const struct version_waits waits = lifecycle_waits(&bench->state, &bench->seen, 0);
	buffer_clear(&bench->text);
	for (unsigned i = 0; i < VERSION_WAIT_COUNT; i++) {
		if (!(waits.reasons >> i & 1))
			continue;
		buffer_printf(&bench->text, "%s%s", bench->text.length ? ", " : "",
			      version_wait_name((enum version_wait)i));
		if (waits.left_ms[i])
			buffer_printf(&bench->text, " %" PRIu64, waits.left_ms[i]);
		assert_int_equal(waits.left_ms[i] != 0, i >= VERSION_WAIT_TIMED);
	}
	assert_string_equal(bench->text.data ? bench->text.data : "", expected);
}

/* The same conditions as above, each told by its name, with what is left of it. */
static void a_draining_version_says_what_it_waits_for(void **state)
{
	static const struct {
		struct binding_observation seen;
		uint64_t answered_ago_ms;
		uint8_t full;
		bool has_udp;
		const char *waits;
	} cases[] = {
	    {{true, 0, true, QUIET_MS, 0, 1, false, 0, 0}, STALE_MS, 0, false, ""},
	    {{false, 0, true, QUIET_MS, 0, 1, false, 0, 0}, STALE_MS, 3, false, "counts"},
	    {{true, 1, true, QUIET_MS, 0, 1, false, 0, 0}, STALE_MS, 3, false, "connections"},
	    {{false, 1, true, 0, 0, 1, false, 0, 0},
	     STALE_MS - 7,
	     0,
	     false,
	     "connections, counts, quiet 1000, stale 7"},
	    {{true, 0, true, QUIET_MS, 0, 0, false, 0, 0}, STALE_MS, 3, false, "nodes"},
	    {{true, 0, true, QUIET_MS - 1, 0, 1, false, 0, 0}, STALE_MS, 0, false, "quiet 1"},
	    {{true, 0, true, QUIET_MS, 0, 1, false, 0, 0}, 0, 0, false, "names"},
	    {{true, 0, true, QUIET_MS, 0, 1, false, 0, PAUSE_MS}, STALE_MS, 3, false, "report"},
	    {{true, 0, true, 0, 0, 1, false, 0, 0}, 0, 1 << 1, false, ""},
	    {{true, 0, true, QUIET_MS, QUIET_MS - 3, 1, false, 0, 0}, STALE_MS, 3, true, "udp 3"},
	    {{true, 0, false, QUIET_MS, 0, 1, false, 0, 0}, STALE_MS, 0, false, "packets"},
	    {{true, 0, false, QUIET_MS, 0, 1, false, 0, 0}, STALE_MS, 3, true, "packets"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tear_down(state);
		set_up(state);
		struct bench *bench = *state;
		roll_out(bench, 2);
		bench->bindings[1] = cases[i].seen;
		bench->versions[0].answered_ago_ms = cases[i].answered_ago_ms;
		bench->seen.exhausted_pools = cases[i].full;
		bench->seen.has_udp = cases[i].has_udp;
		expect_waits(bench, cases[i].waits);
		expect(bench, *cases[i].waits ? "" : "close 1");
	}
}

static void the_limits_of_draining_and_closing_are_told(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 2);
	bench->seen.everyone_is_heard = false;
	expect_waits(bench, "heard");
	assert_int_equal(lifecycle_waits(&bench->state, &bench->seen, 0).limit_ms, UINT64_MAX);
	bench->seen.drain_limit_ms =
	    bench->seen.wall_ms - bench->state.versions[0].changed_wall_ms + 5;
	assert_int_equal(lifecycle_waits(&bench->state, &bench->seen, 0).limit_ms, 5);
	bench->seen.wall_ms += 4;
	expect(bench, "");
	bench->seen.wall_ms += 1;
	assert_int_equal(lifecycle_waits(&bench->state, &bench->seen, 0).limit_ms, 0);
	expect(bench, "cut 1");
	bench->seen.everyone_is_heard = true;
	expect(bench, "close 1");
	bench->bindings[0].applied_by_all_ms = 0;
	bench->bindings[1].applied_by_all_ms = CLOSING_SETTLE_MS - 9;
	expect_waits(bench, "refusals, settle 9");
	assert_int_equal(lifecycle_waits(&bench->state, &bench->seen, 0).limit_ms,
			 CLOSING_LIMIT_MS + CLOSING_LIMIT_REPORTS * 1000);
	idle(bench);
	expect_waits(bench, "closing-count");
}

/* What may be seen of one address of a closing, and what follows. */
static void closings_need_their_proof(void **state)
{
	enum { SOON = CLOSING_LIMIT_MS + CLOSING_LIMIT_REPORTS * 1000 - 1, OVERDUE };
	static const struct {
		struct binding_observation seen;
		uint64_t after_ms;
		bool has_udp;
		const char *due;
	} cases[] = {
	    {{true, 0, true, 0, 0, CLOSING_SETTLE_MS, true, 0, 0}, 4000, false, "retire 1"},
	    {{true, 0, true, 0, 0, CLOSING_SETTLE_MS, true, 0, 0}, OVERDUE, false, "retire 1"},
	    /* Counted too early, or not by all, or by none. */
	    {{true, 0, true, 0, 0, CLOSING_SETTLE_MS - 1, true, 0, 0}, SOON, false, ""},
	    {{true, 0, true, 0, 0, 0, true, 0, 0}, SOON, false, ""},
	    {{true, 0, true, 0, 0, CLOSING_SETTLE_MS, false, 0, 0}, SOON, false, ""},
	    /* Silence is not zero. */
	    {{false, 0, true, 0, 0, CLOSING_SETTLE_MS, true, 0, 0}, SOON, false, ""},
	    {{false, 0, true, 0, 0, 0, false, 0, 0}, OVERDUE, false, "reopen 1"},
	    {{true, 0, true, 0, 0, CLOSING_SETTLE_MS, false, 0, 0}, OVERDUE, false, "reopen 1"},
	    {{true, 0, true, 0, 0, 0, false, 0, 0}, OVERDUE, false, "reopen 1"},
	    /* A connection, whoever counted it. */
	    {{true, 1, true, 0, 0, 0, false, 0, 0}, 1, false, "reopen 1"},
	    {{true, 0, true, 0, 0, CLOSING_SETTLE_MS, true, 1, 0}, 4000, false, "reopen 1"},
	    /* UDP: a packet. */
	    {{true, 0, true, 0, QUIET_MS - 1, CLOSING_SETTLE_MS, true, 0, 0},
	     4000,
	     true,
	     "reopen 1"},
	    {{true, 0, true, 0, QUIET_MS, CLOSING_SETTLE_MS, true, 0, 0}, 4000, true, "retire 1"},
	    /* What an edge does not say proves nothing, and refutes nothing. */
	    {{true, 0, false, 0, 0, CLOSING_SETTLE_MS, true, 0, 0}, 4000, true, ""},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tear_down(state);
		set_up(state);
		struct bench *bench = *state;
		roll_out(bench, 2);
		expect(bench, "close 1");
		assert_true(bench->state.bindings[0].refusing && bench->state.bindings[1].refusing);
		assert_false(bench->state.bindings[2].refusing);
		count_closings(bench);
		bench->bindings[1] = cases[i].seen;
		bench->seen.wall_ms += cases[i].after_ms;
		bench->seen.has_udp = cases[i].has_udp;
		expect(bench, cases[i].due);
	}
}

/* A clock that is set back neither proves a closing nor makes it last: clients are refused for no
 * longer than twice the limit. */
static void a_clock_that_goes_back_ends_a_closing(void **state)
{
	enum { LIMIT = CLOSING_LIMIT_MS + CLOSING_LIMIT_REPORTS * 1000 };
	static const struct {
		uint64_t back_ms;
		bool counted;
		const char *due;
	} cases[] = {
	    {LIMIT - 1, false, ""},
	    {LIMIT, false, "reopen 1"},
	    {LIMIT - 1, true, "retire 1"},
	    {LIMIT, true, "retire 1"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tear_down(state);
		set_up(state);
		struct bench *bench = *state;
		bench->seen.wall_ms += 10 * LIMIT;
		roll_out(bench, 2);
		expect(bench, "close 1");
		count_closings(bench);
		bench->bindings[1].closing_counted = cases[i].counted;
		bench->seen.wall_ms -= cases[i].back_ms;
		expect(bench, cases[i].due);
	}
}

static void counting_is_due_only_after_settling(void **state)
{
	(void)state;
	struct binding open = {0}, closed = {.refusing = true};
	struct binding_observation early = {.applied_by_all_ms = CLOSING_SETTLE_MS - 1};
	assert_true(lifecycle_count_due(&closed, &IDLE));
	assert_false(lifecycle_count_due(&closed, &early));
	assert_false(lifecycle_count_due(&open, &IDLE));
}

static void retired_addresses_pass_to_the_base(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 2);
	expect(bench, "close 1");
	uint64_t closing = bench->sequence;
	count_closings(bench);
	expect(bench, "retire 1");
	const struct binding *binding = &bench->state.bindings[0];
	assert_int_equal(binding->version, 2);
	assert_int_equal(binding->number, 2);
	assert_true(binding->is_late && binding->refusing && !binding->reclaiming);
	assert_true(binding->sequence > closing);
	/* New flows only after every node has re-bound it; how long that takes is no matter. */
	idle(bench);
	bench->bindings[0].applied_by_all_ms = bench->bindings[1].applied_by_all_ms = 0;
	bench->seen.wall_ms += 3600000;
	expect(bench, "");
	bench->bindings[1].applied_by_all_ms = 1;
	expect(bench, "lift 1");
	bench->bindings[0].applied_by_all_ms = 1;
	expect(bench, "lift 0");
	assert_false(bench->state.bindings[0].refusing);
	expect(bench, "");
	expect_states(bench, "rs");
}

static void given_up_closings_wait_a_minute(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 2);
	expect(bench, "close 1");
	bench->bindings[0].connections = 1;
	expect(bench, "reopen 1");
	assert_false(bench->state.bindings[0].refusing);
	bench->bindings[0].connections = 0;
	bench->seen.wall_ms += CLOSING_RETRY_MS - 1;
	expect(bench, "");
	bench->seen.wall_ms += 1;
	expect(bench, "close 1");
}

static void late_addresses_drain_with_their_version(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 2);
	expect(bench, "close 1");
	count_closings(bench);
	expect(bench, "retire 1");
	/* While the late addresses are not lifted, nothing of version 2 may close. */
	idle(bench);
	bench->bindings[0].applied_by_all_ms = 0;
	publish(bench);
	bench->seen.policy = &(struct rollout_policy){.shares = {SHARE_WHOLE}, .share_count = 1};
	expect(bench, "confirm 3, lift 1");
	expect(bench, "start 3 100%");
	expect(bench, "");
	bench->bindings[0].applied_by_all_ms = 1;
	expect(bench, "lift 0");
	/* A connection to the late address holds version 2 as well. */
	bench->bindings[0].connections = 1;
	expect(bench, "");
	bench->bindings[0] = IDLE;
	report_anew(bench);
	expect(bench, "close 2");
	count_closings(bench);
	expect(bench, "retire 2");
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(bench->state.bindings[i].version, 3);
	expect_states(bench, "rrs");
}

/* Version 1 is retired, its slots 0 and 1 are late bindings of 2. */
static void retire_first(struct bench *bench)
{
	roll_out(bench, 2);
	expect(bench, "close 1");
	count_closings(bench);
	expect(bench, "retire 1");
	idle(bench);
	expect(bench, "lift 0, lift 1");
}

static void full_pools_take_late_addresses_back(void **state)
{
	struct bench *bench = *state;
	retire_first(bench);
	expect(bench, "");
	/* Only in the pool that is full. */
	bench->seen.exhausted_pools = 1 << 1;
	bench->bindings[1].connections = 1;
	expect(bench, "");
	bench->bindings[1] = IDLE;
	expect(bench, "reclaim 1");
	assert_true(bench->state.bindings[1].refusing && bench->state.bindings[1].reclaiming);
	expect(bench, "");
	bench->bindings[1].closing_counted = true;
	bench->bindings[1].applied_by_all_ms = CLOSING_SETTLE_MS - 1;
	expect(bench, "");
	bench->bindings[1].applied_by_all_ms = CLOSING_SETTLE_MS;
	expect(bench, "free 1");
	assert_int_equal(bench->state.binding_count, 3);
	assert_int_equal(bench->state.bindings[1].version, 2);
	assert_false(bench->state.bindings[1].is_late);
}

static void reclaims_are_given_up(void **state)
{
	struct bench *bench = *state;
	retire_first(bench);
	bench->seen.exhausted_pools = 1 << 0;
	expect(bench, "reclaim 0");
	bench->bindings[0].connections = 1;
	expect(bench, "release 0");
	assert_false(bench->state.bindings[0].refusing);
	bench->bindings[0].connections = 0;
	expect(bench, "");
	bench->seen.wall_ms += CLOSING_RETRY_MS;
	expect(bench, "reclaim 0");
	/* A silent backend. */
	bench->bindings[0].connections_known = false;
	bench->seen.wall_ms += CLOSING_LIMIT_MS + CLOSING_LIMIT_REPORTS * 1000;
	expect(bench, "release 0");
	/* A slot came free otherwise. */
	bench->bindings[0] = IDLE;
	bench->seen.wall_ms += CLOSING_RETRY_MS;
	expect(bench, "reclaim 0");
	bench->seen.exhausted_pools = 0;
	expect(bench, "release 0");
}

static void rollback_ends_a_rollout(void **state)
{
	struct bench *bench = *state;
	uint32_t version = 0;
	struct error err = {0};
	publish(bench);
	assert_int_equal(lifecycle_rollback(&bench->state, 0, 9, 0, &version, &err), -FL_ESTATE);
	assert_string_equal(err.text, "web has no version before this one to roll back to; "
				      "`--to N` names any other that served");
	expect(bench, "confirm 1");
	expect(bench, "start 1 100%");
	assert_int_equal(lifecycle_rollback(&bench->state, 0, 9, 0, &version, NULL), -FL_ESTATE);

	publish(bench);
	expect(bench, "confirm 2");
	expect(bench, "start 2 5%");
	assert_int_equal(lifecycle_rollback(&bench->state, 0, ++bench->sequence, 0, &version, NULL),
			 0);
	assert_int_equal(version, 1);
	expect_states(bench, "sd");
	assert_int_equal(service_share(&bench->state, 1), SHARE_WHOLE);
}

static void roll_back(struct bench *bench, uint32_t to, uint32_t expected)
{
	uint32_t version = 0;
	assert_int_equal(
	    lifecycle_rollback(&bench->state, to, ++bench->sequence, 0, &version, NULL), 0);
	assert_int_equal(version, expected);
	assert_int_equal(bench->state.rollout.base, expected);
}

/* To what served before: neither to what was rolled back from, nor to a canary that was given up.
 */
static void rollback_is_an_undo(void **state)
{
	struct bench *bench = *state;
	uint32_t version = 0;
	struct error err = {0};
	roll_out(bench, 2);
	roll_back(bench, 0, 1);
	roll_out(bench, 1);
	roll_back(bench, 0, 1);
	for (size_t i = 0; i < MOST; i++)
		bench->bindings[i].connections = 1;
	publish(bench);
	expect(bench, "confirm 4");
	expect(bench, "start 4 5%");
	roll_out(bench, 1);
	roll_back(bench, 0, 1);
	/* By its number, whatever came between. */
	roll_back(bench, 3, 3);
	roll_back(bench, 0, 1);
	assert_int_equal(lifecycle_rollback(&bench->state, 1, 99, 0, &version, &err), -FL_ESTATE);
	assert_string_equal(err.text, "version 1 of web is what serves");
	assert_int_equal(lifecycle_rollback(&bench->state, 9, 99, 0, &version, &err), -FL_ESTATE);
	assert_non_null(strstr(err.text, "version 9 of web is not known"));
}

/* A version with the content of an older one goes back to where that does. */
static void an_undo_goes_on_behind_what_it_published(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 4);
	assert_int_equal(bench->state.versions[3].before, 3);
	lifecycle_continue_from(&bench->state, 2);
	roll_back(bench, 0, 1);
}

/* Records of earlier releases do not say it: the highest that served. */
static void an_earlier_release_did_not_note_what_served(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 3);
	bench->state.versions[2].before_known = false;
	roll_back(bench, 0, 2);
}

static void rollback_returns_while_it_drains(void **state)
{
	struct bench *bench = *state;
	uint32_t version = 0;
	roll_out(bench, 2);
	assert_int_equal(lifecycle_cut(&bench->state, 1, NULL), 0);
	assert_int_equal(lifecycle_rollback(&bench->state, 0, ++bench->sequence, 0, &version, NULL),
			 0);
	assert_int_equal(version, 1);
	expect_states(bench, "sd");
	assert_false(bench->state.versions[0].cut);
	/* There is none before it. */
	assert_int_equal(lifecycle_rollback(&bench->state, 0, ++bench->sequence, 0, &version, NULL),
			 -FL_ESTATE);
}

static void rollback_reopens_what_closes(void **state)
{
	struct bench *bench = *state;
	uint32_t version = 0;
	roll_out(bench, 2);
	expect(bench, "close 1");
	assert_int_equal(lifecycle_rollback(&bench->state, 0, ++bench->sequence, 0, &version, NULL),
			 0);
	expect_states(bench, "sd");
	assert_false(bench->state.bindings[0].refusing);
	assert_int_equal(bench->state.bindings[0].sequence, bench->sequence);
	/* It can close again without delay when its time comes: nothing was given up. */
	assert_false(bench->state.versions[0].reopened);
}

static void rollback_names_the_retired_version(void **state)
{
	struct bench *bench = *state;
	uint32_t version = 0;
	struct error err = {0};
	retire_first(bench);
	assert_int_equal(lifecycle_rollback(&bench->state, 0, ++bench->sequence, 0, &version, &err),
			 -FL_ENOTFOUND);
	assert_int_equal(version, 1);
	assert_string_equal(err.text,
			    "version 1 of web is retired: its content needs a new version");
	expect_states(bench, "rs");
}

/* What never served is no place to go back to: no edge need have held it. */
static void rollback_passes_over_what_never_served(void **state)
{
	struct bench *bench = *state;
	uint32_t version = 0;
	roll_out(bench, 1);
	publish(bench);
	roll_out(bench, 1);
	expect_states(bench, "dds");
	assert_int_equal(lifecycle_rollback(&bench->state, 0, ++bench->sequence, 0, &version, NULL),
			 0);
	assert_int_equal(version, 1);
}

static void cuts_are_for_what_drains(void **state)
{
	struct bench *bench = *state;
	struct error err = {0};
	roll_out(bench, 2);
	assert_int_equal(lifecycle_cut(&bench->state, 2, &err), -FL_ESTATE);
	assert_string_equal(err.text,
			    "version 2 of web is serving: only a draining one can be cut");
	assert_int_equal(lifecycle_cut(&bench->state, 3, &err), -FL_ENOTFOUND);
	/* Its flows end by order, so nobody's wishes hold it any longer. */
	bench->versions[0].answered_ago_ms = 0;
	expect(bench, "");
	assert_int_equal(lifecycle_cut(&bench->state, 1, &err), 0);
	expect(bench, "close 1");
}

static void drain_limits_cut(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 2);
	bench->bindings[0].connections = 5;
	bench->seen.drain_limit_ms = 7000;
	bench->seen.wall_ms = bench->state.versions[0].changed_wall_ms + 6999;
	expect(bench, "");
	bench->seen.wall_ms += 1;
	expect(bench, "cut 1");
	assert_true(bench->state.versions[0].cut);
	expect(bench, "");
}

static void removed_services_free_everything(void **state)
{
	struct bench *bench = *state;
	retire_first(bench);
	publish(bench);
	assert_int_equal(lifecycle_remove(&bench->state, ++bench->sequence, bench->seen.wall_ms),
			 0);
	assert_int_equal(lifecycle_remove(&bench->state, 99, 0), -FL_ESTATE);
	expect_states(bench, "rdd");
	expect(bench, "");
	report_anew(bench);
	expect(bench, "close 2, close 3");
	expect(bench, "");
	count_closings(bench);
	bench->bindings[0].connections = 1;
	expect(bench, "reopen 2, free 5, free 4");
	bench->bindings[0].connections = 0;
	expect(bench, "retire 3");
	bench->seen.wall_ms += CLOSING_RETRY_MS;
	expect(bench, "close 2");
	expect(bench, "free 3, free 2, free 1, free 0");
	expect(bench, "retire 2");
	expect_states(bench, "rrr");
	assert_int_equal(bench->state.binding_count, 0);
}

static void removed_services_can_come_back(void **state)
{
	struct bench *bench = *state;
	uint32_t version = 0;
	roll_out(bench, 1);
	assert_int_equal(lifecycle_remove(&bench->state, ++bench->sequence, bench->seen.wall_ms),
			 0);
	assert_int_equal(lifecycle_rollback(&bench->state, 0, 99, 0, &version, NULL), -FL_ESTATE);
	report_anew(bench);
	expect(bench, "close 1");
	count_closings(bench);
	bench->bindings[0].closing_counted = false;
	expect(bench, "");
	/* It comes back while version 1 closes: that one has to wait for somebody to take over. */
	publish(bench);
	count_closings(bench);
	bench->versions[1].held = false;
	expect(bench, "");
	bench->seen.wall_ms += CLOSING_LIMIT_MS + CLOSING_LIMIT_REPORTS * 1000;
	expect(bench, "reopen 1");
	bench->versions[1].held = true;
	expect(bench, "confirm 2");
	expect(bench, "start 2 100%");
	bench->seen.wall_ms += CLOSING_RETRY_MS;
	expect(bench, "close 1");
	expect(bench, "retire 1");
	assert_int_equal(bench->state.bindings[0].version, 2);
}

static void old_history_is_forgotten(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 4);
	bench->bindings[4].connections = 1; /* of version 3 */
	expect(bench, "close 1, close 2");
	count_closings(bench);
	expect(bench, "retire 1, retire 2");
	lifecycle_forget_retired(&bench->state, 2);
	expect_states(bench, "rrds");
	lifecycle_forget_retired(&bench->state, 1);
	expect_states(bench, "rds");
	assert_int_equal(bench->state.versions[0].number, 2);
	lifecycle_forget_retired(&bench->state, 0);
	expect_states(bench, "ds");
}

/* Nothing that the table lacks can be applied, and a refusal changes nothing. */
static void apply_refuses_what_the_table_lacks(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 2);
	publish(bench);
	struct proof proof = {.held = true, .counted = true, .applied_ms = UINT64_MAX};
	struct version_status versions[3];
	struct binding bindings[6];
	memcpy(versions, bench->state.versions, sizeof(versions));
	memcpy(bindings, bench->state.bindings, sizeof(bindings));
	/* Version 1 drains and may close, 2 serves, 3 is staged and may be confirmed; there is
	 * no 4. */
	for (uint32_t version = 1; version <= 4; version++) {
		for (int event = VERSION_EVENT_CONFIRM; event <= VERSION_EVENT_RETIRE; event++) {
			if ((version == 1 && event == VERSION_EVENT_CLOSE) ||
			    (version == 3 && event == VERSION_EVENT_CONFIRM))
				continue;
			struct transition transition = {.kind = TRANSITION_VERSION,
							.event = (enum version_event)event,
							.version = version,
							.share = SHARE_WHOLE,
							.proof = proof};
			assert_int_equal(lifecycle_apply(&bench->state, &transition, 99, 99),
					 -FL_ESTATE);
		}
	}
	static const enum transition_kind kinds[] = {TRANSITION_LIFT, TRANSITION_RECLAIM,
						     TRANSITION_RELEASE, TRANSITION_FREE};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct transition transition = {.kind = kinds[i], .binding = 0, .proof = proof};
		assert_int_equal(lifecycle_apply(&bench->state, &transition, 99, 99), -FL_ESTATE);
		transition.binding = bench->state.binding_count;
		assert_int_equal(lifecycle_apply(&bench->state, &transition, 99, 99), -FL_ESTATE);
	}
	struct transition share = {
	    .kind = TRANSITION_SHARE, .version = 2, .share = 1, .proof = proof};
	assert_int_equal(lifecycle_apply(&bench->state, &share, 99, 99), -FL_ESTATE);
	struct transition cut = {.kind = TRANSITION_CUT, .version = 2};
	assert_int_equal(lifecycle_apply(&bench->state, &cut, 99, 99), -FL_ESTATE);
	assert_int_equal(bench->state.binding_count, 6);
	assert_memory_equal(bench->state.versions, versions, sizeof(versions));
	assert_memory_equal(bench->state.bindings, bindings, sizeof(bindings));
}

/* Does applying it end the program? In a child, without a core file. */
static bool aborts(struct bench *bench, const struct transition *transition)
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		const struct rlimit none = {0};
		(void)setrlimit(RLIMIT_CORE, &none);
		(void)signal(SIGABRT, SIG_DFL);
		(void)close(STDERR_FILENO);
		_exit(lifecycle_apply(&bench->state, transition, bench->sequence + 1, 0) ? 2 : 0);
	}
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* Invariant 3 where a binding changes its meaning: every part of the proof is asked for. */
static void rebinding_asserts_its_proof(void **state)
{
	struct bench *bench = *state;
	roll_out(bench, 2);
	expect(bench, "close 1");
	const struct proof proof = {
	    .closing = bench->sequence, .applied_ms = CLOSING_SETTLE_MS, .counted = true};
	struct transition retire = {.kind = TRANSITION_VERSION,
				    .event = VERSION_EVENT_RETIRE,
				    .version = 1,
				    .proof = proof};
	assert_false(aborts(bench, &retire));
	retire.proof.closing--;
	assert_true(aborts(bench, &retire));
	retire.proof = proof;
	retire.proof.applied_ms--;
	assert_true(aborts(bench, &retire));
	retire.proof = proof;
	retire.proof.counted = false;
	assert_true(aborts(bench, &retire));
	retire.proof = proof;
	retire.proof.connections = 1;
	assert_true(aborts(bench, &retire));
}

/* Invariant 1 where DNS begins to answer a version. */
static void starting_asserts_that_it_is_held(void **state)
{
	struct bench *bench = *state;
	publish(bench);
	struct transition transition = {.kind = TRANSITION_VERSION,
					.event = VERSION_EVENT_CONFIRM,
					.version = 1,
					.share = SHARE_WHOLE};
	assert_true(aborts(bench, &transition));
	expect(bench, "confirm 1");
	transition.event = VERSION_EVENT_START;
	assert_true(aborts(bench, &transition));
	transition.proof.held = true;
	assert_false(aborts(bench, &transition));
}

static void running_out_of_memory_is_an_error(void **state)
{
	struct bench *bench = *state;
	struct transition transitions[LIFECYCLE_MAX_TRANSITIONS];
	struct arena small;
	publish(bench);
	arena_init(&small, 16);
	assert_int_equal(lifecycle_next(&bench->state, &bench->seen, &small, transitions), -ENOMEM);

	struct version version = {.number = 2};
	struct binding binding = {.pool = 0, .slot = 77};
	static const uint8_t salt[16] = {0};
	int result = -ENOMEM;
	for (size_t limit = 16; result == -ENOMEM; limit += 16) {
		struct service_state before = bench->state;
		arena_done(&small);
		arena_init(&small, limit);
		result = lifecycle_publish(&bench->state, &version, &binding, 1, salt, 5, 5, &small,
					   NULL);
		if (result == -ENOMEM)
			assert_memory_equal(&before, &bench->state, sizeof(before));
	}
	assert_int_equal(result, 0);
	arena_done(&small);
}

static void names_go_there_and_back(void **state)
{
	(void)state;
	for (int i = VERSION_STAGED; i <= VERSION_RETIRED; i++) {
		enum version_state back = VERSION_STAGED;
		assert_int_equal(
		    version_state_parse(version_state_name((enum version_state)i), &back), 0);
		assert_int_equal(back, i);
	}
	enum version_state kept = VERSION_CLOSING;
	assert_int_equal(version_state_parse("closed", &kept), -FL_EINVALID);
	assert_int_equal(kept, VERSION_CLOSING);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(first_versions_serve_everybody),
	    TEST(a_version_that_waits_gets_no_clients),
	    TEST(nothing_that_served_closes_while_a_newer_one_waits),
	    TEST(an_operator_forces_the_first_share),
	    TEST(shares_grow_with_pauses),
	    TEST(paused_rollouts_stay),
	    TEST(newer_versions_take_the_rollout_over),
	    TEST(closing_waits_for_every_condition),
	    TEST(a_draining_version_says_what_it_waits_for),
	    TEST(the_limits_of_draining_and_closing_are_told),
	    TEST(no_closing_begins_while_somebody_is_silent),
	    TEST(closings_need_their_proof),
	    TEST(a_clock_that_goes_back_ends_a_closing),
	    TEST(counting_is_due_only_after_settling),
	    TEST(retired_addresses_pass_to_the_base),
	    TEST(given_up_closings_wait_a_minute),
	    TEST(late_addresses_drain_with_their_version),
	    TEST(full_pools_take_late_addresses_back),
	    TEST(reclaims_are_given_up),
	    TEST(rollback_ends_a_rollout),
	    TEST(rollback_is_an_undo),
	    TEST(an_undo_goes_on_behind_what_it_published),
	    TEST(an_earlier_release_did_not_note_what_served),
	    TEST(rollback_returns_while_it_drains),
	    TEST(rollback_reopens_what_closes),
	    TEST(rollback_names_the_retired_version),
	    TEST(rollback_passes_over_what_never_served),
	    TEST(cuts_are_for_what_drains),
	    TEST(drain_limits_cut),
	    TEST(removed_services_free_everything),
	    TEST(removed_services_can_come_back),
	    TEST(old_history_is_forgotten),
	    TEST(apply_refuses_what_the_table_lacks),
	    TEST(rebinding_asserts_its_proof),
	    TEST(starting_asserts_that_it_is_held),
	    TEST(running_out_of_memory_is_an_error),
	    TEST(names_go_there_and_back),
	};
	return cmocka_run_group_tests_name("lifecycle", tests, NULL, NULL);
}
