/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for something of the fabric: ask, say how far it is, ask again. What is said goes to
 * standard error, and only when it is something new. An interrupt ends the program, as it ends any
 * command: what is waited for goes on without it.
 */
#ifndef FAIRLEAD_CLI_WAIT_H
#define FAIRLEAD_CLI_WAIT_H

#include <jansson.h>
#include <stdbool.h>

#define WAIT_INTERVAL_MS 1000

struct wait {
	char said[512]; /* last; "" before anything was */
};

/* What --wait and --no-wait say; without either, whether a person looks on. Both leave the
 * parameters: the daemon does not wait. */
bool wait_is_wished(json_t *parameters);

/* Say how far it is, unless it was just said. */
void wait_say(struct wait *wait, const char *text);

/* Until the next question. */
void wait_pause(void);

#endif
