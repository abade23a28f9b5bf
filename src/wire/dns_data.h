/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data of records, from the text that master files have for it (RFC 1035 section 5.1, RFC 8659,
 * RFC 9460) to the bytes of a message: what an operator writes into the zone himself. Names without
 * a dot at their end are below the zone, "@" is the zone. Pure; any thread.
 */
#ifndef FAIRLEAD_WIRE_DNS_DATA_H
#define FAIRLEAD_WIRE_DNS_DATA_H

#include "wire/dns.h"

#define DNS_DATA_MAX 4096u /* bytes of one record's data */
/* Bytes of all records of one name and type: with question and OPT they fit an answer over TCP. */
#define DNS_SET_MAX 15000u
#define DNS_DATA_ADDRESSES_MAX 64u

/*
 * `data` holds DNS_DATA_MAX bytes. Returns how many there are, names uncompressed, or -FL_EINVALID
 * with the rest of the sentence "… is no MX record: " in `ret_fault`. Types: A, AAAA, CAA, CNAME,
 * HTTPS, MX, SVCB, TXT. A TXT that does not begin with a quote is one text as it stands, cut into
 * strings of 255 bytes.
 */
must_check int dns_data_parse(unsigned type, const char *text, const struct dns_name *zone,
			      uint8_t *data, const char **ret_fault);

/* The addresses that such data leads clients to, hints of HTTPS and SVCB included; how many, of
 * which the first DNS_DATA_ADDRESSES_MAX are filled in. */
size_t dns_data_addresses(unsigned type, const uint8_t *data, size_t length,
			  struct ip_address *addresses);

#endif
