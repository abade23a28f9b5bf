/* SPDX-License-Identifier: Apache-2.0 */
#include "base/key.h"

#include "base/buffer.h"
#include "base/disk.h"
#include "base/file.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define KEY_FILE_BYTES 4096u /* a PEM of Ed25519 has 119 */
#define TEXT_TAG "ed25519:"

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

int key_text_parse(const char *text, size_t length, uint8_t ret_key[KEY_BYTES])
{
	const size_t tag = strlen(TEXT_TAG);
	if (length < tag || memcmp(text, TEXT_TAG, tag) != 0)
		return -FL_EINVALID;
	return base64_decode(text + tag, length - tag, ret_key, KEY_BYTES);
}

void key_text_format(const uint8_t key[KEY_BYTES], char text[KEY_TEXT_BYTES])
{
	memcpy(text, TEXT_TAG, sizeof(TEXT_TAG));
	base64_encode(key, KEY_BYTES, text + strlen(TEXT_TAG));
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
	    OBJ_obj2nid(algorithm) == EVP_PKEY_ED25519 &&
	    (size_t)length == sizeof(head) + KEY_BYTES && memcmp(key, head, sizeof(head)) == 0)
		pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key + sizeof(head),
						    KEY_BYTES);
	PKCS8_PRIV_KEY_INFO_free(info);
	BIO_free(bio);
	return pair;
}

int key_pair_load(const char *path, EVP_PKEY **ret_pair, struct error *err)
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

int key_pair_make(EVP_PKEY **ret_pair)
{
	EVP_PKEY *pair = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (!pair)
		return -ENOMEM;
	*ret_pair = pair;
	return 0;
}

int key_pair_from(const uint8_t key[KEY_BYTES], EVP_PKEY **ret_pair)
{
	EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key, KEY_BYTES);
	if (!pair)
		return -ENOMEM;
	*ret_pair = pair;
	return 0;
}

int key_pair_open(const char *path, EVP_PKEY **ret_pair, struct error *err)
{
	struct stat status;
	if (stat(path, &status) == 0 || errno != ENOENT)
		return key_pair_load(path, ret_pair, err);

	EVP_PKEY *pair = NULL;
	BIO *bio = BIO_new(BIO_s_secmem());
	char *pem = NULL;
	int result = 0;
	if (!bio || key_pair_make(&pair) < 0 ||
	    !PEM_write_bio_PrivateKey(bio, pair, NULL, NULL, 0, NULL, NULL)) {
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

void key_pair_free(EVP_PKEY *pair)
{
	EVP_PKEY_free(pair);
}

void key_pair_public(const EVP_PKEY *pair, uint8_t ret_key[KEY_BYTES])
{
	size_t length = KEY_BYTES;
	ASSERT(EVP_PKEY_get_raw_public_key(pair, ret_key, &length) == 1 && length == KEY_BYTES);
}

void key_pair_private(const EVP_PKEY *pair, uint8_t ret_key[KEY_BYTES])
{
	size_t length = KEY_BYTES;
	ASSERT(EVP_PKEY_get_raw_private_key(pair, ret_key, &length) == 1 && length == KEY_BYTES);
}
