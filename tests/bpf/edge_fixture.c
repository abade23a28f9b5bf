/* SPDX-License-Identifier: Apache-2.0 */
#include "edge_fixture.h"
#include "dataplane/pick_key.h"
#include "frame_bytes.h"
#include "frame_run.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Woverlength-strings"
#include "edge_entry.skel.h"
#pragma GCC diagnostic pop

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SOURCE_V4 "10.1.0.1"
#define SOURCE_V6 "fd00:1::1"
#define CLIENT_V4 "192.0.2.7"
#define CLIENT_V6 "2001:db8:c::7"
#define CLIENT_HOPS 57
#define CLIENT_CLASS 0x2b

static struct edge_entry_bpf *entry;

struct ip_address fixture_address(const char *text)
{
	struct ip_address address;
	assert_int_equal(ip_address_parse(text, &address), 0);
	return address;
}

void fixture_command(const char *format, ...)
{
	char command[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	int status = system(command); /* NOLINT(cert-env33-c): fixed commands of the tests */
	if (status != 0)
		fprintf(stderr, "failed: %s\n", command);
	assert_int_equal(status, 0);
}

static uint64_t fixture_now(void *context)
{
	return ((const struct fixture *)context)->now_ms;
}

void fixture_neighbours(void)
{
	static const char *const backends[FIXTURE_BACKENDS] = {"10.1.0.11", "10.1.0.12",
							       "fd00:1::11", "fd00:1::12"};
	for (size_t i = 0; i < FIXTURE_BACKENDS; i++)
		fixture_command("ip neigh replace %s dev edge0 lladdr 02:00:00:00:00:%02zx "
				"nud permanent",
				backends[i], 0x10 + i);
}

void fixture_backend_link(size_t backend, uint8_t address[6])
{
	const uint8_t bytes[6] = {2, 0, 0, 0, 0, (uint8_t)(0x10 + backend)};
	memcpy(address, bytes, sizeof(bytes));
}

bool fixture_enter(struct fixture *fixture)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0) {
		perror("the BPF tests need root");
		return false;
	}
	*fixture = (struct fixture){.now_ms = 1000000, .root = "/tmp/fairlead-edge-XXXXXX"};
	fixture->clock =
	    (struct clock){.now_ms = fixture_now, .wall_ms = fixture_now, .context = fixture};
	if (!mkdtemp(fixture->root) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bpf", fixture->root, "bpf", 0, NULL) < 0) {
		perror(fixture->root);
		return false;
	}
	snprintf(fixture->pins, sizeof(fixture->pins), "%s/edge", fixture->root);
	fixture_command("ip link set lo up");
	fixture_command("ip link add edge0 address 02:00:00:00:00:01 type veth peer name wire0");
	fixture_command("ip link set edge0 up && ip link set wire0 up");
	fixture_command("ip addr add " SOURCE_V4 "/24 dev edge0");
	fixture_command("ip -6 addr add " SOURCE_V6 "/64 dev edge0 nodad");
	fixture_neighbours();
	fixture->edge0 = if_nametoindex("edge0");
	fixture->wire0 = if_nametoindex("wire0");
	entry = edge_entry_bpf__open_and_load();
	if (!entry)
		return false;
	fixture->fill_fd = bpf_program__fd(entry->progs.fill);
	fixture->crowd_fd = bpf_program__fd(entry->progs.crowd);
	fixture->pass_fd = bpf_program__fd(entry->progs.pass);
	return true;
}

void fixture_leave(struct fixture *fixture)
{
	fixture_close(fixture);
	edge_entry_bpf__destroy(entry);
	umount(fixture->root);
	rmdir(fixture->root);
}

struct ip_address fixture_service_address(enum fixture_service service, enum ip_family family)
{
	char text[IP_TEXT_BYTES];
	/* v4: site 1, so that the site's bit counts; v6: site 3. */
	if (family == IP_V4)
		snprintf(text, sizeof(text), "198.51.100.%d", 32 + 2 * (int)service + 1);
	else
		snprintf(text, sizeof(text), "2001:db8:f::3:%x", 0x100 + (unsigned)service);
	return fixture_address(text);
}

