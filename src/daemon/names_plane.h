/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names plane: turns the image into the zone that DNS answers. A version serves only when the
 * edges that are heard hold it (invariant 1), which is for the driver to see to; on a node that is
 * an edge as well, the edge plane publishes first.
 */
#ifndef FAIRLEAD_DAEMON_NAMES_PLANE_H
#define FAIRLEAD_DAEMON_NAMES_PLANE_H

#include "base/alarms.h"
#include "daemon/options.h"
#include "naming/server.h"
#include "state/image.h"

struct names_plane;

/* `tcp_connections`: of each thread, at most. `random` is borrowed. */
struct names_plane *names_plane_new(const struct daemon_options *options, unsigned tcp_connections,
				    struct random *random);
/*
 * Take the addresses and the port. Errors as of naming_server_open(); until it succeeds nothing is
 * answered, names_plane_alarm() says why, and all else may be called.
 */
must_check int names_plane_open(struct names_plane *plane, uint64_t now_ms, struct error *err);

/* Call it every tick: once a second it tries the same, unless it is open; once a day it draws
 * another secret for cookies. True when it is open now and was not. */
bool names_plane_tick(struct names_plane *plane, uint64_t now_ms);

void names_plane_free(struct names_plane *plane);

/* Answer what the image says. */
must_check int names_plane_publish(struct names_plane *plane, const struct image *image,
				   struct error *err);

void names_plane_counters(const struct names_plane *plane, struct naming_counters *ret_counters);

/* Why no name is answered; it does not stand while some are. */
const struct alarm *names_plane_alarm(const struct names_plane *plane);

/* One of its addresses that is not on this machine any more; NULL if all are. */
const struct ip_address *names_plane_missing(const struct names_plane *plane);

/* Could this node's own addresses be published, when the file names no name server? */
bool names_plane_has_address(const struct names_plane *plane);

/* What of the zone is left out of the answers, since it cannot be built; "" if nothing is. */
const char *names_plane_refused(const struct names_plane *plane);

/* Is any snapshot in force? */
bool names_plane_answers(const struct names_plane *plane);
uint32_t names_plane_serial(const struct names_plane *plane);

#endif
