/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the local API: one connection, one request at a time. Waiting ends early
 * when a watched descriptor says that nobody wants the answer any more.
 */
#ifndef FAIRLEAD_CLI_CLIENT_H
#define FAIRLEAD_CLI_CLIENT_H

#include "base/buffer.h"
#include "base/error.h"
#include "control/command.h"

#include <jansson.h>

#define CLIENT_MAX_ANSWER (256u << 20) /* bytes of one line */

#define CLIENT_PATIENCE_MS 10000 /* with a silent daemon; a change is waited for, aloud */

struct client {
	const char *path; /* borrowed */
	const struct command *command; /* asked last */
	int fd;
	int interrupt_fd; /* readable when the person interrupts; -1: none */
	struct buffer input;
};

/* Connect: at once, or -ETIMEDOUT while the queue of a silent daemon is full, -EINTR when
 * interrupted. Sentences say what to do: start the daemon, be root, choose another path. */
must_check int client_open(const char *path, int interrupt_fd, struct client *ret_client,
			   struct error *err);
void client_close(struct client *client);

/* Send one request. On failure, -ETIMEDOUT and -EINTR among them, it was not sent whole and does
 * nothing. */
must_check int client_ask(struct client *client, const struct command *command,
			  const json_t *parameters, struct error *err);

/*
 * Wait for the next answer: 0 with `*ret_data` (owned), the daemon's error, or -ECONNRESET when
 * the daemon went away, -ETIMEDOUT when it was to show something and is silent, -EINTR when
 * interrupted, -EPIPE when nobody reads standard output.
 */
must_check int client_answer(struct client *client, json_t **ret_data, struct error *err);

/* One request and its one answer, which is a new reference. */
must_check int client_call(const char *path, int interrupt_fd, const struct command *command,
			   const json_t *parameters, json_t **ret_answer, struct error *err);

#endif