void fixture_desire(struct fixture *fixture)
{
	static const struct edge_port ports[] = {
	    {.low = 80, .high = 80, .protocol = IPPROTO_TCP},
	    {.low = 8000, .high = 8010, .protocol = IPPROTO_TCP},
	    {.low = 53, .high = 53, .protocol = IPPROTO_UDP},
	    {.low = 443, .high = 443, .protocol = IPPROTO_UDP, .quic = true},
	};
	static const char *const backends[FIXTURE_BACKENDS] = {"10.1.0.11", "10.1.0.12",
							       "fd00:1::11", "fd00:1::12"};
	assert_int_equal(ip_prefix_parse("198.51.100.0/26", &fixture->pools[0].prefix), 0);
	assert_int_equal(ip_prefix_parse("2001:db8:f::/108", &fixture->pools[1].prefix), 0);
	fixture->pools[0].site_bits = 1;
	fixture->pools[1].site_bits = 4;
	for (size_t i = 0; i < FIXTURE_BACKENDS; i++)
		fixture->backends[i].address = fixture_address(backends[i]);
	for (size_t i = 0; i < EDGE_RING_PAGE; i++)
		fixture->ring[i] = (uint16_t)(i * 7 % FIXTURE_BACKENDS);
	for (unsigned i = 0; i < 4; i++) {
		struct edge_version *version = &fixture->versions[i];
		*version = (struct edge_version){
		    .service = "web",
		    .number = i + 1,
		    .ports = ports,
		    .port_count = sizeof(ports) / sizeof(ports[0]),
		    .algorithm = i == LATE ? PICK_SIPHASH13_5TUPLE : PICK_MULTILINEAR,
		    .by_source = i == OTHER,
		    .backends = fixture->backends,
		    .backend_count = FIXTURE_BACKENDS,
		    .ring_length = EDGE_RING_PAGE,
		    .ring = fixture->ring,
		};
		memset(version->seed, 0x40 + (int)i, sizeof(version->seed));
		memset(version->digest.bytes, 0x80 + (int)i, sizeof(version->digest.bytes));
		for (unsigned j = 0; j < 2; j++) {
			fixture->bindings[2 * i + j] = (struct edge_binding){
			    .address = fixture_service_address((enum fixture_service)i,
							       j == 0 ? IP_V4 : IP_V6),
			    .version = version,
			    .number = 10 + i,
			    .refuse_new = i == CLOSING,
			    .late = i == LATE,
			};
		}
	}
	fixture->desired = (struct edge_desired){
	    .pools = fixture->pools,
	    .pool_count = 2,
	    .bindings = fixture->bindings,
	    .binding_count = FIXTURE_ADDRESSES,
	};
}

static void assert_ok(int result, const struct error *err)
{
	if (result < 0)
		fprintf(stderr, "%s: %s\n", error_name(result), err->text);
	assert_int_equal(result, 0);
}

void fixture_aim(const struct fixture *fixture)
{
	uint32_t zero = 0;
	int program = edge_program_fd(fixture->edge);
	if (entry)
		assert_int_equal(
		    bpf_map_update_elem(bpf_map__fd(entry->maps.next), &zero, &program, 0), 0);
}

void fixture_open_on(struct fixture *fixture, const char *const *interfaces, size_t count)
{
	struct error err = {0};
	struct edge_options options = {
	    .pin_root = fixture->pins,
	    .interfaces = interfaces,
	    .interface_count = count,
	    .source_v4 = fixture_address(SOURCE_V4),
	    .source_v6 = fixture_address(SOURCE_V6),
	    .clock = &fixture->clock,
	    .most_pages = FIXTURE_MOST_PAGES,
	    .most_addresses = FIXTURE_MOST_ADDRESSES,
	};
	fixture->clock = (struct clock){fixture_now, fixture_now, fixture};
	assert_ok(edge_open(&options, &fixture->edge, &err), &err);
	fixture_aim(fixture);
}

void fixture_open(struct fixture *fixture)
{
	static const char *const interfaces[] = {"edge0"};
	fixture_open_on(fixture, interfaces, 1);
}

void fixture_publish(struct fixture *fixture)
{
	struct error err = {0};
	assert_ok(edge_publish(fixture->edge, &fixture->desired, &err), &err);
	fixture_aim(fixture);
}

