/* SPDX-License-Identifier: Apache-2.0 */
#include "model/zone_name.h"

#include <stdio.h>
#include <string.h>

const char *zone_name(const char *zone, const char *name, char *text)
{
	size_t length = strlen(name);
	int written;
	if (strcmp(name, "@") == 0)
		written = snprintf(text, ZONE_NAME_BYTES, "%s", zone);
	else if (length > 0 && name[length - 1] == '.')
		written = snprintf(text, ZONE_NAME_BYTES, "%.*s", (int)length - 1, name);
	else
		written = snprintf(text, ZONE_NAME_BYTES, "%s.%s", name, zone);
	return written >= 0 && written < ZONE_NAME_BYTES ? text : NULL;
}
