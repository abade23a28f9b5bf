/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ledger: the hash-chained, signed history of every change, kept in the store.
 *
 * Keys:
 *   ledger/0000000000000017   entry 17: one canonical JSON line, '\n', the signature in base64
 *   ledger/head               {"hash":"…","sequence":17}
 *   node/NAME/key             the public key of node NAME: ed25519:BASE64
 *
 * An entry's line, with sorted keys and no spaces (RFC 8259; strings are raw UTF-8):
 *   {"before":HASH,"format":1,"kind":"apply","node":"edge1","sequence":17,"time_ms":…,"what":{…},
 *    "who":"alice","why":"more capacity"}
 * `before` is the hash of the entry before (64 zeros in entry 1): SHA-256 in hex of all its bytes,
 * signature included. The signature is Ed25519 (RFC 8032) of the line without its '\n', by the key
 * of `node`. There is exactly one way to write an entry; a reader refuses any other.
 *
 * Sequences rise by one, but for an entry of kind "store.recover": it may leave out numbers that
 * entries which are lost may have had, so that no number names two entries. Its `what` says in
 * "after" which entry it follows.
 *
 * Which key is whose is said by the ledger itself: an entry of kind "node.key" introduces a node's
 * key. Entry 1 introduces that of the node which signs it; every later one is signed by a node
 * that was introduced before. node/NAME/key repeats it for convenience and is checked.
 *
 * An entry is committed in the same txn as the change that it tells of, with compares that let
 * only one writer follow a given head: so the chain is linear, and state and history agree.
 *
 * What the chain cannot show is that its end was cut off together with the head: for that, keep
 * the verdict's sequence and hash elsewhere and pass them as the anchor of a later verification.
 *
 * One thread, that of the store. Nothing here logs.
 */
#ifndef FAIRLEAD_LEDGER_LEDGER_H
#define FAIRLEAD_LEDGER_LEDGER_H

#include "base/digest.h"
#include "base/error.h"
#include "store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

#define LEDGER_HEAD_KEY "ledger/head"
#define LEDGER_PREFIX "ledger/"
#define LEDGER_KEY_BYTES 32u /* "ledger/" + 16 digits + NUL fit */
#define LEDGER_SEQUENCE_MAX 9999999999999999u
#define LEDGER_NODE_BYTES 63u /* [a-z0-9-], starts with a letter or digit */
#define LEDGER_KIND_BYTES 63u /* [a-z0-9.-], starts with a letter */
#define LEDGER_TEXT_BYTES 1024u /* of `who` and `why`, each */
#define LEDGER_ENTRY_BYTES STORE_VALUE_BYTES
#define LEDGER_KIND_NODE_KEY "node.key"
#define LEDGER_KIND_RECOVER "store.recover"
#define LEDGER_KIND_RESUME "store.resume"
#define LEDGER_KIND_TRANSITION "transition"
#define LEDGER_KIND_MEMBER_ADD "member.add"
#define LEDGER_KIND_MEMBER_UPDATE "member.update"
#define LEDGER_KIND_MEMBER_JOIN "member.join"
#define LEDGER_KIND_MEMBER_REMOVE "member.remove"
#define LEDGER_KIND_MEMBER_FENCED "member.fenced"
#define LEDGER_KIND_TOKEN "token.add"
#define LEDGER_KIND_PASSING "passing.renew"
#define LEDGER_KIND_RETURN "backend.return"
#define LEDGER_KIND_UPGRADE "state.upgrade"

#define LEDGER_SIGNATURE_BYTES 64u

/* --- the node's key pair ---------------------------------------------------------------------- */

struct ledger_signer;

/*
 * Loads `folder`/node.key (PKCS #8, PEM; -FL_EPRIVILEGE if others than its owner can read it), or
 * makes it with mode 0600 if it is not there. `node` is the name that entries carry.
 */
must_check int ledger_signer_open(const char *folder, const char *node,
				  struct ledger_signer **ret_signer, struct error *err);
void ledger_signer_free(struct ledger_signer *signer);

const char *ledger_signer_node(const struct ledger_signer *signer);
/* "ed25519:BASE64" */
const char *ledger_signer_public_key(const struct ledger_signer *signer);

/* -FL_ECORRUPT with a sentence unless node/NAME/key (`record`; NULL when absent) is this signer's.
 */
must_check int ledger_signer_check(const struct ledger_signer *signer,
				   const struct store_record *record, struct error *err);

/* --- entries ---------------------------------------------------------------------------------- */

struct ledger_entry {
	uint64_t sequence; /* from 1 */
	uint64_t time_ms; /* since 1970, by the clock of the node that signed */
	const char *node; /* strings and `what` are borrowed until ledger_entry_done() */
	const char *who;
	const char *why;
	const char *kind;
	json_t *what; /* an object */
	struct digest before;
	struct digest digest; /* of this entry */
	uint8_t signature[LEDGER_SIGNATURE_BYTES];
	size_t body_length; /* bytes that the signature covers */
	json_t *body; /* owned */
};

/*
 * Strict: -FL_EINVALID for anything but the canonical form within the limits. Looks at one entry
 * only: neither signature nor chain is checked. `*ret_entry` is untouched on failure.
 */
must_check int ledger_entry_parse(const char *bytes, size_t length, struct ledger_entry *ret_entry,
				  struct error *err);
void ledger_entry_done(struct ledger_entry *entry);

/* Did somebody order what entries of this kind tell of? False for what nodes decide by themselves:
 * steps of versions, their own names and keys, a backend that is back, the form of the state. */
bool ledger_kind_is_order(const char *kind);

