/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/dataplane_rig.h"
#include "abi/pick.h"
#include "base/random.h"
#include "model/ring.h"

#include "dataplane_entry.skel.h"
#include "dataplane_floor.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>

#define SOURCE_V4 "10.1.0.1"
#define SOURCE_V6 "fd00:1::1"
#define PIN_ROOT "/sys/fs/bpf/edge"
#define LINK_HEADER 14
#define TCP_HEADER 20
#define TCP_SYN 0x02
#define TCP_ACK 0x10
#define UDP_HEADER 8

static const struct edge_port ports[] = {
    {.low = 80, .high = 80, .protocol = IPPROTO_TCP},
    {.low = RIG_PORT, .high = RIG_PORT, .protocol = IPPROTO_TCP},
    {.low = RIG_PORT, .high = RIG_PORT, .protocol = IPPROTO_UDP, .quic = true},
};

struct version {
	struct edge_version version;
	uint16_t entries[EDGE_RING_PAGE];
};

/* Everything of one family. */
struct family {
	struct ip_address services[RIG_VERSIONS];
	struct edge_backend backends[RIG_BACKENDS];
	struct version versions[RIG_VERSIONS];
};

struct rig {
	struct edge *edge;
	struct dataplane_entry_bpf *entry;
	struct dataplane_floor_bpf *floor;
	uint32_t ifindex;
	char maps_folder[128];
	struct edge_pool pools[2];
	struct family v4, v6;
	uint32_t published; /* versions of each family */
	int next; /* the program that the entry jumps to now */
};

static struct family *family_of(struct rig *rig, enum ip_family family)
{
	return family == IP_V4 ? &rig->v4 : &rig->v6;
}

/* Namespaces, link, addresses, neighbours */

__attribute__((format(printf, 2, 3))) static int failed(struct error *err, const char *format, ...)
{
	int code = -errno;
	char what[128];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	return error_set(err, code, "%s: %s", what, error_text(code));
}

static void write_backends(FILE *ip)
{
	for (unsigned i = 1; i <= RIG_BACKENDS; i++) {
		fprintf(ip, "neigh add 10.1.1.%u dev edge0 lladdr 02:00:00:00:01:%02x\n", i, i);
		fprintf(ip, "neigh add fd00:1::1:%x dev edge0 lladdr 02:00:00:00:01:%02x\n", i, i);
	}
}

static int make_network(struct error *err)
{
	/* The parts before the variable ones are constant. */
	FILE *ip = popen("ip -batch -", "w"); /* NOLINT(cert-env33-c): a fixed command */
	if (!ip)
		return failed(err, "'ip' cannot be run");
	fputs("link add edge0 address 02:00:00:00:00:01 type veth peer name wire0\n"
	      "link set lo up\n"
	      "link set edge0 up\n"
	      "link set wire0 up\n"
	      "addr add " SOURCE_V4 "/16 dev edge0\n"
	      "addr add " SOURCE_V6 "/64 dev edge0 nodad\n",
	      ip);
	write_backends(ip);
	if (pclose(ip) != 0)
		return error_set(err, -FL_EUNAVAILABLE,
				 "'ip' could not make the links and addresses of the benchmark");
	return 0;
}

static int enter(struct error *err)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
		return failed(err, "no namespaces of its own for the benchmark");
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL) < 0)
		return failed(err, "no BPF file system of its own for the benchmark");
	return make_network(err);
}

/* What is published */

__attribute__((format(printf, 1, 2))) static struct ip_address address(const char *format, ...)
{
	struct ip_address parsed;
	char text[IP_TEXT_BYTES];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	ASSERT(ip_address_parse(text, &parsed) == 0);
	return parsed;
}

static int build_version(struct version *version, unsigned number, const char *service,
			 const struct edge_backend *backends, struct random *random)
{
	uint32_t weights[RIG_BACKENDS];
	struct ring ring = {EDGE_RING_PAGE, version->entries};
	version->version = (struct edge_version){
	    .service = service,
	    .number = number + 1,
	    .ports = ports,
	    .port_count = sizeof(ports) / sizeof(ports[0]),
	    .algorithm = PICK_MULTILINEAR,
	    .backends = backends,
	    .backend_count = RIG_BACKENDS,
	    .ring_length = EDGE_RING_PAGE,
	    .ring = version->entries,
	};
	random_fill(random, version->version.seed, sizeof(version->version.seed));
	digest_of(version->version.seed, sizeof(version->version.seed), &version->version.digest);
	version->version.digest.bytes[0] = (uint8_t)service[1];
	for (size_t i = 0; i < RIG_BACKENDS; i++)
		weights[i] = 1;
	return ring_build(weights, RIG_BACKENDS, version->version.seed, NULL, NULL, 0, &ring);
}