void fixture_drain(struct fixture *fixture)
{
	struct error err = {0};
	assert_ok(edge_drain_netlink(fixture->edge, &err), &err);
	edge_heartbeat(fixture->edge);
}

void fixture_start(struct fixture *fixture)
{
	struct error err = {0};
	fixture_desire(fixture);
	fixture_open(fixture);
	fixture_publish(fixture);
	assert_ok(edge_attach(fixture->edge, &err), &err);
	fixture_drain(fixture);
}

void fixture_close(struct fixture *fixture)
{
	edge_close(fixture->edge);
	fixture->edge = NULL;
}

void fixture_reset(struct fixture *fixture)
{
	struct error err = {0};
	fixture_close(fixture);
	assert_ok(edge_remove(fixture->pins, &err), &err);
	assert_int_equal(access(fixture->pins, F_OK), -1);
}

/* Frames */

static void checksum_header(uint8_t *ip)
{
	checksum_v4(ip, (size_t)(ip[0] & 15) * 4);
}

void frame_checksum(struct frame *frame)
{
	checksum_header(frame->bytes + 14);
}

size_t frame_transport(const struct frame *frame)
{
	return frame->bytes[12] == 0x08 ? 34 : 54;
}

void frame_insert(struct frame *frame, size_t offset, const void *bytes, size_t length)
{
	assert_true(frame->length + length <= FRAME_BYTES);
	memmove(frame->bytes + offset + length, frame->bytes + offset, frame->length - offset);
	memcpy(frame->bytes + offset, bytes, length);
	frame->length += length;
}

static void build_v4(uint8_t *ip, const struct ip_address *destination, uint8_t protocol,
		     size_t total)
{
	struct ip_address source = fixture_address(CLIENT_V4);
	ip[0] = 0x45;
	ip[1] = CLIENT_CLASS;
	put16(ip + 2, total);
	put16(ip + 4, 0x1234);
	put16(ip + 6, 0x4000);
	ip[8] = CLIENT_HOPS;
	ip[9] = protocol;
	memcpy(ip + 12, source.bytes, 4);
	memcpy(ip + 16, destination->bytes, 4);
	checksum_header(ip);
}

static void build_v6(uint8_t *ip, const struct ip_address *destination, uint8_t protocol,
		     size_t total)
{
	struct ip_address source = fixture_address(CLIENT_V6);
	put16(ip, 0x6000 | CLIENT_CLASS << 4);
	put16(ip + 2, 0x4321); /* flow label */
	put16(ip + 4, total - 40);
	ip[6] = protocol;
	ip[7] = CLIENT_HOPS;
	memcpy(ip + 8, source.bytes, 16);
	memcpy(ip + 24, destination->bytes, 16);
}

static void build_transport(uint8_t *l4, uint8_t protocol, uint16_t source_port, uint16_t port,
			    size_t payload)
{
	put16(l4, source_port);
	put16(l4 + 2, port);
	if (protocol == IPPROTO_TCP) {
		l4[12] = 5 << 4;
		l4[13] = 0x02;
	} else {
		put16(l4 + 4, 8 + payload);
	}
}

void frame_build(struct frame *frame, const struct ip_address *destination, uint8_t protocol,
		 uint16_t source_port, uint16_t port, size_t payload)
{
	bool v4 = destination->family == IP_V4;
	size_t header = v4 ? 20 : 40;
	size_t total = header + (protocol == IPPROTO_TCP ? 20 : 8) + payload;
	const uint8_t link[14] = {
	    2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0xee, v4 ? 0x08 : 0x86, v4 ? 0x00 : 0xdd};
	assert_true(14 + total <= FRAME_BYTES);
	*frame = (struct frame){.length = 14 + total};
	memcpy(frame->bytes, link, sizeof(link));
	if (v4)
		build_v4(frame->bytes + 14, destination, protocol, total);
	else
		build_v6(frame->bytes + 14, destination, protocol, total);
	build_transport(frame->bytes + 14 + header, protocol, source_port, port, payload);
	for (size_t i = 0; i < payload; i++)
		frame->bytes[frame->length - payload + i] = (uint8_t)(i * 31 + 7);
}

