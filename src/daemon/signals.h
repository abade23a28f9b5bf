/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals of a process that stays, in either role.
 *
 * SIGTERM, SIGINT and SIGQUIT end it in order. They are held back for the life of the process and
 * are read from a descriptor, so that there is no moment in which one of them ends it otherwise:
 * not during the start, whose steps ask signals_end_wanted(), and not while it closes. A start that
 * is ended so is no crash (state/crashes.h).
 *
 * What else ends a process by default and tells this one nothing is ignored: there is nothing to
 * read anew on SIGHUP, and where somebody typed `fairlead run` its terminal may go. Faults
 * (SIGSEGV, SIGABRT, …), limits of CPU time and job control keep their meaning. SIGKILL cannot be
 * told from a crash, so a start that a supervisor kills because it took too long is one.
 */
#ifndef FAIRLEAD_DAEMON_SIGNALS_H
#define FAIRLEAD_DAEMON_SIGNALS_H

#include "base/error.h"

#include <stdbool.h>
#include <uv.h>

/* First of all, before there is another thread, once a process. */
must_check int signals_hold(struct error *err);

/* Did a signal come that wants the process to end? It is not taken. */
bool signals_end_wanted(void);

/*
 * Ends `loop` with uv_stop() on a signal, also on one that came before, and logs `event` with what
 * goes on nevertheless, as `key`=`value`; texts are borrowed. `poll` is the caller's to close.
 */
struct signals_watch {
	uv_poll_t poll;
	const char *event;
	const char *key;
	const char *value;
	/* NULL, or asked when the first one comes: true when it will stop the loop later. The next
	 * signal does so at once. */
	bool (*delays)(void *context);
	void *context;
	bool came; /* one ended the loop, or will */
};

void signals_watch_start(struct signals_watch *watch, uv_loop_t *loop);

#endif
