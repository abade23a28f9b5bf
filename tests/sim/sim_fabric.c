/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole fabrics, from seeds: fabric_world.h says what they are made of. A seed's history has a time
 * in which everything happens (delay, loss, cut links, stuck planes, processes that are killed or
 * stopped, power that goes at any write of the voter's store, clocks that are set, an operator who
 * orders what he likes) and, every few seeds, a calm in which all that was begun must come to its
 * end.
 *
 * FAIRLEAD_SEED=N plays one seed; FAIRLEAD_SOAK_S=N goes on with new seeds for N seconds;
 * FAIRLEAD_SEEDS=N plays the first N; FAIRLEAD_SIM_NODES=N has fabrics of up to N nodes, and more
 * of the largest. Seeds are shared among as many processes as there are processors. What one finds
 * is printed with the seed and the steps that led there.
 */
#include "sim_fabric.h"

#include "fabric_world.h"
#include "power_disk.h"

#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
#define SEEDS 60u
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SEEDS 60u
#endif
#endif
#ifndef SEEDS
#define SEEDS 500u
#endif

#define BUSY_MS 50000u
#define CALM_MS 140000u
#define CALM_EVERY 4u /* seeds: to see an end takes long */
#define MOST_WORKERS 64
#define LEAST_NODES 4u
#define LARGE_NODES 20u
#define LARGE_EVERY 50u /* seeds */

char sim_folder[64];
static struct ledger_signer *signer; /* of the voter */

/* --- the seed's own --- */

uint64_t below(struct world *world, uint64_t bound)
{
	return random_below(&world->random, bound);
}

bool chance(struct world *world, unsigned per_mille)
{
	return below(world, 1000) < per_mille;
}

void trace(struct world *world, const char *format, ...)
{
	struct history *history = world->history;
	char *line = history->lines[history->count++ % TRACE_LINES];
	int length = snprintf(line, TRACE_BYTES, "%8" PRIu64 " ms  ", world->now_ms);
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line + length, TRACE_BYTES - (size_t)length, format, arguments);
	va_end(arguments);
}

static void print_history(const struct history *history)
{
	size_t first = history->count > TRACE_LINES ? history->count - TRACE_LINES : 0;
	for (size_t i = first; i < history->count; i++)
		fprintf(stderr, "%s\n", history->lines[i % TRACE_LINES]);
	fprintf(stderr, "FAIRLEAD_SEED=%" PRIu64 " ", history->seed);
}

void violation(const struct world *world, const char *format, ...)
{
	va_list arguments;
	print_history(world->history);
	fprintf(stderr, "step %" PRIu64 ", %" PRIu64 " ms: ", world->step, world->now_ms);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	_exit(1);
}

/* --- events: a heap --- */

