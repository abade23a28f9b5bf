/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/exec.h"

#include "base/buffer.h"
#include "lab/door.h"
#include "lab/room.h"

#include <dirent.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define CODE_NOT_FOUND 127
#define CODE_CANNOT_RUN 126
#define CODE_SIGNALLED 128

/* Into the lab's mounts, and its PID namespace for children of this process. */
static int enter_lab(const char *lab, struct error *err)
{
	char folder[PATH_MAX];
	pid_t pid;
	int result = door_find(lab, &pid, err);
	if (result < 0)
		return result;
	if (!getcwd(folder, sizeof(folder)))
		snprintf(folder, sizeof(folder), "/");
	int holder = pidfd_open(pid, 0);
	if (holder < 0 || setns(holder, CLONE_NEWNS | CLONE_NEWPID) < 0)
		result =
		    error_set(err, -errno, "cannot enter the lab %s: %s", lab, error_text(-errno));
	if (holder >= 0)
		close(holder);
	/* The same folder, seen through the lab's mounts; some below /run are covered there. */
	if (result == 0 && chdir(folder) < 0 && chdir("/") < 0)
		result = error_set(err, -errno, "/: %s", error_text(-errno));
	return result;
}

static void list_machines(struct buffer *names)
{
	DIR *folder = opendir(ROOM_MACHINES);
	const struct dirent *entry;
	while (folder && (entry = readdir(folder)))
		if (*entry->d_name != '.')
			buffer_printf(names, "%s%s", names->length ? ", " : "", entry->d_name);
	if (folder)
		closedir(folder);
}

static int check_machine(const char *lab, const char *machine, struct error *err)
{
	char path[PATH_MAX];
	struct buffer names;
	snprintf(path, sizeof(path), ROOM_MACHINES "/%s", machine);
	if (!strchr(machine, '/') && *machine != '.' && access(path, F_OK) == 0)
		return 0;
	buffer_init(&names, 1024);
	list_machines(&names);
	int result = error_set(err, -FL_ENOTFOUND, "the lab %s has no machine %s; it has: %s", lab,
			       machine, names.data ? names.data : "none");
	buffer_done(&names);
	return result;
}

__attribute__((noreturn)) static void become(const char *lab, const char *machine,
					     char *const *words, const sigset_t *mask)
{
	struct error err;
	sigprocmask(SIG_SETMASK, mask, NULL);
	if (room_become(lab, machine, &err) < 0) {
		fprintf(stderr, "fairlead: %s\n", err.text);
		_exit(CODE_CANNOT_RUN);
	}
	execvp(words[0], words);
	int code = errno == ENOENT ? CODE_NOT_FOUND : CODE_CANNOT_RUN;
	fprintf(stderr, "fairlead: %s: %s\n", words[0], error_text(-errno));
	_exit(code);
}

/* The terminal sends its own signals to the child as well; those that somebody sends to this
 * process alone are passed on. */
static int wait_for(pid_t child, const sigset_t *watched)
{
	int status, signal;
	for (;;) {
		if (sigwait(watched, &signal) != 0)
			continue;
		if (signal == SIGTERM || signal == SIGHUP)
			(void)kill(child, signal);
		if (signal == SIGCHLD && waitpid(child, &status, WNOHANG) == child)
			break;
	}
	return WIFSIGNALED(status) ? CODE_SIGNALLED + WTERMSIG(status) : WEXITSTATUS(status);
}

int exec_run(const char *lab, const char *machine, char *const *words, int *ret_code,
	     struct error *err)
{
	static const int SIGNALS[] = {SIGCHLD, SIGTERM, SIGHUP, SIGINT, SIGQUIT};
	sigset_t watched, before;
	int result = enter_lab(lab, err);
	if (result == 0)
		result = check_machine(lab, machine, err);
	if (result < 0)
		return result;
	sigemptyset(&watched);
	for (size_t i = 0; i < sizeof(SIGNALS) / sizeof(SIGNALS[0]); i++)
		sigaddset(&watched, SIGNALS[i]);
	sigprocmask(SIG_BLOCK, &watched, &before);
	pid_t child = fork();
	if (child == 0)
		become(lab, machine, words, &before);
	if (child < 0)
		return error_set(err, -errno, "cannot start a process: %s", error_text(-errno));
	*ret_code = wait_for(child, &watched);
	return 0;
}
