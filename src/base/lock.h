/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder that one process has for itself. The lock is the kernel's (flock on the folder), so it
 * leaves nothing behind and ends with the process, however that ends; it works on every file
 * system, on a BPF one too, and across network namespaces. A child that is forked without exec
 * shares it.
 */
#ifndef FAIRLEAD_BASE_LOCK_H
#define FAIRLEAD_BASE_LOCK_H

#include "base/error.h"

/*
 * Lock the folder, which must exist, for the life of `ret_fd`: close() releases it, exec too.
 * -EBUSY at once if somebody has it, with a sentence that names `what` it is and, if the kernel
 * tells, the process and its program; -ENOENT if there is no such folder. Never blocks.
 */
must_check int lock_folder(const char *path, const char *what, int *ret_fd, struct error *err);

#endif
