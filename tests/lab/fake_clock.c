/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wall clock that a test sets while a program runs: a library for LD_PRELOAD. A time namespace
 * moves only the monotonic clocks, and the machine's own clock is everybody's.
 *
 * FAKE_CLOCK names a file of eight bytes, a signed number of seconds in the machine's byte order,
 * which is mapped and added to whatever is read of the wall clock, by every thread. All else goes
 * to the kernel as it is. Whether something keeps the clock is what FAKE_CLOCK_KEPT says, "yes" or
 * "no": the machine of a test has no say in that.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static const int64_t *offset;

__attribute__((constructor)) static void map_offset(void)
{
	const char *path = getenv("FAKE_CLOCK");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		abort();
	void *memory = mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (memory == MAP_FAILED)
		abort();
	offset = memory;
}

static time_t shift(void)
{
	return (time_t)(offset ? __atomic_load_n(offset, __ATOMIC_RELAXED) : 0);
}

int clock_gettime(clockid_t id, struct timespec *ret)
{
	int result = (int)syscall(SYS_clock_gettime, id, ret);
	if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		ret->tv_sec += shift();
	return result;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
	int result = (int)syscall(SYS_gettimeofday, ret, zone);
	if (result == 0)
		ret->tv_sec += shift();
	return result;
}

time_t time(time_t *ret)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}

int adjtimex(struct timex *state)
{
	const char *kept = getenv("FAKE_CLOCK_KEPT");
	int result = (int)syscall(SYS_adjtimex, state);
	if (!kept || result < 0)
		return result;
	return strcmp(kept, "yes") == 0 ? TIME_OK : TIME_ERROR;
}
