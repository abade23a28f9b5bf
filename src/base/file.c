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

static int write_all(int fd, const char *bytes, size_t length)
{
	while (length) {
		ssize_t put = write(fd, bytes, length);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		bytes += put;
		length -= (size_t)put;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int sync_folder_of(const char *path)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');
	if (!slash)
		snprintf(folder, sizeof(folder), ".");
	else
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash == path ? 1 : slash - path),
			 path);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int result = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return result;
}

int file_write_durably(const char *path, const void *bytes, size_t length, mode_t mode,
		       struct error *err)
{
	char temporary[PATH_MAX];
	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.new", path) >= sizeof(temporary))
		return error_set(err, -ENAMETOOLONG, "%s: the path is too long", path);

	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return error_set(err, -errno, "%s: cannot create: %s", temporary, strerror(errno));
	int result = fchmod(fd, mode) < 0 ? -errno : write_all(fd, bytes, length);
	if (close(fd) < 0 && result == 0)
		result = -errno;
	if (result == 0 && rename(temporary, path) < 0)
		result = -errno;
	if (result == 0)
		result = sync_folder_of(path);
	if (result < 0) {
		unlink(temporary);
		return error_set(err, result, "%s: cannot write: %s", path, error_text(result));
	}
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
