/* SPDX-License-Identifier: Apache-2.0 */
/* How the tables of things are written. What follows the help are further members. */
#ifndef FAIRLEAD_CONTROL_THING_FIELDS_H
#define FAIRLEAD_CONTROL_THING_FIELDS_H

#include "control/thing.h"

#define FIELD(key, kind, ...) {.name = (key), .type = FIELD_##kind, .help = __VA_ARGS__}
#define COLUMN(title, key, kind, ...)                                                              \
	{.heading = (title), .name = (key), .type = FIELD_##kind, .help = __VA_ARGS__}
#define OUTER_COLUMN(title, key, kind)                                                             \
	{.heading = (title), .name = (key), .type = FIELD_##kind, .outer = true}
#define END {.name = NULL}

#endif
