/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/signals.h"

#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static int held_fd = -1;

static void ends(sigset_t *ret_set)
{
	sigemptyset(ret_set);
	sigaddset(ret_set, SIGTERM);
	sigaddset(ret_set, SIGINT);
	sigaddset(ret_set, SIGQUIT);
}

/* What already has a handler belongs to a tool that looks at this process. */
static void ignore(int number)
{
	struct sigaction now;
	if (sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
		signal(number, SIG_IGN);
}

int signals_hold(struct error *err)
{
	/* A connection that went away shows as an error of the write, and so does a file that may
	 * not grow. */
	static const int ignored[] = {SIGHUP,  SIGPIPE,   SIGXFSZ, SIGUSR1, SIGUSR2,  SIGALRM,
				      SIGPROF, SIGVTALRM, SIGIO,   SIGPWR,  SIGSTKFLT};
	sigset_t set;
	ends(&set);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		ignore(ignored[i]);
	for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
		ignore(number);
	sigprocmask(SIG_BLOCK, &set, NULL);
	held_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (held_fd < 0)
		return error_set(err, -errno, "cannot listen to signals: %s", error_text(-errno));
	return 0;
}

bool signals_end_wanted(void)
{
	sigset_t pending;
	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1 ||
		sigismember(&pending, SIGQUIT) == 1);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct signals_watch *watch = poll->data;
	struct signalfd_siginfo info;
	(void)status;
	(void)events;
	if (read(held_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	log_event(LOG_LEVEL_INFO, watch->event, "signal", strsignal((int)info.ssi_signo),
		  watch->key, watch->value, NULL);
	const bool is_first = !watch->came;
	watch->came = true;
	if (!is_first || !watch->delays || !watch->delays(watch->context))
		uv_stop(poll->loop);
}

void signals_watch_start(struct signals_watch *watch, uv_loop_t *loop)
{
	uv_poll_init(loop, &watch->poll, held_fd);
	watch->poll.data = watch;
	uv_poll_start(&watch->poll, UV_READABLE, on_readable);
}
