/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/removal_proof.h"

#include <string.h>

static bool says(const struct ledger_entry *entry, const char *key, const char *wanted)
{
	const char *text = json_string_value(json_object_get(entry->what, key));
	return text && strcmp(text, wanted) == 0;
}

static int check(const struct image *image, const char *node, const char *channel_key,
		 const struct ledger_entry *entry, const char *bytes, struct error *err)
{
	const struct member *signer = image_member(image, entry->node);
	if (strcmp(entry->kind, LEDGER_KIND_MEMBER_REMOVE) != 0)
		return error_set(err, -FL_EINVALID, "it is a ledger entry of kind %s", entry->kind);
	if (!says(entry, "node", node))
		return error_set(err, -FL_EINVALID, "it tells of another node's removal");
	if (!*channel_key || !says(entry, "channel_key", channel_key))
		return error_set(err, -FL_EINVALID,
				 "it tells of a node of this name with another key");
	if (!signer || !member_has(signer, MEMBER_VOTER))
		return error_set(err, -FL_EINVALID,
				 "it is signed as %s, which is no voter as far as is known here",
				 entry->node);
	int result = ledger_entry_check(entry, bytes, signer->key);
	return result == -FL_EINVALID
		   ? error_set(err, result, "the signature is not that of voter %s", entry->node)
		   : result;
}

int removal_proof_check(const struct image *image, const char *node, const char *channel_key,
			const void *bytes, size_t length, uint64_t *ret_sequence, struct error *err)
{
	struct ledger_entry entry;
	if (!length)
		return error_set(err, -FL_EINVALID, "it shows nothing");
	int result = ledger_entry_parse(bytes, length, &entry, NULL);
	if (result < 0)
		return result == -ENOMEM ? result
					 : error_set(err, -FL_EINVALID, "it is no ledger entry");
	result = check(image, node, channel_key, &entry, bytes, err);
	if (result == 0)
		*ret_sequence = entry.sequence;
	ledger_entry_done(&entry);
	return result;
}
