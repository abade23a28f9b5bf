/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digest of a layout of maps. It is SHA-256 over a text that lists, for each map, its name,
 * type, sizes and flags, and the members of its key and value down to their offsets, as the
 * object's BTF gives them. Two builds with one digest can share maps; any change of a record gives
 * another digest, without anybody having to remember to count a version up. Pure.
 */
#ifndef FAIRLEAD_KERNEL_LAYOUT_H
#define FAIRLEAD_KERNEL_LAYOUT_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct bpf_object;

#define LAYOUT_HEX 17 /* 16 digits and a NUL */

/* Whether the map of this name has no size of its own: how many entries it has is no part of the
 * layout, and two processes share it at any size. NULL: none is like that. */
typedef bool layout_grows(const char *map);

/* -FL_EUNSUPPORTED: an object carries no type information. */
must_check int layout_digest(const struct bpf_object *const *objects, size_t count,
			     layout_grows *grows, char text[LAYOUT_HEX], struct error *err);

#endif
