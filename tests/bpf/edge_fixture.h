/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the edge share: a network namespace and a BPF file system of their own, a
 * published state, frames, and a way to run one frame through the program.
 *
 *   pools     198.51.100.0/26 (one site bit), 2001:db8:f::/108 (four site bits)
 *   edge0     10.1.0.1/24, fd00:1::1/64; its peer is `wire0`
 *   backends  10.1.0.11, 10.1.0.12, fd00:1::11, fd00:1::12; permanent neighbours on edge0
 */
#ifndef FAIRLEAD_TESTS_EDGE_FIXTURE_H
#define FAIRLEAD_TESTS_EDGE_FIXTURE_H

#include "dataplane/edge.h"
#include "frame.h"

#define FIXTURE_BACKENDS 4
#define FIXTURE_ADDRESSES 8
#define FIXTURE_MOST_PAGES 561 /* the limit of the edge's growth */
#define FIXTURE_MOST_ADDRESSES 1000 /* the same */

/* Service addresses: v4 and v6 of each of these. */
enum fixture_service {
	WEB, /* tcp/80, tcp/8000-8010, udp/53, udp/443 with QUIC */
	CLOSING, /* the same, refusing new flows */
	LATE, /* the same, late, and picked by algorithm 1 */
	OTHER, /* the same rules under another seed and number; by source */
};

struct fixture {
	char root[64]; /* a BPF file system */
	char pins[128];
	struct edge *edge;
	int fill_fd, crowd_fd; /* entry programs, that end in the edge's */
	int pass_fd; /* a program that passes everything */
	uint32_t edge0, wire0; /* interface numbers */
	uint64_t now_ms; /* of the edge's clock */
	struct clock clock;

	struct edge_pool pools[2];
	struct edge_backend backends[FIXTURE_BACKENDS];
	uint16_t ring[EDGE_RING_PAGE]; /* of all versions */
	struct edge_version versions[4]; /* by enum fixture_service */
	struct edge_binding bindings[FIXTURE_ADDRESSES];
	struct edge_desired desired;
};

/* Enter namespaces of our own; once per process. False, with a word on stderr, without root. */
bool fixture_enter(struct fixture *fixture);
void fixture_leave(struct fixture *fixture);

/* Set the backends' permanent neighbours (again). */
void fixture_neighbours(void);

/* Fill in the desired state that the head of this file describes. */
void fixture_desire(struct fixture *fixture);
/* Open the edge on the fixture's pins and interfaces; asserts success. */
void fixture_open(struct fixture *fixture);
/* The same on these interfaces. */
void fixture_open_on(struct fixture *fixture, const char *const *interfaces, size_t count);
void fixture_publish(struct fixture *fixture);
/* Let the entry programs end in the program that the edge has now: growth exchanges it. */
void fixture_aim(const struct fixture *fixture);
/* Take in netlink's news, and beat the heart. */
void fixture_drain(struct fixture *fixture);
/* Desire, open, publish, attach, drain. */
void fixture_start(struct fixture *fixture);
void fixture_close(struct fixture *fixture);
/* Close and remove everything pinned. */
void fixture_reset(struct fixture *fixture);

struct ip_address fixture_address(const char *text);
struct ip_address fixture_service_address(enum fixture_service service, enum ip_family family);

/* A shell command; asserts that it succeeds. */
void fixture_command(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * A whole frame from the client 192.0.2.7 or 2001:db8:c::7 to `destination`: TCP (SYN set, no other
 * flag) or UDP with `payload` bytes, hop limit 57, traffic class 0x2b. Lengths and checksums of the
 * headers are right.
 */
void frame_build(struct frame *frame, const struct ip_address *destination, uint8_t protocol,
		 uint16_t source_port, uint16_t port, size_t payload);
/* Set the IPv4 header's checksum again after a change. */
void frame_checksum(struct frame *frame);
/* Offset of the transport header in what frame_build() makes. */
size_t frame_transport(const struct frame *frame);
/* Put `bytes` in at `offset`, moving what follows; the lengths in the headers stay. */
void frame_insert(struct frame *frame, size_t offset, const void *bytes, size_t length);

/* Run the frame, as if it had come in on `ifindex`; returns the verdict and what came out. */
uint32_t fixture_run_program(int program_fd, uint32_t ifindex, const struct frame *frame,
			     struct frame *ret_out);
uint32_t fixture_run(struct fixture *fixture, const struct frame *frame, struct frame *ret_out);

/* What the frame must look like after encapsulation to `backend`, which shall be resolved. */
void frame_expect(struct frame *expected, const struct frame *frame, const struct fixture *fixture,
		  size_t backend);
/* The link address of the fixture's backend. */
void fixture_backend_link(size_t backend, uint8_t address[6]);
/* The ring's entry that user space picks for a frame of frame_build()'s shape. */
size_t fixture_entry(const struct fixture *fixture, enum fixture_service service,
		     const struct frame *frame);
/* The backend in it. */
size_t fixture_pick(const struct fixture *fixture, enum fixture_service service,
		    const struct frame *frame);

/* A socket on the far end of edge0's cable: what it sends comes in there, and back from there. */
int fixture_open_wire(const struct fixture *fixture, bool native);
void fixture_close_wire(const struct fixture *fixture, int wire, bool native);
/* The next frame with IP in IP in it; the kernel sends its own neighbour discovery in between. */
bool fixture_receive_tunnel(int wire, struct frame *ret_frame, int flags);

/* A pinned map of the edge, opened anew; the caller closes. */
int fixture_map(const struct fixture *fixture, const char *name);
struct edge_counters fixture_counters(const struct fixture *fixture,
				      const struct ip_address *address);
uint64_t fixture_drops(const struct fixture *fixture, unsigned reason);

#endif
