/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for something of the fabric: ask, say how far it is, ask again. What is said goes to
 * standard error: on a terminal as one line that changes, elsewhere as a line for each news. What
 * is waited for goes on without the waiting.
 */
#ifndef FAIRLEAD_CLI_WAIT_H
#define FAIRLEAD_CLI_WAIT_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define WAIT_INTERVAL_MS 1000

struct wait {
	bool slots; /* until what the order needs is free; without --wait, if a person looks on */
	bool rollouts; /* until the rollouts that the answer tells of have ended */
	bool retired; /* and until their older versions are retired */
	uint64_t timeout_ms; /* 0: none */
	uint64_t begin_ms;
	bool is_quiet; /* nothing is said but errors */
	bool has_line; /* there is a line on the terminal that the next one replaces */
	char said[512]; /* last; "" before anything was */
};

/* What --wait, --no-wait, --retired and --timeout say. They leave the parameters: the daemon does
 * not wait. -FL_EUSAGE. */
must_check int wait_read(json_t *parameters, struct wait *ret_wait, struct error *err);

/* How far is it? `text` is told where lines stay, `live` (NULL: the same) where they change. */
void wait_say(struct wait *wait, const char *text, const char *live);
/* Take the line away that changes: something else comes. */
void wait_clear(struct wait *wait);

bool wait_is_over(const struct wait *wait);

/* Until the next question; true when the waiting is to end. -1: nothing interrupts it. */
bool wait_pause(int interrupt_fd);

#endif
