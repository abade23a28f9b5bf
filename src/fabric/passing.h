/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passing: whether this edge knows that it is behind, and which edges then get the packets that it
 * has no word for (PROTOCOL.md rules 3 and 7, NETWORK.md rule 21).
 *
 * Publishing waits for the edges that are heard, so an edge may lack a version that clients are
 * sent to in three cases, and these are when it passes on:
 *   - it is below its mark, or has forwarded nothing yet;
 *   - a voter says that another edge acknowledged more;
 *   - it has heard nothing of a voter for as long as a voter waits for an edge: nobody waits for
 * it.
 *
 * A voter tells each edge how far the foremost one is, and some that are as far. Where that was
 * never told, or is of no use, all edges of the replica get packets: who has no word either drops
 * them.
 *
 * Pure; any thread.
 */
#ifndef FAIRLEAD_FABRIC_PASSING_H
#define FAIRLEAD_FABRIC_PASSING_H

#include "fabric/merge.h"
#include "model/member.h"
#include "state/image.h"
#include "wire/peer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PASSING_PEERS 16 /* that one edge passes on to at most */

/* What a voter told, as it is kept. */
struct passing_told {
	bool is_told;
	uint64_t told_ms; /* by the edge's clock */
	uint64_t sequence; /* of the foremost edge */
	char names[PASSING_PEERS][MODEL_NAME_BYTES]; /* edges that are as far */
	size_t count;
};

struct passing_sight {
	const struct image *image;
	const char *node;
	bool decides;
	bool is_current; /* at its mark, or beyond */
	uint64_t forwarded; /* the newest entry that its maps do; 0: none */
	const struct passing_told *told;
	uint64_t now_ms;
	bool has_v4, has_v6; /* tunnel sources of its own */
};

struct passing_plan {
	bool is_behind;
	struct passing_peer {
		const struct member *member; /* borrowed from the image */
		struct ip_address address;
	} peers[PASSING_PEERS];
	size_t peer_count;
};

struct passing_plan passing_decide(const struct passing_sight *sight);

/* For the voter: what `node` is to be told. `rows` has room for PASSING_PEERS, and names are
 * borrowed from the image. */
struct peer_foremost passing_foremost(const struct sights *sights, const char *node,
				      struct peer_holder *rows);
/* For who is told. */
void passing_take(struct passing_told *told, const struct peer_foremost *message, uint64_t now_ms);

#endif
