/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariant 4: two edges with the same ejection sets and bindings send the same packet to the same
 * backend, in whatever order they learnt of deaths.
 *
 * Each edge is a process with a network, a BPF file system and maps of its own: this program
 * started again, with its part as an argument. All of them come to the same desired state, but by
 * different ways, so that the numbers that an edge gives out by itself (of backends, descriptors
 * and ring pages) differ. Then each runs the same random packets, and leaves where they went in
 * memory that all share. FAIRLEAD_SEED=N repeats the packets of a run.
 */
#include "abi/edge.h"
#include "base/random.h"
#include "edge_fixture.h"
#include "model/ring.h"
#include "tests/seed.h"

#include <bpf/bpf.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PACKETS 4000
/* Nobody is ejected in the first stretch of packets; in each later one, one more backend is, and
 * all of them in the last. */
#define STRETCHES (1 + FIXTURE_BACKENDS)
#define OPTION_WORDS 10 /* IPv4 header of at most 15 words */
#define EXTENSIONS 6
#define STRANGERS 2 /* backends that a former version had beside the fixture's */

/* Where a packet went. */
struct choice {
	uint32_t verdict;
	struct ip_address backend; /* outer destination; IP_NONE of a dropped packet */
};

/* What one edge leaves for the comparison. */
struct account {
	uint32_t backends[FIXTURE_BACKENDS]; /* their numbers at this edge */
	uint32_t descriptors[FIXTURE_ADDRESSES];
	struct choice choices[PACKETS];
};

enum part {
	STRAIGHT, /* publishes once */
	WINDING, /* publishes something else, and withdraws it while the rest comes bit by bit */
	PARTS,
};

static struct fixture fixture;
static struct account *accounts; /* by enum part; shared */
static uint64_t seed;

/* Packets */

