/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upgrade: a store in the first release's form (the file's text under `config`, all numbers under
 * `placement`) becomes one of records. The image reads the old form as it is, so forwarding and
 * answering do not wait for this; orders do.
 *
 * It is a change like any other, in as many ledger entries as its records take, of kind
 * "state.upgrade". The old form counts as long as it is there, and the last entry removes it: what
 * an interrupted upgrade has written is gone on with, or written anew if an older program changed
 * the old form meanwhile.
 */
#ifndef FAIRLEAD_STATE_UPGRADE_H
#define FAIRLEAD_STATE_UPGRADE_H

#include "state/changes.h"

/* `result` 0, or why it was not done: it may be begun again. */
typedef void upgrade_done_fn(void *context, int result, const struct error *err);

/* For a store whose image->is_old. -ENOMEM. */
must_check int upgrade_begin(struct changes *changes, upgrade_done_fn *done, void *context);

#endif
