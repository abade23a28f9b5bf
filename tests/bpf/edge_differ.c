/* SPDX-License-Identifier: Apache-2.0 */
#include "edge_differ.h"
#include "abi/edge.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DESCRIPTORS 32 /* the first so many hold all that the world binds */
#define CPUS_MAX 256

_Static_assert(sizeof(struct edge_counters) == sizeof(struct edge_map_counters),
	       "counters are added up word by word");
#define COUNTER_WORDS (sizeof(struct edge_counters) / sizeof(uint64_t))

/* The first `count` values of a per-CPU array of values of `words` words, summed over the CPUs. */
static void read_sums(int map_fd, uint32_t count, size_t words, uint64_t *ret_sums)
{
	static uint64_t values[DROP_REASONS * CPUS_MAX * COUNTER_WORDS];
	static uint32_t keys[DROP_REASONS];
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	uint32_t next;
	assert_true(cpus <= CPUS_MAX && count <= DROP_REASONS);
	int result = bpf_map_lookup_batch(map_fd, NULL, &next, keys, values, &count, NULL);
	assert_true(result == 0 || result == -ENOENT);
	memset(ret_sums, 0, count * words * sizeof(*ret_sums));
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < cpus * words; j++)
			ret_sums[keys[i] * words + j % words] += values[i * cpus * words + j];
	}
}

static void read_tally(const struct world *world, struct tally *ret_tally)
{
	uint64_t sums[DESCRIPTORS][COUNTER_WORDS];
	memset(ret_tally, 0, sizeof(*ret_tally));
	read_sums(world->drops_fd, EDGE_MAP_DROPS, 1, ret_tally->drops);
	read_sums(world->counters_fd, DESCRIPTORS, COUNTER_WORDS, sums[0]);
	for (size_t i = 0; i < WORLD_BINDINGS; i++)
		memcpy(&ret_tally->counters[i], sums[world->descriptor_numbers[i]],
		       sizeof(ret_tally->counters[i]));
}

static void advance(struct tally *tally, const struct reference *judgement)
{
	if (judgement->reason)
		tally->drops[judgement->reason]++;
	if (judgement->binding == REFERENCE_NO_BINDING)
		return;
	struct edge_counters *counters = &tally->counters[judgement->binding];
	counters->packets += judgement->counts.packets;
	counters->bytes += judgement->counts.bytes;
	counters->new_flows += judgement->counts.new_flows;
	counters->late_flows += judgement->counts.late_flows;
	counters->refused += judgement->counts.refused;
	counters->wrong_port += judgement->counts.wrong_port;
	counters->asked_fib += judgement->counts.asked_fib;
	counters->to_kernel += judgement->counts.to_kernel;
}

static void print_tallies(FILE *report, const struct world *world, const struct tally *expected,
			  const struct tally *got)
{
	static const char *const names[COUNTER_WORDS] = {"packets",    "bytes",    "new_flows",
							 "late_flows", "refused",  "wrong_port",
							 "asked_fib",  "to_kernel"};
	for (unsigned i = 0; i < DROP_REASONS; i++) {
		if (got->drops[i] != expected->drops[i])
			fprintf(report, "drops '%s': %" PRIu64 ", not %" PRIu64 "\n", drop_label(i),
				got->drops[i], expected->drops[i]);
	}
	for (size_t i = 0; i < WORLD_BINDINGS; i++) {
		char text[IP_TEXT_BYTES];
		uint64_t is[COUNTER_WORDS], shall[COUNTER_WORDS];
		memcpy(is, &got->counters[i], sizeof(is));
		memcpy(shall, &expected->counters[i], sizeof(shall));
		for (size_t j = 0; j < COUNTER_WORDS; j++) {
			if (is[j] != shall[j])
				fprintf(report, "%s of %s: %" PRIu64 ", not %" PRIu64 "\n",
					names[j],
					ip_address_format(&world->bindings[i].address, text), is[j],
					shall[j]);
		}
	}
}

static void print_difference(FILE *report, const struct differ *differ, const struct frame *in,
			     const struct reference *judgement, uint32_t verdict,
			     const struct frame *out, const struct tally *got)
{
	static const char *const verdicts[] = {"ABORTED", "DROP", "PASS", "TX", "REDIRECT"};
	const struct world_knobs *knobs = &differ->world.knobs;
	const char *reason = drop_label(judgement->reason);
	fprintf(report,
		"the program and its reference differ\n"
		"without a next hop %02x, narrow %02x (%u bytes), flags %02x\n",
		knobs->lost, knobs->narrow, (unsigned)knobs->mtu_high << 8 | knobs->mtu_low,
		knobs->flags);
	frame_print(report, "in", in);
	fprintf(report, "the reference says %s %s, the program %s\n", verdicts[judgement->verdict],
		reason ? reason : "", verdict < 5 ? verdicts[verdict] : "something else");
	if (judgement->verdict != XDP_DROP && !frame_equal(&judgement->out, out)) {
		frame_print(report, "out, by the reference", &judgement->out);
		frame_print(report, "out, by the program", out);
	}
	print_tallies(report, &differ->world, &differ->expected, got);
}

/* Frames have link addresses at random; most shall be for this machine. */
static void address(const struct world *world, const struct frame *from, struct frame *ret_frame)
{
	*ret_frame = *from;
	if (!(from->bytes[0] & 1) && from->bytes[1] >= 16)
		memcpy(ret_frame->bytes, world_own_link(world), 6);
}

bool differ_agrees(struct differ *differ, const struct frame *any, FILE *report)
{
	const struct world *world = &differ->world;
	static struct frame addressed;
	const struct frame *frame = &addressed;
	uint32_t ifindex = world->ifindex[world->knobs.flags & WORLD_FROM_EDGE1 ? 1 : 0];
	static struct reference judgement;
	static struct frame out;
	struct tally got;
	address(world, any, &addressed);
	reference_judge(world, frame, &judgement);
	uint32_t verdict = fixture_run_program(world->fixture.fill_fd, ifindex, frame, &out);
	advance(&differ->expected, &judgement);
	read_tally(world, &got);
	differ->frames++;
	differ->verdicts[judgement.verdict]++;
	bool same = verdict == judgement.verdict &&
		    (verdict == XDP_DROP || frame_equal(&judgement.out, &out)) &&
		    memcmp(&got, &differ->expected, sizeof(got)) == 0;
	if (!same)
		print_difference(report, differ, frame, &judgement, verdict, &out, &got);
	return same;
}

bool differ_enter(struct differ *differ)
{
	memset(differ, 0, sizeof(*differ));
	if (!world_enter(&differ->world))
		return false;
	for (size_t i = 0; i < WORLD_BINDINGS; i++)
		assert_true(differ->world.descriptor_numbers[i] < DESCRIPTORS);
	return true;
}

void differ_leave(struct differ *differ)
{
	world_leave(&differ->world);
}
