/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mark: the newest ledger entry that this node acknowledged, or decided, by sequence and hash,
 * beside its replica (PROTOCOL.md rule 3). Others build on it, so a replica that does not have this
 * entry, because an older one was put back, must not be acted by. The mark also says whether there
 * were others, of whom an older replica may know nothing.
 *
 * FOLDER/mark holds two slots a page apart, each a line of text with its own digest, and each new
 * mark goes over the older one: a power loss spoils one of them at most, and a full disk none.
 * The pinned maps hold the same (dataplane/edge.h), for the case that the whole folder is put back.
 */
#ifndef FAIRLEAD_STATE_MARK_H
#define FAIRLEAD_STATE_MARK_H

#include "base/disk.h"
#include "ledger/ledger.h"

#include <limits.h>

#define MARK_FILE "mark"

struct mark_note {
	struct ledger_position position; /* sequence 0: none */
	bool has_peers; /* the fabric has other nodes that forward, answer or decide */
};

struct mark {
	const struct disk *disk;
	char path[PATH_MAX];
	struct mark_note newest; /* in the file */
	unsigned slot; /* that holds it */
	bool is_there; /* the file, in its full length */
	bool is_damaged; /* there is one, and it cannot be read or holds no mark */
};

/* 0 also when it is missing or damaged; -ENOMEM. */
must_check int mark_read(struct mark *mark, const struct disk *disk, const char *folder);

/* Durable when it returns 0; nothing is written for an entry that is not newer. */
must_check int mark_write(struct mark *mark, const struct mark_note *note, struct error *err);

#endif
