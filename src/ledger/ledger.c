/* SPDX-License-Identifier: Apache-2.0 */
/* One entry: its text, its place in the chain, and the ops that append it. */
#include "ledger/ledger.h"

#include "base/arena.h"
#include "base/text.h"
#include "ledger/key.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT 1
#define CANONICAL (JSON_COMPACT | JSON_SORT_KEYS)
#define TAIL_BYTES LEDGER_SIGNATURE_TEXT_BYTES /* '\n' instead of its NUL, and the base64 */

const char *ledger_key_format(uint64_t sequence, char *text)
{
	snprintf(text, LEDGER_KEY_BYTES, LEDGER_PREFIX "%016" PRIu64, sequence);
	return text;
}

/* --- checks of single fields ------------------------------------------------------------------ */

static bool kind_is_valid(const char *kind)
{
	size_t length = strnlen(kind, LEDGER_KIND_BYTES + 1);
	return length >= 1 && length <= LEDGER_KIND_BYTES && kind[0] >= 'a' && kind[0] <= 'z' &&
	       strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789.-") == length;
}

/* One line without control characters, so that a terminal can show it. */
static bool text_is_valid(const char *text)
{
	size_t length = strnlen(text, LEDGER_TEXT_BYTES + 1);
	if (length > LEDGER_TEXT_BYTES)
		return false;
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c < 0x20 || c == 0x7f)
			return false;
	}
	return true;
}

static int digest_parse(const char *text, struct digest *ret_digest)
{
	char again[DIGEST_HEX_BYTES];
	struct digest digest;
	if (hex_decode(text, digest.bytes, sizeof(digest.bytes)) < 0)
		return -FL_EINVALID;
	hex_encode(digest.bytes, sizeof(digest.bytes), again);
	if (strcmp(again, text) != 0)
		return -FL_EINVALID;
	*ret_digest = digest;
	return 0;
}

/* --- parsing ---------------------------------------------------------------------------------- */

/* The bytes of an entry: a line, '\n', a signature. Fills signature, body_length and digest. */
static int entry_split(const char *bytes, size_t length, struct ledger_entry *entry,
		       struct error *err)
{
	if (length > LEDGER_ENTRY_BYTES)
		return error_set(err, -FL_EINVALID, "it is longer than %u bytes",
				 LEDGER_ENTRY_BYTES);
	if (length < TAIL_BYTES || bytes[length - TAIL_BYTES] != '\n')
		return error_set(err, -FL_EINVALID, "it is not a line and a signature");
	const char *signature = bytes + length - TAIL_BYTES + 1;
	if (base64_decode(signature, TAIL_BYTES - 1, entry->signature, LEDGER_SIGNATURE_BYTES) < 0)
		return error_set(err, -FL_EINVALID, "its signature is not well-formed base64");
	entry->body_length = length - TAIL_BYTES;
	digest_of(bytes, length, &entry->digest);
	return 0;
}

/* Whether `body`, written again, gives the same bytes: there is one way to write an entry. */
static int canonical_check(const json_t *body, const char *bytes, size_t length, struct error *err)
{
	char *again = json_dumps(body, CANONICAL);
	if (!again)
		return error_set(err, -ENOMEM, "ledger: out of memory");
	bool same = strlen(again) == length && memcmp(again, bytes, length) == 0;
	free(again);
	return same ? 0 : error_set(err, -FL_EINVALID, "its JSON is not in the canonical form");
}

static int body_fields(json_t *body, struct ledger_entry *entry, struct error *err)
{
	json_int_t sequence = 0;
	json_int_t time_ms = 0;
	int format = 0;
	const char *before = NULL;
	/* "!" refuses members that are not named here. */
	if (json_unpack(body, "{s:s, s:i, s:s, s:s, s:I, s:I, s:o, s:s, s:s !}", "before", &before,
			"format", &format, "kind", &entry->kind, "node", &entry->node, "sequence",
			&sequence, "time_ms", &time_ms, "what", &entry->what, "who", &entry->who,
			"why", &entry->why) < 0)
		return error_set(err, -FL_EINVALID, "its members are not those of a ledger entry");
	if (format != FORMAT)
		return error_set(err, -FL_EINVALID, "its format is %d, not %d", format, FORMAT);
	if (sequence < 1 || (uint64_t)sequence > LEDGER_SEQUENCE_MAX)
		return error_set(err, -FL_EINVALID, "its sequence is out of range");
	if (time_ms < 0)
		return error_set(err, -FL_EINVALID, "its time is out of range");
	if (digest_parse(before, &entry->before) < 0)
		return error_set(err, -FL_EINVALID, "the hash of the entry before is malformed");
	entry->sequence = (uint64_t)sequence;
	entry->time_ms = (uint64_t)time_ms;
	return 0;
}

