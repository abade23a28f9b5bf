/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The landing plane: keeps landing as a set (fabric/landing_set.h) says, ends connections by order,
 * and counts what there is. Who says what landing shall be, and who hears what was counted, is the
 * owner's: a landing that joined a node over a socket, or a node with a replica.
 *
 * A set that cannot be carried out is tried again at every turn; until then reports name the one
 * before it. Stopping leaves landing in place; only `fairlead detach` takes it away.
 */
#ifndef FAIRLEAD_DAEMON_LANDING_LANDING_PLANE_H
#define FAIRLEAD_DAEMON_LANDING_LANDING_PLANE_H

#include "daemon/options.h"
#include "fabric/landing_set.h"
#include "ledger/ledger.h"

#include <uv.h>

struct landing_counters;
struct landing_plane;

/* `options` is borrowed. Errors as of landing_open(). */
must_check int landing_plane_open(const struct daemon_options *options,
				  struct landing_plane **ret_plane, struct error *err);

/* From now on it watches what others do to the machine, and sets that back. */
void landing_plane_start(struct landing_plane *plane, uv_loop_t *loop);

/* Closes the handles, which the caller's loop has to run for; landing stays in place. */
void landing_plane_stop(struct landing_plane *plane);
must_check int landing_plane_close(struct landing_plane *plane, struct error *err);

/* What landing shall be from now on; NULL: as it is. Takes a reference. */
void landing_plane_want(struct landing_plane *plane, struct landing_set *set);

/* What it was told last; NULL: nothing yet. Borrowed. */
struct landing_set *landing_plane_wanted(const struct landing_plane *plane);

/* Whose connections are to be ended from now on, struct peer_address; copied. */
void landing_plane_cut(struct landing_plane *plane, const struct wire_list *addresses);

/* Do what is wanted, as far as it is not done; call it every turn. */
void landing_plane_carry_out(struct landing_plane *plane);

/* Has any set been carried out? */
bool landing_plane_lands(const struct landing_plane *plane);

/* As landing_counters_read(). */
must_check int landing_plane_counters(const struct landing_plane *plane,
				      struct landing_counters *ret_counters, struct error *err);

/* As landing_yield(). */
must_check int landing_plane_yield(struct landing_plane *plane, const char *interface,
				   struct error *err);

/* As landing_set_path_mtu() takes it. */
void landing_plane_path_mtu(struct landing_plane *plane, uint32_t bytes);

/*
 * Count, and say how landing fares, for the closing that was known before. Lives in `arena`. On
 * failure nothing may be told: silence, not zero, so that nobody takes it for known.
 */
must_check int landing_plane_report(struct landing_plane *plane,
				    const struct ledger_position *closing, struct arena *arena,
				    struct peer_report *ret_report);

#endif
