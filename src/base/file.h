/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files, read within bounds, and folders. What is written durably is disk.h's. */
#ifndef FAIRLEAD_BASE_FILE_H
#define FAIRLEAD_BASE_FILE_H

#include "base/buffer.h"
#include "base/error.h"

#include <sys/types.h>

/* Append the file to `ret_bytes`, whose cap bounds the size. "-" reads standard input. */
must_check int file_read(const char *path, struct buffer *ret_bytes, struct error *err);

/* mkdir -p. */
must_check int file_make_folders(const char *path, mode_t mode, struct error *err);

#endif
