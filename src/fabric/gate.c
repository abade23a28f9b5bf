/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/gate.h"

#include "base/alarms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *gate_reason_name(enum gate_reason reason)
{
	static const char *const names[] = {
#define X(id, name, sentence) name,
	    GATE_REASONS(X)
#undef X
		"open"};
	return names[reason];
}

const char *gate_text(const struct gate_wait *wait, char text[GATE_TEXT])
{
	static const char *const sentences[] = {
#define X(id, name, sentence) sentence,
	    GATE_REASONS(X)
#undef X
		"nothing is in its way"};
	const char *sentence = sentences[wait->reason];
	const char *place = strstr(sentence, "%s");
	if (place)
		snprintf(text, GATE_TEXT, "%.*s%s%s", (int)(place - sentence), sentence,
			 wait->detail ? wait->detail : "", place + 2);
	else
		snprintf(text, GATE_TEXT, "%s", sentence);
	return text;
}

/* A listener that is not there is the matter of the versions that have flows for it. */
static bool is_of_other_listener(const struct peer_alarm *alarm, const struct backend *backend)
{
	char subject[IP_TEXT_BYTES + 32];
	if (strcmp(alarm->code, alarm_rows[ALARM_LISTENER_NONE].code) != 0 &&
	    strcmp(alarm->code, alarm_rows[ALARM_LISTENER_CLOSED].code) != 0)
		return false;
	for (size_t i = 0; i < backend->listener_count; i++) {
		const struct backend_listener *listener = &backend->listeners[i];
		char address[IP_TEXT_BYTES] = "*";
		if (listener->address.family != IP_NONE)
			ip_address_format(&listener->address, address);
		snprintf(subject, sizeof(subject), "%s/%s %u",
			 alarm_subject_name(ALARM_ABOUT_LISTENER), address, listener->port);
		if (strcmp(alarm->subject, subject) == 0)
			return false;
	}
	return true;
}

/* The first alarm of the landing that is about this backend. It is asked for the addresses of every
 * version that names it, and that it lacks another one than this is no fault of this version. */
static const char *find_alarm(const struct report *report, const struct backend *backend)
{
	for (size_t i = 0; i < report->said.alarms.count; i++) {
		const struct peer_alarm *alarm = &report->said.alarms.items[i];
		if (strcmp(alarm->severity, alarm_severity_name(ALARM_IS_ALARM)) == 0 &&
		    strcmp(alarm->code, alarm_rows[ALARM_TUNNEL_END_GONE].code) != 0 &&
		    !is_of_other_listener(alarm, backend))
			return alarm->text;
	}
	return NULL;
}

static enum gate_reason look_at_landing(const struct sights *sights, struct landings *landings,
					const struct backend *backend, const char **ret_detail)
{
	const struct report *report;
	switch (reports_doubt(sights->reports, backend, image_report_interval_ms(sights->image),
			      sights->now_ms, &report)) {
	case REPORT_SILENT:
		return report ? GATE_SILENT : GATE_NEVER_REPORTED;
	case REPORT_ELSEWHERE:
		return GATE_ELSEWHERE;
	case REPORT_DISPUTED:
		return GATE_DISPUTED;
	case REPORT_NO_LANDING:
		return GATE_OPEN;
	case REPORT_COOKIES:
	case REPORT_BELIEVED:
		break;
	}
	if (landings && !landings_has_carried_out(landings, report))
		return GATE_NOT_CONFIGURED;
	*ret_detail = find_alarm(report, backend);
	return *ret_detail ? GATE_ALARM : GATE_OPEN;
}

size_t gate_find(const struct sights *sights, struct landings *landings,
		 const struct version *version, struct gate_wait *ret_waits, size_t room)
{
	size_t count = 0;
	bool is_current = !landings || landings_update(landings, sights->image) == 0;
	for (size_t i = 0; i < version->backend_count; i++) {
		const struct backend *backend = &version->backends[i];
		struct gate_wait wait = {.backend = backend};
		if (!backend->weight)
			continue;
		wait.reason = look_at_landing(sights, landings, backend, &wait.detail);
		if (wait.reason == GATE_OPEN && !is_current)
			wait.reason = GATE_NOT_CONFIGURED;
		if (wait.reason == GATE_OPEN && landings) {
			wait.detail = merge_unreached(sights, &backend->address);
			wait.reason = wait.detail ? GATE_NO_NEXT_HOP : GATE_OPEN;
		}
		if (wait.reason == GATE_OPEN)
			continue;
		if (count < room)
			ret_waits[count] = wait;
		count++;
	}
	return count;
}

/* --- what was told ---------------------------------------------------------------------------- */

struct told_wait {
	char service[MODEL_NAME_BYTES];
	uint32_t version;
	char backend[MODEL_NAME_BYTES];
	enum gate_reason reason;
};

struct gate_news {
	struct told_wait *items; /* of services that wait: few at a time */
	size_t count;
};

int gate_news_new(struct gate_news **ret_news)
{
	struct gate_news *news = calloc(1, sizeof(*news));
	if (!news)
		return -ENOMEM;
	*ret_news = news;
	return 0;
}

void gate_news_free(struct gate_news *news)
{
	if (news)
		free(news->items);
	free(news);
}

bool gate_news_note(struct gate_news *news, const char *service, uint32_t version,
		    const struct gate_wait *wait)
{
	size_t at = 0;
	while (at < news->count && strcmp(news->items[at].service, service) != 0)
		at++;
	if (!wait) {
		if (at < news->count)
			news->items[at] = news->items[--news->count];
		return false;
	}
	struct told_wait now = {.version = version, .reason = wait->reason};
	snprintf(now.service, sizeof(now.service), "%s", service);
	snprintf(now.backend, sizeof(now.backend), "%s", wait->backend->name);
	if (at == news->count) {
		struct told_wait *items =
		    reallocarray(news->items, news->count + 1, sizeof(*items));
		if (!items)
			return true; /* and again the next time, which is better than never */
		news->items = items;
		news->items[news->count++] = now;
		return true;
	}
	struct told_wait *told = &news->items[at];
	bool is_new = told->version != version || told->reason != now.reason ||
		      strcmp(told->backend, now.backend) != 0;
	*told = now;
	return is_new;
}
