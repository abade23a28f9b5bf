/* SPDX-License-Identifier: Apache-2.0 */
#include "base/search.h"

size_t search_place(const void *sequence, size_t count, const void *key, search_compare_fn *compare,
		    bool *ret_found)
{
	size_t low = 0;
	size_t high = count;
	*ret_found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare(sequence, middle, key);
		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
