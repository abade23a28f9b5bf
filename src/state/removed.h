/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removed members, as the state keeps them: removed/SEQUENCE, where SEQUENCE is the ledger entry
 * that removed the node, in sixteen digits. The node's name is free; its channel key is good for
 * nothing any more, and that entry, which is signed, is what the node is shown when it comes back.
 *
 * An edge that was removed may forward all the same, since nobody may have told it. It is *fenced*
 * when every landing has taken it off its list of tunnel sources (PROTOCOL.md rule 9); the entry
 * that says so stands in the record. Until then it is waited for as a member that is silent.
 *
 * Records are kept, so that a node that was off for long still learns what it is; the oldest that
 * is fenced goes when there are REMOVED_MAX.
 *
 * Pure; one thread, that of the image.
 */
#ifndef FAIRLEAD_STATE_REMOVED_H
#define FAIRLEAD_STATE_REMOVED_H

#include "base/buffer.h"
#include "base/error.h"
#include "model/member.h"
#include "store/store.h"

#define REMOVED_MAX 1024u

struct removed_member {
	uint64_t sequence; /* the ledger entry that removed it */
	char name[MODEL_NAME_BYTES];
	char channel_key[MEMBER_KEY_BYTES]; /* "": it had no channel */
	unsigned roles; /* that it had, of enum member_role */
	struct ip_address sources[MEMBER_SOURCES]; /* of its tunnels */
	size_t source_count;
	struct ip_address channel_address; /* IP_NONE: it did not listen */
	uint64_t removed_ms; /* when, by the clock that states are stamped with */
	uint64_t fenced; /* the ledger entry that says that it is; 0: it is not */
	uint64_t learned_ms; /* when this image learned of it, by the caller's clock */
	uint64_t mod_revision;
};

/* As it is when `member` is removed by entry `sequence`. Who is no edge needs no fence. */
struct removed_member removed_member_of(const struct member *member, uint64_t sequence,
					uint64_t wall_ms);

static inline bool removed_is_fenced(const struct removed_member *removed)
{
	return removed->fenced != 0;
}

/* "removed/0000000000000017" into `key` (RECORD_KEY_BYTES); returns it. */
const char *removed_member_key(uint64_t sequence, char *key);
must_check int removed_member_put(const struct removed_member *removed, struct buffer *value);

struct removed_list {
	struct removed_member *items; /* owned; by rising sequence */
	size_t count;
};

/* -FL_ECORRUPT, -FL_EUNSUPPORTED, -ENOMEM. */
must_check int removed_list_take(struct removed_list *list, const struct store_record *record,
				 uint64_t now_ms, struct error *err);
void removed_list_drop(struct removed_list *list, const char *key);
void removed_list_done(struct removed_list *list);

/* When a name server was removed last, which may have answered until then; 0: none was. */
uint64_t removed_names_ms(const struct removed_list *list);

/* NULL when no such entry removed anybody. */
const struct removed_member *removed_list_find(const struct removed_list *list, uint64_t sequence);
/* Whose channel key it was; NULL: nobody's who was removed. */
const struct removed_member *removed_list_find_key(const struct removed_list *list,
						   const char *channel_key);
/* The latest of this name that is not fenced; NULL: none. */
const struct removed_member *removed_list_unfenced(const struct removed_list *list,
						   const char *name);

#endif
