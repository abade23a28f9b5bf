/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel settings that are numbers, by their path below /proc/sys, such as "net/ipv4/ip_forward".
 * They are those of the calling thread's network namespace.
 */
#ifndef FAIRLEAD_BASE_SYSCTL_H
#define FAIRLEAD_BASE_SYSCTL_H

#include "base/error.h"

#define SYSCTL_ROOT "/proc/sys/"

/* 0 or a negative errno: -ENOENT if the kernel, or the interface that `path` names, has none. */
must_check int sysctl_read(const char *path, int *ret_value);
must_check int sysctl_write(const char *path, int value);

#endif
