/* SPDX-License-Identifier: Apache-2.0 */
/*
 * View: what the many edges of one process know of the voter's store, worked out once for all of
 * them. Each edge is told every revision by a frame of its own, and checks by itself that the entry
 * in it continues the chain that it has; but what the frame says is parsed for the first one, and
 * for the others it is compared byte by byte. So an edge here costs far less than the voter spends
 * on it. Two edges that are told different things of one revision end the program.
 *
 * One thread. What is missing or wrong ends the program with a sentence.
 */
#ifndef FAIRLEAD_BENCH_FABRIC_VIEW_H
#define FAIRLEAD_BENCH_FABRIC_VIEW_H

#include "ledger/ledger.h"
#include "wire/peer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct view;

/* What one revision told. */
struct view_revision {
	uint64_t revision; /* 0: none */
	bool has_entry; /* of the ledger */
	struct ledger_position before, entry;
	char kind[LEDGER_KIND_BYTES + 1]; /* of the entry */
	size_t bytes; /* of the frame */
};

struct view *view_new(void);
void view_free(struct view *view);

/* The first edge reads everything: a page of it, then view_loaded(). */
void view_take_page(struct view *view, const struct peer_store_page *page);
void view_loaded(struct view *view, uint64_t revision);
bool view_is_loaded(const struct view *view);

/* A frame `store_events` of a watch over everything. Borrowed until the next call. */
const struct view_revision *view_take_events(struct view *view, const void *frame, size_t length);

/* The frame by which an edge that holds this entry says so; with `activity` it also says how long
 * each address has been quiet, as an edge does in each interval. Borrowed until the next call. */
struct wire_bytes view_observation(struct view *view, const struct ledger_position *position,
				   bool activity);

/* Of the last that was without activity. */
size_t view_acknowledgement_bytes(const struct view *view);

/* How often it says so. */
uint64_t view_interval_ms(const struct view *view);

#endif
