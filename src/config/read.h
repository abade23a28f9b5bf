/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of the file: the tree of YAML nodes → a fabric, key by key. What a key is called, what
 * type it has and which default it takes is said here and nowhere else.
 */
#ifndef FAIRLEAD_CONFIG_READ_H
#define FAIRLEAD_CONFIG_READ_H

#include "base/arena.h"
#include "yaml/notes.h"
#include "yaml/yaml.h"

struct fabric;
struct form;

/*
 * Fill `fabric`, whose memory is in `arena`. Errors go to the notes; without any, the fabric is
 * complete and its arrays are parallel to the lists and maps of the tree, item by item, which is
 * how check.h finds places.
 */
void read_fabric(struct notes *notes, const struct yaml_node *root, struct arena *arena,
		 struct fabric *fabric);

/* The map of all services, into a struct fabric: read_service.c. */
void read_zone_settings(struct form *form, const struct yaml_node *node, void *target);
void read_services(struct form *form, const struct yaml_node *node, void *target);

#endif
