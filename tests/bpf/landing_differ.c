/* SPDX-License-Identifier: Apache-2.0 */
#include "landing_differ.h"
#include "base/netaddr.h"
#include "frame_run.h"
#include "landing.skel.h"

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

static void fill_addresses(struct bpf_map *map, const char *const *list)
{
	for (size_t i = 0; i < LANDING_WORLD_EACH; i++) {
		struct landing_address_key key = {0};
		struct ip_address address;
		const uint32_t one = 1;
		assert_int_equal(ip_address_parse(list[i], &address), 0);
		memcpy(key.bytes, address.bytes, sizeof(key.bytes));
		key.family = address.family;
		assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), &key, &one, 0), 0);
	}
}

static void fill_pools(struct bpf_map *map)
{
	for (size_t i = 0; i < LANDING_WORLD_EACH; i++) {
		struct landing_pool_key key = {0};
		struct ip_prefix prefix;
		const uint32_t one = 1;
		assert_int_equal(ip_prefix_parse(landing_pools[i], &prefix), 0);
		memcpy(key.bytes, prefix.address.bytes, sizeof(key.bytes));
		key.family = prefix.address.family;
		key.length = LANDING_POOL_KEY_BITS + prefix.length;
		assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), &key, &one, 0), 0);
	}
}

static void read_counts(const struct landing_differ *differ, struct landing_counts *ret_counts)
{
	const uint32_t zero = 0;
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	size_t words = sizeof(*ret_counts) / sizeof(uint64_t);
	uint64_t sums[sizeof(*ret_counts) / sizeof(uint64_t)] = {0};
	uint64_t *values = calloc(cpus * words, sizeof(*values));
	assert_non_null(values);
	assert_int_equal(
	    bpf_map_lookup_elem(bpf_map__fd(differ->program->maps.landing_counts), &zero, values),
	    0);
	for (size_t i = 0; i < cpus * words; i++)
		sums[i % words] += values[i];
	memcpy(ret_counts, sums, sizeof(*ret_counts));
	free(values);
}

static void advance(struct landing_counts *counts, const struct landing_reference *judgement)
{
	switch (judgement->outcome) {
	case LANDING_PASSED:
		counts->passed++;
		break;
	case LANDING_ACCEPTED:
		counts->accepted[LANDING_TUNNEL(judgement->outer_v6, judgement->inner_v6)]++;
		break;
	case LANDING_DROPPED:
		counts->drops[judgement->reason]++;
	}
}

static uint32_t run(const struct landing_differ *differ, const struct frame *frame,
		    struct frame *ret_out)
{
	int fd = bpf_program__fd(differ->program->progs.landing_decapsulate);
	return frame_run(fd, NULL, 0, frame, ret_out);
}

static void print_counts(FILE *report, const struct landing_counts *expected,
			 const struct landing_counts *got)
{
	static const char *const tunnels[] = {"4in4", "6in4", "4in6", "6in6"};
	if (got->passed != expected->passed)
		fprintf(report, "passed: %" PRIu64 ", not %" PRIu64 "\n", (uint64_t)got->passed,
			(uint64_t)expected->passed);
	for (size_t i = 0; i < 4; i++) {
		if (got->accepted[i] != expected->accepted[i])
			fprintf(report, "accepted %s: %" PRIu64 ", not %" PRIu64 "\n", tunnels[i],
				(uint64_t)got->accepted[i], (uint64_t)expected->accepted[i]);
	}
#define X(name, number, label, text)                                                               \
	if (got->drops[number] != expected->drops[number])                                         \
		fprintf(report, "drops '%s': %" PRIu64 ", not %" PRIu64 "\n", label,               \
			(uint64_t)got->drops[number], (uint64_t)expected->drops[number]);
	LANDING_DROPS(X)
#undef X
}

static void print_difference(FILE *report, const struct landing_differ *differ,
			     const struct frame *in, const struct landing_reference *judgement,
			     const struct frame *out, const struct landing_counts *got)
{
	fprintf(report, "the program and its reference differ\n");
	frame_print(report, "in", in);
	if (judgement->outcome != LANDING_DROPPED && !frame_equal(&judgement->out, out)) {
		frame_print(report, "out, by the reference", &judgement->out);
		frame_print(report, "out, by the program", out);
	}
	print_counts(report, &differ->expected, got);
}

/* Frames have link addresses at random; most shall be for this machine. */
static void address(const struct frame *from, struct frame *ret_frame)
{
	*ret_frame = *from;
	if (from->bytes[1] >= 16)
		memcpy(ret_frame->bytes, landing_link, sizeof(landing_link));
}

/* The kernel runs the program as if frames came in on the loopback interface. */
static void fill_own(const struct bpf_map *map)
{
	const uint32_t zero = 0;
	struct landing_own own = {.items = {{.ifindex = 1}}};
	memcpy(own.items[0].address, landing_link, sizeof(landing_link));
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), &zero, &own, 0), 0);
}

bool landing_differ_agrees(struct landing_differ *differ, const struct frame *any, FILE *report)
{
	static struct frame addressed;
	const struct frame *frame = &addressed;
	static struct landing_reference judgement;
	static struct frame out;
	struct landing_counts got;
	address(any, &addressed);
	landing_judge(frame, &judgement);
	uint32_t verdict = run(differ, frame, &out);
	advance(&differ->expected, &judgement);
	read_counts(differ, &got);
	differ->frames++;
	bool dropped = judgement.outcome == LANDING_DROPPED;
	bool same = verdict == (dropped ? XDP_DROP : XDP_PASS) &&
		    (dropped || frame_equal(&judgement.out, &out)) &&
		    memcmp(&got, &differ->expected, sizeof(got)) == 0;
	if (!same)
		print_difference(report, differ, frame, &judgement, &out, &got);
	return same;
}

bool landing_differ_enter(struct landing_differ *differ)
{
	memset(differ, 0, sizeof(*differ));
	landing_reference_init();
	differ->program = landing_bpf__open_and_load();
	if (!differ->program) {
		perror("the BPF tests need root");
		return false;
	}
	fill_addresses(differ->program->maps.landing_addresses, landing_own);
	fill_addresses(differ->program->maps.landing_edges, landing_edges);
	fill_pools(differ->program->maps.landing_pools);
	fill_own(differ->program->maps.landing_own);
	return true;
}

void landing_differ_leave(struct landing_differ *differ)
{
	landing_bpf__destroy(differ->program);
}
