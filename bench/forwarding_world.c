// SPDX-License-Identifier: Apache-2.0
/*
 * world: load for an edge from both of its sides, and what came of it.
 *
 *     world UPLINK RACK EDGE-MAC SERVICE PORT MODES SECONDS FRAMES CPU BACKEND-MAC…
 *
 * UPLINK and RACK are the far ends of the edge's two legs, both in the namespace that this runs in;
 * EDGE-MAC is the edge's own end of the uplink. SERVICE and PORT are what clients send to. For each
 * of MODES (udp, requests, connections; with commas between) it lets FRAMES frames circulate, waits
 * until they do so steadily, counts for SECONDS, takes them out again, and prints a JSON object
 * with a member per mode. CPU is where the edge works, whose idle time is told too.
 *
 * The programs are attached only meanwhile: forwarding_world.bpf.c says what they do.
 */
#include "bench/forwarding_world.h"

#include "forwarding_world.skel.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SETTLE_NS 200000000
#define DRAIN_NS 100000000 /* less than the 200 ms after which TCP would send again */

struct moment {
	struct world_counts counts;
	uint64_t ns;
	double idle_s; /* of the edge's CPU */
};

static const struct {
	const char *name;
	enum world_mode mode;
} modes[] = {
    {"udp", WORLD_UDP},
    {"requests", WORLD_REQUESTS},
    {"connections", WORLD_CONNECTIONS},
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void pause_ns(uint64_t ns)
{
	const struct timespec span = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

	nanosleep(&span, NULL);
}

static void read_mac(const char *text, __u8 *ret)
{
	struct ether_addr address;

	if (!ether_aton_r(text, &address))
		errx(2, "not a link address: %s", text);
	memcpy(ret, &address, sizeof(address));
}

/* The link address of an interface of this namespace. */
static void own_mac(const char *name, __u8 *ret)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		err(1, "%s", name);
	close(fd);
	memcpy(ret, request.ifr_hwaddr.sa_data, 6);
}

static int index_of(const char *name)
{
	unsigned number = if_nametoindex(name);

	if (number == 0)
		err(1, "%s", name);
	return (int)number;
}

/* Idle seconds of a CPU since the machine started. */
static double idle_seconds(int cpu)
{
	char line[256], name[16];
	unsigned long long idle = 0, waiting = 0;
	FILE *file = fopen("/proc/stat", "r");

	if (!file)
		err(1, "/proc/stat");
	snprintf(name, sizeof(name), "cpu%d ", cpu);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, strlen(name)) == 0 &&
		    sscanf(line, "%*s %*u %*u %*u %llu %llu", &idle, &waiting) == 2)
			break;
	}
	fclose(file);
	return (double)(idle + waiting) / (double)sysconf(_SC_CLK_TCK);
}

static struct moment moment_now(struct forwarding_world_bpf *world, int cpu)
{
	struct moment now = {.ns = now_ns(), .idle_s = idle_seconds(cpu)};

	memcpy(&now.counts, &world->data_counts->counts, sizeof(now.counts));
	return now;
}

/* Make the frames. Their first content does not matter: the program writes it. */
static void start_frames(struct forwarding_world_bpf *world, unsigned frames)
{
	char frame[64] = {0};
	struct bpf_test_run_opts options = {
	    .sz = sizeof(options),
	    .data_in = frame,
	    .data_size_in = sizeof(frame),
	    .repeat = (int)frames,
	    .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
	};

	memset(world->data_slots->slots, 0, sizeof(world->data_slots->slots));
	world->data_started->started = 0;
	if (bpf_prog_test_run_opts(bpf_program__fd(world->progs.world_start), &options) != 0)
		err(1, "no frames could be made");
}

