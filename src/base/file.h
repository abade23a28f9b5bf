/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files: bounded reads, durable writes. */
#ifndef FAIRLEAD_BASE_FILE_H
#define FAIRLEAD_BASE_FILE_H

#include "base/buffer.h"
#include "base/error.h"

#include <sys/types.h>

/* Append the file to `ret_bytes`, whose cap bounds the size. "-" reads standard input. */
must_check int file_read(const char *path, struct buffer *ret_bytes, struct error *err);

/* disk_replace() on the machine's disk: after a power loss `path` holds the old bytes or the new.
 */
must_check int file_write_durably(const char *path, const void *bytes, size_t length, mode_t mode,
				  struct error *err);

/* mkdir -p. */
must_check int file_make_folders(const char *path, mode_t mode, struct error *err);

#endif
