/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong at this landing, in words: the log is told of it once, the node with every report.
 * What was found and set back is told for a minute, so that somebody sees it.
 */
#ifndef FAIRLEAD_DAEMON_LANDING_TROUBLE_H
#define FAIRLEAD_DAEMON_LANDING_TROUBLE_H

#include "landing/landing.h"

#include <jansson.h>

enum landing_failure {
	LANDING_FAILURE_CONFIGURE,
	LANDING_FAILURE_CUT,
	LANDING_FAILURE_COUNT,
	LANDING_FAILURE_CHECK,
	LANDING_FAILURES
};

#define LANDING_FAILURE_BYTES 1024u

struct landing_trouble {
	char failures[LANDING_FAILURES]
		     [LANDING_FAILURE_BYTES]; /* what does not work; "" if it does */
	struct landing_alarms alarms; /* of the last check */
	struct landing_alarms repaired; /* within a minute before `repaired_ms` */
	uint64_t repaired_ms;
};

/* `err` NULL: it works again. */
void landing_trouble_failed(struct landing_trouble *trouble, enum landing_failure which,
			    const struct error *err);

/* What a check found. `now_ms` is of any clock that only goes forward. */
void landing_trouble_found(struct landing_trouble *trouble, const struct landing_alarms *alarms,
			   uint64_t now_ms);

/* An array of sentences (a new reference); NULL without memory. */
json_t *landing_trouble_json(const struct landing_trouble *trouble, uint64_t now_ms);

#endif
