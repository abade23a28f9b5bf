/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/landing_trouble.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define REPAIRED_TOLD_MS 60000u

static const char *const failure_texts[LANDING_FAILURES] = {
    [LANDING_FAILURE_CONFIGURE] = "the landing cannot take its configuration",
    [LANDING_FAILURE_CUT] = "connections cannot be cut",
    [LANDING_FAILURE_COUNT] = "connections cannot be counted",
    [LANDING_FAILURE_CHECK] = "the landing cannot be checked",
};

void landing_trouble_failed(struct landing_trouble *trouble, enum landing_failure which,
			    const struct error *err)
{
	char *failure = trouble->failures[which];
	char text[LANDING_FAILURE_BYTES] = "";
	if (err)
		snprintf(text, sizeof(text), "%s: %.900s", failure_texts[which], err->text);
	if (err && strcmp(text, failure) != 0)
		log_event(LOG_LEVEL_ERROR, "landing.failed", "error", text, NULL);
	memcpy(failure, text, sizeof(text));
}

static bool has(const struct landing_alarms *alarms, const char *text)
{
	for (unsigned i = 0; i < alarms->count; i++) {
		if (strcmp(alarms->items[i].text, text) == 0)
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
	if (!has(repaired, alarm->text) && repaired->count < LANDING_ALARMS_MAX)
		repaired->items[repaired->count++] = *alarm;
}

void landing_trouble_found(struct landing_trouble *trouble, const struct landing_alarms *alarms,
			   uint64_t now_ms)
{
	for (unsigned i = 0; i < alarms->count; i++) {
		const struct landing_alarm *alarm = &alarms->items[i];
		/* One that lasts is found by every check. */
		if (!has(&trouble->alarms, alarm->text))
			log_event(LOG_LEVEL_WARNING, "landing.alarm", "repaired",
				  alarm->repaired ? "yes" : "no", "text", alarm->text, NULL);
		if (alarm->repaired)
			remember_repaired(trouble, alarm, now_ms);
	}
	trouble->alarms = *alarms;
}

json_t *landing_trouble_json(const struct landing_trouble *trouble, uint64_t now_ms)
{
	json_t *list = json_array();
	for (int i = 0; i < LANDING_FAILURES; i++) {
		if (*trouble->failures[i])
			json_array_append_new(list, json_string(trouble->failures[i]));
	}
	for (unsigned i = 0; i < trouble->alarms.count; i++) {
		if (!trouble->alarms.items[i].repaired)
			json_array_append_new(list, json_string(trouble->alarms.items[i].text));
	}
	if (trouble->alarms.dropped)
		json_array_append_new(
		    list, json_sprintf("%u more than are told here", trouble->alarms.dropped));
	for (unsigned i = 0; i < trouble->repaired.count && is_recent(trouble, now_ms); i++)
		json_array_append_new(list, json_sprintf("within the last minute: %s",
							 trouble->repaired.items[i].text));
	return list;
}
