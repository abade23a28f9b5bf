/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `apply --expect SEQUENCE`: a file is applied only to what it was planned against. The
 * configuration has moved past an entry when a later one tells of an order, of whatever kind: what
 * somebody did may be what this file undoes. What nodes decide by themselves (a version's next
 * step, a node's key) moves nothing (ledger_kind_is_order()).
 */
#ifndef FAIRLEAD_API_EXPECT_H
#define FAIRLEAD_API_EXPECT_H

#include "api/host.h"
#include "base/error.h"

/* 0: there was no order after the entry up to `newest`, the last of the ledger. -FL_ECONFLICT: the
 * sentence says which was the last one, whose, and what to do. */
typedef void expect_fn(void *context, int result, const struct error *err, uint64_t newest);

/* Read the ledger after the entry `expected`; `done` is called once, now or later. */
void expect_begin(const struct api_host *host, uint64_t expected, expect_fn *done, void *context);

#endif