static int fields_check(const struct ledger_entry *entry, struct error *err)
{
	if (!text_is_node_name(entry->node))
		return error_set(err, -FL_EINVALID, "its node is not a node name");
	if (!kind_is_valid(entry->kind))
		return error_set(err, -FL_EINVALID,
				 "its kind is not a word of up to %u of a-z, 0-9, '.' and '-'",
				 LEDGER_KIND_BYTES);
	if (!text_is_valid(entry->who) || !text_is_valid(entry->why))
		return error_set(err, -FL_EINVALID,
				 "its \"who\" or \"why\" is not one line of up to %u bytes",
				 LEDGER_TEXT_BYTES);
	if (!json_is_object(entry->what))
		return error_set(err, -FL_EINVALID, "its \"what\" is not an object");
	return 0;
}

static int body_parse(const char *bytes, struct ledger_entry *entry, struct error *err)
{
	/* The parser's own text may quote hostile bytes, so a person is given the place only. */
	json_error_t fault;
	entry->body = json_loadb(bytes, entry->body_length, JSON_REJECT_DUPLICATES, &fault);
	if (!entry->body)
		return error_set(err, -FL_EINVALID, "its JSON is not valid: %s at byte %d",
				 fault.text, fault.position);
	int result = canonical_check(entry->body, bytes, entry->body_length, err);
	if (result == 0)
		result = body_fields(entry->body, entry, err);
	if (result == 0)
		result = fields_check(entry, err);
	return result;
}

int ledger_entry_parse(const char *bytes, size_t length, struct ledger_entry *ret_entry,
		       struct error *err)
{
	struct ledger_entry entry = {0};
	int result = entry_split(bytes, length, &entry, err);
	if (result == 0)
		result = body_parse(bytes, &entry, err);
	if (result < 0) {
		ledger_entry_done(&entry);
		return result;
	}
	*ret_entry = entry;
	return 0;
}

bool ledger_kind_is_order(const char *kind)
{
	static const char *const NODES_OWN[] = {LEDGER_KIND_NODE_KEY,    LEDGER_KIND_TRANSITION,
						LEDGER_KIND_MEMBER_ADD,  LEDGER_KIND_MEMBER_UPDATE,
						LEDGER_KIND_MEMBER_JOIN, LEDGER_KIND_MEMBER_FENCED,
						LEDGER_KIND_TOKEN,       LEDGER_KIND_RETURN,
						LEDGER_KIND_UPGRADE,     LEDGER_KIND_PASSING};
	for (size_t i = 0; i < sizeof(NODES_OWN) / sizeof(NODES_OWN[0]); i++) {
		if (strcmp(NODES_OWN[i], kind) == 0)
			return false;
	}
	return true;
}

int ledger_entry_check(const struct ledger_entry *entry, const char *bytes, const char *public_key)
{
	uint8_t key[KEY_BYTES];
	if (key_text_parse(public_key, strlen(public_key), key) < 0)
		return -FL_EINVALID;
	return ledger_signature_check(key, bytes, entry->body_length, entry->signature);
}

bool ledger_entry_follows(const struct ledger_entry *entry, uint64_t sequence)
{
	const json_t *after = json_object_get(entry->what, "after");
	if (entry->sequence == sequence + 1)
		return true;
	return entry->sequence > sequence && strcmp(entry->kind, LEDGER_KIND_RECOVER) == 0 &&
	       json_is_integer(after) && json_integer_value(after) == (json_int_t)sequence;
}

void ledger_entry_done(struct ledger_entry *entry)
{
	json_decref(entry->body);
	*entry = (struct ledger_entry){0};
}

/* --- the head --------------------------------------------------------------------------------- */

static char *head_format(const struct ledger_head *head, struct arena *arena)
{
	char hex[DIGEST_HEX_BYTES];
	hex_encode(head->digest.bytes, sizeof(head->digest.bytes), hex);
	return arena_printf(arena, "{\"hash\":\"%s\",\"sequence\":%" PRIu64 "}", hex,
			    head->sequence);
}

