/* SPDX-License-Identifier: Apache-2.0 */
/* Adding to the list of alarms, which is bounded: what does not fit is counted. */
#ifndef FAIRLEAD_LANDING_LANDING_ALARMS_H
#define FAIRLEAD_LANDING_LANDING_ALARMS_H

#include "landing/landing.h"

/*
 * LANDING_ALARM(alarms, UNDERLAY_DOWN, subject, the sentence's arguments). `alarms` may be NULL:
 * then nobody asked, as on the first landing_apply.
 */
#define LANDING_ALARM(alarms, id, ...)                                                             \
	landing_alarms_add(alarms, ALARM_##id, alarm_sentence_##id, __VA_ARGS__)
void landing_alarms_add(struct landing_alarms *alarms, enum alarm_code code, const char *sentence,
			const char *subject, ...) __attribute__((format(printf, 3, 5)));

#endif
