/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon itself: is it this machine's, of the build on disk, and what does it complain of? */
#include "doctor/examination.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void check_place(struct examination *seen, long pid)
{
	char path[64];
	char theirs[64] = "";
	char own[64] = "";
	char value[32];
	snprintf(path, sizeof(path), "/proc/%ld/ns/net", pid);
	if (readlink(path, theirs, sizeof(theirs) - 1) < 0 ||
	    readlink("/proc/self/ns/net", own, sizeof(own) - 1) < 0) {
		examination_unknown(seen,
				    "whether the daemon (pid %ld) is in this network "
				    "namespace: /proc does not show it",
				    pid);
		return;
	}
	snprintf(value, sizeof(value), "%ld", pid);
	if (strcmp(theirs, own) != 0)
		FINDING_PUT(seen->findings, DAEMON_ELSEWHERE, "", value, (long long)pid);
}

/* What runs is the file as it was: another one may lie at its path by now. */
static void check_build(struct examination *seen, long pid)
{
	char link[64];
	char path[PATH_MAX] = "";
	struct stat runs;
	struct stat lies;
	snprintf(link, sizeof(link), "/proc/%ld/exe", pid);
	ssize_t length = readlink(link, path, sizeof(path) - 1);
	if (length < 0 || stat(link, &runs) < 0) {
		examination_unknown(seen, "what program the daemon runs: /proc does not show it");
		return;
	}
	static const char deleted[] = " (deleted)";
	const size_t tail = sizeof(deleted) - 1;
	if ((size_t)length > tail && strcmp(path + length - tail, deleted) == 0)
		path[(size_t)length - tail] = '\0';
	if (stat(path, &lies) < 0 || lies.st_ino != runs.st_ino || lies.st_dev != runs.st_dev)
		FINDING_PUT(seen->findings, BUILD_REPLACED, "", "", path, (long long)pid);
}

static void check_members(struct examination *seen)
{
	const json_int_t own = json_integer_value(json_object_get(seen->facts, "features"));
	size_t i;
	json_t *member;
	json_array_foreach (json_object_get(seen->facts, "members"), i, member) {
		const json_int_t theirs = json_integer_value(json_object_get(member, "features"));
		if (theirs != own)
			FINDING_PUT(seen->findings, BUILD_OTHER, "", "",
				    json_string_value(json_object_get(member, "name")),
				    (long long)theirs, (long long)own);
	}
}

/* An alarm that stands is a finding by its own code, and what was set back a warning. */
static void take_alarm(struct examination *seen, const json_t *alarm)
{
	const char *severity = json_string_value(json_object_get(alarm, "severity"));
	const char *advice = json_string_value(json_object_get(alarm, "advice"));
	const bool repaired = severity && strcmp(severity, "repaired") == 0;
	json_t *code = json_object_get(alarm, "code");
	for (size_t i = 0; i < json_array_size(seen->findings); i++) {
		const json_t *other = json_array_get(seen->findings, i);
		if (json_equal(json_object_get(other, "code"), code) &&
		    json_equal(json_object_get(other, "text"), json_object_get(alarm, "text")))
			return;
	}
	json_array_append_new(
	    seen->findings,
	    json_pack("{s:O, s:s, s:O, s:s}", "code", code, "severity",
		      finding_severity_name(repaired ? FINDING_IS_WARNING : FINDING_IS_ERROR),
		      "text", json_object_get(alarm, "text"), "mend", advice ? advice : ""));
}

static bool is_about_backends(const json_t *alarm)
{
	const char *subject = json_string_value(json_object_get(alarm, "subject"));
	return subject && strncmp(subject, "backend/", 8) == 0;
}

/* The daemon's own, and what the voter says of backends: those that do not report, and what this
 * machine's landing has. */
static void check_alarms(struct examination *seen)
{
	char self[128];
	const char *node = examination_text(seen, "node");
	size_t i;
	json_t *alarm;
	snprintf(self, sizeof(self), "backend/%s", node ? node : "");
	json_array_foreach (json_object_get(seen->facts, "alarms"), i, alarm)
		take_alarm(seen, alarm);
	json_array_foreach (json_object_get(seen->status, "alarms"), i, alarm) {
		const char *code = json_string_value(json_object_get(alarm, "code"));
		const char *subject = json_string_value(json_object_get(alarm, "subject"));
		if (code && is_about_backends(alarm) &&
		    (strncmp(code, "backend.", 8) == 0 || strcmp(subject, self) == 0))
			take_alarm(seen, alarm);
	}
}

void check_daemon(struct examination *seen)
{
	if (!seen->facts)
		return;
	const long pid = (long)json_integer_value(json_object_get(seen->facts, "pid"));
	seen->looked += 4;
	check_place(seen, pid);
	check_build(seen, pid);
	check_members(seen);
	check_alarms(seen);
}
