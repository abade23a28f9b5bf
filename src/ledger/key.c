/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger/key.h"

#include "base/file.h"
#include "base/text.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ledger_signer {
	EVP_PKEY *pair; /* owned */
	char node[LEDGER_NODE_BYTES + 1];
	char public_key[KEY_TEXT_BYTES];
};

int ledger_signer_open(const char *folder, const char *node, struct ledger_signer **ret_signer,
		       struct error *err)
{
	char path[PATH_MAX];
	if (!text_is_node_name(node))
		return error_set(
		    err, -FL_EINVALID,
		    "\"%.80s\" is not a node name: up to %u of a-z, 0-9 and '-', no '-' "
		    "first",
		    node, LEDGER_NODE_BYTES);
	if ((size_t)snprintf(path, sizeof(path), "%s/node.key", folder) >= sizeof(path))
		return error_set(err, -ENAMETOOLONG, "%s: the path is too long", folder);
	int result = file_make_folders(folder, 0700, err);
	if (result < 0)
		return result;

	struct ledger_signer *signer = calloc(1, sizeof(*signer));
	if (!signer)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	memcpy(signer->node, node, strlen(node) + 1);
	result = key_pair_open(path, &signer->pair, err);
	if (result < 0) {
		ledger_signer_free(signer);
		return result;
	}
	uint8_t key[KEY_BYTES];
	key_pair_public(signer->pair, key);
	key_text_format(key, signer->public_key);
	*ret_signer = signer;
	return 0;
}

void ledger_signer_free(struct ledger_signer *signer)
{
	if (!signer)
		return;
	EVP_PKEY_free(signer->pair);
	free(signer);
}

const char *ledger_signer_node(const struct ledger_signer *signer)
{
	return signer->node;
}

const char *ledger_signer_public_key(const struct ledger_signer *signer)
{
	return signer->public_key;
}

int ledger_signer_check(const struct ledger_signer *signer, const struct store_record *record,
			struct error *err)
{
	if (!record)
		return error_set(err, -FL_ECORRUPT,
				 "the store knows no key of node %s; was this state folder made by "
				 "another node?",
				 signer->node);
	if (record->value_length == strlen(signer->public_key) &&
	    memcmp(record->value, signer->public_key, record->value_length) == 0)
		return 0;
	return error_set(err, -FL_ECORRUPT,
			 "node.key is not the key that the store knows for node %s; put the right "
			 "node.key back, or run this node under a name of its own",
			 signer->node);
}

int ledger_sign(const struct ledger_signer *signer, const void *bytes, size_t length,
		uint8_t ret_signature[LEDGER_SIGNATURE_BYTES], struct error *err)
{
	size_t signature_length = LEDGER_SIGNATURE_BYTES;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool done = context && EVP_DigestSignInit(context, NULL, NULL, NULL, signer->pair) == 1 &&
		    EVP_DigestSign(context, ret_signature, &signature_length, bytes, length) == 1 &&
		    signature_length == LEDGER_SIGNATURE_BYTES;
	EVP_MD_CTX_free(context);
	return done ? 0 : error_set(err, -ENOMEM, "ledger: cannot sign: out of memory");
}

int ledger_signature_check(const uint8_t key[KEY_BYTES], const void *bytes, size_t length,
			   const uint8_t signature[LEDGER_SIGNATURE_BYTES])
{
	EVP_PKEY *public_key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, KEY_BYTES);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	int result = -ENOMEM;
	if (public_key && context &&
	    EVP_DigestVerifyInit(context, NULL, NULL, NULL, public_key) == 1)
		result =
		    EVP_DigestVerify(context, signature, LEDGER_SIGNATURE_BYTES, bytes, length) == 1
			? 0
			: -FL_EINVALID;
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(public_key);
	return result;
}