static void print_result(const char *name, const struct moment *before, const struct moment *after,
			 unsigned frames, uint64_t drained, uint16_t backends)
{
	double seconds = (double)(after->ns - before->ns) / 1e9;
	const struct world_counts *old = &before->counts, *new = &after->counts;

	printf("\"%s\": {\"seconds\": %.6f, \"packets\": %llu, \"requests\": %llu, "
	       "\"connections\": %llu, \"wrong\": %llu, \"resets\": %llu, \"strays\": %llu, "
	       "\"failed\": %llu, \"frames\": %u, "
	       "\"drained\": %" PRIu64 ", \"idle\": %.3f, \"backends\": [",
	       name, seconds, new->packets - old->packets, new->requests - old->requests,
	       new->connections - old->connections, new->wrong, new->resets, new->strays,
	       new->failed, frames, drained, (after->idle_s - before->idle_s) / seconds);
	for (uint16_t i = 0; i < backends; i++)
		printf("%s%llu", i ? ", " : "", new->backends[i] - old->backends[i]);
	printf("]}");
}

static void run(struct forwarding_world_bpf *world, size_t index, uint64_t span_ns, unsigned frames,
		int cpu)
{
	struct world_settings *settings = &world->data_settings->settings;

	memset(&world->data_counts->counts, 0, sizeof(world->data_counts->counts));
	settings->kind = modes[index].mode;
	settings->first = (__u32)(now_ns() / 1000);
	__atomic_store_n(&settings->mode, modes[index].mode, __ATOMIC_SEQ_CST);
	start_frames(world, frames);
	pause_ns(SETTLE_NS);
	struct moment before = moment_now(world, cpu);
	pause_ns(span_ns);
	struct moment after = moment_now(world, cpu);
	__atomic_store_n(&settings->mode, WORLD_DRAIN, __ATOMIC_SEQ_CST);
	pause_ns(DRAIN_NS);
	uint64_t drained = moment_now(world, cpu).counts.drained;
	print_result(modes[index].name, &before, &after, frames, drained, settings->backend_count);
}

static void configure(struct forwarding_world_bpf *world, char **words)
{
	struct world_settings *settings = &world->data_settings->settings;

	settings->uplink = (__u32)index_of(words[0]);
	own_mac(words[0], settings->clients);
	read_mac(words[2], settings->edge);
	if (inet_pton(AF_INET, words[3], &settings->service) != 1)
		errx(2, "not an IPv4 address: %s", words[3]);
	settings->port = htons((uint16_t)atoi(words[4]));
	for (char **mac = words + 9; *mac && settings->backend_count < WORLD_BACKENDS; mac++)
		read_mac(*mac, settings->backends[settings->backend_count++]);
}

static struct bpf_link *attach(struct bpf_program *program, const char *interface)
{
	struct bpf_link *link = bpf_program__attach_xdp(program, index_of(interface));

	if (!link)
		err(1, "cannot attach to %s", interface);
	return link;
}

static size_t find_mode(const char *name)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(modes[i].name, name) == 0)
			return i;
	}
	errx(2, "there is no mode '%s'", name);
}

int main(int argc, char **argv)
{
	if (argc < 11)
		errx(2, "usage: world UPLINK RACK EDGE-MAC SERVICE PORT MODES SECONDS FRAMES CPU "
			"BACKEND-MAC...");
	struct forwarding_world_bpf *world = forwarding_world_bpf__open_and_load();
	if (!world)
		err(1, "the programs do not load");
	configure(world, argv + 1);
	uint64_t span_ns = (uint64_t)(atof(argv[7]) * 1e9);
	unsigned frames = (unsigned)atoi(argv[8]);
	if (frames == 0 || frames > WORLD_SLOTS)
		errx(2, "1 to %d frames", WORLD_SLOTS);
	struct bpf_link *links[] = {attach(world->progs.world_clients, argv[1]),
				    attach(world->progs.world_rack, argv[2])};
	const char *separator = "{";
	for (char *name = strtok(argv[6], ","); name; name = strtok(NULL, ",")) {
		fputs(separator, stdout);
		run(world, find_mode(name), span_ns, frames, atoi(argv[9]));
		separator = ", ";
	}
	puts("}");
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		bpf_link__destroy(links[i]);
	forwarding_world_bpf__destroy(world);
	return 0;
}
