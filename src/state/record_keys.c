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

const char *record_ended_key(const char *service, char *key)
{
	return key_format(key, "ended/%s", service);
}

const char *record_version_key(const char *service, uint32_t number, char *key)
{
	return key_format(key, "version/%s/%010u", service, number);
}

const char *record_forgotten_key(const char *backend, const struct ip_address *address, char *key)
{
	char text[IP_TEXT_BYTES];
	return address->family == IP_NONE
		   ? key_format(key, "forgotten/%s", backend)
		   : key_format(key, "forgotten/%s/%s", backend, ip_address_format(address, text));
}

int record_forgotten_parse(const char *key, char *ret_backend, struct ip_address *ret_address)
{
	const char *rest = record_key_rest(key, RECORD_FORGOTTEN);
	size_t length = strcspn(rest, "/");
	struct ip_address address = {.family = IP_NONE};
	if (!length || length >= MODEL_NAME_BYTES ||
	    (rest[length] && ip_address_parse(rest + length + 1, &address) < 0))
		return -FL_ECORRUPT;
	snprintf(ret_backend, MODEL_NAME_BYTES, "%.*s", (int)length, rest);
	*ret_address = address;
	return 0;
}

const char *record_member_key(const char *node, char *key)
{
	return key_format(key, "member/%s", node);
}
