/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rig of `./dev bench dataplane`: the real edge, published through its own interface, and the
 * programs of bench/dataplane_*.bpf.c around it, run with BPF_PROG_TEST_RUN.
 *
 *   RIG_VERSIONS versions for each family, each with a ring of one page and seconds, of
 *   RIG_BACKENDS backends of the client's family, and a key of its own drawn from the rig's seed;
 *   v4 at 198.51.100.N, v6 at 2001:db8:f::N
 *   edge0 10.1.0.1/16 and fd00:1::1/64; backends 10.1.1.N and fd00:1::1:N, from 1 on, on that link
 *
 * rig_open() moves the process into network and mount namespaces of its own; everything is gone
 * when it ends.
 */
#ifndef FAIRLEAD_BENCH_DATAPLANE_RIG_H
#define FAIRLEAD_BENCH_DATAPLANE_RIG_H

#include "bench/dataplane_stamp.h"
#include "dataplane/edge.h"

#define RIG_VERSIONS STAMP_VERSIONS
#define RIG_BACKENDS 64u
#define RIG_PORT 443 /* of TCP, and of UDP with QUIC */
#define RIG_TTL 64 /* of the frames, before the edge */

enum rig_kind { RIG_SYN, RIG_ESTABLISHED, RIG_UDP };
/* RIG_ENTRY: the entry alone. RIG_MOVE: room is made for an outer header, and nothing written. */
enum rig_program { RIG_ENTRY, RIG_MOVE, RIG_FLOOR, RIG_EDGE };

struct rig_case {
	enum ip_family family;
	enum rig_kind kind;
	enum rig_program program;
	uint32_t flows; /* a power of two, at most STAMP_FLOWS */
	uint32_t versions; /* that the flows go to, at most RIG_VERSIONS */
};

struct rig_frame {
	uint8_t bytes[256];
	uint32_t length;
};

struct rig;

/* -errno or what the edge's calls return, with a sentence. */
must_check int rig_open(uint64_t seed, struct rig **ret_rig, struct error *err);
void rig_close(struct rig *rig);

/* What of the rig is published: the first `versions` of each family; all after rig_open(). */
must_check int rig_publish(struct rig *rig, uint32_t versions, struct error *err);
/* The first `versions` of IPv4, each at an address of both families, as services have them. */
must_check int rig_publish_shared(struct rig *rig, uint32_t versions, struct error *err);

/*
 * Run `packets` packets and return the processor time of each, the entry's included, in
 * nanoseconds. -FL_ESTATE if not every one of them was sent, or, with RIG_EDGE, not every one was
 * counted as forwarded by the fast path: a time of anything else says nothing.
 */
must_check int rig_time(struct rig *rig, const struct rig_case *rig_case, uint32_t packets,
			double *ret_ns, struct error *err);

/* Run packets `number` and `more` after it; return how the last one came out. */
must_check int rig_packet(struct rig *rig, const struct rig_case *rig_case, uint32_t number,
			  uint32_t more, struct rig_frame *ret_out, struct error *err);

/* Packet `number` as the entry should hand it on; without a program. */
void rig_frame_build(const struct rig_case *rig_case, uint32_t number, struct rig_frame *ret_frame);

/* The folder that the edge's maps are pinned in. Owned by the rig. */
const char *rig_maps_folder(const struct rig *rig);

#endif