/* Is it signed by this key ("ed25519:BASE64")? `bytes` are those that it was parsed from. 0,
 * -FL_EINVALID when it is not, or when that is no key, -ENOMEM. */
must_check int ledger_entry_check(const struct ledger_entry *entry, const char *bytes,
				  const char *public_key);

/* May it come directly after entry `sequence`? By its number; its `before` is another question. */
bool ledger_entry_follows(const struct ledger_entry *entry, uint64_t sequence);

/* The entry that an event of the store's puts; false when it puts none, or one that does not parse.
 * To be ended with ledger_entry_done(). */
bool ledger_entry_of_event(const struct store_event *event, struct ledger_entry *ret_entry);

/* "ledger/0000000000000017" into `text`, which holds LEDGER_KEY_BYTES. Returns `text`. */
const char *ledger_key_format(uint64_t sequence, char *text);

/* Names an entry. A sequence alone does not: after a recovery another entry may bear it, on another
 * chain. All zero: no entry. */
struct ledger_position {
	uint64_t sequence;
	struct digest digest; /* of the entry */
};

/* The last entry, as ledger/head tells it; all zero for an empty ledger. */
struct ledger_head {
	uint64_t sequence;
	struct digest digest;
	uint64_t mod_revision; /* of ledger/head */
};

/* `record` is that of ledger/head, or NULL when it is absent. -FL_ECORRUPT if malformed. */
must_check int ledger_head_parse(const struct store_record *record, struct ledger_head *ret_head,
				 struct error *err);

/* --- appending -------------------------------------------------------------------------------- */

struct ledger_change {
	uint64_t time_ms; /* wall clock */
	const char *who; /* UTF-8, at most LEDGER_TEXT_BYTES, as is `why` */
	const char *why; /* "" is fine */
	const char *kind; /* "apply", "transition", "rollout.pause", … */
	json_t *what; /* an object; borrowed for the call */
	uint64_t sequence; /* 0: the next; above it only for LEDGER_KIND_RECOVER */
};

#define LEDGER_APPEND_OPS 3u

/*
 * What a txn needs to append one entry: the caller adds these compares and ops to its own. If the
 * txn ends in -FL_ECONFLICT, read the head (and whatever the decision stood on) again and start
 * anew; if it commits, `head` with its mod_revision set to the outcome's revision is the new one.
 */
struct ledger_append {
	struct store_compare compares[LEDGER_APPEND_OPS];
	size_t compare_count;
	struct store_op ops[LEDGER_APPEND_OPS];
	size_t op_count;
	struct ledger_head head; /* after the txn; its mod_revision is still 0 */
};

/*
 * Pure: no I/O. Keys and values live in `arena`. -FL_ESTATE on an empty ledger, which begins with
 * ledger_introduce_ops(); -FL_EINVALID or -FL_ELIMIT for a change outside the limits.
 */
must_check int ledger_append_ops(const struct ledger_head *head, const struct ledger_signer *signer,
				 const struct ledger_change *change, struct arena *arena,
				 struct ledger_append *ret_append, struct error *err);

/*
 * The same for an entry of kind "node.key", which introduces `node` with `public_key` and also puts
 * node/NAME/key, which must be absent. On an empty ledger these must be the signer's own.
 * `change->kind` and `change->what` are ignored.
 */
must_check int ledger_introduce_ops(const struct ledger_head *head,
				    const struct ledger_signer *signer,
				    const struct ledger_change *change, const char *node,
				    const char *public_key, struct arena *arena,
				    struct ledger_append *ret_append, struct error *err);

/* --- reading ---------------------------------------------------------------------------------- */

struct ledger_page {
	const struct ledger_entry *entries; /* ascending; borrowed until the callback returns */
	size_t count;
	bool more; /* entries follow: go on after the last one's sequence */
	struct ledger_head head; /* as it was when the page was read */
};

typedef void ledger_range_fn(void *context, int result, const struct error *err,
			     const struct ledger_page *page);

/*
 * `limit` entries from `first` on, as far as they exist; `first` 0 means the last `limit` ones, or
 * fewer where numbers were left out. `limit` is 1…STORE_PAGE_RECORDS. An entry that does not parse
 * is -FL_ECORRUPT, named in `err`. The completion comes from store_dispatch() of `store`.
 */
must_check int ledger_range(struct store *store, uint64_t first, size_t limit,
			    ledger_range_fn *done, void *context, struct error *err);

/* --- verifying -------------------------------------------------------------------------------- */

struct ledger_anchor {
	uint64_t sequence; /* 0: no anchor */
	struct digest digest; /* what this entry's hash was */
};

struct ledger_verify {
	const struct ledger_signer *signer; /* its key must be the one the ledger knows; or NULL */
	struct ledger_anchor anchor;
};

struct ledger_verdict {
	uint64_t entries; /* that are sound: all of them when `result` is 0 */
	uint64_t sequence; /* of the last of these */
	struct digest digest; /* hash of the last of these */
};

/* `verdict` is never NULL. */
typedef void ledger_verify_fn(void *context, int result, const struct error *err,
			      const struct ledger_verdict *verdict);

/*
 * Walks the whole ledger, as it is at one revision, from entry 1: sequence, chain, signatures,
 * keys, head, and that nothing else lies under ledger/. Result -FL_ECORRUPT at the first fault;
 * `err` names the entry and what is wrong: "entry 17: the signature does not match: the entry was
 * changed after it was written". An empty ledger is sound unless `signer` or `anchor` says that it
 * cannot be. `verify` is copied; its signer is borrowed until the completion.
 */
must_check int ledger_verify(struct store *store, const struct ledger_verify *verify,
			     ledger_verify_fn *done, void *context, struct error *err);

#endif