static bool head_fields(json_t *body, struct ledger_head *head)
{
	json_int_t sequence = 0;
	const char *hash = NULL;
	if (!body || json_unpack(body, "{s:s, s:I !}", "hash", &hash, "sequence", &sequence) < 0)
		return false;
	head->sequence = (uint64_t)sequence;
	return sequence >= 1 && head->sequence <= LEDGER_SEQUENCE_MAX &&
	       digest_parse(hash, &head->digest) == 0;
}

bool ledger_entry_of_event(const struct store_event *event, struct ledger_entry *ret_entry)
{
	const struct store_record *record = &event->record;
	return event->kind == STORE_PUT &&
	       strncmp(record->key, LEDGER_PREFIX, strlen(LEDGER_PREFIX)) == 0 &&
	       strcmp(record->key, LEDGER_HEAD_KEY) != 0 &&
	       ledger_entry_parse(record->value, record->value_length, ret_entry, NULL) == 0;
}

int ledger_head_parse(const struct store_record *record, struct ledger_head *ret_head,
		      struct error *err)
{
	struct ledger_head head = {0};
	if (!record) {
		*ret_head = head;
		return 0;
	}
	json_t *body =
	    json_loadb(record->value, record->value_length, JSON_REJECT_DUPLICATES, NULL);
	int result = 0;
	if (!head_fields(body, &head))
		result = -FL_EINVALID;
	else
		result = canonical_check(body, record->value, record->value_length, NULL);
	json_decref(body);
	if (result == -ENOMEM)
		return error_set(err, result, "ledger: out of memory");
	if (result < 0)
		return error_set(
		    err, -FL_ECORRUPT,
		    "the head of the ledger (%s) is malformed: it was changed after it "
		    "was written",
		    LEDGER_HEAD_KEY);
	head.mod_revision = record->mod_revision;
	*ret_head = head;
	return 0;
}

/* --- appending -------------------------------------------------------------------------------- */

static char *body_format(const struct ledger_head *head, const struct ledger_signer *signer,
			 const struct ledger_change *change, struct error *err)
{
	char before[DIGEST_HEX_BYTES];
	hex_encode(head->digest.bytes, sizeof(head->digest.bytes), before);
	json_error_t fault;
	json_int_t sequence =
	    change->sequence ? (json_int_t)change->sequence : (json_int_t)head->sequence + 1;
	json_int_t time_ms = (json_int_t)change->time_ms;
	json_t *body = json_pack_ex(
	    &fault, 0, "{s:s, s:i, s:s, s:s, s:I, s:I, s:O, s:s, s:s}", "before", before, "format",
	    FORMAT, "kind", change->kind, "node", ledger_signer_node(signer), "sequence", sequence,
	    "time_ms", time_ms, "what", change->what, "who", change->who, "why", change->why);
	if (!body) {
		error_set(err, -FL_EINVALID, "ledger: cannot write the entry: %s", fault.text);
		return NULL;
	}
	char *text = json_dumps(body, CANONICAL);
	json_decref(body);
	if (!text)
		error_set(err, -ENOMEM, "ledger: out of memory");
	return text;
}

/* `body`, '\n' and its signature, in `arena`; NULL and `err` on failure. */
static char *body_sign(const char *body, const struct ledger_signer *signer, struct arena *arena,
		       struct error *err)
{
	uint8_t signature[LEDGER_SIGNATURE_BYTES];
	char signature_text[LEDGER_SIGNATURE_TEXT_BYTES];
	size_t length = strlen(body);
	if (length + TAIL_BYTES > LEDGER_ENTRY_BYTES) {
		error_set(err, -FL_ELIMIT, "ledger: an entry holds at most %u bytes",
			  LEDGER_ENTRY_BYTES);
		return NULL;
	}
	if (ledger_sign(signer, body, length, signature, err) < 0)
		return NULL;
	base64_encode(signature, sizeof(signature), signature_text);
	char *bytes = arena_printf(arena, "%s\n%s", body, signature_text);
	if (!bytes)
		error_set(err, -ENOMEM, "ledger: out of memory");
	return bytes;
}

