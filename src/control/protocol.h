/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local API: newline-delimited JSON over a Unix stream socket that only root may open.
 *
 *   → {"verb": "apply", "parameters": {"file": "fairlead.yaml", "text": "…"}}
 *   ← {"data": {…}}                                    once, or, for a streaming verb, many times
 *   ← {"error": {"code": "FL_ECONFLICT", "text": "…"}}   ends the answer
 *
 * Requests of one connection are answered in order, one at a time. A line longer than
 * PROTOCOL_MAX_LINE, or one that is no JSON object of this form, is answered with an error and the
 * connection is closed.
 */
#ifndef FAIRLEAD_CONTROL_PROTOCOL_H
#define FAIRLEAD_CONTROL_PROTOCOL_H

#include "base/buffer.h"
#include "base/error.h"
#include "control/command.h"

#define PROTOCOL_MAX_LINE (8u << 20) /* bytes */

/* Append one request line. */
void protocol_put_request(struct buffer *bytes, const char *verb, const json_t *parameters);
/* Append one answer line. */
void protocol_put_data(struct buffer *bytes, const json_t *data);
void protocol_put_error(struct buffer *bytes, const struct error *error);

/*
 * Parse one line (without its newline). On success `*ret_command` is from the command table and
 * `*ret_parameters` a new object; the caller owns it.
 */
must_check int protocol_parse_request(const char *line, size_t length,
				      const struct command **ret_command, json_t **ret_parameters,
				      struct error *err);

/* Parse one answer: 0 with `*ret_data` (owned), or the negative code of the error that it carries,
 * whose sentence is then in `err`. */
must_check int protocol_parse_answer(const char *line, size_t length, json_t **ret_data,
				     struct error *err);

#endif
