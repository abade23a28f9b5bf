/* SPDX-License-Identifier: Apache-2.0 */
#include "state/records.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct record_row record_rows[RECORD_UNKNOWN] = {
#define RECORD_ROW(id, key, is_prefix, level, what) {key, is_prefix, level, what},
    RECORD_TYPES(RECORD_ROW)
#undef RECORD_ROW
};

enum record_type record_type_of(const char *key)
{
	enum record_type type = 0;
	for (; type < RECORD_UNKNOWN; type++) {
		const struct record_row *row = &record_rows[type];
		if (row->is_prefix ? strncmp(key, row->key, strlen(row->key)) == 0
				   : strcmp(key, row->key) == 0)
			break;
	}
	return type;
}

const char *record_key_rest(const char *key, enum record_type type)
{
	const struct record_row *row = &record_rows[type];
	return row->is_prefix ? key + strlen(row->key) : "";
}

__attribute__((format(printf, 2, 3))) static const char *key_format(char *key, const char *format,
								    ...)
{
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(key, RECORD_KEY_BYTES, format, arguments);
	va_end(arguments);
	ASSERT(length > 0 && (size_t)length < RECORD_KEY_BYTES);
	return key;
}

const char *record_service_key(const char *service, char *key)
{
	return key_format(key, "service/%s", service);
}

const char *record_version_key(const char *service, uint32_t number, char *key)
{
	return key_format(key, "version/%s/%010u", service, number);
}

const char *record_forgotten_key(const char *backend, char *key)
{
	return key_format(key, "forgotten/%s", backend);
}

const char *record_member_key(const char *node, char *key)
{
	return key_format(key, "member/%s", node);
}
