/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names plane: turns the image into the zone that DNS answers, and measures when each version
 * was last answered. A snapshot is built only from versions that the edges hold (invariant 1):
 * while a serving version is not held yet, as after a start, the snapshot before stays.
 */
#ifndef FAIRLEAD_DAEMON_NAMES_PLANE_H
#define FAIRLEAD_DAEMON_NAMES_PLANE_H

#include "daemon/image.h"
#include "daemon/options.h"
#include "naming/server.h"

struct names_plane;

must_check int names_plane_new(const struct daemon_options *options, uint64_t now_ms,
			       struct names_plane **ret_plane, struct error *err);
void names_plane_free(struct names_plane *plane);

/* Answer what the image says. 1 when a new snapshot is in force, 0 when nothing changed or a
 * serving version is not held yet. */
must_check int names_plane_publish(struct names_plane *plane, const struct image *image,
				   struct error *err);

/* Read the answer counters; call it every tick. */
void names_plane_sample(struct names_plane *plane, uint64_t now_ms);

/* Since the version was last answered, no longer than since this process started. */
uint64_t names_plane_answered_ago_ms(const struct names_plane *plane, const char *service,
				     uint32_t version, uint64_t now_ms);

void names_plane_counters(const struct names_plane *plane, struct naming_counters *ret_counters);

/* Is any snapshot in force? */
/* Could this node's own addresses be published, when the file names no name server? */
bool names_plane_has_address(const struct names_plane *plane);

bool names_plane_answers(const struct names_plane *plane);
uint32_t names_plane_serial(const struct names_plane *plane);

#endif
