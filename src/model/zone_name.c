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

const char *zone_contact(const char *zone, const char *contact, char *text)
{
	size_t length = 0;
	if (!contact)
		return zone_name(zone, ZONE_CONTACT, text);
	const char *at = strchr(contact, '@');
	for (const char *c = contact; *c; c++) {
		if (*c <= ' ' || *c > '~' || strchr("\"\\", *c) || (c != at && *c == '@') ||
		    length + 3 > ZONE_CONTACT_BYTES)
			return NULL;
		if (c < at && *c == '.')
			text[length++] = '\\';
		text[length++] = c == at ? '.' : *c;
	}
	text[length] = '\0';
	return length > 0 && at != contact ? text : NULL;
}
