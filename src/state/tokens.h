/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens by which machines may join, as the state keeps them: token/HASH, where HASH is the hash of
 * the token's secret, in hex. Who can read the state can join with none of them. One is good for
 * one member: by whom it was used stays in the record, so that the same machine may ask again whose
 * answer was lost. Records of tokens that have expired go with the next token; so do those of used
 * ones where there are many: a member that asks again is then known by its key.
 *
 * Pure; one thread, that of the image.
 */
#ifndef FAIRLEAD_STATE_TOKENS_H
#define FAIRLEAD_STATE_TOKENS_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/digest.h"
#include "base/error.h"
#include "model/member.h"
#include "store/store.h"

#define TOKENS_MAX 256u /* that have not expired, and were not used */

struct join_token {
	struct digest secret; /* its hash */
	unsigned roles; /* that the machine may have, of enum member_role */
	uint64_t expires_ms; /* wall clock */
	char site[MODEL_NAME_BYTES]; /* that it must stand at; "": any */
	char node[MODEL_NAME_BYTES]; /* who used it; "": nobody did */
	char channel_key[MEMBER_KEY_BYTES]; /* by which key; "" likewise */
	uint64_t mod_revision;
};

const char *join_token_key(const struct digest *secret, char *key);
must_check int join_token_put(const struct join_token *token, struct buffer *value);

struct token_list {
	struct join_token *items; /* owned; in no order */
	size_t count;
};

/* -FL_ECORRUPT, -FL_EUNSUPPORTED, -ENOMEM. */
must_check int token_list_take(struct token_list *list, const struct store_record *record,
			       struct error *err);
void token_list_drop(struct token_list *list, const char *key);
void token_list_done(struct token_list *list);

/* NULL when there is none with this secret. */
const struct join_token *token_list_find(const struct token_list *list,
					 const struct digest *secret);

#endif
