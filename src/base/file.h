/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files: bounded reads, durable writes. */
#ifndef FAIRLEAD_BASE_FILE_H
#define FAIRLEAD_BASE_FILE_H

#include "base/buffer.h"
#include "base/error.h"

#include <sys/types.h>

/* Append the file to `ret_bytes`, whose cap bounds the size. "-" reads standard input. */
must_check int file_read(const char *path, struct buffer *ret_bytes, struct error *err);

/*
 * Replace `path` so that after a power loss it holds either the old bytes or the new ones:
 * temporary file, write, fsync, rename, fsync of the folder.
 */
must_check int file_write_durably(const char *path, const void *bytes, size_t length, mode_t mode,
				  struct error *err);

/* mkdir -p. */
must_check int file_make_folders(const char *path, mode_t mode, struct error *err);

#endif
