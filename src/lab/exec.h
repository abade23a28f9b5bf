/* SPDX-License-Identifier: Apache-2.0 */
/* Running a person's command on a machine of a lab. */
#ifndef FAIRLEAD_LAB_EXEC_H
#define FAIRLEAD_LAB_EXEC_H

#include "base/error.h"

/*
 * Run `words` (ended by NULL) on the machine, with this process's terminal, folder and
 * environment, and wait for its end. `ret_code` is its exit code; 128 and the signal's number if
 * it was killed, 127 if there is no such program, 126 if it cannot be run. The calling process is
 * in the lab's mount namespace afterwards.
 */
must_check int exec_run(const char *lab, const char *machine, char *const *words, int *ret_code,
			struct error *err);

#endif
