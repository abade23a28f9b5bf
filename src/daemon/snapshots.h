/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: keeps on disk what a start can stand on when the store cannot be used.
 *
 *   snapshot          the newest: written soon after a change was carried out
 *   snapshot.proving  a newest one whose time runs: the daemon has to run well with it …
 *   snapshot.good     … for ORIGIN_GOOD_MS; then it is the last good one
 *
 * A newer one does not end the proof of an older one, so that changes which never pause do not keep
 * the last good one old. Reading goes page by page through the loop, at one revision; encoding,
 * writing and syncing happen in libuv's threads, one job at a time. Many changes make one snapshot,
 * and writing takes at most a tenth of the time. A disk that fails is tried again, and is an alarm
 * meanwhile.
 *
 * At the start both files are read in the background, so that damage is found while the store is
 * sound and a new one can be written.
 */
#ifndef FAIRLEAD_DAEMON_SNAPSHOTS_H
#define FAIRLEAD_DAEMON_SNAPSHOTS_H

#include "daemon/daemon.h"

/* How long the daemon runs well before its state counts as good; a lab may say less. */
#define SNAPSHOTS_GOOD_MS 30000u
#define SNAPSHOTS_GOOD_VARIABLE "FAIRLEAD_LAB_GOOD_MS"

struct snapshots;

must_check int snapshots_new(struct daemon *daemon, struct snapshots **ret_snapshots);
/* From now on nothing begins: the store is about to close. NULL is fine. */
void snapshots_stop(struct snapshots *snapshots);
/* Only after store_close(). Waits for the job under way; what was begun is not finished. Runs the
 * loop. NULL is fine. */
void snapshots_free(struct snapshots *snapshots);

/* Call it every tick. `well`: what the image says is carried out. */
void snapshots_run(struct snapshots *snapshots, bool well, uint64_t now_ms);

/* Milliseconds of running well that make a state good. */
uint64_t snapshots_good_ms(void);

/* Add what is wrong with the files to the array `list`. */
void snapshots_put_alarms(const struct snapshots *snapshots, json_t *list);

/* Ledger entries that the newest and the last good one stand on; 0: there is none. */
struct snapshots_state {
	uint64_t newest;
	uint64_t good;
};
struct snapshots_state snapshots_state(const struct snapshots *snapshots);

#endif
