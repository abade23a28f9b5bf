/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate: what a version waits for before DNS first names it to anybody. A backend that is known
 * to be bad would take its share of the clients all the same, step by step, while the version that
 * served them well drains and retires.
 *
 * It is asked of a version that has not had its first share yet, and never again: a backend that
 * falls later is another matter (PROTOCOL.md, section 4). A backend of weight 0 takes no flow and
 * is not waited for; one with `landing: none` has nobody who could report. An operator may let a
 * version through (`rollout resume --force`).
 *
 * Pure functions of what all nodes saw; one thread, that of the image.
 */
#ifndef FAIRLEAD_FABRIC_GATE_H
#define FAIRLEAD_FABRIC_GATE_H

#include "fabric/landings.h"
#include "fabric/merge.h"

/* X(id, name, sentence): the sentence says it of the backend; %s is the wait's `detail`. By what
 * stands in the way first. */
#define GATE_REASONS(X)                                                                            \
	X(NEVER_REPORTED, "never-reported", "it has not reported since this daemon started")       \
	X(SILENT, "silent", "it is silent")                                                        \
	X(ELSEWHERE, "elsewhere", "who reports by its name is a machine without its address")      \
	X(DISPUTED, "disputed", "two processes report as it")                                      \
	X(NOT_CONFIGURED, "not-configured",                                                        \
	  "its landing has not carried out yet what the version needs")                            \
	X(ALARM, "alarm", "its landing says: %s")                                                  \
	X(NO_NEXT_HOP, "no-next-hop", "edge %s has no next hop for it")

enum gate_reason {
#define X(id, name, sentence) GATE_##id,
	GATE_REASONS(X)
#undef X
	    GATE_OPEN, /* how many reasons there are, too */
};

struct gate_wait {
	const struct backend *backend; /* borrowed from the version */
	enum gate_reason reason;
	const char *detail; /* borrowed from what was seen; NULL where the sentence has no place */
};

#define GATE_TEXT 512u

const char *gate_reason_name(enum gate_reason reason);

/* The wait's sentence, cut to GATE_TEXT bytes; returns `text`. */
const char *gate_text(const struct gate_wait *wait, char text[GATE_TEXT]);

/*
 * How many of the version's backends it waits for; of the first `room` of them, one reason each.
 * Brings `landings` up to date; without memory for that, landings count as not configured. With
 * NULL the version is only planned: nobody was told of it, nor needs to reach its backends yet.
 */
size_t gate_find(const struct sights *sights, struct landings *landings,
		 const struct version *version, struct gate_wait *ret_waits, size_t room);

/*
 * Who waits for what, as it was told last, so that each wait is told of once.
 */
struct gate_news;

must_check int gate_news_new(struct gate_news **ret_news);
void gate_news_free(struct gate_news *news);

/* The service's version waits for this first of all (NULL: for nothing). True when that is another
 * wait than the one that was noted last: it should be told of. */
bool gate_news_note(struct gate_news *news, const char *service, uint32_t version,
		    const struct gate_wait *wait);

#endif
