/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/wait.h"

#include "cli/output.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

bool wait_is_wished(json_t *parameters)
{
	bool wished = json_is_true(json_object_get(parameters, "wait"));
	bool unwished = json_is_true(json_object_get(parameters, "no_wait"));
	json_object_del(parameters, "wait");
	json_object_del(parameters, "no_wait");
	return wished || (!unwished && output_is_terminal());
}

void wait_say(struct wait *wait, const char *text)
{
	char line[sizeof(wait->said) + 32];
	if (strncmp(wait->said, text, sizeof(wait->said) - 1) == 0)
		return;
	snprintf(wait->said, sizeof(wait->said), "%s", text);
	snprintf(line, sizeof(line), "fairlead: waiting: %s\n", wait->said);
	output_message(line);
}

void wait_pause(void)
{
	(void)poll(NULL, 0, WAIT_INTERVAL_MS);
}
