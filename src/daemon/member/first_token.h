/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens as the daemon makes them, and the one that `fairlead init` prints: that is made before
 * there is a ledger, so its hash waits in the state folder until the voter writes it there.
 */
#ifndef FAIRLEAD_DAEMON_MEMBER_FIRST_TOKEN_H
#define FAIRLEAD_DAEMON_MEMBER_FIRST_TOKEN_H

#include "base/random.h"
#include "peer/token.h"
#include "state/tokens.h"
#include "wire/codec.h"

struct daemon;

#define TOKEN_LIFE_MS (24ull * 3600 * 1000)
#define TOKEN_ROLES ((unsigned)(MEMBER_EDGE | MEMBER_NAMES | MEMBER_BACKEND))

/* A new secret for `ret_token`, whose other members are what the token shall say. */
void token_draw(const struct wire_bytes *ca, const char *fabric, struct random *random,
		struct join_token *ret_token, char text[PEER_TOKEN_TEXT_BYTES]);

must_check int first_token_write(const char *state_folder, const struct join_token *token,
				 struct error *err);

/* Write it into the ledger, if it waits. At the start of a node that decides. */
void first_token_submit(struct daemon *daemon);

#endif
