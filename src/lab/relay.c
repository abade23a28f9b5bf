/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/relay.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define TUN_DEVICE "/dev/net/tun"
#define NS_PER_SECOND 1000000000ull
#define MAX_FRAME_BYTES 65536u
#define BATCH 64 /* frames read from one end before the others have their turn */
#define FIRST_FD 3 /* behind the standard ones */

struct relay {
	int fds[LINK_SIDES];
	struct shaper shapers[LINK_SIDES]; /* of what leaves that end */
};

int relay_open(const char *interface, int *ret_fd, struct error *err)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_set(err, -errno,
				 TUN_DEVICE ": %s; links with delay, loss or rate need it: "
					    "`modprobe tun`",
				 error_text(-errno));
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (ioctl(fd, TUNSETIFF, &request) < 0) {
		int result = error_set(err, -errno, "cannot make the interface %s: %s", interface,
				       error_text(-errno));
		close(fd);
		return result;
	}
	*ret_fd = fd;
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* An interface that is down takes nothing (EIO), as an unplugged one; that is not for us to
 * count. */
static void deliver(struct relay *relay, enum topology_side from)
{
	struct shaper_frame *frame;
	while ((frame = shaper_take(&relay->shapers[from], now_ns()))) {
		if (write(relay->fds[LINK_TO - from], frame->bytes, frame->length) < 0)
			errno = 0;
		free(frame);
	}
}

/* False when the interface is gone. */
static bool collect(struct relay *relay, enum topology_side from)
{
	static unsigned char bytes[MAX_FRAME_BYTES];
	for (unsigned i = 0; i < BATCH; i++) {
		ssize_t length = read(relay->fds[from], bytes, sizeof(bytes));
		if (length < 0)
			return errno == EAGAIN || errno == EINTR;
		shaper_put(&relay->shapers[from], now_ns(), bytes, (size_t)length);
	}
	return true;
}

static struct timespec time_left(const struct relay *relay)
{
	uint64_t due = shaper_next_ns(&relay->shapers[LINK_FROM]);
	uint64_t other = shaper_next_ns(&relay->shapers[LINK_TO]);
	uint64_t now = now_ns();
	due = other < due ? other : due;
	uint64_t left = due > now ? due - now : 0;
	return (struct timespec){.tv_sec = (time_t)(left / NS_PER_SECOND),
				 .tv_nsec = (long)(left % NS_PER_SECOND)};
}

static void carry(struct relay *relay)
{
	struct pollfd polls[LINK_SIDES] = {{.fd = relay->fds[LINK_FROM], .events = POLLIN},
					   {.fd = relay->fds[LINK_TO], .events = POLLIN}};
	bool is_there = true;
	while (is_there) {
		bool is_idle = shaper_next_ns(&relay->shapers[LINK_FROM]) == UINT64_MAX &&
			       shaper_next_ns(&relay->shapers[LINK_TO]) == UINT64_MAX;
		struct timespec left = time_left(relay);
		if (ppoll(polls, LINK_SIDES, is_idle ? NULL : &left, NULL) < 0 && errno != EINTR)
			return;
		for (enum topology_side side = LINK_FROM; side < LINK_SIDES; side++) {
			if (polls[side].revents)
				is_there &= collect(relay, side);
			deliver(relay, side);
		}
	}
}

/* The child: nothing but the two interfaces, and timers that are not rounded up. */
__attribute__((noreturn)) static void relay_run(const struct topology_link *link, uint64_t seed,
						const int fds[LINK_SIDES],
						struct relay_counts *counts)
{
	struct relay relay;
	int high[LINK_SIDES];
	prctl(PR_SET_NAME, "lab-link");
	prctl(PR_SET_TIMERSLACK, 1ul);
	for (enum topology_side side = LINK_FROM; side < LINK_SIDES; side++)
		high[side] = fcntl(fds[side], F_DUPFD, FIRST_FD + LINK_SIDES);
	for (enum topology_side side = LINK_FROM; side < LINK_SIDES; side++) {
		relay.fds[side] = dup2(high[side], FIRST_FD + (int)side);
		if (relay.fds[side] < 0)
			_exit(1);
		shaper_init(&relay.shapers[side], &link->shapes[side], seed + (uint64_t)side,
			    &counts->sides[side]);
	}
	close_range(FIRST_FD + (unsigned)LINK_SIDES, ~0u, 0);
	carry(&relay);
	_exit(0);
}

int relay_start(const struct topology_link *link, uint64_t seed, int fds[LINK_SIDES],
		struct relay_counts *counts, pid_t *ret_pid, struct error *err)
{
	pid_t pid = fork();
	if (pid == 0)
		relay_run(link, seed, fds, counts);
	int result = pid < 0 ? -errno : 0;
	for (enum topology_side side = LINK_FROM; side < LINK_SIDES; side++)
		close(fds[side]);
	if (result < 0)
		return error_set(err, result, "link %s: cannot start its relay: %s", link->name,
				 error_text(result));
	*ret_pid = pid;
	return 0;
}
