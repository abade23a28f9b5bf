/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS cookies (RFC 7873), in the form that servers of different makes understand of each other
 * (RFC 9018): version 1, three zero bytes, the time in seconds, and SipHash-2-4 of client cookie,
 * what precedes, and the client's address. Who shows a cookie of ours has received our answers at
 * the address that he sends from, which nobody who forges it has.
 *
 * A secret is followed by the next; cookies of the one before still count. Pure; any thread.
 */
#ifndef FAIRLEAD_NAMING_COOKIES_H
#define FAIRLEAD_NAMING_COOKIES_H

#include "base/netaddr.h"
#include "wire/dns.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COOKIE_SECRET_BYTES 16u

struct cookie_secrets {
	uint8_t now[COOKIE_SECRET_BYTES];
	uint8_t before[COOKIE_SECRET_BYTES]; /* the same as `now` until there is a second one */
};

/* Whether the query's cookie has a server part that we made for this client, an hour ago at most
 * (RFC 9018 §4.3). `now_s` is in seconds since 1970, of which the lower 32 bits count. */
bool cookie_is_ours(const struct cookie_secrets *secrets, const uint8_t *cookie, size_t length,
		    const struct ip_address *client, uint32_t now_s);

/* The whole cookie of the answer, DNS_COOKIE_BYTES; `client_part` is what the query's begins with.
 */
void cookie_make(const struct cookie_secrets *secrets, const uint8_t *client_part,
		 const struct ip_address *client, uint32_t now_s, uint8_t *ret_cookie);

#endif
