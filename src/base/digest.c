/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

static EVP_MD *sha256;

static void find_sha256(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	ASSERT(sha256);
}

/* Looked up once: OpenSSL's SHA256() does it for each digest, which takes longer than a short one.
 */
static const EVP_MD *algorithm(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	ASSERT(pthread_once(&once, find_sha256) == 0);
	return sha256;
}

void digest_of(const void *bytes, size_t length, struct digest *ret_digest)
{
	ASSERT(EVP_Digest(bytes, length, ret_digest->bytes, NULL, algorithm(), NULL) == 1);
}

int digest_stream_init(struct digest_stream *stream)
{
	stream->context = EVP_MD_CTX_new();
	if (stream->context && EVP_DigestInit_ex(stream->context, algorithm(), NULL) == 1)
		return 0;
	digest_stream_done(stream, NULL);
	return -ENOMEM;
}

/* Updating and finishing SHA-256 allocate nothing and cannot fail. */
void digest_stream_add(struct digest_stream *stream, const void *bytes, size_t length)
{
	ASSERT(EVP_DigestUpdate(stream->context, bytes, length) == 1);
}

void digest_stream_done(struct digest_stream *stream, struct digest *ret_digest)
{
	if (ret_digest)
		ASSERT(EVP_DigestFinal_ex(stream->context, ret_digest->bytes, NULL) == 1);
	EVP_MD_CTX_free(stream->context);
	stream->context = NULL;
}

void hex_encode(const void *bytes, size_t length, char *text)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *at = bytes;
	for (size_t i = 0; i < length; i++) {
		text[2 * i] = digits[at[i] >> 4];
		text[2 * i + 1] = digits[at[i] & 15];
	}
	text[2 * length] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int hex_decode(const char *text, void *ret_bytes, size_t length)
{
	if (strlen(text) != 2 * length)
		return -FL_EINVALID;
	for (size_t i = 0; i < 2 * length; i++) {
		if (hex_value(text[i]) < 0)
			return -FL_EINVALID;
	}
	uint8_t *bytes = ret_bytes;
	for (size_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)(hex_value(text[2 * i]) << 4 | hex_value(text[2 * i + 1]));
	return 0;
}
