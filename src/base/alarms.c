/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alarms.h"

#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct alarm_row alarm_rows[ALARM_CODES] = {
#define X(id, code, severity, subject, sentence, advice)                                           \
	{code, ALARM_IS_##severity, ALARM_ABOUT_##subject, alarm_sentence_##id, advice},
    ALARMS(X)
#undef X
};

const char *alarm_severity_name(enum alarm_severity severity)
{
	static const char *const names[] = {
#define X(id, name, meaning) name,
	    ALARM_SEVERITIES(X)
#undef X
	};
	return names[severity];
}

const char *alarm_subject_name(enum alarm_subject subject)
{
	static const char *const names[] = {
#define X(id, name) name,
	    ALARM_SUBJECTS(X)
#undef X
	};
	return names[subject];
}

bool alarm_is_repaired(enum alarm_code code)
{
	return alarm_rows[code].severity == ALARM_IS_REPAIRED;
}

static bool set_words(struct alarm *alarm, uint64_t now_ms, enum alarm_code code,
		      const char *sentence, const char *subject, va_list arguments)
    __attribute__((format(printf, 4, 0)));

static bool set_words(struct alarm *alarm, uint64_t now_ms, enum alarm_code code,
		      const char *sentence, const char *subject, va_list arguments)
{
	struct alarm before = *alarm;
	alarm->code = code;
	snprintf(alarm->subject, sizeof(alarm->subject), "%s", subject);
	vsnprintf(alarm->text, sizeof(alarm->text), sentence, arguments);
	bool same = alarm_stands(&before) && before.code == code &&
		    strcmp(before.subject, alarm->subject) == 0;
	if (!same)
		alarm->since_ms = now_ms;
	return !same || strcmp(before.text, alarm->text) != 0;
}

bool alarm_set(struct alarm *alarm, uint64_t now_ms, enum alarm_code code, const char *sentence,
	       const char *subject, ...)
{
	va_list arguments;
	va_start(arguments, subject);
	bool is_new = set_words(alarm, now_ms, code, sentence, subject, arguments);
	va_end(arguments);
	return is_new;
}

void alarm_end(struct alarm *alarm)
{
	alarm->text[0] = '\0';
}

bool alarm_stands(const struct alarm *alarm)
{
	return *alarm->text != '\0';
}

void alarm_advice(enum alarm_code code, const char *subject, char *text, size_t size)
{
	size_t length = 0;
	text[0] = '\0';
	for (const char *at = alarm_rows[code].advice; *at && length + 1 < size;) {
		bool is_subject = strncmp(at, "{}", 2) == 0;
		int put = is_subject ? snprintf(text + length, size - length, "%s", subject)
				     : snprintf(text + length, size - length, "%c", *at);
		length += (size_t)put;
		at += is_subject ? 2 : 1;
	}
}

json_t *alarm_json(const struct alarm *alarm, const char *prefix, const struct clock *clock)
{
	char advice[512];
	const struct alarm_row *row = &alarm_rows[alarm->code];
	json_t *json = json_pack("{s:s, s:s}", "code", row->code, "severity",
				 alarm_severity_name(row->severity));
	json_object_set_new(json, "subject",
			    json_sprintf("%s%s%s", alarm_subject_name(row->subject),
					 *alarm->subject ? "/" : "", alarm->subject));
	if (clock && alarm->since_ms) {
		char time[CLOCK_TEXT_BYTES];
		uint64_t ago_ms = clock_now_ms(clock) - alarm->since_ms;
		clock_format(clock_wall_ms(clock) - ago_ms, time, sizeof(time));
		json_object_set_new(json, "since", json_string(time));
	}
	json_object_set_new(json, "text", json_sprintf("%s%s", prefix, alarm->text));
	alarm_advice(alarm->code, alarm->subject, advice, sizeof(advice));
	if (*advice)
		json_object_set_new(json, "advice", json_string(advice));
	return json;
}

void alarm_put(json_t *list, const struct clock *clock, uint64_t since_ms, enum alarm_code code,
	       const char *sentence, const char *subject, ...)
{
	struct alarm alarm = {0};
	va_list arguments;
	va_start(arguments, subject);
	(void)set_words(&alarm, since_ms, code, sentence, subject, arguments);
	va_end(arguments);
	json_array_append_new(list, alarm_json(&alarm, "", clock));
}

void alarm_put_sent(json_t *list, enum alarm_subject kind, const char *sender, const json_t *sent)
{
	static const char *const kept[] = {"code", "severity", "advice"};
	const char *text = json_string_value(json_object_get(sent, "text"));
	if (!text)
		return;
	json_t *alarm = json_object();
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		json_t *value = json_object_get(sent, kept[i]);
		if (json_is_string(value))
			json_object_set(alarm, kept[i], value);
	}
	json_object_set_new(alarm, "subject",
			    json_sprintf("%s/%s", alarm_subject_name(kind), sender));
	json_object_set_new(alarm, "text",
			    json_sprintf("%s %s: %s", alarm_subject_name(kind), sender, text));
	json_array_append_new(list, alarm);
}
