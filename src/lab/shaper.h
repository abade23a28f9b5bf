/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shaper: what one direction of a link does to frames, as a queue with a clock that is passed in.
 * No I/O. A frame that comes is either too big, or finds the queue full, or takes its turn at the
 * link's rate, may be lost behind it, and comes out `delay` later. All frames of a direction wait
 * equally long, so they keep their order.
 *
 * The length that counts against the rate is the frame's own: Ethernet header and payload.
 */
#ifndef FAIRLEAD_LAB_SHAPER_H
#define FAIRLEAD_LAB_SHAPER_H

#include "base/error.h"
#include "base/random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHAPE_NS_PER_MS 1000000ull
#define SHAPE_LOSS_ALL 65536u
#define SHAPER_HEADER_BYTES 14u /* Ethernet's, which an MTU does not count */
#define SHAPER_MAX_BYTES (32u << 20) /* under way in one direction; more find the queue full */

struct shape {
	uint64_t delay_ns;
	uint64_t rate; /* bits a second; 0: unlimited */
	uint64_t queue_ns; /* the longest that a frame waits for its turn at the rate */
	uint32_t loss; /* of SHAPE_LOSS_ALL frames */
	uint32_t mtu; /* bytes behind the Ethernet header */
};

/* sent = passed + lost + full + too_big + those under way */
struct shaper_counts {
	uint64_t sent; /* came from the one end */
	uint64_t passed; /* handed to the other */
	uint64_t lost;
	uint64_t full;
	uint64_t too_big;
};

struct shaper_frame {
	struct shaper_frame *next;
	uint64_t due_ns;
	size_t length;
	unsigned char bytes[];
};

struct shaper {
	struct shape shape;
	struct random random;
	struct shaper_counts *counts; /* borrowed; a reader in another process may look */
	uint64_t free_ns; /* when the link has sent what it took so far */
	size_t queued_bytes;
	struct shaper_frame *first;
	struct shaper_frame *last;
};

/* Does it change anything but the MTU? */
bool shape_is_set(const struct shape *shape);

void shaper_init(struct shaper *shaper, const struct shape *shape, uint64_t seed,
		 struct shaper_counts *counts);
void shaper_done(struct shaper *shaper);

/* A frame comes; its bytes are copied. -ENOMEM counts as full. */
void shaper_put(struct shaper *shaper, uint64_t now_ns, const void *bytes, size_t length);

/* The next frame that is due, moved out: the caller calls free(). NULL: none yet. Counts it as
 * passed. */
struct shaper_frame *shaper_take(struct shaper *shaper, uint64_t now_ns);

/* When the next frame is due; UINT64_MAX when none is under way. */
uint64_t shaper_next_ns(const struct shaper *shaper);

#endif