static int build_versions(struct rig *rig, uint64_t seed, struct error *err)
{
	struct random random;
	random_init_seeded(&random, seed);
	for (unsigned i = 0; i < RIG_BACKENDS; i++) {
		rig->v4.backends[i].address = address("10.1.1.%u", i + 1);
		rig->v6.backends[i].address = address("fd00:1::1:%x", i + 1);
	}
	for (unsigned i = 0; i < RIG_VERSIONS; i++) {
		rig->v4.services[i] = address("198.51.100.%u", i);
		rig->v6.services[i] = address("2001:db8:f::%x", i);
		int result =
		    build_version(&rig->v4.versions[i], i, "v4", rig->v4.backends, &random);
		if (result == 0)
			result =
			    build_version(&rig->v6.versions[i], i, "v6", rig->v6.backends, &random);
		if (result < 0)
			return error_set(err, result, "no ring for version %u: %s", i + 1,
					 error_text(result));
	}
	ASSERT(ip_prefix_parse("198.51.100.0/24", &rig->pools[0].prefix) == 0);
	ASSERT(ip_prefix_parse("2001:db8:f::/108", &rig->pools[1].prefix) == 0);
	rig->pools[0].site_bits = 1;
	rig->pools[1].site_bits = 4;
	return 0;
}

/* `shared`: the family whose versions both families' addresses mean; NULL: each its own. */
static int publish(struct rig *rig, uint32_t versions, const struct family *shared,
		   struct error *err)
{
	struct edge_binding bindings[2 * RIG_VERSIONS];
	const struct family *families[] = {&rig->v4, &rig->v6};
	struct edge_desired desired = {rig->pools, 2, bindings, 0};
	ASSERT(versions <= RIG_VERSIONS);
	for (size_t i = 0; i < 2; i++) {
		const struct family *meaning = shared ? shared : families[i];
		for (uint32_t j = 0; j < versions; j++) {
			bindings[desired.binding_count++] = (struct edge_binding){
			    .address = families[i]->services[j],
			    .version = &meaning->versions[j].version,
			    .number = shared ? 2 : 1,
			};
		}
	}
	rig->published = versions;
	return edge_publish(rig->edge, &desired, err);
}

int rig_publish(struct rig *rig, uint32_t versions, struct error *err)
{
	int result = publish(rig, versions, NULL, err);
	return result < 0 ? result : edge_drain_netlink(rig->edge, err);
}

int rig_publish_shared(struct rig *rig, uint32_t versions, struct error *err)
{
	return publish(rig, versions, &rig->v4, err);
}

/* Opening */

static int open_programs(struct rig *rig, struct error *err)
{
	rig->entry = dataplane_entry_bpf__open_and_load();
	if (!rig->entry)
		return failed(err, "the entry program cannot be loaded");
	rig->floor = dataplane_floor_bpf__open_and_load();
	if (!rig->floor)
		return failed(err, "the floor program cannot be loaded");
	return 0;
}

static int open_edge(struct rig *rig, struct error *err)
{
	static const char *const interfaces[] = {"edge0"};
	struct edge_options options = {
	    .pin_root = PIN_ROOT,
	    .interfaces = interfaces,
	    .interface_count = 1,
	    .source_v4 = address(SOURCE_V4),
	    .source_v6 = address(SOURCE_V6),
	};
	struct edge_status status;
	int result = edge_open(&options, &rig->edge, err);
	if (result < 0)
		return result;
	result = rig_publish(rig, RIG_VERSIONS, err);
	if (result == 0)
		result = edge_attach(rig->edge, err);
	if (result == 0)
		result = edge_drain_netlink(rig->edge, err);
	if (result < 0)
		return result;
	result = edge_status(rig->edge, &status);
	if (result < 0)
		return error_set(err, result, "the edge has no status: %s", error_text(result));
	snprintf(rig->maps_folder, sizeof(rig->maps_folder), "%s/%s", PIN_ROOT, status.layout);
	return 0;
}

int rig_open(uint64_t seed, struct rig **ret_rig, struct error *err)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	if (!rig)
		return error_set(err, -ENOMEM, "out of memory");
	int result = enter(err);
	if (result == 0)
		result = build_versions(rig, seed, err);
	if (result == 0)
		result = open_programs(rig, err);
	if (result == 0)
		result = open_edge(rig, err);
	if (result < 0) {
		rig_close(rig);
		return result;
	}
	rig->ifindex = if_nametoindex("edge0");
	*ret_rig = rig;
	return 0;
}

