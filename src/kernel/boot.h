/* SPDX-License-Identifier: Apache-2.0 */
/* Which life of the kernel, and which network namespace of it, this is. Any thread. */
#ifndef FAIRLEAD_KERNEL_BOOT_H
#define FAIRLEAD_KERNEL_BOOT_H

#include "base/error.h"

#include <stdint.h>

/* The kernel's boot id: what has another one comes from a life that is over. */
#define BOOT_ID_BYTES 37
must_check int boot_id_read(char text[BOOT_ID_BYTES], struct error *err);

/* The cookie of the thread's network namespace, never 0. Unlike the namespace's inode it is never
 * used again in this boot. */
must_check int boot_namespace_read(uint64_t *ret_cookie, struct error *err);

#endif
