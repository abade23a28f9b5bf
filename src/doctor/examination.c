/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/examination.h"

#include <ctype.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *examination_text(const struct examination *seen, const char *key)
{
	const char *text = json_string_value(json_object_get(seen->facts, key));
	return text ? text : json_string_value(json_object_get(seen->parameters, key));
}

const json_t *examination_list(const struct examination *seen, const char *key)
{
	const json_t *list = json_object_get(seen->facts ? seen->facts : seen->parameters, key);
	return json_is_array(list) ? list : NULL;
}

bool examination_has_role(const struct examination *seen, const char *role)
{
	const char *roles = examination_text(seen, "role");
	const size_t length = strlen(role);
	for (const char *at = roles; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
		if (strncmp(at, role, length) == 0 && (!at[length] || at[length] == ','))
			return true;
	}
	return false;
}

void examination_unknown(struct examination *seen, const char *format, ...)
{
	char text[1024];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	json_array_append_new(seen->unknown, json_string(text));
}

/* Of the same network namespace: a machine's, not a container's beside it. */
long examination_find_process(const char *name)
{
	char own[64] = "";
	DIR *processes = opendir("/proc");
	long found = 0;
	if (readlink("/proc/self/ns/net", own, sizeof(own) - 1) < 0)
		own[0] = '\0';
	for (struct dirent *entry = processes ? readdir(processes) : NULL; entry && !found;
	     entry = readdir(processes)) {
		char path[64];
		char comm[64] = "";
		char net[64] = "";
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/comm", entry->d_name);
		FILE *file = fopen(path, "re");
		if (!file || !fgets(comm, sizeof(comm), file))
			comm[0] = '\0';
		if (file)
			fclose(file);
		comm[strcspn(comm, "\n")] = '\0';
		snprintf(path, sizeof(path), "/proc/%.20s/ns/net", entry->d_name);
		/* The kernel keeps 15 characters of a name. */
		if (strncmp(comm, name, 15) == 0 && readlink(path, net, sizeof(net) - 1) > 0 &&
		    strcmp(net, own) == 0)
			found = strtol(entry->d_name, NULL, 10);
	}
	if (processes)
		closedir(processes);
	return found;
}
