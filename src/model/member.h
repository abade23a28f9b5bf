/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Member: a node that the ledger names. Its record says what the node is to the others: who waits
 * for it, which tunnels landings take from it, whose signatures are its own. A member stays one
 * until it is removed, also while it is silent: who forwards to an old address must not be
 * overlooked because it cannot be heard.
 *
 * Pure; any thread.
 */
#ifndef FAIRLEAD_MODEL_MEMBER_H
#define FAIRLEAD_MODEL_MEMBER_H

#include "base/netaddr.h"
#include "model/fabric.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMBER_KEY_BYTES 56 /* "ed25519:", 44 characters of base64, NUL */
#define MEMBER_SOURCES 2 /* one of each family */

/* The highest level of anything in a version's content that this program can forward. A member's
 * record carries its own; a version uses only what the lowest member has. */
#define MEMBER_FEATURES 1u

/* X(id, name, bit, meaning) */
#define MEMBER_ROLES(X)                                                                            \
	X(EDGE, "edge", 1, "takes traffic for service addresses and forwards it")                  \
	X(NAMES, "names", 2, "answers DNS")                                                        \
	X(BACKEND, "backend", 4, "its landing decapsulates")                                       \
	X(VOTER, "voter", 8, "decides on changes")

enum member_role {
#define X(id, name, bit, meaning) MEMBER_##id = (bit),
	MEMBER_ROLES(X)
#undef X
};

struct member {
	const char *name;
	const char *site;
	const char *key; /* of its signatures: "ed25519:BASE64" */
	unsigned roles; /* of enum member_role */
	uint32_t features;
	struct ip_address sources[MEMBER_SOURCES]; /* of its tunnels */
	size_t source_count;
	/* The node channel; a node that has none is alone, or reports to a socket. */
	char channel_key[MEMBER_KEY_BYTES]; /* of its sessions, like `key`; "": it has no channel */
	struct ip_address channel_address; /* where it listens; IP_NONE: it does not */
	uint16_t channel_port;
};

static inline bool member_has(const struct member *member, enum member_role role)
{
	return (member->roles & (unsigned)role) != 0;
}

/* "edge", "names", …; NULL for a bit that is no role. */
const char *member_role_name(enum member_role role);

/* 0 when no role has this name. */
unsigned member_role_parse(const char *name);

/* "edge,names" into bits. False at the first that is no role: `text`, which is cut into pieces,
 * then ends with it, and `*ret_wrong` is where it begins. */
bool member_roles_parse(char *text, unsigned *ret_roles, const char **ret_wrong);

#define MEMBER_ROLES_BYTES 48

/* "edge,names" into `text`, which holds MEMBER_ROLES_BYTES; returns it. */
const char *member_roles_format(unsigned roles, char *text);

bool member_equal(const struct member *a, const struct member *b);

#endif
