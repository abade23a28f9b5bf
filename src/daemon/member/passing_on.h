/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this edge passes on, and takes from others: fabric/passing.h decides by the replica and by
 * what a voter told, and the edge plane's maps do it. On the daemon's loop.
 */
#ifndef FAIRLEAD_DAEMON_MEMBER_PASSING_ON_H
#define FAIRLEAD_DAEMON_MEMBER_PASSING_ON_H

#include "api/host.h"

#include <jansson.h>
#include <stdint.h>

struct daemon;

/* Bring the maps up to date; call it every tick, and whenever something was carried out. Nothing
 * without the role. */
void passing_on_run(struct daemon *daemon);

/* `passing` of the status, and what is wrong. */
void passing_on_status(const struct daemon *daemon, json_t *status);
void passing_on_alarms(const struct daemon *daemon, json_t *alarms);

#endif