static bool is_earlier(const struct event *a, const struct event *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

void plan(struct world *world, uint64_t in_ms, event_fn *run, void *context, uint64_t number)
{
	if (world->event_count == world->event_room) {
		world->event_room = 2 * world->event_room + 256;
		struct event *events = realloc(world->events, world->event_room * sizeof(*events));
		CHECK(world, events, "no memory");
		world->events = events;
	}
	const struct event event = {.at_ms = world->now_ms + in_ms,
				    .order = world->planned++,
				    .run = run,
				    .context = context,
				    .number = number};
	size_t at = world->event_count++;
	while (at && is_earlier(&event, &world->events[(at - 1) / 2])) {
		world->events[at] = world->events[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	world->events[at] = event;
}

static struct event take_event(struct world *world)
{
	struct event first = world->events[0];
	const struct event last = world->events[--world->event_count];
	size_t at = 0;
	for (size_t child = 1; child < world->event_count; child = 2 * at + 1) {
		if (child + 1 < world->event_count &&
		    is_earlier(&world->events[child + 1], &world->events[child]))
			child++;
		if (!is_earlier(&world->events[child], &last))
			break;
		world->events[at] = world->events[child];
		at = child;
	}
	world->events[at] = last;
	return first;
}

static void run_until(struct world *world, uint64_t end_ms)
{
	while (world->event_count && world->events[0].at_ms <= end_ms) {
		struct event event = take_event(world);
		world->now_ms = event.at_ms;
		world->step++;
		event.run(world, event.context, event.number);
		check_step(world);
	}
	world->now_ms = end_ms;
}

/* --- faults --- */

/* It finds out, and begins anew with what it has of our chain. */
static void on_return(struct world *world, void *context, uint64_t process)
{
	struct node *node = context;
	if (node->process == process)
		node_stop(world, node);
}

/* The voter was started without the role of an edge, and its maps forward still: they are taken
 * down. */
static void detach(struct world *world)
{
	struct node *node = &world->nodes[0];
	if (member_has(&node->self, MEMBER_EDGE) || !node->maps.is_there)
		return;
	trace(world, "%s is detached", node->name);
	world->tally->detached++;
	node->maps = (struct table){0};
	node->pinned = (struct mark_note){0};
	node->announces = false;
}

static void fault_of_node(struct world *world, struct node *node, uint64_t which)
{
	uint64_t ms = chance(world, 200) ? below(world, 20000) : below(world, 4000);
	switch (which) {
	case 0:
		if (chance(world, 300)) {
			node_kill(world, node);
			break;
		}
		trace(world, "%s ends", node->name);
		world->tally->restarts++;
		node_stop(world, node);
		break;
	case 1:
		if (node->runs)
			node_lose_power(world, node);
		break;
	case 2:
		/* From the voter, or from everyone. */
		if (chance(world, 500)) {
			trace(world, "%s is cut off for %" PRIu64 " ms", node->name, ms);
			node->cut_until_ms = world->now_ms + ms;
		} else {
			trace(world, "%s is apart for %" PRIu64 " ms", node->name, ms);
			node->apart_until_ms = world->now_ms + ms;
		}
		break;
	case 3:
		trace(world, "%s is stuck for %" PRIu64 " ms", node->name, ms);
		node->stuck_until_ms = world->now_ms + ms;
		break;
	case 4:
		trace(world, "%s stands still for %" PRIu64 " ms", node->name, ms);
		node->paused_until_ms = world->now_ms + ms;
		break;
	case 5:
		trace(world, "%s's clock is set", node->name);
		/* Back only a little: what waits by the wall clock waits so much longer. */
		node->wall_offset_ms += (int64_t)below(world, chance(world, 300) ? 3600000 : 5000);
		node->wall_offset_ms -= (int64_t)below(world, 5000);
		break;
	case 6:
		if (node->index == 0 || !node->runs)
			break;
		trace(world, "%s goes by another chain", node->name);
		world->tally->foreign++;
		node->is_foreign = true;
		plan(world, 1000 + below(world, 12000), on_return, node, node->process);
		break;
	case 7:
	case 8:
	case 9:
		disk_set_back(world, node);
		break;
	case 10:
		node->crashes_wanted = true;
		break;
	default:
		if (chance(world, 400))
			detach(world);
		break;
	}
}

static void fault_of_landing(struct world *world, struct landing *landing, uint64_t which)
{
	if (which == 0) {
		landing_lose_power(world, landing);
	} else if (which == 1) {
		landing_restart(world, landing);
	} else if (which == 2) {
		trace(world, "landings name a closing of another chain");
		world->astray_until_ms = world->now_ms + 2000 + below(world, 8000);
	} else if (which >= 6) {
		/* Whoever started it mistook one machine for another, and sees it later. */
		bool is_wrong = strcmp(landing->said, landing->name) != 0;
		const struct landing *other = &world->landings[below(world, MACHINES)];
		landing_rename(world, landing, is_wrong ? landing->name : other->name);
	} else if (which == 3) {
		if (world->has_cookies)
			landing->cookies_until_ms = world->now_ms + below(world, 12000);
	} else {
		uint64_t ms = chance(world, 200) ? below(world, 15000) : below(world, 4000);
		trace(world, "%s is silent for %" PRIu64 " ms", landing->name, ms);
		landing->silent_until_ms = world->now_ms + ms;
	}
}

static void on_fault(struct world *world, void *context, uint64_t number)
{
	(void)context, (void)number;
	if (world->is_calm)
		return;
	plan(world, 100 + below(world, 2u * world->fault_ms), on_fault, NULL, 0);
	/* One draw to a statement: compilers differ in the order of arguments. */
	if (chance(world, 650)) {
		bool is_alone = world->now_ms < world->alone_until_ms && chance(world, 700);
		struct node *node = &world->nodes[is_alone ? 0 : below(world, world->node_count)];
		fault_of_node(world, node, below(world, 12));
	} else {
		struct landing *landing = &world->landings[below(world, MACHINES)];
		fault_of_landing(world, landing, below(world, 8));
	}
}

static void on_order(struct world *world, void *context, uint64_t number)
{
	(void)context, (void)number;
	if (world->is_calm)
		return;
	plan(world, 300 + below(world, 4000), on_order, NULL, 0);
	order_at_random(world);
}

static void on_join(struct world *world, void *context, uint64_t number)
{
	(void)number;
	if (voter_runs(world))
		order_join(world, context);
	const struct node *node = context;
	if (!node->is_removed && !image_member(&world->nodes[0].image, node->name))
		plan(world, 500, on_join, context, 0);
}

/* Some calm after all: whoever is there does his part, and nobody comes. */
static void on_calm(struct world *world, void *context, uint64_t number)
{
	(void)context, (void)number;
	order_resume_all(world);
	plan(world, 5000, on_calm, NULL, 0);
}

static void calm_down(struct world *world)
{
	trace(world, "calm");
	world->is_calm = true;
	for (size_t i = 0; i < world->node_count; i++) {
		struct node *node = &world->nodes[i];
		node->stuck_until_ms = 0;
		node->cut_until_ms = 0;
		node->apart_until_ms = 0;
		node->paused_until_ms = 0;
		if (node_has_disk(node))
			power_disk_restore(0);
		/* It has to take in our chain again. */
		if (node->is_foreign)
			node_stop(world, node);
		node->crashes_due = 0;
		node->crashes_wanted = false;
		disk_set_right(world, node);
	}
	for (size_t i = 0; i < MACHINES; i++) {
		world->landings[i].silent_until_ms = 0;
		landing_rename(world, &world->landings[i], world->landings[i].name);
	}
	world->astray_until_ms = 0;
	detach(world);
	on_calm(world, NULL, 0);
}

/* --- a seed --- */

/* A process that plays seeds; in memory that it shares with the one that waits for it. */
struct worker {
	struct tally tally;
	struct history history; /* of the seed that it plays */
	uint64_t seeds; /* that it has played */
};

static struct world *world_new(uint64_t seed, struct worker *worker)
{
	struct world *world = calloc(1, sizeof(*world));
	assert_non_null(world);
	arena_init(&world->arena, 0);
	random_init_seeded(&world->random, seed);
	random_init_seeded(&world->secrets, seed ^ 0x5eed);
	world->tally = &worker->tally;
	world->history = &worker->history;
	*world->history = (struct history){.seed = seed};
	world->voter_key = ledger_signer_public_key(signer);
	world->now_ms = 1000000;
	world->versions = calloc(MOST_VERSIONS, sizeof(*world->versions));
	assert_non_null(world->versions);
	return world;
}

static void world_free(struct world *world)
{
	nodes_done(world);
	wants_done(&world->slot_wants);
	arena_done(&world->arena);
	free(world->events);
	free(world->versions);
	free(world);
}

/* Small fabrics show most; now and then a larger one. */
static size_t node_count(struct world *world, uint64_t seed)
{
	const char *most = getenv("FAIRLEAD_SIM_NODES");
	size_t large = most ? strtoul(most, NULL, 10) : LARGE_NODES;
	if (large < LEAST_NODES || large > MOST_NODES)
		large = MOST_NODES;
	if (most ? chance(world, 300) : seed % LARGE_EVERY == 0)
		return large;
	return LEAST_NODES + below(world, most ? large - LEAST_NODES + 1 : 3);
}

static void play(uint64_t seed, struct worker *worker)
{
	struct world *world = world_new(seed, worker);
	uint64_t start_ms = world->now_ms;
	static const uint64_t rates_ms[] = {1500, 4000, 12000, 40000};
	world->fault_ms = rates_ms[below(world, 4)];
	uint64_t alone_ms = chance(world, 200) ? 10000 + below(world, 50000) : 0;
	world->alone_until_ms = start_ms + alone_ms;
	world->report_ms = chance(world, 250) ? 2000 : 1000;
	world->node_count = node_count(world, seed);
	/* What waits for them does not end in a calm. */
	world->has_cookies = seed % CALM_EVERY != 0 && chance(world, 150);
	traffic_init(world);
	orders_init(world);
	nodes_init(world);
	for (size_t i = 1; i < world->node_count; i++)
		plan(world, alone_ms + below(world, i < 3 ? 500 : 30000), on_join, &world->nodes[i],
		     0);
	plan(world, below(world, 2000), on_order, NULL, 0);
	plan(world, 3000 + below(world, 5000), on_fault, NULL, 0);
	run_until(world, start_ms + BUSY_MS);
	if (seed % CALM_EVERY == 0) {
		calm_down(world);
		run_until(world, start_ms + BUSY_MS + CALM_MS);
		check_ended(world);
	}
	if (world->node_count > worker->tally.most_nodes)
		worker->tally.most_nodes = world->node_count;
	worker->tally.steps += world->step;
	worker->seeds++;
	world_free(world);
}

/* --- many seeds --- */

static void remove_files(const char *folder)
{
	static const char *const names[] = {"store.db", "store.lock", "node.key"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char path[128];
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
}

static void remove_folders(void)
{
	for (size_t i = 0; i < MOST_NODES; i++) {
		char path[96];
		snprintf(path, sizeof(path), "%s/n%zu", sim_folder, i);
		remove_files(path);
	}
	remove_files(sim_folder);
}

static uint64_t real_ms(void)
{
	return clock_now_ms(&clock_system);
}

static void work(struct worker *worker, uint64_t first, uint64_t every, uint64_t count,
		 uint64_t deadline_ms)
{
	/* The memory of one seed is the next one's. */
	(void)mallopt(M_MMAP_THRESHOLD, 1 << 30);
	(void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
	signal(SIGSEGV, SIG_DFL);
	power_disk_register();
	for (uint64_t i = 0; deadline_ms ? real_ms() < deadline_ms : i * every + first <= count;
	     i++) {
		play(i * every + first, worker);
	}
}

static int worker_run(struct worker *worker, uint64_t first, uint64_t every, uint64_t count,
		      uint64_t deadline_ms)
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		snprintf(sim_folder, sizeof(sim_folder), "/tmp/fairlead-fabric-XXXXXX");
		char folder[96];
		if (!mkdtemp(sim_folder))
			_exit(2);
		snprintf(folder, sizeof(folder), "%s/n0", sim_folder);
		if (mkdir(folder, 0700) < 0 || ledger_signer_open(folder, "n0", &signer, NULL) < 0)
			_exit(2);
		work(worker, first, every, count, deadline_ms);
		for (unsigned i = 0; i < MOST_NODES; i++) {
			power_disk_select(i, NULL);
			power_disk_done();
		}
		ledger_signer_free(signer);
		remove_folders();
		_exit(0);
	}
	return child;
}

static void add_tally(struct tally *sum, const struct tally *tally)
{
	uint64_t most = sum->most_nodes > tally->most_nodes ? sum->most_nodes : tally->most_nodes;
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)tally;
	for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
	sum->most_nodes = most;
}

static void no_flow_breaks(void **state)
{
	(void)state;
	const char *seed = getenv("FAIRLEAD_SEED");
	const char *soak = getenv("FAIRLEAD_SOAK_S");
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	size_t workers = seed ? 1 : (size_t)(processors < 1 ? 1 : processors);
	if (workers > MOST_WORKERS)
		workers = MOST_WORKERS;
	uint64_t first = seed ? strtoull(seed, NULL, 10) : 1;
	uint64_t deadline_ms = 0;
	const char *many = getenv("FAIRLEAD_SEEDS");
	uint64_t seed_count = many ? strtoull(many, NULL, 10) : SEEDS;
	if (soak) {
		first = (uint64_t)time(NULL) << 20;
		deadline_ms = real_ms() + 1000 * strtoull(soak, NULL, 10);
	}
	struct worker *team = mmap(NULL, workers * sizeof(*team), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(team != MAP_FAILED);
	pid_t children[MOST_WORKERS];
	for (size_t w = 0; w < workers; w++)
		children[w] = worker_run(&team[w], first + w, workers, seed ? first : seed_count,
					 deadline_ms);
	struct tally sum = {0};
	uint64_t seeds = 0;
	size_t violations = 0;
	for (size_t left = workers; left; left--) {
		int status;
		pid_t ended = wait(&status);
		size_t w = 0;
		while (w < workers && children[w] != ended)
			w++;
		assert_true(w < workers);
		children[w] = 0;
		if (status == 0 || violations)
			continue;
		violations++;
		if (WIFSIGNALED(status)) {
			print_history(&team[w].history);
			fprintf(stderr, "ended by signal %d\n", WTERMSIG(status));
		}
		/* One is enough to look at. */
		for (size_t other = 0; other < workers; other++) {
			if (children[other])
				kill(children[other], SIGKILL);
		}
	}
	for (size_t w = 0; w < workers; w++) {
		add_tally(&sum, &team[w].tally);
		seeds += team[w].seeds;
	}
	munmap(team, workers * sizeof(*team));
	print_message("entries=%" PRIu64 " flows=%" PRIu64 " packets=%" PRIu64 " late=%" PRIu64
		      " cut=%" PRIu64 " passed=%" PRIu64 " lost=%" PRIu64 "\n",
		      sum.entries, sum.flows, sum.packets, sum.late, sum.cut, sum.passed, sum.lost);
	print_message("starts=%" PRIu64 " closings=%" PRIu64 " rebound=%" PRIu64 " freed=%" PRIu64
		      " lifted=%" PRIu64 " reopened=%" PRIu64 " restarts=%" PRIu64
		      " power_losses=%" PRIu64 " foreign=%" PRIu64 " detached=%" PRIu64 "\n",
		      sum.starts, sum.closings, sum.rebound, sum.frees, sum.lifts, sum.reopened,
		      sum.restarts, sum.power_losses, sum.foreign, sum.detached);
	print_message("cookies=%" PRIu64 " kills=%" PRIu64 " set_back=%" PRIu64
		      " caught_up=%" PRIu64 " copies=%" PRIu64 " older=%" PRIu64 " misled=%" PRIu64
		      " idle=%" PRIu64 " moved=%" PRIu64 " renamed=%" PRIu64 " readdressed=%" PRIu64
		      " wanted=%" PRIu64 " emptied=%" PRIu64 " removed=%" PRIu64 " fenced=%" PRIu64
		      " refused=%" PRIu64 "\n",
		      sum.cookies, sum.kills, sum.set_back, sum.caught_up, sum.copies, sum.older,
		      sum.misled, sum.idle, sum.moved, sum.renamed, sum.readdressed, sum.wanted,
		      sum.emptied, sum.removed, sum.fenced, sum.refused);
	print_message("listened=%" PRIu64 " behind=%" PRIu64 " taken_back=%" PRIu64
		      " by_peer=%" PRIu64 " learned=%" PRIu64 " unaware=%" PRIu64 "\n",
		      sum.listened, sum.behind, sum.taken_back, sum.by_peer, sum.learned,
		      sum.unaware);
	print_message("sim: nodes<=%zu seeds=%" PRIu64 " steps=%" PRIu64 " violations=%zu\n",
		      (size_t)sum.most_nodes, seeds, sum.steps, violations);
	assert_int_equal(violations, 0);
	/* What no seed reaches is not shown. */
	if (!seed && !soak)
		assert_true(sum.cut && sum.passed && sum.starts && sum.rebound && sum.frees &&
			    sum.lifts && sum.reopened && sum.power_losses && sum.foreign &&
			    sum.kills && sum.set_back && sum.caught_up && sum.idle && sum.renamed &&
			    sum.readdressed && sum.listened && sum.by_peer);
	if (!seed && !soak && SEEDS > 100)
		assert_true(sum.late && sum.moved && sum.copies && sum.older && sum.detached &&
			    sum.wanted && sum.emptied && sum.removed && sum.fenced && sum.refused &&
			    sum.behind && sum.taken_back && sum.learned && sum.unaware);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(no_flow_breaks)};
	return cmocka_run_group_tests_name("sim.fabric", tests, NULL, NULL);
}
