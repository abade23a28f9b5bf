/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structured log, one line an event, on stderr: `2026-… INFO edge.published seq=12 versions=3`.
 * Only the daemon and the CLI log, once, at the top; libraries return errors. Values with spaces
 * or quotes are quoted. Under systemd (JOURNAL_STREAM set) the time is left to the journal and a
 * "<priority>" prefix is written instead. Main thread only.
 */
#ifndef FAIRLEAD_BASE_LOG_H
#define FAIRLEAD_BASE_LOG_H

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

#define LOG_MAX_PAIRS 16

void log_set_level(enum log_level level);

/*
 * `event` is a dotted name; then pairs of (const char *key, const char *value), ended by NULL.
 * log_event(LOG_LEVEL_INFO, "edge.published", "service", "web", "version", "2", NULL);
 */
void log_event(enum log_level level, const char *event, ...) __attribute__((sentinel));

/* The same from an array: key, value, key, value, …, NULL. */
void log_pairs(enum log_level level, const char *event, const char *const *pairs);

#endif
