/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *error_name(int code)
{
	switch (-code) {
	case 0:
		return "OK";
#define X(name, value, text)                                                                       \
	case name:                                                                                 \
		return #name;
		ERROR_CODES(X)
#undef X
	default: {
		const char *name = strerrorname_np(-code);
		return name ? name : "UNKNOWN";
	}
	}
}

const char *error_text(int code)
{
	switch (-code) {
	case 0:
		return "no error";
#define X(name, value, text)                                                                       \
	case name:                                                                                 \
		return text;
		ERROR_CODES(X)
#undef X
	default: {
		const char *text = strerrordesc_np(-code);
		return text ? text : "unknown error";
	}
	}
}

int error_vset(struct error *err, int code, const char *format, va_list arguments)
{
	ASSERT(code < 0);
	if (err) {
		err->code = code;
		vsnprintf(err->text, sizeof(err->text), format, arguments);
	}
	return code;
}

int error_set(struct error *err, int code, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	error_vset(err, code, format, arguments);
	va_end(arguments);
	return code;
}

int error_prefix(struct error *err, const char *format, ...)
{
	if (!err)
		return 0;

	char old[sizeof(err->text)];
	memcpy(old, err->text, sizeof(old));
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(err->text, sizeof(err->text), format, arguments);
	va_end(arguments);
	if (length >= 0 && (size_t)length < sizeof(err->text)) {
		size_t room = sizeof(err->text) - (size_t)length;
		snprintf(err->text + length, room, ": %.*s", (int)room, old);
	}
	return err->code;
}

void assert_failed(const char *expression, const char *what, const char *file, int line)
{
	fprintf(stderr, "%s:%d: assertion failed%s%s: %s\n", file, line, *what ? ": " : "", what,
		expression);
	abort();
}
