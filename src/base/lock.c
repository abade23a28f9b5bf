/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

#include "base/process.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/*
 * The process that holds a flock on the file, from /proc/locks: "1: FLOCK  ADVISORY  WRITE 4072
 * 00:2b:5501476 0 EOF" (proc(5)); 0 if it is not told, as for a holder in another PID namespace.
 */
static long find_holder(const struct stat *file)
{
	char line[256];
	long found = 0;
	FILE *locks = fopen("/proc/locks", "re");
	if (!locks)
		return 0;
	while (found == 0 && fgets(line, sizeof(line), locks)) {
		char kind[16];
		long pid;
		unsigned major_number;
		unsigned minor_number;
		uintmax_t inode;
		/* A waiter's line has "->" before the kind, and so does not fit. */
		if (sscanf(line, "%*s %15s %*s %*s %ld %x:%x:%ju", kind, &pid, &major_number,
			   &minor_number, &inode) == 5 &&
		    strcmp(kind, "FLOCK") == 0 && pid > 0 && inode == file->st_ino &&
		    major_number == major(file->st_dev) && minor_number == minor(file->st_dev))
			found = pid;
	}
	(void)fclose(locks);
	return found;
}

static int held_error(const char *path, const char *what, const struct stat *folder,
		      struct error *err)
{
	char holder[96] = "which process holds it the kernel does not tell";
	char program[PROCESS_NAME_BYTES];
	char advice[64] = "stop that one first";
	long pid = find_holder(folder);
	if (pid > 0) {
		process_name(pid, program);
		snprintf(holder, sizeof(holder), "process %ld%s%s%s holds it", pid,
			 *program ? " (" : "", program, *program ? ")" : "");
		snprintf(advice, sizeof(advice), "stop that one first ('kill %ld')", pid);
	}
	return error_set(err, -EBUSY, "%s: %s is in use: %s; %s. Nothing was changed", path, what,
			 holder, advice);
}

static int lock_once(const char *path, const char *what, int fd, bool *ret_gone, struct error *err)
{
	struct stat locked;
	struct stat now;
	if (fstat(fd, &locked) < 0)
		return error_set(err, -errno, "%s: cannot be examined: %s", path,
				 error_text(-errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? held_error(path, what, &locked, err)
					    : error_set(err, -errno, "%s: cannot be locked: %s",
							path, error_text(-errno));
	*ret_gone =
	    stat(path, &now) < 0 || now.st_ino != locked.st_ino || now.st_dev != locked.st_dev;
	return 0;
}

int lock_folder(const char *path, const char *what, int *ret_fd, struct error *err)
{
	for (;;) {
		/* An earlier holder may remove the folder between our open and our lock. */
		bool gone = false;
		int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return error_set(err, -errno, "%s: cannot be opened: %s", path,
					 error_text(-errno));
		int result = lock_once(path, what, fd, &gone, err);
		if (result == 0 && !gone) {
			*ret_fd = fd;
			return 0;
		}
		close(fd);
		if (result < 0)
			return result;
	}
}