/* The whole bytes of the next entry, in `arena`; NULL and `err` on failure. */
static char *entry_format(const struct ledger_head *head, const struct ledger_signer *signer,
			  const struct ledger_change *change, struct arena *arena,
			  struct error *err)
{
	char *body = body_format(head, signer, change, err);
	char *bytes = body ? body_sign(body, signer, arena, err) : NULL;
	free(body);
	return bytes;
}

static void append_op(struct ledger_append *append, const char *key, const char *value,
		      uint64_t mod_revision)
{
	append->compares[append->compare_count++] =
	    (struct store_compare){.key = key, .mod_revision = mod_revision};
	append->ops[append->op_count++] = (struct store_op){
	    .kind = STORE_PUT, .key = key, .value = value, .value_length = strlen(value)};
}

static int append_any(const struct ledger_head *head, const struct ledger_signer *signer,
		      const struct ledger_change *change, struct arena *arena,
		      struct ledger_append *ret_append, struct error *err)
{
	if (head->sequence >= LEDGER_SEQUENCE_MAX)
		return error_set(err, -FL_EEXHAUSTED, "ledger: no sequence is left");
	struct error fault = {0};
	char *bytes = entry_format(head, signer, change, arena, &fault);
	if (!bytes)
		return error_set(err, fault.code, "%s", fault.text);
	/* Nothing is written that a reader would refuse. */
	struct ledger_entry entry = {0};
	int result = ledger_entry_parse(bytes, strlen(bytes), &entry, &fault);
	if (result < 0)
		return error_set(err, result, "ledger: the entry cannot be written: %.500s",
				 fault.text);
	if (!ledger_entry_follows(&entry, head->sequence)) {
		ledger_entry_done(&entry);
		return error_set(err, -FL_EINVALID, "ledger: it cannot leave out numbers");
	}
	struct ledger_append append = {
	    .head = {.sequence = entry.sequence, .digest = entry.digest}};
	ledger_entry_done(&entry);

	char *key = arena_alloc(arena, LEDGER_KEY_BYTES);
	char *head_text = head_format(&append.head, arena);
	if (!key || !head_text)
		return error_set(err, -ENOMEM, "ledger: out of memory");
	append_op(&append, ledger_key_format(append.head.sequence, key), bytes, 0);
	append_op(&append, LEDGER_HEAD_KEY, head_text, head->mod_revision);
	*ret_append = append;
	return 0;
}

int ledger_append_ops(const struct ledger_head *head, const struct ledger_signer *signer,
		      const struct ledger_change *change, struct arena *arena,
		      struct ledger_append *ret_append, struct error *err)
{
	if (head->sequence == 0)
		return error_set(err, -FL_ESTATE,
				 "ledger: it is empty and must begin with the key of a node");
	if (strcmp(change->kind, LEDGER_KIND_NODE_KEY) == 0)
		return error_set(err, -FL_EINVALID, "ledger: a node's key has a call of its own");
	return append_any(head, signer, change, arena, ret_append, err);
}

int ledger_introduce_ops(const struct ledger_head *head, const struct ledger_signer *signer,
			 const struct ledger_change *change, const char *node,
			 const char *public_key, struct arena *arena,
			 struct ledger_append *ret_append, struct error *err)
{
	uint8_t key[KEY_BYTES];
	if (!text_is_node_name(node) || key_text_parse(public_key, strlen(public_key), key) < 0)
		return error_set(err, -FL_EINVALID, "ledger: not a node name and a public key");
	if (head->sequence == 0 && (strcmp(node, ledger_signer_node(signer)) != 0 ||
				    strcmp(public_key, ledger_signer_public_key(signer)) != 0))
		return error_set(err, -FL_EINVALID,
				 "ledger: entry 1 introduces the node that signs it");

	struct ledger_change introduction = *change;
	introduction.kind = LEDGER_KIND_NODE_KEY;
	introduction.what = json_pack("{s:s, s:s}", "key", public_key, "node", node);
	char *path = arena_printf(arena, "node/%s/key", node);
	char *text = arena_strdup(arena, public_key);
	if (!introduction.what || !path || !text) {
		json_decref(introduction.what);
		return error_set(err, -ENOMEM, "ledger: out of memory");
	}
	int result = append_any(head, signer, &introduction, arena, ret_append, err);
	json_decref(introduction.what);
	if (result == 0)
		append_op(ret_append, path, text, 0);
	return result;
}
