/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records: what the store's keys are, and how the model is written down as their values.
 *
 * Each type of record is a row below: its key, or what its keys begin with; what a person calls it;
 * and the level of its format, up to which this program reads; it writes that one, or a lower one
 * whose readers understand all that is said. A JSON record
 * carries its level in the member "level"; one without is of level 1. A new member, or a new
 * meaning of one, is a new level: who writes a record anew drops what it does not know of it, so
 * nobody may write one whose level is above his own. A record of a higher level, and one whose key
 * no row describes, is *unread*: the image keeps a list of these (image.h), nothing overwrites or
 * deletes them, and docs/design/store.md says for each type what is not done without it.
 *
 *   config/fabric               name, zone, name servers
 *   config/setting/NAME         one setting
 *   config/pool/00              a pool, by its place in the file
 *   config/site/NAME            a site
 *   config/service/NAME         a service as it was published last, and its policies
 *   placement/pool/00           the pool with this number
 *   placement/recovered         what the last recovery holds back
 *   placement/site/000          the site with this number
 *   placement/slot/00/0000005   a slot that was held and is free now: pool, slot
 *   service/NAME                the state of one service: number, versions, bindings, rollout
 *   version/NAME/0000000017     one version: the canonical bytes that its digest covers
 *   ended/NAME                  where a service that left the configuration stopped counting its
 *                               versions: it goes on there if it comes again, whenever that is
 *   forgotten/NAME/ADDRESS      a backend whose silence the operator declared to be its end: the
 *                               sequence of the ledger entry that says so. Releases up to 0.1 wrote
 *                               forgotten/NAME, of whatever addresses the name had
 *   member/NODE                 who the node is: roles, site, tunnel sources, key, features
 *   passing                     by what edges know what other edges passed on:
 *                               state/passing_secret.h
 *   removed/SEQUENCE            a node that was removed, by the entry that did it: state/removed.h
 *   token/HASH                  a token by which one machine may join: state/tokens.h
 *   probe                       written to find out whether a store that failed takes changes again
 *   ack/NODE                    what programs up to 0.1 wrote of acknowledgements: left alone
 *   ledger/…, node/…            see ledger/ledger.h
 *   config, placement           the form of the first release: the file's text, and all numbers in
 *                               one value. Read, never written; upgrade.h makes the above of them.
 *
 * Parsing is strict and bounded; a value that does not parse is -FL_ECORRUPT with a sentence, one
 * of a higher level -FL_EUNSUPPORTED. Results live in the caller's arena. Pure; any thread.
 */
#ifndef FAIRLEAD_STATE_RECORDS_H
#define FAIRLEAD_STATE_RECORDS_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "model/lifecycle.h"
#include "model/member.h"
#include "model/placement.h"
#include "model/version.h"

/* X(id, key, is a prefix, level, what it is called). By rising keys. */
#define RECORD_TYPES(X)                                                                            \
	X(OLD_ACK, "ack/", true, 1, "acknowledgement")                                             \
	X(OLD_CONFIG, "config", false, 1, "configuration")                                         \
	X(CONFIG_FABRIC, "config/fabric", false, 2, "configuration of the fabric")                 \
	X(CONFIG_POOL, "config/pool/", true, 1, "configuration of a pool")                         \
	X(CONFIG_SERVICE, "config/service/", true, 2, "configuration of a service")                \
	X(CONFIG_SETTING, "config/setting/", true, 1, "setting")                                   \
	X(CONFIG_SITE, "config/site/", true, 1, "configuration of a site")                         \
	X(ENDED, "ended/", true, 1, "ended service")                                               \
	X(FORGOTTEN, "forgotten/", true, 1, "forgotten backend")                                   \
	X(LEDGER, "ledger/", true, 1, "ledger")                                                    \
	X(MEMBER, "member/", true, 2, "member")                                                    \
	X(NODE, "node/", true, 1, "node's key")                                                    \
	X(PASSING, "passing", false, 1, "passing secret")                                          \
	X(OLD_PLACEMENT, "placement", false, 1, "placement")                                       \
	X(PLACED_POOL, "placement/pool/", true, 1, "number of a pool")                             \
	X(RECOVERED, "placement/recovered", false, 1, "recovery")                                  \
	X(PLACED_SITE, "placement/site/", true, 1, "number of a site")                             \
	X(FREED_SLOT, "placement/slot/", true, 1, "freed slot")                                    \
	X(PROBE, "probe", false, 1, "probe")                                                       \
	X(REMOVED, "removed/", true, 1, "removed member")                                          \
	X(SERVICE, "service/", true, 1, "service state")                                           \
	X(TOKEN, "token/", true, 1, "token")                                                       \
	X(VERSION, "version/", true, 3, "version")

enum record_type {
#define RECORD_TYPE_ID(id, key, is_prefix, level, what) RECORD_##id,
	RECORD_TYPES(RECORD_TYPE_ID)
#undef RECORD_TYPE_ID
	    RECORD_UNKNOWN, /* how many types there are, too */
};

struct record_row {
	const char *key;
	bool is_prefix;
	uint32_t level;
	const char *what;
};

extern const struct record_row record_rows[RECORD_UNKNOWN];

enum record_type record_type_of(const char *key);
/* What follows the prefix of its type; "" for a key that is no prefix. */
const char *record_key_rest(const char *key, enum record_type type);

/* The level that a value of any type says it has; 1 when it says none. */
uint32_t record_level(const char *value, size_t length);

#define RECORD_KEY_BYTES 256u
#define RECORD_PROBE_KEY "probe"

/* Each writes a key into `key` (RECORD_KEY_BYTES) and returns it. */
const char *record_service_key(const char *service, char *key);
const char *record_ended_key(const char *service, char *key);
const char *record_version_key(const char *service, uint32_t number, char *key);
/* `address` IP_NONE: as earlier releases wrote it. */
const char *record_forgotten_key(const char *backend, const struct ip_address *address, char *key);
const char *record_member_key(const char *node, char *key);

must_check int record_service_put(const struct service_state *state, struct buffer *value);
must_check int record_service_parse(const char *value, size_t length, struct arena *arena,
				    struct service_state **ret_state, struct error *err);

/* Where a service that left the configuration stopped. Written when it leaves, and kept for good:
 * names of versions, metrics and logs know a number for longer than any state does. */
struct ended_service {
	uint32_t next_version; /* 0: there is no such record */
	uint64_t given; /* the ledger entry that gave its last version a number; 0: none did */
	uint64_t removed; /* the one that took it out of the configuration; 0: not known */
};

must_check int record_ended_put(const struct ended_service *ended, struct buffer *value);
must_check int record_ended_parse(const char *value, size_t length, struct ended_service *ret_ended,
				  struct error *err);

must_check int record_member_put(const struct member *member, struct buffer *value);
must_check int record_member_parse(const char *value, size_t length, struct arena *arena,
				   struct member **ret_member, struct error *err);

/* The canonical bytes of model/version.h. What is parsed has the digest of its bytes; that it is
 * the one that was committed is for who knows the service's state to check. */
must_check int record_version_put(const struct version *version, struct buffer *value);
must_check int record_version_parse(const char *value, size_t length, struct arena *arena,
				    struct version **ret_version, struct error *err);

/* Whom the key is about; `ret_backend` has room for MODEL_NAME_BYTES. -FL_ECORRUPT: nobody. */
must_check int record_forgotten_parse(const char *key, char *ret_backend,
				      struct ip_address *ret_address);

/* A record of this type that is one decimal number. */
must_check int record_sequence_parse(enum record_type type, const char *value, size_t length,
				     uint64_t *ret_sequence, struct error *err);

#endif
