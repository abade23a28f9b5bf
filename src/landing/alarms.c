/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/alarms.h"

#include <stdarg.h>
#include <stdio.h>

void alarms_add(struct landing_alarms *alarms, bool repaired, const char *format, ...)
{
	if (!alarms)
		return;
	if (alarms->count == LANDING_ALARMS_MAX) {
		alarms->dropped++;
		return;
	}
	struct landing_alarm *alarm = &alarms->items[alarms->count++];
	alarm->repaired = repaired;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(alarm->text, sizeof(alarm->text), format, arguments);
	va_end(arguments);
}
