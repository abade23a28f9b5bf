/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/landing_alarms.h"

#include <stdarg.h>
#include <stdio.h>

void landing_alarms_add(struct landing_alarms *alarms, enum alarm_code code, const char *sentence,
			const char *subject, ...)
{
	if (!alarms)
		return;
	if (alarms->count == LANDING_ALARMS_MAX) {
		alarms->dropped++;
		return;
	}
	struct landing_alarm *alarm = &alarms->items[alarms->count++];
	alarm->code = code;
	snprintf(alarm->subject, sizeof(alarm->subject), "%s", subject);
	va_list arguments;
	va_start(arguments, subject);
	vsnprintf(alarm->text, sizeof(alarm->text), sentence, arguments);
	va_end(arguments);
}
