/* SPDX-License-Identifier: Apache-2.0 */
/* Where something is, or belongs, in an ordered sequence that need not be a plain array. */
#ifndef FAIRLEAD_BASE_SEARCH_H
#define FAIRLEAD_BASE_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

/* How what stands at `place` compares with `key`: < 0 before it, 0 equal, > 0 after it. */
typedef int search_compare_fn(const void *sequence, size_t place, const void *key);

/*
 * The place of `key` among `count` ordered things, or where it would have to be inserted;
 * `*ret_found` says which. Binary search: the order must hold. Any thread.
 */
size_t search_place(const void *sequence, size_t count, const void *key, search_compare_fn *compare,
		    bool *ret_found);

#endif
