/* SPDX-License-Identifier: Apache-2.0 */
#include "base/disk.h"

#include "base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the machine's disk --- */

static int system_create(void *context, const char *path, mode_t mode, int *ret_file)
{
	(void)context;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	if (fchmod(fd, mode) < 0) {
		int result = -errno;
		close(fd);
		return result;
	}
	*ret_file = fd;
	return 0;
}

static int system_write(void *context, int file, const void *bytes, size_t length)
{
	(void)context;
	const char *at = bytes;
	while (length) {
		ssize_t put = write(file, at, length);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		at += put;
		length -= (size_t)put;
	}
	return 0;
}

static int system_sync(void *context, int file)
{
	(void)context;
	return fsync(file) < 0 ? -errno : 0;
}

static int system_close(void *context, int file)
{
	(void)context;
	return close(file) < 0 ? -errno : 0;
}

static int system_update(void *context, const char *path, off_t offset, const void *bytes,
			 size_t length)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	int result = lseek(fd, offset, SEEK_SET) < 0 ? -errno : 0;
	if (result == 0)
		result = system_write(context, fd, bytes, length);
	if (result == 0 && fdatasync(fd) < 0)
		result = -errno;
	close(fd);
	return result;
}

static int system_read(void *context, const char *path, struct buffer *ret_bytes)
{
	(void)context;
	return file_read(path, ret_bytes, NULL);
}

static int system_rename(void *context, const char *from, const char *to)
{
	(void)context;
	return rename(from, to) < 0 ? -errno : 0;
}

static int system_remove(void *context, const char *path)
{
	(void)context;
	return unlink(path) < 0 ? -errno : 0;
}

static int system_sync_folder(void *context, const char *path)
{
	(void)context;
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

const struct disk disk_system = {.create = system_create,
				 .write = system_write,
				 .sync = system_sync,
				 .close = system_close,
				 .update = system_update,
				 .read = system_read,
				 .rename = system_rename,
				 .remove = system_remove,
				 .sync_folder = system_sync_folder};

/* --- durable replacement --- */

static int draft_fail(struct disk_draft *draft, int result, struct error *err)
{
	(void)draft->disk->remove(draft->disk->context, draft->temporary);
	return error_set(err, result, "%s: cannot write: %s", draft->path, error_text(result));
}

int disk_draft_begin(struct disk_draft *draft, const struct disk *disk, const char *path,
		     mode_t mode, struct error *err)
{
	draft->disk = disk;
	if ((size_t)snprintf(draft->temporary, PATH_MAX, "%s.new", path) >= PATH_MAX)
		return error_set(err, -ENAMETOOLONG, "%s: the path is too long", path);
	snprintf(draft->path, PATH_MAX, "%s", path);
	int result = disk->create(disk->context, draft->temporary, mode, &draft->file);
	if (result < 0)
		return error_set(err, result, "%s: cannot create: %s", draft->temporary,
				 error_text(result));
	return 0;
}

int disk_draft_write(struct disk_draft *draft, const void *bytes, size_t length, struct error *err)
{
	const struct disk *disk = draft->disk;
	int result = disk->write(disk->context, draft->file, bytes, length);
	if (result == 0)
		return 0;
	(void)disk->close(disk->context, draft->file);
	return draft_fail(draft, result, err);
}

int disk_draft_commit(struct disk_draft *draft, struct error *err)
{
	const struct disk *disk = draft->disk;
	int result = disk->sync(disk->context, draft->file);
	int closed = disk->close(disk->context, draft->file);
	if (result == 0)
		result = closed;
	if (result == 0)
		result = disk->rename(disk->context, draft->temporary, draft->path);
	if (result == 0)
		result = disk->sync_folder(disk->context, draft->path);
	return result < 0 ? draft_fail(draft, result, err) : 0;
}

void disk_draft_abandon(struct disk_draft *draft)
{
	const struct disk *disk = draft->disk;
	(void)disk->close(disk->context, draft->file);
	(void)disk->remove(disk->context, draft->temporary);
}

int disk_replace(const struct disk *disk, const char *path, const void *bytes, size_t length,
		 mode_t mode, struct error *err)
{
	struct disk_draft draft;
	int result = disk_draft_begin(&draft, disk, path, mode, err);
	if (result == 0)
		result = disk_draft_write(&draft, bytes, length, err);
	if (result == 0)
		result = disk_draft_commit(&draft, err);
	return result;
}

int disk_write_durably(const char *path, const void *bytes, size_t length, mode_t mode,
		       struct error *err)
{
	return disk_replace(&disk_system, path, bytes, length, mode, err);
}
