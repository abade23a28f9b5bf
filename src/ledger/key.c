/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger/key.h"

#include "base/buffer.h"
#include "base/disk.h"
#include "base/file.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KEY_FILE_BYTES 4096u /* a PEM of Ed25519 has 119 */
#define KEY_BYTES 32
#define PUBLIC_KEY_TAG "ed25519:"

struct ledger_signer {
	EVP_PKEY *pair; /* owned */
	char node[LEDGER_NODE_BYTES + 1];
	char public_key[LEDGER_PUBLIC_KEY_TEXT_BYTES];
};

void base64_encode(const void *bytes, size_t length, char *text)
{
	EVP_EncodeBlock((unsigned char *)text, bytes, (int)length);
}

int base64_decode(const char *text, size_t text_length, void *ret_bytes, size_t length)
{
	unsigned char bytes[66];
	char again[sizeof(bytes) / 3 * 4 + 1];
	if (length > 64 || text_length != (length + 2) / 3 * 4)
		return -FL_EINVALID;
	if (EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)text_length) < 0)
		return -FL_EINVALID;
	/* The decoder takes white space and stray bits; encoding again shows them. */
	base64_encode(bytes, length, again);
	if (memcmp(again, text, text_length) != 0)
		return -FL_EINVALID;
	memcpy(ret_bytes, bytes, length);
	return 0;
}

bool ledger_node_name_valid(const char *name)
{
	size_t length = strnlen(name, LEDGER_NODE_BYTES + 1);
	return length >= 1 && length <= LEDGER_NODE_BYTES && name[0] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

int ledger_public_key_parse(const char *text, size_t length,
			    uint8_t ret_key[LEDGER_PUBLIC_KEY_BYTES])
{
	const size_t tag = strlen(PUBLIC_KEY_TAG);
	if (length < tag || memcmp(text, PUBLIC_KEY_TAG, tag) != 0)
		return -FL_EINVALID;
	return base64_decode(text + tag, length - tag, ret_key, LEDGER_PUBLIC_KEY_BYTES);
}

/* OpenSSL must never ask the terminal for a passphrase. */
static int no_passphrase(char *passphrase, int size, int writing, void *context)
{
	(void)passphrase;
	(void)size;
	(void)writing;
	(void)context;
	return -1;
}

/* RFC 8410 section 7: the key is an octet string within an octet string. To ask OpenSSL what kind
 * of key it is takes it longer than everything else. */
static EVP_PKEY *pair_read(const struct buffer *pem)
{
	static const unsigned char head[] = {V_ASN1_OCTET_STRING, KEY_BYTES};
	BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->length);
	PKCS8_PRIV_KEY_INFO *info =
	    bio ? PEM_read_bio_PKCS8_PRIV_KEY_INFO(bio, NULL, no_passphrase, NULL) : NULL;
	const ASN1_OBJECT *algorithm;
	const unsigned char *key;
	EVP_PKEY *pair = NULL;
	int length;
	if (info && PKCS8_pkey_get0(&algorithm, &key, &length, NULL, info) == 1 &&
	    OBJ_obj2nid(algorithm) == EVP_PKEY_ED25519 && length == sizeof(head) + KEY_BYTES &&
	    memcmp(key, head, sizeof(head)) == 0)
		pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key + sizeof(head),
						    KEY_BYTES);
	PKCS8_PRIV_KEY_INFO_free(info);
	BIO_free(bio);
	return pair;
}

static int pair_load(const char *path, EVP_PKEY **ret_pair, struct error *err)
{
	struct stat status;
	if (stat(path, &status) < 0)
		return error_set(err, -errno, "%s: cannot look at it: %s", path, strerror(errno));
	if (status.st_mode & 077)
		return error_set(err, -FL_EPRIVILEGE,
				 "%s: others than its owner can read or write it (mode %04o); if "
				 "nobody did, run: chmod 600 %s",
				 path, (unsigned)(status.st_mode & 07777), path);

	struct buffer pem;
	buffer_init(&pem, KEY_FILE_BYTES);
	int result = file_read(path, &pem, err);
	EVP_PKEY *pair = result == 0 && pem.length ? pair_read(&pem) : NULL;
	if (pem.data)
		OPENSSL_cleanse(pem.data, pem.capacity);
	buffer_done(&pem);
	if (result < 0)
		return result;
	if (!pair)
		return error_set(err, -FL_ECORRUPT,
				 "%s: not an Ed25519 private key; put a backup in its place", path);
	*ret_pair = pair;
	return 0;
}

static int pair_make(const char *path, EVP_PKEY **ret_pair, struct error *err)
{
	EVP_PKEY *pair = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	BIO *bio = BIO_new(BIO_s_secmem());
	char *pem = NULL;
	int result = 0;
	if (!pair || !bio || !PEM_write_bio_PrivateKey(bio, pair, NULL, NULL, 0, NULL, NULL)) {
		result = error_set(err, -ENOMEM, "%s: cannot make a key pair", path);
	} else {
		long length = BIO_get_mem_data(bio, &pem);
		result = disk_write_durably(path, pem, (size_t)length, 0600, err);
	}
	BIO_free(bio);
	if (result < 0)
		EVP_PKEY_free(pair);
	else
		*ret_pair = pair;
	return result;
}

static int pair_open(const char *path, EVP_PKEY **ret_pair, struct error *err)
{
	struct stat status;
	if (stat(path, &status) < 0 && errno == ENOENT)
		return pair_make(path, ret_pair, err);
	return pair_load(path, ret_pair, err);
}

static int public_key_format(EVP_PKEY *pair, char *text)
{
	uint8_t key[LEDGER_PUBLIC_KEY_BYTES];
	size_t length = sizeof(key);
	if (EVP_PKEY_get_raw_public_key(pair, key, &length) != 1 || length != sizeof(key))
		return -ENOMEM;
	memcpy(text, PUBLIC_KEY_TAG, sizeof(PUBLIC_KEY_TAG));
	base64_encode(key, sizeof(key), text + strlen(PUBLIC_KEY_TAG));
	return 0;
}

int ledger_signer_open(const char *folder, const char *node, struct ledger_signer **ret_signer,
		       struct error *err)
{
	char path[PATH_MAX];
	if (!ledger_node_name_valid(node))
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
	result = pair_open(path, &signer->pair, err);
	if (result == 0 && public_key_format(signer->pair, signer->public_key) < 0)
		result = error_set(err, -ENOMEM, "%s: out of memory", path);
	if (result < 0) {
		ledger_signer_free(signer);
		return result;
	}
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

int ledger_signature_check(const uint8_t key[LEDGER_PUBLIC_KEY_BYTES], const void *bytes,
			   size_t length, const uint8_t signature[LEDGER_SIGNATURE_BYTES])
{
	EVP_PKEY *public_key =
	    EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, LEDGER_PUBLIC_KEY_BYTES);
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