void rig_close(struct rig *rig)
{
	if (!rig)
		return;
	edge_close(rig->edge);
	dataplane_floor_bpf__destroy(rig->floor);
	dataplane_entry_bpf__destroy(rig->entry);
	free(rig);
}

const char *rig_maps_folder(const struct rig *rig)
{
	return rig->maps_folder;
}

/* Frames */

static void put16(uint8_t *bytes, uint32_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static void put32(uint8_t *bytes, uint32_t value)
{
	put16(bytes, value >> 16);
	put16(bytes + 2, value & 0xffff);
}

static uint32_t sum16(const uint8_t *bytes, size_t length)
{
	uint32_t sum = 0;
	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint8_t protocol_of(enum rig_kind kind)
{
	return kind == RIG_UDP ? IPPROTO_UDP : IPPROTO_TCP;
}

static void build_v4(uint8_t *ip, uint8_t protocol, uint32_t flow, uint32_t version)
{
	ip[0] = 0x45;
	put16(ip + 2, STAMP_FRAME - LINK_HEADER);
	put16(ip + 4, 0x1234);
	put16(ip + 6, 0x4000);
	ip[8] = RIG_TTL;
	ip[9] = protocol;
	put32(ip + 12, STAMP_SOURCE4 + flow / 16);
	put32(ip + 16, STAMP_SERVICE4 + version);
	put16(ip + 10, ~sum16(ip, 20) & 0xffff);
}

static void build_v6(uint8_t *ip, uint8_t protocol, uint32_t flow, uint32_t version)
{
	ip[0] = 0x60;
	put16(ip + 4, STAMP_FRAME - LINK_HEADER - 40);
	ip[6] = protocol;
	ip[7] = RIG_TTL;
	put32(ip + 8, (uint32_t)(STAMP_SOURCE6 >> 32));
	put32(ip + 12, (uint32_t)STAMP_SOURCE6);
	put32(ip + 20, flow / 16);
	put32(ip + 24, (uint32_t)(STAMP_SERVICE6 >> 32));
	put32(ip + 28, (uint32_t)STAMP_SERVICE6);
	put32(ip + 36, version);
}

static void build_transport(uint8_t *l4, enum rig_kind kind, uint32_t length, uint32_t flow)
{
	put16(l4, STAMP_PORT + flow % 16);
	put16(l4 + 2, RIG_PORT);
	if (kind == RIG_UDP) {
		put16(l4 + 4, length);
		l4[UDP_HEADER] = 0x40; /* a short QUIC header */
	} else {
		l4[12] = TCP_HEADER / 4 << 4;
		l4[13] = kind == RIG_SYN ? TCP_SYN : TCP_ACK;
	}
}

void rig_frame_build(const struct rig_case *rig_case, uint32_t number, struct rig_frame *ret_frame)
{
	static const uint8_t link[] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0xee};
	uint32_t flow = stamp_flow(number, rig_case->flows);
	uint32_t version = stamp_version(flow, rig_case->versions);
	bool v4 = rig_case->family == IP_V4;
	uint32_t transport = LINK_HEADER + (v4 ? 20 : 40);
	uint8_t *bytes = ret_frame->bytes;

	*ret_frame = (struct rig_frame){.length = STAMP_FRAME};
	memcpy(bytes, link, sizeof(link));
	put16(bytes + sizeof(link), v4 ? 0x0800 : 0x86dd);
	(v4 ? build_v4 : build_v6)(bytes + LINK_HEADER, protocol_of(rig_case->kind), flow, version);
	build_transport(bytes + transport, rig_case->kind, STAMP_FRAME - transport, flow);
}

/* Running */

static void set_stamp(struct rig *rig, const struct rig_case *rig_case, uint32_t number)
{
	struct stamp stamp = {.flows = rig_case->flows,
			      .versions = rig_case->versions,
			      .number = number,
			      .port = htons(RIG_PORT)};
	struct rig_frame frame;
	rig_frame_build(rig_case, number, &frame);
	uint8_t *ip = frame.bytes + LINK_HEADER;
	memcpy(&stamp.age4, ip + 8, sizeof(stamp.age4));
	memcpy(&stamp.head6, ip, sizeof(stamp.head6));
	put16(ip + 10, 0);
	stamp.sum4 = sum16(ip, 12);
	rig->entry->bss->stamp = stamp;
}

static int program_fd(const struct rig *rig, enum rig_program program, bool v4)
{
	switch (program) {
	case RIG_MOVE:
		return bpf_program__fd(v4 ? rig->entry->progs.move_v4 : rig->entry->progs.move_v6);
	case RIG_FLOOR:
		return bpf_program__fd(v4 ? rig->floor->progs.floor_v4
					  : rig->floor->progs.floor_v6);
	case RIG_EDGE:
		return edge_program_fd(rig->edge);
	case RIG_ENTRY:
	default:
		return bpf_program__fd(rig->entry->progs.back);
	}
}

static int set_next(struct rig *rig, const struct rig_case *rig_case, struct error *err)
{
	int program = program_fd(rig, rig_case->program, rig_case->family == IP_V4);
	uint32_t zero = 0;
	if (program == rig->next)
		return 0; /* the kernel would take an RCU grace period to change nothing */
	if (bpf_map_update_elem(bpf_map__fd(rig->entry->maps.next), &zero, &program, BPF_ANY) < 0)
		return failed(err, "the program under test cannot follow the entry");
	rig->next = program;
	return 0;
}

/* Run the packets from `number` on, all in one call of the kernel. */
static int run(struct rig *rig, const struct rig_case *rig_case, uint32_t number, uint32_t packets,
	       struct rig_frame *ret_out, struct error *err)
{
	struct rig_frame frame;
	struct xdp_md context = {.data_end = STAMP_FRAME, .ingress_ifindex = rig->ifindex};
	struct bpf_test_run_opts options = {.sz = sizeof(options),
					    .data_in = frame.bytes,
					    .data_size_in = STAMP_FRAME,
					    .data_out = ret_out->bytes,
					    .data_size_out = sizeof(ret_out->bytes),
					    .ctx_in = &context,
					    .ctx_size_in = sizeof(context),
					    .repeat = (int)packets};
	const struct bpf_program *entry =
	    rig_case->family == IP_V4 ? rig->entry->progs.entry_v4 : rig->entry->progs.entry_v6;

	set_stamp(rig, rig_case, number);
	rig_frame_build(rig_case, number, &frame);
	if (bpf_prog_test_run_opts(bpf_program__fd(entry), &options) < 0)
		return failed(err, "the kernel does not run the programs");
	if (options.retval != XDP_TX)
		return error_set(err, -FL_ESTATE, "a packet of the benchmark met verdict %u",
				 options.retval);
	ret_out->length = options.data_size_out;
	return 0;
}

/* Packets that the edge forwarded by what user space had told it of next hops. */
static int count_forwarded(struct rig *rig, enum ip_family family, uint64_t *ret_packets,
			   struct error *err)
{
	uint64_t packets = 0;
	for (uint32_t i = 0; i < rig->published; i++) {
		struct edge_counters counters;
		const struct ip_address *service = &family_of(rig, family)->services[i];
		int result = edge_counters(rig->edge, service, &counters);
		if (result < 0)
			return error_set(err, result, "a version has no counters: %s",
					 error_text(result));
		packets += counters.packets - counters.asked_fib - counters.to_kernel;
	}
	*ret_packets = packets;
	return 0;
}

static uint64_t processor_ns(void)
{
	struct timespec now;
	ASSERT(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int rig_time(struct rig *rig, const struct rig_case *rig_case, uint32_t packets, double *ret_ns,
	     struct error *err)
{
	uint64_t before = 0;
	uint64_t after = 0;
	struct rig_frame out;
	int result = set_next(rig, rig_case, err);
	if (result == 0)
		result = count_forwarded(rig, rig_case->family, &before, err);
	if (result < 0)
		return result;
	edge_heartbeat(rig->edge);
	uint64_t start = processor_ns();
	result = run(rig, rig_case, 0, packets, &out, err);
	uint64_t end = processor_ns();
	if (result == 0)
		result = count_forwarded(rig, rig_case->family, &after, err);
	if (result < 0)
		return result;
	if (after - before != (rig_case->program == RIG_EDGE ? packets : 0))
		return error_set(err, -FL_ESTATE,
				 "of %u packets, the edge forwarded %llu by its fast path", packets,
				 (unsigned long long)(after - before));
	*ret_ns = (double)(end - start) / packets;
	return 0;
}

int rig_packet(struct rig *rig, const struct rig_case *rig_case, uint32_t number, uint32_t more,
	       struct rig_frame *ret_out, struct error *err)
{
	int result = set_next(rig, rig_case, err);
	if (result < 0)
		return result;
	edge_heartbeat(rig->edge);
	return run(rig, rig_case, number, more + 1, ret_out, err);
}
