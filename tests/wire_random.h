/* SPDX-License-Identifier: Apache-2.0 */
/* Random messages of a table, within the limits of their rows: for round trips and fuzz seeds. */
#ifndef FAIRLEAD_TESTS_WIRE_RANDOM_H
#define FAIRLEAD_TESTS_WIRE_RANDOM_H

#include "base/random.h"
#include "wire/codec.h"

/*
 * Fill the struct at `object`, which is zeroed. Texts and lists live in `arena`. Lists have at most
 * `most_items`, texts and bytes at most `most_bytes`, unless a row wants more.
 */
void wire_random_fill(struct random *random, const struct wire_shape *shape, size_t most_items,
		      size_t most_bytes, struct arena *arena, void *object);

#endif
