/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of the local API as people and programs read them. Pure: JSON in, text out; no I/O, no
 * clock, any thread.
 *
 *   table   for people: a screen, a table or a sentence, as suits the command
 *   json    one document, indented, keys in the daemon's order
 *   jsonl   one line; for a list one line an item
 *   yaml    the same data as YAML; for `get` without a kind the configuration file itself
 *
 * An answer is never trusted to be complete: what is missing is left out or shown as "?", so that
 * programs of two releases can speak to each other. Characters that a terminal would obey are
 * printed as escapes.
 */
#ifndef FAIRLEAD_CONTROL_RENDER_H
#define FAIRLEAD_CONTROL_RENDER_H

#include "base/buffer.h"
#include "control/command.h"

struct render_style {
	bool color;
	size_t width; /* columns of the screen; 0: of any width */
};

/* Append the answer `data` to `invocation`, ending with a line end unless nothing was appended.
 * Failures stick in the buffer. */
void render_answer(const struct invocation *invocation, const json_t *data,
		   const struct render_style *style, struct buffer *text);

/* Append why a version is not at its end: "web/1 drains until its connections have ended; web1 has
 * 2". With `clock` also when it ends, which changes with each question. Nothing when it waits for
 * nothing. */
void render_why(const json_t *version, bool clock, struct buffer *text);

/* Append how far a rollout is: "version 2 has 5% of the clients, step 1 of 3". */
void render_progress(const json_t *rollout, bool clock, struct buffer *text);

/* Append what went wrong in the form that answers were asked for in: a sentence, or an object
 * {"error": {"code", "text"}} for programs. Ends with a line end. */
void render_error(const struct invocation *invocation, const struct error *error,
		  struct buffer *text);

#endif
