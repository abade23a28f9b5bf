/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sysctl.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int open_setting(const char *path, int flags)
{
	char full[PATH_MAX];
	if ((size_t)snprintf(full, sizeof(full), SYSCTL_ROOT "%s", path) >= sizeof(full))
		return -ENAMETOOLONG;
	int fd = open(full, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int sysctl_read(const char *path, int *ret_value)
{
	char text[32] = "";
	int fd = open_setting(path, O_RDONLY);
	if (fd < 0)
		return fd;
	int result = read(fd, text, sizeof(text) - 1) < 0 ? -errno : 0;
	close(fd);
	if (result == 0)
		*ret_value = (int)strtol(text, NULL, 10);
	return result;
}

int sysctl_write(const char *path, int value)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%d\n", value);
	int fd = open_setting(path, O_WRONLY);
	if (fd < 0)
		return fd;
	int result = write(fd, text, (size_t)length) < 0 ? -errno : 0;
	close(fd);
	return result;
}
