/* SPDX-License-Identifier: Apache-2.0 */
/* Adding to the list of alarms, which is bounded: what does not fit is counted. */
#ifndef FAIRLEAD_LANDING_ALARMS_H
#define FAIRLEAD_LANDING_ALARMS_H

#include "landing/landing.h"

/* `alarms` may be NULL: then nobody asked, as on the first landing_apply. */
void alarms_add(struct landing_alarms *alarms, bool repaired, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