static void put16(uint8_t *bytes, size_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static void add_options(struct frame *frame, size_t words)
{
	const uint8_t no_operations[4 * OPTION_WORDS] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
							 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
							 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
	frame_insert(frame, 34, no_operations, 4 * words);
	frame->bytes[14] = (uint8_t)(0x45 + words);
	put16(frame->bytes + 16, frame->length - 14);
}

/* Destination options in front of what follows the IPv6 header. */
static void add_extension(struct frame *frame, uint8_t words)
{
	const uint8_t header[8 + 8 * 3] = {frame->bytes[20], words};
	frame_insert(frame, 54, header, 8u + 8u * words);
	frame->bytes[20] = IPPROTO_DSTOPTS;
	put16(frame->bytes + 18, frame->length - 54);
}

static void random_frame(struct random *random, struct frame *frame)
{
	static const struct {
		uint8_t protocol;
		uint16_t low, count;
	} ports[] = {{IPPROTO_TCP, 80, 1},
		     {IPPROTO_TCP, 8000, 11},
		     {IPPROTO_UDP, 53, 1},
		     {IPPROTO_UDP, 443, 1}};
	size_t kind = random_below(random, sizeof(ports) / sizeof(ports[0]));
	enum ip_family family = random_below(random, 2) ? IP_V6 : IP_V4;
	struct ip_address address =
	    fixture_service_address((enum fixture_service)random_below(random, 4), family);
	frame_build(frame, &address, ports[kind].protocol, (uint16_t)random_u64(random),
		    (uint16_t)(ports[kind].low + random_below(random, ports[kind].count)),
		    random_below(random, 300));
	size_t transport = frame_transport(frame);
	if (ports[kind].protocol == IPPROTO_TCP)
		frame->bytes[transport + 13] = (uint8_t)random_u64(random); /* flags */
	else if (frame->length > transport + 8)
		random_fill(random, frame->bytes + transport + 8, frame->length - transport - 8);
	random_fill(random, frame->bytes + (family == IP_V4 ? 26 : 22),
		    family == IP_V4 ? 4 : 16); /* source address */
	if (family == IP_V4) {
		add_options(frame, random_below(random, OPTION_WORDS + 1));
		frame_checksum(frame);
		return;
	}
	for (uint64_t more = random_below(random, EXTENSIONS + 1); more > 0; more--)
		add_extension(frame, (uint8_t)random_below(random, 4));
}

static struct choice choose(const struct frame *frame)
{
	struct frame out;
	struct choice choice = {.verdict = fixture_run(&fixture, frame, &out)};
	if (choice.verdict == XDP_DROP)
		return choice;
	bool v4 = out.bytes[12] == 0x08;
	choice.backend.family = v4 ? IP_V4 : IP_V6;
	memcpy(choice.backend.bytes, out.bytes + (v4 ? 30 : 38), v4 ? 4 : 16);
	return choice;
}

/* What this edge calls things */

static uint32_t backend_number(size_t backend)
{
	const struct ip_address *address = &fixture.backends[backend].address;
	struct edge_map_backend entry;
	int map_fd = fixture_map(&fixture, "backends");
	uint32_t number = 0;
	do {
		number++;
		assert_int_equal(bpf_map_lookup_elem(map_fd, &number, &entry), 0);
	} while (memcmp(entry.address, address->bytes, sizeof(entry.address)) != 0);
	close(map_fd);
	return number;
}

static uint32_t descriptor_number(const struct edge_binding *binding)
{
	struct edge_map_descriptor entry;
	int map_fd = fixture_map(&fixture, "descriptors");
	uint32_t number = 0;
	do {
		number++;
		assert_int_equal(bpf_map_lookup_elem(map_fd, &number, &entry), 0);
	} while (memcmp(entry.address, binding->address.bytes, sizeof(entry.address)) != 0 ||
		 entry.binding != binding->number);
	close(map_fd);
	return number;
}

/* Ways to the desired state */

/* Publish these bindings and pools, long after whatever was published before. */
static void publish(const struct edge_binding *bindings, size_t count,
		    const struct edge_pool *pools)
{
	struct error err = {0};
	const struct edge_desired desired = {
	    .pools = pools, .pool_count = 2, .bindings = bindings, .binding_count = count};
	fixture.now_ms += 2 * EDGE_GRACE_MS;
	if (edge_publish(fixture.edge, &desired, &err) < 0)
		fail_msg("%s", err.text);
}

static void reverse_bindings(struct edge_binding reversed[FIXTURE_ADDRESSES])
{
	for (size_t i = 0; i < FIXTURE_ADDRESSES; i++)
		reversed[i] = fixture.bindings[FIXTURE_ADDRESSES - 1 - i];
}

/*
 * A former version, which gives the fixture's backends other numbers and is withdrawn one address
 * after the other; the pools and the bindings of the fixture come in reverse order meanwhile.
 */
static void go_winding_way(void)
{
	const struct edge_pool pools[2] = {fixture.pools[1], fixture.pools[0]};
	struct edge_backend backends[STRANGERS + FIXTURE_BACKENDS] = {
	    {fixture_address("10.1.0.99")}, {fixture_address("fd00:1::99")}};
	uint16_t ring[EDGE_RING_PAGE];
	struct edge_version former = fixture.versions[OTHER];
	struct edge_binding bindings[FIXTURE_ADDRESSES];
	struct edge_binding wanted[FIXTURE_ADDRESSES];

	for (size_t i = 0; i < FIXTURE_BACKENDS; i++)
		backends[STRANGERS + i] = fixture.backends[FIXTURE_BACKENDS - 1 - i];
	for (size_t i = 0; i < EDGE_RING_PAGE; i++)
		ring[i] = (uint16_t)(i % (STRANGERS + FIXTURE_BACKENDS));
	memset(former.digest.bytes, 0x11, sizeof(former.digest.bytes));
	former.number = 99;
	former.backends = backends;
	former.backend_count = STRANGERS + FIXTURE_BACKENDS;
	former.ring = ring;

	reverse_bindings(wanted);
	for (size_t i = 0; i < FIXTURE_ADDRESSES; i++) {
		bindings[i] = wanted[i];
		bindings[i].version = &former;
		bindings[i].number = 1;
	}
	publish(bindings, FIXTURE_ADDRESSES, pools);
	for (size_t i = 0; i < FIXTURE_ADDRESSES; i++) {
		bindings[i] = wanted[i];
		publish(bindings, FIXTURE_ADDRESSES, pools);
	}
}

static void reach_desired_state(enum part part)
{
	fixture_desire(&fixture);
	switch (part) {
	case STRAIGHT:
		fixture_open(&fixture);
		assert_false(edge_is_forwarding(fixture.edge));
		publish(fixture.bindings, FIXTURE_ADDRESSES, fixture.pools);
		break;
	case WINDING:
		fixture_open(&fixture);
		go_winding_way();
		break;
	case PARTS:
		fail();
	}
}

/* Ejections */

/* What every version's ring is with the backends of this set ejected. */
static void publish_ejections(unsigned set)
{
	static uint16_t rings[4][EDGE_RING_PAGE];
	const struct ring base = {.length = EDGE_RING_PAGE, .entries = fixture.ring};
	bool ejected[FIXTURE_BACKENDS];
	for (size_t i = 0; i < FIXTURE_BACKENDS; i++)
		ejected[i] = set >> i & 1;
	for (size_t i = 0; i < 4; i++) {
		(void)ring_effective(&base, fixture.versions[i].seed, ejected, rings[i]);
		fixture.versions[i].ring = rings[i];
		fixture.versions[i].ejections.bytes[0] = (uint8_t)set;
	}
	publish(fixture.bindings, FIXTURE_ADDRESSES, fixture.pools);
}

/* The edge that went the winding way goes by another set first in each stretch, as one that was
 * apart from its site. */
static void eject(enum part part, size_t count)
{
	unsigned set = (1u << count) - 1;
	if (part != STRAIGHT && count > 0)
		publish_ejections(1u << (FIXTURE_BACKENDS - count));
	publish_ejections(set);
}

/* One edge, from its start to its end. */
static int play(enum part part)
{
	struct account *account = &accounts[part];
	struct random random;
	struct error err = {0};
	if (!fixture_enter(&fixture))
		return 1;
	reach_desired_state(part);
	if (edge_attach(fixture.edge, &err) < 0)
		fail_msg("%s", err.text);
	fixture_drain(&fixture);

	for (size_t i = 0; i < FIXTURE_BACKENDS; i++)
		account->backends[i] = backend_number(i);
	for (size_t i = 0; i < FIXTURE_ADDRESSES; i++)
		account->descriptors[i] = descriptor_number(&fixture.bindings[i]);
	random_init_seeded(&random, seed);
	for (size_t i = 0; i < PACKETS; i++) {
		size_t stretch = i / (PACKETS / STRETCHES);
		if (i % (PACKETS / STRETCHES) == 0 && stretch > 0)
			eject(part, stretch);
		struct frame frame;
		random_frame(&random, &frame);
		account->choices[i] = choose(&frame);
	}
	fixture_reset(&fixture);
	fixture_leave(&fixture);
	return 0;
}

/* The comparison */

static void assert_same_choices(const struct account *one, const struct account *other)
{
	for (size_t i = 0; i < PACKETS; i++) {
		char texts[2][IP_TEXT_BYTES];
		if (one->choices[i].verdict == other->choices[i].verdict &&
		    ip_address_equal(&one->choices[i].backend, &other->choices[i].backend))
			continue;
		fail_msg("packet %zu of FAIRLEAD_SEED=%" PRIu64 " went to %s (verdict %u) and "
			 "to %s (verdict %u)",
			 i, seed, ip_address_format(&one->choices[i].backend, texts[0]),
			 one->choices[i].verdict,
			 ip_address_format(&other->choices[i].backend, texts[1]),
			 other->choices[i].verdict);
	}
}

static void test_edges_with_other_numbers_agree(void **state)
{
	(void)state;
	for (size_t i = 0; i < FIXTURE_BACKENDS; i++)
		assert_int_not_equal(accounts[STRAIGHT].backends[i], accounts[WINDING].backends[i]);
	for (size_t i = 0; i < FIXTURE_ADDRESSES; i++)
		assert_int_not_equal(accounts[STRAIGHT].descriptors[i],
				     accounts[WINDING].descriptors[i]);
	assert_same_choices(&accounts[STRAIGHT], &accounts[WINDING]);
}

/* Agreement would mean little if the packets had all been dropped, or all gone to one backend. */
static void test_packets_went_everywhere(void **state)
{
	(void)state;
	size_t sent[FIXTURE_BACKENDS] = {0};
	fixture_desire(&fixture);
	for (size_t i = 0; i < PACKETS; i++) {
		const struct choice *choice = &accounts[STRAIGHT].choices[i];
		for (size_t j = 0; j < FIXTURE_BACKENDS; j++)
			sent[j] +=
			    ip_address_compare(&choice->backend, &fixture.backends[j].address) == 0;
	}
	for (size_t i = 0; i < FIXTURE_BACKENDS; i++)
		assert_true(sent[i] > PACKETS / FIXTURE_BACKENDS / 4);
}

static void run_part(enum part part, int memory_fd)
{
	char number[16];
	char memory[16];
	char seed_text[32];
	int how;
	snprintf(number, sizeof(number), "%d", (int)part);
	snprintf(memory, sizeof(memory), "%d", memory_fd);
	snprintf(seed_text, sizeof(seed_text), "%" PRIu64, seed);
	pid_t process = fork();
	assert_true(process >= 0);
	if (process == 0) {
		execl("/proc/self/exe", "bpf_agree", number, memory, seed_text, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(process, &how, 0), process);
	assert_true(WIFEXITED(how));
	assert_int_equal(WEXITSTATUS(how), 0);
}

static void map_accounts(int memory_fd)
{
	accounts =
	    mmap(NULL, PARTS * sizeof(*accounts), PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
	assert_true(accounts != MAP_FAILED);
}

static int run_parts(void **state)
{
	(void)state;
	seed = seed_choose((uint64_t)time(NULL));
	int memory_fd = memfd_create("accounts", 0);
	assert_true(memory_fd >= 0);
	assert_int_equal(ftruncate(memory_fd, PARTS * sizeof(*accounts)), 0);
	map_accounts(memory_fd);
	for (int part = 0; part < PARTS; part++)
		run_part((enum part)part, memory_fd);
	close(memory_fd);
	return 0;
}

int main(int count, char **arguments)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_edges_with_other_numbers_agree),
	    cmocka_unit_test(test_packets_went_everywhere),
	};
	if (count == 4) {
		map_accounts((int)strtol(arguments[2], NULL, 10));
		seed = strtoull(arguments[3], NULL, 10);
		return play((enum part)strtol(arguments[1], NULL, 10));
	}
	return cmocka_run_group_tests(tests, run_parts, NULL);
}
