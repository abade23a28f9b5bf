/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routing plane of an edge that was told `--announce bgp`: keeps the table that a routing
 * daemon reads (routing/routing.h) as fabric/announcing.h judges, and takes the addresses out of it
 * before the daemon ends in order, so that routers have moved when it does.
 */
#ifndef FAIRLEAD_DAEMON_ROUTING_PLANE_H
#define FAIRLEAD_DAEMON_ROUTING_PLANE_H

#include "base/alarms.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

struct daemon;
struct routing_plane;

/* Opens the table; changes nothing. The daemon is borrowed. What the kernel says, with a sentence.
 */
must_check int routing_plane_open(struct daemon *daemon, struct routing_plane **ret_plane,
				  struct error *err);
/* On the daemon's loop from now on. */
void routing_plane_start(struct routing_plane *plane);
/* Leaves the table as it is; its handles close with the loop's next turns. NULL is fine. */
void routing_plane_stop(struct routing_plane *plane);
/* After that. NULL is fine. */
void routing_plane_free(struct routing_plane *plane);

/* What may be announced may have changed: call it when the image moved, and every tick. */
void routing_plane_run(struct routing_plane *plane);

/* The daemon is to end: withdraw. True: routers are waited for, and the loop is stopped when they
 * had their time; false: there is nothing to wait for. */
bool routing_plane_leave(struct routing_plane *plane);

/* What put_alarms() tells; they stand or not. */
const struct alarm *routing_plane_alarm(const struct routing_plane *plane);
const struct alarm *routing_plane_withheld(const struct routing_plane *plane);
/* Routes that somebody took away lately. */
const struct alarm *routing_plane_lost(const struct routing_plane *plane);

/* --- for the local API; a plane that is NULL announces nothing --- */

/* What `fairlead routing status` answers. */
json_t *routing_plane_status(const struct daemon *daemon);
/* What `fairlead routing config` answers; -FL_EUSAGE, -FL_ESTATE. */
must_check int routing_plane_config(const struct daemon *daemon, const json_t *parameters,
				    json_t **ret_answer, struct error *err);

/* --- for `fairlead detach` --- */

/* Withdraw what is left in the table, and wait for routers if there was something. */
must_check int routing_plane_detach(unsigned table, unsigned wait_s, struct error *err);

#endif
