/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/landing/landing_trouble.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define REPAIRED_TOLD_MS 60000u

static void log_alarm(enum alarm_code code, const char *subject, const char *text)
{
	const struct alarm_row *row = &alarm_rows[code];
	log_event(row->severity == ALARM_IS_ALARM ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, row->code,
		  "subject", subject, "text", text, NULL);
}

static bool set_failure(struct alarm *failure, enum landing_failure which, const char *why,
			uint64_t now_ms)
{
	switch (which) {
#define X(id)                                                                                      \
	case LANDING_FAILURE_##id:                                                                 \
		return ALARM_SET(failure, now_ms, LANDING_NOT_##id, "", why);
		LANDING_FAILURE_KINDS(X)
#undef X
	case LANDING_FAILURES:
		break;
	}
	return false;
}

void landing_trouble_failed(struct landing_trouble *trouble, enum landing_failure which,
			    const struct error *err, uint64_t now_ms)
{
	struct alarm *failure = &trouble->failures[which];
	if (!err)
		alarm_end(failure);
	else if (set_failure(failure, which, err->text, now_ms))
		log_alarm(failure->code, failure->subject, failure->text);
}

static bool has(const struct landing_alarms *alarms, const struct landing_alarm *alarm)
{
	for (unsigned i = 0; i < alarms->count; i++) {
		if (alarms->items[i].code == alarm->code &&
		    strcmp(alarms->items[i].text, alarm->text) == 0)
			return true;
	}
	return false;
}

static bool is_recent(const struct landing_trouble *trouble, uint64_t now_ms)
{
	return now_ms - trouble->repaired_ms < REPAIRED_TOLD_MS;
}

static void remember_repaired(struct landing_trouble *trouble, const struct landing_alarm *alarm,
			      uint64_t now_ms)
{
	struct landing_alarms *repaired = &trouble->repaired;
	if (!is_recent(trouble, now_ms))
		repaired->count = 0;
	trouble->repaired_ms = now_ms;
	if (!has(repaired, alarm) && repaired->count < LANDING_ALARMS_MAX)
		repaired->items[repaired->count++] = *alarm;
}

void landing_trouble_found(struct landing_trouble *trouble, const struct landing_alarms *alarms,
			   uint64_t now_ms)
{
	for (unsigned i = 0; i < alarms->count; i++) {
		const struct landing_alarm *alarm = &alarms->items[i];
		/* One that lasts is found by every check. */
		if (!has(&trouble->alarms, alarm))
			log_alarm(alarm->code, alarm->subject, alarm->text);
		if (alarm_is_repaired(alarm->code))
			remember_repaired(trouble, alarm, now_ms);
	}
	trouble->alarms = *alarms;
}

static void put_found(json_t *list, const struct landing_alarm *found)
{
	struct alarm alarm = {.code = found->code};
	memcpy(alarm.subject, found->subject, sizeof(found->subject));
	memcpy(alarm.text, found->text, sizeof(found->text));
	bool repaired = alarm_is_repaired(found->code);
	json_array_append_new(list,
			      alarm_json(&alarm, repaired ? "within the last minute: " : "", NULL));
}

json_t *landing_trouble_json(const struct landing_trouble *trouble, uint64_t now_ms)
{
	json_t *list = json_array();
	for (int i = 0; i < LANDING_FAILURES; i++) {
		if (alarm_stands(&trouble->failures[i]))
			json_array_append_new(list, alarm_json(&trouble->failures[i], "", NULL));
	}
	for (unsigned i = 0; i < trouble->alarms.count; i++) {
		if (!alarm_is_repaired(trouble->alarms.items[i].code))
			put_found(list, &trouble->alarms.items[i]);
	}
	if (trouble->alarms.dropped)
		ALARM_PUT(list, NULL, 0, LANDING_MORE, "", trouble->alarms.dropped);
	for (unsigned i = 0; i < trouble->repaired.count && is_recent(trouble, now_ms); i++)
		put_found(list, &trouble->repaired.items[i]);
	return list;
}
