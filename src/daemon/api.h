/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local API's server: a Unix stream socket that only root may open, JSON lines both ways
 * (control/protocol.h). One request of a connection is worked on at a time, and nothing more is
 * read from it meanwhile; a verb may answer later, when its change is committed. A client that
 * goes away ends nothing but its answer; one that only stops sending gets the answers to what it
 * sent, but one that follows events and stops sending is taken for gone.
 */
#ifndef FAIRLEAD_DAEMON_API_H
#define FAIRLEAD_DAEMON_API_H

#include "base/error.h"
#include "control/command.h"

#include <jansson.h>
#include <uv.h>

#define API_MAX_CLIENTS 256
#define API_MAX_BACKLOG (4u << 20) /* bytes that a slow reader may leave unread */

struct api;
struct api_call;
struct daemon;

/* Handles one request. It must end the call, now or later, with exactly one of the two below; a
 * streaming verb sends items until its client goes. */
typedef void api_handler_fn(struct daemon *daemon, struct api_call *call);

/* -EADDRINUSE when another daemon listens on `path`, -EEXIST when something else than a socket is
 * there; a dead daemon's socket is replaced. */
must_check int api_open(struct daemon *daemon, uv_loop_t *loop, const char *path,
			unsigned max_clients, struct api **ret_api, struct error *err);
/* From now on no request begins; calls under way may still be ended. NULL is fine. */
void api_stop(struct api *api);
/* Stops listening and drops all clients. Runs the loop until its handles are closed. */
void api_close(struct api *api);

const json_t *api_parameters(const struct api_call *call);
/* A text parameter, or NULL. */
const char *api_text(const struct api_call *call, const char *key);
/* Who asks: the user's login name, for the ledger; into `who`, which it returns. */
#define API_WHO_BYTES 128
const char *api_who(const struct api_call *call, char who[API_WHO_BYTES]);

/* End the call. `data` is moved. */
void api_succeed(struct api_call *call, json_t *data);
void api_fail(struct api_call *call, const struct error *error);

/* Send `item` (borrowed) to every client that follows the streaming verb. */
void api_publish(struct api *api, const json_t *item);

/* This call follows from now on. */
void api_follow(struct api_call *call);

#endif
