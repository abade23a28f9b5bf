/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Door: how a lab is found from outside. Its first process listens on an abstract Unix socket of
 * the lab's name, which is the only name that a lab has on this computer. The kernel takes it away
 * with the process, says which process that is, and lets no second lab have the same name. What is
 * said through it has the form of the local API (control/protocol.h).
 */
#ifndef FAIRLEAD_LAB_DOOR_H
#define FAIRLEAD_LAB_DOOR_H

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>
#include <sys/types.h>

#define LAB_NAME_BYTES 64 /* with its NUL */

/*
 * The name of the lab that `topology`, a name or the path of a topology file, stands for: the
 * file's without folder and extension. -FL_EUSAGE if that can be no name.
 */
must_check int door_name(const char *topology, char name[LAB_NAME_BYTES], struct error *err);
/* What --name says: the name itself, of which nothing is taken off. */
must_check int door_plain_name(const char *text, char name[LAB_NAME_BYTES], struct error *err);

/* Take the name. -FL_ESTATE if a lab has it. */
must_check int door_listen(const char *name, int *ret_fd, struct error *err);

/* Wait for the next question of root's, parse it into an object (owned), and leave the connection
 * open for door_answer(). Negative when there was none after all. */
must_check int door_accept(int listener, int *ret_fd, json_t **ret_question);
/* Answer with `data`, or, when `result` is negative, with `err`; close. `data` may be NULL then. */
void door_answer(int fd, int result, const json_t *data, const struct error *err);

/* Is a lab of this name up? Its first process, as the caller sees it; -ENOENT if not. */
must_check int door_find(const char *name, pid_t *ret_pid, struct error *err);

/* Ask; `ret_data` is owned. -ENOENT, with a sentence, if no such lab is up. */
must_check int door_ask(const char *name, const char *verb, const json_t *parameters,
			json_t **ret_data, struct error *err);

/* The names of all labs that are up, as an array of texts. */
json_t *door_list(void);

#endif
