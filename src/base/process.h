/* SPDX-License-Identifier: Apache-2.0 */
/* Other processes by name, for sentences. What may not be looked into is not found. Any thread. */
#ifndef FAIRLEAD_BASE_PROCESS_H
#define FAIRLEAD_BASE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

#define PROCESS_NAME_BYTES 32u

/* The name of the program that a process runs; "" if it is not known. */
void process_name(long pid, char name[PROCESS_NAME_BYTES]);

/* "unbound (pid 412)" for a process that has the socket with this inode open; false if none is
 * found. A walk through /proc. */
bool process_of_socket(unsigned long inode, char *text, size_t size);

#endif
