/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/processes.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "lab/room.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOG_TAIL_BYTES 1200
#define READY_INTERVAL_NS 10000000l /* between two questions */
#define BEGUN_INTERVAL_MS 5
#define BEGUN_MS 2000u /* the longest that a shell may take until it is the command */
#define WORDS_BYTES 4096

void processes_init(struct processes *processes, const char *lab, const struct topology *topology)
{
	size_t count = 0;
	for (size_t i = 0; i < topology->machine_count; i++)
		count += topology->machines[i].process_count;
	*processes = (struct processes){.lab = lab};
	processes->items = must_alloc(count + 1, sizeof(*processes->items));
	for (size_t i = 0; i < topology->machine_count; i++) {
		const struct topology_machine *machine = &topology->machines[i];
		for (size_t p = 0; p < machine->process_count; p++)
			processes->items[processes->count++] = (struct lab_process){
			    .machine = machine, .process = &machine->processes[p]};
	}
}

/* --- starting --- */

static void log_path(const char *name, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, ROOM_LOGS "/%s.log", name);
}

static int open_output(const char *log)
{
	return open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

/* In the child: have a shell read the command line. What fails is said where its output goes. */
__attribute__((noreturn)) static void become_shell(const char *lab, const char *machine,
						   const char *command, const char *output)
{
	struct error err;
	sigset_t none;
	int in = open("/dev/null", O_RDONLY | O_CLOEXEC), out = open_output(output);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	if (in < 0 || out < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(out, STDERR_FILENO) < 0)
		_exit(127);
	if (room_become(lab, machine, &err) == 0)
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	else
		fprintf(stderr, "fairlead: %s\n", err.text);
	_exit(127);
}

static pid_t start_shell(const struct processes *processes, const struct lab_process *item,
			 const char *command, const char *output)
{
	pid_t pid = fork();
	if (pid == 0)
		become_shell(processes->lab, item->machine->name, command, output);
	return pid;
}

static int start(const struct processes *processes, struct lab_process *item, struct error *err)
{
	char path[PATH_MAX];
	struct buffer command;
	log_path(item->process->name, path);
	buffer_init(&command, 0);
	/* The process is to be the command itself, not a shell that waits for it. */
	buffer_printf(&command, "exec %s", item->process->command);
	pid_t pid = command.status ? -1 : start_shell(processes, item, command.data, path);
	buffer_done(&command);
	if (pid < 0)
		return error_set(err, -errno, "cannot start %s: %s", item->process->name,
				 error_text(-errno));
	item->pid = pid;
	return 0;
}

/* --- being ready --- */

void processes_child_ended(struct processes *processes, pid_t pid, int status)
{
	for (size_t i = 0; i < processes->count; i++) {
		struct lab_process *item = &processes->items[i];
		if (item->pid != pid || item->ended)
			continue;
		item->ended = true;
		item->status = status;
	}
}

const char *process_state(const struct lab_process *process, char *text)
{
	if (!process->ended)
		snprintf(text, PROCESS_STATE_BYTES, process->pid ? "running" : "not started");
	else if (WIFSIGNALED(process->status))
		snprintf(text, PROCESS_STATE_BYTES, "killed by signal %d",
			 WTERMSIG(process->status));
	else
		snprintf(text, PROCESS_STATE_BYTES, "exit code %d", WEXITSTATUS(process->status));
	return text;
}

/* Whole lines of the log's end; `tail` holds LOG_TAIL_BYTES. */
static void read_tail(const char *name, char *tail)
{
	char path[PATH_MAX];
	log_path(name, path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	off_t from = size >= LOG_TAIL_BYTES ? size - LOG_TAIL_BYTES + 1 : 0;
	ssize_t length = fd < 0 ? 0 : pread(fd, tail, LOG_TAIL_BYTES - 1, from);
	if (fd >= 0)
		close(fd);
	tail[length > 0 ? length : 0] = '\0';
	char *line = from ? strchr(tail, '\n') : NULL;
	if (line)
		memmove(tail, line + 1, strlen(line + 1) + 1);
	for (size_t end = strlen(tail); end > 0 && tail[end - 1] == '\n'; end--)
		tail[end - 1] = '\0';
}

static int process_failed(const struct lab_process *item, const char *what, struct error *err)
{
	char tail[LOG_TAIL_BYTES];
	read_tail(item->process->name, tail);
	return error_set(err, -FL_EUNAVAILABLE, "%s on %s %s; the command is\n  %s\n%s%s",
			 item->process->name, item->machine->name, what, item->process->command,
			 *tail ? "and the end of what it printed\n" : "and it printed nothing",
			 tail);
}

static bool has_ended(struct lab_process *item)
{
	if (!item->ended && waitpid(item->pid, &item->status, WNOHANG) == item->pid)
		item->ended = true;
	return item->ended;
}

static int ended_early(const struct lab_process *item, struct error *err)
{
	char state[PROCESS_STATE_BYTES], what[PROCESS_STATE_BYTES + 32];
	snprintf(what, sizeof(what), "ended at its start: %s", process_state(item, state));
	return process_failed(item, what, err);
}

/* Wait for the end of a shell, which is made at the deadline; its status. */
static int wait_end(pid_t pid, uint64_t deadline_ms)
{
	int status = 1;
	struct pollfd end = {.fd = pidfd_open(pid, 0), .events = POLLIN};
	uint64_t now_ms = clock_now_ms(&clock_system);
	if (poll(&end, 1, now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0) == 0)
		(void)kill(-pid, SIGKILL); /* its session, with all that it waits for */
	if (end.fd >= 0)
		close(end.fd);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return status;
}

/* Ask once. */
static bool is_ready(const struct processes *processes, const struct lab_process *item,
		     uint64_t deadline_ms)
{
	pid_t pid = start_shell(processes, item, item->process->ready, "/dev/null");
	return pid > 0 && wait_end(pid, deadline_ms) == 0;
}

static int wait_ready(const struct processes *processes, struct lab_process *item,
		      struct error *err)
{
	const struct timespec interval = {.tv_nsec = READY_INTERVAL_NS};
	uint64_t deadline_ms = clock_now_ms(&clock_system) + PROCESS_READY_MS;
	while (item->process->ready) {
		if (has_ended(item))
			return ended_early(item, err);
		if (is_ready(processes, item, deadline_ms))
			break;
		if (clock_now_ms(&clock_system) >= deadline_ms)
			return process_failed(item, "is not ready after 15 s", err);
		nanosleep(&interval, NULL);
	}
	return 0;
}

/* --- having begun --- */

/* What the process is called with; each word ends in a NUL, and so does the whole. None while it
 * is on its way from one program to another, or to its end. */
static size_t read_words(const char *process, char words[WORDS_BYTES])
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%s/cmdline", process);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? 0 : read(fd, words, WORDS_BYTES - 1);
	if (fd >= 0)
		close(fd);
	words[length > 0 ? length : 0] = '\0';
	return length > 0 ? (size_t)length : 0;
}

static bool is_shell_of(const char *words, size_t length, const char *command)
{
	static const char SHELL[] = "sh\0-c\0exec ";
	size_t before = sizeof(SHELL) - 1;
	return length > before && memcmp(words, SHELL, before) == 0 &&
	       strncmp(words + before, command, length - before) == 0;
}

/* Is the child the command, neither a copy of this process nor the shell any more? */
static bool is_command(const struct lab_process *item)
{
	char pid[16], own[WORDS_BYTES], words[WORDS_BYTES];
	snprintf(pid, sizeof(pid), "%d", (int)item->pid);
	size_t own_length = read_words("self", own), length = read_words(pid, words);
	bool is_copy = length == own_length && memcmp(words, own, length) == 0;
	return length && !is_copy && !is_shell_of(words, length, item->process->command);
}

/* Until the command runs or it turned out that it cannot. A shell that makes a pipeline of it stays
 * a shell, and is taken for one that runs after a while. */
static void wait_begun(struct lab_process *item)
{
	uint64_t deadline = clock_now_ms(&clock_system) + BEGUN_MS;
	struct pollfd end = {.fd = pidfd_open(item->pid, 0), .events = POLLIN};
	while (!has_ended(item) && !is_command(item) && clock_now_ms(&clock_system) < deadline)
		(void)poll(&end, 1, BEGUN_INTERVAL_MS);
	if (end.fd >= 0)
		close(end.fd);
}

/* One without `ready` may have done its work by now; that is no failure. */
static int check_begun(struct lab_process *item, struct error *err)
{
	if (!item->process->ready)
		wait_begun(item);
	return has_ended(item) && item->status != 0 ? ended_early(item, err) : 0;
}

int processes_start(struct processes *processes, struct error *err)
{
	int result = 0;
	for (size_t i = 0; result == 0 && i < processes->count; i++)
		result = start(processes, &processes->items[i], err);
	for (size_t i = 0; result == 0 && i < processes->count; i++)
		result = wait_ready(processes, &processes->items[i], err);
	for (size_t i = 0; result == 0 && i < processes->count; i++)
		result = check_begun(&processes->items[i], err);
	return result;
}
