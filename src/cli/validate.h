/* SPDX-License-Identifier: Apache-2.0 */
/* `validate`: what the configuration's own reader finds in a file, without a daemon. */
#ifndef FAIRLEAD_CLI_VALIDATE_H
#define FAIRLEAD_CLI_VALIDATE_H

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>

/*
 * Check the file that `parameters` name. `*ret_answer` (owned) has the form of the API's answers:
 * "file", "valid", "errors", "warnings", "findings", "capacity", and, for people, "text" (what the
 * pools allow). The findings for people are appended to `messages`.
 */
must_check int validate_file(const json_t *parameters, json_t **ret_answer, struct buffer *messages,
			     struct error *err);

#endif
