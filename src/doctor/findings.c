/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct finding_row finding_rows[FINDING_CODES] = {
#define X(id, code, severity, sentence, mend)                                                      \
	{code, FINDING_IS_##severity, finding_sentence_##id, mend},
    FINDINGS(X)
#undef X
};

const char *finding_severity_name(enum finding_severity severity)
{
	static const char *const names[] = {
#define X(id, name, meaning) name,
	    FINDING_SEVERITIES(X)
#undef X
	};
	return names[severity];
}

void finding_mend(enum finding_code code, const char *subject, const char *value, char *text,
		  size_t size)
{
	size_t length = 0;
	text[0] = '\0';
	for (const char *at = finding_rows[code].mend; *at && length + 1 < size;) {
		const char *put = strncmp(at, "{}", 2) == 0    ? subject
				  : strncmp(at, "{=}", 3) == 0 ? value
							       : NULL;
		length += (size_t)(put ? snprintf(text + length, size - length, "%s", put)
				       : snprintf(text + length, size - length, "%c", *at));
		at += !put ? 1 : at[1] == '}' ? 2 : 3;
	}
}

void finding_put(json_t *list, enum finding_code code, const char *subject, const char *value,
		 const char *sentence, ...)
{
	char text[1024];
	char mend[1024];
	va_list arguments;
	va_start(arguments, sentence);
	vsnprintf(text, sizeof(text), sentence, arguments);
	va_end(arguments);
	finding_mend(code, subject, value, mend, sizeof(mend));
	json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "code",
					      finding_rows[code].code, "severity",
					      finding_severity_name(finding_rows[code].severity),
					      "text", text, "mend", mend));
}
