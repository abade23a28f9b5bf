/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong at this landing: the log is told of it once, the node with every report.
 * What was found and set back is told for a minute, so that somebody sees it.
 */
#ifndef FAIRLEAD_DAEMON_LANDING_LANDING_TROUBLE_H
#define FAIRLEAD_DAEMON_LANDING_LANDING_TROUBLE_H

#include "landing/landing.h"

#include <jansson.h>

/* X(id): the alarm LANDING_NOT_<id> says what it means. */
#define LANDING_FAILURE_KINDS(X) X(CONFIGURED) X(CUT) X(COUNTED) X(CHECKED)

enum landing_failure {
#define X(id) LANDING_FAILURE_##id,
	LANDING_FAILURE_KINDS(X)
#undef X
	    LANDING_FAILURES
};

struct landing_trouble {
	struct alarm failures[LANDING_FAILURES]; /* what does not work */
	struct landing_alarms alarms; /* of the last check */
	struct landing_alarms repaired; /* within a minute before `repaired_ms` */
	uint64_t repaired_ms;
};

/* `err` NULL: it works again. `now_ms` is of any clock that only goes forward. */
void landing_trouble_failed(struct landing_trouble *trouble, enum landing_failure which,
			    const struct error *err, uint64_t now_ms);

/* What a check found. */
void landing_trouble_found(struct landing_trouble *trouble, const struct landing_alarms *alarms,
			   uint64_t now_ms);

/* An array of alarms as alarm_json() makes them; a new reference. */
json_t *landing_trouble_json(const struct landing_trouble *trouble, uint64_t now_ms);

#endif
