/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon says of itself: to the log, to those who follow its events, and to systemd. */
#include "api/unix.h"
#include "base/log.h"
#include "daemon/daemon.h"

#include <stdio.h>
#include <systemd/sd-daemon.h>

void daemon_notify(const char *state)
{
	sd_notify(0, state);
}

static void on_watchdog(uv_timer_t *timer)
{
	(void)timer;
	daemon_notify("WATCHDOG=1");
}

void daemon_watchdog_start(uv_loop_t *loop, uv_timer_t *timer)
{
	uint64_t patience_us;
	uv_timer_init(loop, timer);
	if (sd_watchdog_enabled(0, &patience_us) > 0) {
		uint64_t interval_ms = patience_us / 1000 / 3 + 1;
		uv_timer_start(timer, on_watchdog, 0, interval_ms);
	}
}

/* Plain fields only: what is an object here stands in full in the ledger and the event stream. */
static void log_fields(enum log_level level, const char *name, const json_t *fields)
{
	const char *pairs[2 * LOG_MAX_PAIRS + 1];
	char numbers[LOG_MAX_PAIRS][32];
	size_t count = 0;
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)fields, key, value) {
		if (count == LOG_MAX_PAIRS)
			break;
		if (!json_is_string(value) && !json_is_integer(value))
			continue;
		pairs[2 * count] = key;
		if (json_is_string(value)) {
			pairs[2 * count + 1] = json_string_value(value);
		} else {
			snprintf(numbers[count], sizeof(numbers[count]), "%lld",
				 (long long)json_integer_value(value));
			pairs[2 * count + 1] = numbers[count];
		}
		count++;
	}
	pairs[2 * count] = NULL;
	log_pairs(level, name, pairs);
}

static enum log_level level_of(const json_t *fields)
{
	if (json_object_get(fields, "error"))
		return LOG_LEVEL_ERROR;
	return json_object_get(fields, "warning") ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO;
}

void daemon_event(struct daemon *daemon, const char *name, json_t *fields)
{
	if (!fields) {
		log_event(LOG_LEVEL_ERROR, name, "error", "there was no memory to say more", NULL);
		return;
	}
	log_fields(level_of(fields), name, fields);
	if (daemon->api) {
		char time[CLOCK_TEXT_BYTES];
		clock_format(clock_wall_ms(daemon->clock), time, sizeof(time));
		json_t *item = json_pack("{s:s, s:s}", "time", time, "event", name);
		json_object_update(item, fields);
		api_unix_publish(daemon->api, item);
		json_decref(item);
	}
	json_decref(fields);
}

void daemon_tell_alarm(struct daemon *daemon, const struct alarm *alarm)
{
	char advice[512];
	const struct alarm_row *row = &alarm_rows[alarm->code];
	alarm_advice(alarm->code, alarm->subject, advice, sizeof(advice));
	daemon_event(daemon, row->code,
		     json_pack("{s:s, s:s, s:s}", "subject", alarm->subject,
			       row->severity == ALARM_IS_ALARM ? "error" : "warning", alarm->text,
			       "advice", advice));
}
