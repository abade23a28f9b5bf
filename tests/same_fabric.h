/* SPDX-License-Identifier: Apache-2.0 */
/* Whether two fabrics say the same, order included: what the store would hold of them is the same.
 */
#ifndef FAIRLEAD_TESTS_SAME_FABRIC_H
#define FAIRLEAD_TESTS_SAME_FABRIC_H

#include "base/buffer.h"
#include "base/error.h"
#include "config/config.h"

#include <string.h>

static inline bool same_fabric(const struct fabric *a, const struct fabric *b)
{
	struct buffer left;
	struct buffer right;
	buffer_init(&left, 0);
	buffer_init(&right, 0);
	config_emit(a, &left);
	config_emit(b, &right);
	ASSERT(left.status == 0 && right.status == 0);
	bool same = left.length == right.length && memcmp(left.data, right.data, left.length) == 0;
	buffer_done(&left);
	buffer_done(&right);
	return same;
}

#endif
