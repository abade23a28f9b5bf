/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The landing of a node that has a replica: it leads the conversation of every landing with the
 * daemon that it is a part of. Where another node decides, its reports go there, and what it shall
 * be comes from the replica here all the same.
 */
#ifndef FAIRLEAD_DAEMON_LANDING_OWN_LANDING_H
#define FAIRLEAD_DAEMON_LANDING_OWN_LANDING_H

#include "base/error.h"
#include "landing/landing.h"

struct daemon;
struct own_landing;

/* Errors as of landing_plane_open(), or the kernel's for its boot id. */
must_check int own_landing_open(struct daemon *daemon, struct own_landing **ret_landing,
				struct error *err);

/* A voter answered the last report. */
struct peer_message;
void own_landing_answered(struct own_landing *landing, const struct peer_message *message);

/* It reports from now on. */
void own_landing_start(struct own_landing *landing);

/* As landing_counters_read(); false when they cannot be read. */
bool own_landing_counters(const struct own_landing *landing, struct landing_counters *ret_counters);

/* Landing stays in place. Runs the loop until its handles are closed. NULL is fine. */
void own_landing_close(struct own_landing *landing);

#endif