/* Running */

uint32_t fixture_run_program(int program_fd, uint32_t ifindex, const struct frame *frame,
			     struct frame *ret_out)
{
	struct xdp_md context = {.data_end = (uint32_t)frame->length, .ingress_ifindex = ifindex};
	struct frame out = {.length = 0};
	uint32_t verdict = frame_run(program_fd, &context, sizeof(context), frame, &out);
	if (ret_out)
		*ret_out = out;
	return verdict;
}

uint32_t fixture_run(struct fixture *fixture, const struct frame *frame, struct frame *ret_out)
{
	return fixture_run_program(fixture->fill_fd, fixture->edge0, frame, ret_out);
}

static uint64_t flow_hash(const struct edge_version *version, const struct frame *frame)
{
	const uint8_t *ip = frame->bytes + 14;
	const uint8_t *ports = frame->bytes + frame_transport(frame);
	bool v4 = frame->bytes[12] == 0x08;
	struct pick_key key;
	struct pick_key6 key6;
	if (version->algorithm == PICK_SIPHASH13_5TUPLE)
		return v4 ? pick_hash(version->seed, ip + 12, 1, ports, ip[9])
			  : pick_hash(version->seed, ip + 8, 4, ports, ip[6]);
	pick_key_expand(version->seed, version->by_source, &key, &key6);
	return v4 ? pick_hash4(&key, ip + 12, ports) : pick_hash6(&key, &key6, ip + 8, ports);
}

size_t fixture_entry(const struct fixture *fixture, enum fixture_service service,
		     const struct frame *frame)
{
	return pick_index(flow_hash(&fixture->versions[service], frame), EDGE_RING_PAGE);
}

size_t fixture_pick(const struct fixture *fixture, enum fixture_service service,
		    const struct frame *frame)
{
	return fixture->versions[service].ring[fixture_entry(fixture, service, frame)];
}

static void expect_inner(struct frame *inner, const struct frame *frame)
{
	*inner = *frame;
	if (frame->bytes[12] == 0x08) {
		inner->bytes[14 + 8]--;
		frame_checksum(inner);
	} else {
		inner->bytes[14 + 7]--;
	}
}

static size_t inner_total(const uint8_t *ip, bool v4)
{
	return v4 ? get16(ip + 2) : 40u + get16(ip + 4);
}

static const struct edge_binding *find_binding(const struct edge_binding *bindings, size_t count,
					       const struct frame *frame)
{
	bool v4 = frame->bytes[12] == 0x08;
	for (size_t i = 0; i < count; i++) {
		const struct ip_address *address = &bindings[i].address;
		if ((address->family == IP_V4) == v4 &&
		    memcmp(address->bytes, frame->bytes + (v4 ? 30 : 38), v4 ? 4 : 16) == 0)
			return &bindings[i];
	}
	return NULL;
}

/* The flow label is the hash's low 20 bits; which seed made it is found from the destination. */
static uint32_t expect_label(const struct fixture *fixture, const struct frame *frame)
{
	const struct edge_binding *binding =
	    find_binding(fixture->bindings, FIXTURE_ADDRESSES, frame);
	if (!binding)
		binding =
		    find_binding(fixture->desired.bindings, fixture->desired.binding_count, frame);
	assert_non_null(binding);
	return (uint32_t)flow_hash(binding->version, frame) & 0xfffff;
}

