/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last good copy: keeps FOLDER/replica.good, a copy of the replica with which the daemon ran
 * well for GOOD_COPY_MS, for a start that cannot go by the replica (state/replica.h).
 *
 * A copy is taken as `replica.proving` soon after a change was carried out; then its time runs, and
 * at its end it takes the place of the one before. A newer change does not end that, so that
 * changes which never pause do not keep the last good copy old. All of it happens in libuv's
 * threads, one job at a time, and takes at most a tenth of the time.
 *
 * At the start the copy that is there is read, so that damage is found while the store is sound and
 * a new one can be written.
 */
#ifndef FAIRLEAD_DAEMON_GOOD_COPY_H
#define FAIRLEAD_DAEMON_GOOD_COPY_H

#include "daemon/daemon.h"

/* How long the daemon runs well before its state counts as good; a lab may say less. */
#define GOOD_COPY_MS 30000u
#define GOOD_COPY_VARIABLE "FAIRLEAD_LAB_GOOD_MS"

struct good_copy;

struct good_copy *good_copy_new(struct daemon *daemon);
/* Waits for the job under way. Runs the loop. NULL is fine. */
void good_copy_free(struct good_copy *copy);

/* Call it every tick. `well`: what the image says is carried out. */
void good_copy_run(struct good_copy *copy, bool well, uint64_t now_ms);

/* Milliseconds of running well that make a state good. */
uint64_t good_copy_ms(void);

/* What is wrong with the copies, if anything is. */
const struct alarm *good_copy_alarm(const struct good_copy *copy);

/* The ledger entry that the last good copy has at least; 0: there is none. */
uint64_t good_copy_sequence(const struct good_copy *copy);

#endif
