/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's file, STATE/node.json: the options of `fairlead run` that `init` and `join` found out,
 * so that nobody has to type them. An option that is typed counts instead of the file's.
 */
#ifndef FAIRLEAD_DAEMON_MEMBER_NODE_FILE_H
#define FAIRLEAD_DAEMON_MEMBER_NODE_FILE_H

#include "base/error.h"

#include <jansson.h>

/* `parameters` with what the file adds: a new reference. -FL_ECORRUPT, naming the file. */
must_check int node_file_add(const char *state_folder, const json_t *parameters, json_t **ret_all,
			     struct error *err);

/*
 * What a node of these parameters is: name, roles, site, interfaces, addresses, all filled in from
 * the machine where they were not said; a new reference. `roles` and `site` are what holds unless
 * the parameters say otherwise.
 */
must_check int node_file_complete(const json_t *parameters, const char *roles, const char *site,
				  json_t **ret_node, struct error *err);

/* Durably. */
must_check int node_file_write(const char *state_folder, const json_t *node, struct error *err);

#endif
