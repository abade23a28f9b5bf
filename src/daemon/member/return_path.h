/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Way back: does what a backend sends from a service address reach a machine outside, and does the
 * answer come in by an edge? Networks drop what they take for forged (strict reverse path, ARP
 * inspection, port security, one-way firewalls), and no probe from inside sees it: only clients do.
 *
 * Each backend's machine sends a SYN from the service address to one and the same port outside, and
 * all of them listen for the answer, a SYN-ACK or a reset, since the edges lead it by its hash to
 * whichever backend that is. Whose it is its acknowledgement says: each sender has a sequence
 * number of its own. The kernel resets what it knows nothing of, so nothing stays open there.
 */
#ifndef FAIRLEAD_DAEMON_MEMBER_RETURN_PATH_H
#define FAIRLEAD_DAEMON_MEMBER_RETURN_PATH_H

#include "api/call.h"
#include "daemon/daemon.h"
#include "wire/peer.h"

struct fellow;
struct return_paths;

struct return_paths *return_paths_new(struct daemon *daemon);
/* Whoever waits is told that the daemon stops. The loop runs on until its handles are closed. */
void return_paths_close(struct return_paths *paths);
void return_paths_free(struct return_paths *paths); /* NULL is fine */

/* The local API's call; `context` is the daemon. */
void return_path_call(void *context, struct api_call *call);

/* A voter's order, and a backend's answer to it. */
void return_path_try(struct return_paths *paths, struct fellow *fellow,
		     const struct peer_path_try *order);
void return_path_seen(struct return_paths *paths, const struct fellow *fellow,
		      const struct peer_path_seen *seen);

#endif
