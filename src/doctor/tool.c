/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

struct tool tool_open(const char *const argv[])
{
	struct tool tool = {0};
	posix_spawn_file_actions_t actions;
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return tool;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	/* execve(2) changes no argument, and its prototype is older than const. */
	int result = posix_spawnp(&tool.pid, argv[0], &actions, NULL,
				  (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	tool.missing = result == ENOENT;
	tool.output = result == 0 ? fdopen(ends[0], "r") : NULL;
	if (!tool.output)
		close(ends[0]);
	return tool;
}

bool tool_close(struct tool *tool)
{
	int status = -1;
	if (!tool->output)
		return false;
	(void)fclose(tool->output);
	while (waitpid(tool->pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
