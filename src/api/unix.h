/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local API's socket: a Unix stream socket that only root may open, JSON lines both ways
 * (control/protocol.h). One request of a connection is worked on at a time, and nothing more is
 * read from it meanwhile; a verb may answer later, when its change is committed. A client that
 * goes away ends nothing but its answer; one that only stops sending gets the answers to what it
 * sent, but one that follows events and stops sending is taken for gone.
 */
#ifndef FAIRLEAD_API_UNIX_H
#define FAIRLEAD_API_UNIX_H

#include "api/host.h"
#include "base/error.h"

#include <stdbool.h>
#include <uv.h>

#define API_UNIX_MAX_CLIENTS 256
#define API_UNIX_MAX_BACKLOG (4u << 20) /* bytes that a slow reader may leave unread */

struct api_unix;

/* Nobody listens on `path`: what a daemon that was killed left there is removed. -EADDRINUSE when
 * one does, -EEXIST when something else than a socket is there. */
must_check int api_unix_claim(const char *path, struct error *err);

/* -EADDRINUSE when another daemon listens on `path`, -EEXIST when something else than a socket is
 * there; a dead daemon's socket is replaced. */
must_check int api_unix_open(struct api_host *host, uv_loop_t *loop, const char *path,
			     unsigned max_clients, struct api_unix **ret_api, struct error *err);
/* From now on no request begins; calls under way may still be ended. NULL is fine. */
void api_unix_stop(struct api_unix *api);
/* Stops listening and drops all clients. Runs the loop until its handles are closed. */
void api_unix_close(struct api_unix *api);

/*
 * For a socket of another kind beside it. Bind `pipe` to `path` so that only root can ever open it,
 * and listen; an error's sentence names the path. And: is who connected root, or this process's
 * user? The file's mode keeps others out; this does so even where the file was copied or passed on.
 */
must_check int api_unix_listen(uv_pipe_t *pipe, const char *path, int backlog,
			       uv_connection_cb on_connection, struct error *err);
bool api_unix_is_trusted(const uv_pipe_t *pipe);

/* Send `item` (borrowed) to every client that follows the events. */
void api_unix_publish(struct api_unix *api, const json_t *item);

#endif
