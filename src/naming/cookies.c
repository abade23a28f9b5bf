/* SPDX-License-Identifier: Apache-2.0 */
#include "naming/cookies.h"

#include "base/siphash.h"

#include <string.h>

enum {
	VERSION = 1,
	HEAD_END = 16, /* of the client's part, version, reserved bytes, time */
	AGE_MAX_S = 3600,
	AHEAD_MAX_S = 300, /* of another node's clock */
};
_Static_assert(COOKIE_SECRET_BYTES == SIPHASH_KEY_BYTES, "a secret is the hash's key");

/* Fill in the hash behind a cookie's head. */
static void put_hash(const uint8_t *secret, const struct ip_address *client, uint8_t *cookie)
{
	uint8_t bytes[HEAD_END + sizeof(client->bytes)];
	size_t address_bytes = ip_family_bits(client->family) / 8;
	memcpy(bytes, cookie, HEAD_END);
	memcpy(bytes + HEAD_END, client->bytes, address_bytes);
	uint64_t hash = siphash24(secret, bytes, HEAD_END + address_bytes);
	/* RFC 9018 has it as the reference of SipHash does: the lowest byte first. */
	for (unsigned i = 0; i < 8; i++)
		cookie[HEAD_END + i] = (uint8_t)(hash >> 8 * i);
}

bool cookie_is_ours(const struct cookie_secrets *secrets, const uint8_t *cookie, size_t length,
		    const struct ip_address *client, uint32_t now_s)
{
	const uint8_t *head = cookie + DNS_COOKIE_CLIENT_BYTES;
	if (length != DNS_COOKIE_BYTES || head[0] != VERSION)
		return false;
	uint32_t made_s = (uint32_t)dns_get_u16(head + 4) << 16 | dns_get_u16(head + 6);
	/* Serial arithmetic (RFC 1982), since 32 bits are over in 2106. */
	int32_t age_s = (int32_t)(now_s - made_s);
	if (age_s > AGE_MAX_S || age_s < -AHEAD_MAX_S)
		return false;
	const uint8_t *tried[] = {secrets->now, secrets->before};
	for (unsigned i = 0; i < 2; i++) {
		uint8_t made[DNS_COOKIE_BYTES], differs = 0;
		memcpy(made, cookie, HEAD_END);
		put_hash(tried[i], client, made);
		/* In the same time whichever byte is wrong. */
		for (unsigned at = HEAD_END; at < DNS_COOKIE_BYTES; at++)
			differs |= made[at] ^ cookie[at];
		if (!differs)
			return true;
	}
	return false;
}

void cookie_make(const struct cookie_secrets *secrets, const uint8_t *client_part,
		 const struct ip_address *client, uint32_t now_s, uint8_t *ret_cookie)
{
	memcpy(ret_cookie, client_part, DNS_COOKIE_CLIENT_BYTES);
	uint8_t *head = ret_cookie + DNS_COOKIE_CLIENT_BYTES;
	memset(head, 0, HEAD_END - DNS_COOKIE_CLIENT_BYTES);
	head[0] = VERSION;
	dns_put_u32(head + 4, now_s);
	put_hash(secrets->now, client, ret_cookie);
}
