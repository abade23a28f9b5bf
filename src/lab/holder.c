/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/holder.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "lab/door.h"
#include "lab/network.h"
#include "lab/processes.h"
#include "lab/report.h"
#include "lab/room.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct holder {
	const struct holder_order *order;
	struct network network;
	struct processes processes;
	uint64_t since_ms;
	int door;
};

/* --- being asked --- */

static int no_such_link(const struct holder_order *order, const char *name, struct error *err)
{
	const struct topology *topology = order->topology;
	struct buffer names;
	buffer_init(&names, 1024);
	for (size_t i = 0; i < topology->link_count; i++)
		buffer_printf(&names, "%s%s", i ? ", " : "", topology->links[i].name);
	int result = error_set(err, -FL_ENOTFOUND, "the lab %s has no link %s; it has: %s",
			       order->name, name, names.data ? names.data : "none");
	buffer_done(&names);
	return result;
}

static int plug(struct holder *holder, const char *verb, const char *name, json_t **ret_data,
		struct error *err)
{
	const struct topology *topology = holder->order->topology;
	const struct topology_link *link = topology_link(topology, name);
	if (!link)
		return no_such_link(holder->order, name, err);
	struct network_link *place = &holder->network.links[link - topology->links];
	bool is_plug = strcmp(verb, "lab plug") == 0;
	bool already;
	int result = is_plug ? network_plug(&holder->network, place, &already, err)
			     : network_unplug(place, &already, err);
	if (result < 0)
		return result;
	*ret_data = json_pack("{s:s, s:s, s:b, s:b}", "lab", holder->order->name, "link", name,
			      "plugged", is_plug, "already", already);
	return 0;
}

static int answer(struct holder *holder, const json_t *question, json_t **ret_data,
		  struct error *err)
{
	const char *verb = json_string_value(json_object_get(question, "verb"));
	const char *link =
	    json_string_value(json_object_get(json_object_get(question, "parameters"), "link"));
	if (!verb)
		return error_set(err, -FL_EINVALID, "the question names no verb");
	if (strcmp(verb, "lab status") == 0) {
		uint64_t up_ms = clock_now_ms(&clock_system) - holder->since_ms;
		*ret_data = report_lab(holder->order, &holder->network, &holder->processes, up_ms);
		return 0;
	}
	bool is_plug = strcmp(verb, "lab plug") == 0 || strcmp(verb, "lab unplug") == 0;
	if (!is_plug || !link)
		return error_set(err, -FL_EUSAGE, "a lab does not understand \"%.64s\"", verb);
	return plug(holder, verb, link, ret_data, err);
}

static void serve_one(struct holder *holder)
{
	struct error err = {0};
	json_t *question, *data = NULL;
	int fd;
	if (door_accept(holder->door, &fd, &question) < 0)
		return;
	int result = answer(holder, question, &data, &err);
	door_answer(fd, result, data, &err);
	json_decref(question);
	json_decref(data);
}

static void reap(struct holder *holder)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		network_child_ended(&holder->network, pid);
		processes_child_ended(&holder->processes, pid, status);
	}
}

/* Until it is killed. */
__attribute__((noreturn)) static void serve(struct holder *holder, int signals)
{
	struct pollfd fds[] = {{.fd = holder->door, .events = POLLIN},
			       {.fd = signals, .events = POLLIN}};
	struct signalfd_siginfo info;
	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			_exit(1);
		/* One that ends is known before somebody asks how it is. */
		if (fds[1].revents && read(signals, &info, sizeof(info)) < 0)
			_exit(1);
		reap(holder);
		if (fds[0].revents)
			serve_one(holder);
	}
}

/* --- beginning --- */

/* Processes start in the folder of the topology file, so that it can name files beside it. */
static int enter_folder(const char *file, struct error *err)
{
	char path[PATH_MAX];
	if (strcmp(file, "-") == 0)
		return 0;
	snprintf(path, sizeof(path), "%s", file);
	const char *folder = dirname(path);
	if (chdir(folder) < 0)
		return error_set(err, -errno, "%s: %s", folder, error_text(-errno));
	return 0;
}

static int make(struct holder *holder, struct error *err)
{
	const struct holder_order *order = holder->order;
	const struct topology *topology = order->topology;
	int result = room_make(err);
	if (result == 0)
		result = enter_folder(order->file, err);
	for (size_t i = 0; result == 0 && i < topology->machine_count; i++)
		result = room_add_machine(&topology->machines[i], err);
	network_init(&holder->network, topology);
	processes_init(&holder->processes, order->name, topology);
	if (result == 0)
		result = network_make(&holder->network, err);
	if (result == 0 && !order->bare)
		result = processes_start(&holder->processes, err);
	return result;
}

static int open_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* It has no terminal; what it has to say it says at the door. */
static void leave_terminal(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int standard = STDIN_FILENO; fd >= 0 && standard <= STDERR_FILENO; standard++)
		(void)dup2(fd, standard);
	setsid();
}

/* The child. `outcome` takes a struct error, whose code is 0 when the lab is up. A caller that
 * died before the death signal was set reads nothing, which ends us here. */
__attribute__((noreturn)) static void hold(const struct holder_order *order, int outcome)
{
	struct holder holder = {.order = order, .since_ms = clock_now_ms(&clock_system)};
	struct error err = {0};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "fairlead-lab");
	leave_terminal();
	int signals = open_signals();
	int result = door_listen(order->name, &holder.door, &err);
	if (result == 0)
		result = make(&holder, &err);
	err.code = result;
	if (!order->held)
		prctl(PR_SET_PDEATHSIG, 0);
	if (write(outcome, &err, sizeof(err)) != (ssize_t)sizeof(err) || result < 0)
		_exit(1);
	close(outcome);
	serve(&holder, signals);
}

static int read_outcome(int fd, struct error *ret_outcome)
{
	size_t got = 0;
	while (got < sizeof(*ret_outcome)) {
		ssize_t length = read(fd, (char *)ret_outcome + got, sizeof(*ret_outcome) - got);
		if (length < 0 && errno == EINTR)
			continue;
		if (length <= 0)
			return -FL_EUNAVAILABLE;
		got += (size_t)length;
	}
	return 0;
}

int holder_start(const struct holder_order *order, pid_t *ret_pid, struct error *err)
{
	int outcome[2];
	struct error said;
	/* From here on, children of this process are the first of a new PID namespace. */
	if (pipe2(outcome, O_CLOEXEC) < 0 || unshare(CLONE_NEWPID) < 0)
		return error_set(err, -errno, "cannot make a PID namespace: %s",
				 error_text(-errno));
	pid_t pid = fork();
	if (pid == 0) {
		close(outcome[0]);
		hold(order, outcome[1]);
	}
	close(outcome[1]);
	int result = pid < 0
			 ? error_set(err, -errno, "cannot start a process: %s", error_text(-errno))
			 : read_outcome(outcome[0], &said);
	close(outcome[0]);
	if (pid > 0 && result < 0)
		error_set(err, result, "the lab's first process was killed before the lab was up");
	else if (pid > 0 && said.code < 0)
		result = error_set(err, said.code, "%s", said.text);
	if (pid > 0 && result < 0)
		(void)waitpid(pid, NULL, 0);
	else if (result == 0)
		*ret_pid = pid;
	return result;
}
