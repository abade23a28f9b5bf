/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_all(int fd, struct buffer *bytes)
{
	char chunk[16384];
	for (;;) {
		ssize_t got = read(fd, chunk, sizeof(chunk));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return bytes->status;
		buffer_append(bytes, chunk, (size_t)got);
		if (bytes->status)
			return bytes->status;
	}
}

int file_read(const char *path, struct buffer *ret_bytes, struct error *err)
{
	bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
	int result = read_all(fd, ret_bytes);
	if (!is_stdin)
		close(fd);
	if (result == -FL_ELIMIT)
		return error_set(err, result, "%s: larger than the limit of %zu bytes", path,
				 ret_bytes->cap);
	if (result < 0)
		return error_set(err, result, "%s: cannot read: %s", path, error_text(result));
	return 0;
}

int file_make_folders(const char *path, mode_t mode, struct error *err)
{
	char part[PATH_MAX];
	if ((size_t)snprintf(part, sizeof(part), "%s", path) >= sizeof(part))
		return error_set(err, -ENAMETOOLONG, "%s: the path is too long", path);
	for (char *slash = part + 1;; slash++) {
		slash = strchr(slash, '/');
		if (slash)
			*slash = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return error_set(err, -errno, "%s: cannot create the folder: %s", part,
					 strerror(errno));
		if (!slash)
			return 0;
		*slash = '/';
	}
}
