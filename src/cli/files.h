/* SPDX-License-Identifier: Apache-2.0 */
/* Files that a command names. The daemon never opens them: their content travels along. */
#ifndef FAIRLEAD_CLI_FILES_H
#define FAIRLEAD_CLI_FILES_H

#include "base/error.h"
#include "control/command.h"

/*
 * A copy of the invocation's parameters, in which each file argument has its content beside it
 * under "text". `*ret_parameters` is owned by the caller. What is not text is refused with the
 * place of the first byte that is not.
 */
must_check int files_attach(const struct invocation *invocation, json_t **ret_parameters,
			    struct error *err);

#endif
