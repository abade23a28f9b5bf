/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk, passed in wherever bytes must survive a power loss, so that a test can own it: lose
 * what was not synced, tear it, or be full.
 *
 * Each function of `struct disk` returns 0 or a negative errno. A file is whatever number create()
 * gave; paths are the machine's. Any thread, one at a time for each file.
 */
#ifndef FAIRLEAD_BASE_DISK_H
#define FAIRLEAD_BASE_DISK_H

#include "base/buffer.h"
#include "base/error.h"

#include <limits.h>
#include <sys/types.h>

struct disk {
	int (*create)(void *context, const char *path, mode_t mode, int *ret_file);
	int (*write)(void *context, int file, const void *bytes, size_t length);
	int (*sync)(void *context, int file);
	int (*close)(void *context, int file);
	/* Into a file that is there, and then makes all of it durable; `length` may be 0. What of
	 * these bytes a power loss keeps is up to the disk, in sectors of 512. */
	int (*update)(void *context, const char *path, off_t offset, const void *bytes,
		      size_t length);
	int (*read)(void *context, const char *path, struct buffer *ret_bytes);
	int (*rename)(void *context, const char *from, const char *to);
	int (*remove)(void *context, const char *path);
	/* Make names durable: of the folder that `path` lies in. */
	int (*sync_folder)(void *context, const char *path);
	void *context;
};

/* The machine's disk. */
extern const struct disk disk_system;

/*
 * A durable replacement of a file, in steps: after a power loss at any of them `path` holds the
 * old bytes or all of the new ones. Temporary file, write, sync, close, rename, sync the folder.
 */
struct disk_draft {
	const struct disk *disk;
	int file;
	char path[PATH_MAX];
	char temporary[PATH_MAX];
};

/* Errors name the file and say what could not be done. After one the draft is over. */
must_check int disk_draft_begin(struct disk_draft *draft, const struct disk *disk, const char *path,
				mode_t mode, struct error *err);
must_check int disk_draft_write(struct disk_draft *draft, const void *bytes, size_t length,
				struct error *err);
must_check int disk_draft_commit(struct disk_draft *draft, struct error *err);
/* Instead of a commit. */
void disk_draft_abandon(struct disk_draft *draft);

/* All steps at once. */
must_check int disk_replace(const struct disk *disk, const char *path, const void *bytes,
			    size_t length, mode_t mode, struct error *err);
/* On the machine's disk. */
must_check int disk_write_durably(const char *path, const void *bytes, size_t length, mode_t mode,
				  struct error *err);

#endif