void frame_expect(struct frame *expected, const struct frame *frame, const struct fixture *fixture,
		  size_t backend)
{
	struct frame inner;
	struct ip_address to = fixture->backends[backend].address;
	bool v4 = to.family == IP_V4;
	bool inner_v4 = frame->bytes[12] == 0x08;
	size_t header = v4 ? 20 : 40;
	uint8_t outer[40] = {0};
	struct ip_address from = fixture_address(v4 ? SOURCE_V4 : SOURCE_V6);
	expect_inner(&inner, frame);
	size_t total = inner_total(inner.bytes + 14, inner_v4);
	uint8_t traffic_class =
	    inner_v4 ? inner.bytes[15] : (uint8_t)(inner.bytes[14] << 4 | inner.bytes[15] >> 4);
	if (v4) {
		outer[0] = 0x45;
		outer[1] = traffic_class;
		put16(outer + 2, total + header);
		put16(outer + 6, 0x4000);
		outer[8] = 64;
		outer[9] = inner_v4 ? 4 : 41;
		memcpy(outer + 12, from.bytes, 4);
		memcpy(outer + 16, to.bytes, 4);
		checksum_header(outer);
	} else {
		uint32_t label = expect_label(fixture, frame);
		put16(outer, 0x6000u | (unsigned)traffic_class << 4 | label >> 16);
		put16(outer + 2, label & 0xffff);
		put16(outer + 4, total);
		outer[6] = inner_v4 ? 4 : 41;
		outer[7] = 64;
		memcpy(outer + 8, from.bytes, 16);
		memcpy(outer + 24, to.bytes, 16);
	}
	*expected = (struct frame){.length = 14};
	fixture_backend_link(backend, expected->bytes);
	memcpy(expected->bytes + 6, "\x02\0\0\0\0\x01", 6);
	put16(expected->bytes + 12, v4 ? 0x0800 : 0x86dd);
	frame_insert(expected, 14, outer, header);
	frame_insert(expected, 14 + header, inner.bytes + 14, inner.length - 14);
}

/* Maps */

int fixture_map(const struct fixture *fixture, const char *name)
{
	uint32_t ids[64];
	struct bpf_prog_info program = {.nr_map_ids = 64, .map_ids = (uint64_t)(uintptr_t)ids};
	uint32_t size = sizeof(program);
	assert_int_equal(bpf_obj_get_info_by_fd(edge_program_fd(fixture->edge), &program, &size),
			 0);
	for (uint32_t i = 0; i < program.nr_map_ids; i++) {
		struct bpf_map_info map = {0};
		int fd = bpf_map_get_fd_by_id(ids[i]);
		size = sizeof(map);
		assert_true(fd >= 0);
		assert_int_equal(bpf_obj_get_info_by_fd(fd, &map, &size), 0);
		/* Global data's map is called after its object and section. */
		const char *dot = strrchr(map.name, '.');
		if (strcmp(dot ? dot + 1 : map.name, name) == 0)
			return fd;
		close(fd);
	}
	fail_msg("the program reads no map '%s'", name);
	return -1;
}

struct edge_counters fixture_counters(const struct fixture *fixture,
				      const struct ip_address *address)
{
	struct edge_counters counters;
	assert_int_equal(edge_counters(fixture->edge, address, &counters), 0);
	return counters;
}

uint64_t fixture_drops(const struct fixture *fixture, unsigned reason)
{
	uint64_t drops[DROP_REASONS];
	assert_int_equal(edge_drops(fixture->edge, drops), 0);
	return drops[reason];
}

int fixture_open_wire(const struct fixture *fixture, bool native)
{
	const int on = 1;
	const struct timeval patience = {.tv_sec = 10};
	struct sockaddr_ll where = {.sll_family = AF_PACKET,
				    .sll_protocol = htons(ETH_P_ALL),
				    .sll_ifindex = (int)fixture->wire0};
	int wire = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	if (wire < 0)
		abort(); /* no test can go on */
	assert_int_equal(bind(wire, (struct sockaddr *)&where, sizeof(where)), 0);
	assert_int_equal(setsockopt(wire, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(wire, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	if (native)
		assert_int_equal(
		    bpf_xdp_attach((int)fixture->wire0, fixture->pass_fd, XDP_FLAGS_DRV_MODE, NULL),
		    0);
	return wire;
}

void fixture_close_wire(const struct fixture *fixture, int wire, bool native)
{
	if (native)
		bpf_xdp_detach((int)fixture->wire0, XDP_FLAGS_DRV_MODE, NULL);
	close(wire);
}

bool fixture_receive_tunnel(int wire, struct frame *ret_frame, int flags)
{
	for (;;) {
		ssize_t length = recv(wire, ret_frame->bytes, sizeof(ret_frame->bytes), flags);
		if (length < 0)
			return false;
		ret_frame->length = (size_t)length;
		uint8_t protocol = ret_frame->bytes[ret_frame->bytes[12] == 0x08 ? 23 : 20];
		if (protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6)
			return true;
	}
}
