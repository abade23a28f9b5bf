/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/member/service.h"

#include "daemon/options.h"

#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define UNIT "fairlead.service"

/* Its output is for the person, but standard output is what `init` and `join` print. */
static int systemctl(int *ret_status)
{
	static const char *const words[] = {"systemctl", "enable", "--now", UNIT, NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	int result =
	    posix_spawnp(&pid, words[0], &actions, NULL, (char **)(uintptr_t)words, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (result != 0)
		return -result;
	while (waitpid(pid, ret_status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int service_start(const char *state_folder, bool *ret_runs, struct error *err)
{
	int status = 0;
	*ret_runs = false;
	if (sd_booted() <= 0 || strcmp(state_folder, DEFAULT_STATE) != 0)
		return 0;
	int result = systemctl(&status);
	if (result < 0)
		return error_set(err, result,
				 "this machine is a node, but systemctl cannot be run to start it "
				 "(%s): start it by `fairlead run`",
				 error_text(result));
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return error_set(err, -FL_EUNAVAILABLE,
				 "this machine is a node, but its unit does not start: see "
				 "`journalctl -u " UNIT "`; `systemctl enable --now " UNIT
				 "` tries "
				 "again");
	*ret_runs = true;
	return 0;
}

void service_tell(const char *state_folder, bool runs)
{
	if (runs)
		printf("it runs, also after a restart of the machine: `systemctl status " UNIT
		       "`\n");
	else if (strcmp(state_folder, DEFAULT_STATE) == 0)
		printf("start it:\n    fairlead run\n");
	else
		printf("start it:\n    fairlead run --state %s\n", state_folder);
}
