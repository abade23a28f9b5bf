/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/dns.h"

#include <stdio.h>
#include <string.h>

enum {
	POINTER_BITS = 0xc0,
	QUESTION_FIXED = 4,
	RECORD_FIXED = 10,
	OPTION_FIXED = 4,
	ZONE_VERSION_BYTES = 6
};

/* ---- names ---- */

static uint8_t lower(uint8_t c)
{
	return (uint8_t)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

void dns_name_lower(struct dns_name *name)
{
	/* A length byte is at most 63, below every letter: the whole name can be walked at once. */
	for (unsigned i = 0; i < name->length; i++)
		name->bytes[i] = lower(name->bytes[i]);
}

/* One character of text, an escape included, into `ret_byte`; returns where the next begins, or
 * NULL. */
static const char *read_character(const char *text, uint8_t *ret_byte)
{
	if (*text != '\\') {
		*ret_byte = (uint8_t)*text;
		return text + 1;
	}
	text++;
	if (*text < '0' || *text > '9') {
		*ret_byte = (uint8_t)*text;
		return *text ? text + 1 : NULL;
	}
	unsigned value = 0;
	for (unsigned i = 0; i < 3; i++, text++) {
		if (*text < '0' || *text > '9')
			return NULL;
		value = 10 * value + (unsigned)(*text - '0');
	}
	*ret_byte = (uint8_t)value;
	return value <= UINT8_MAX ? text : NULL;
}

int dns_name_parse(const char *text, struct dns_name *ret_name)
{
	struct dns_name name = {.length = 0};
	if (strcmp(text, ".") == 0)
		text++;
	else if (!*text)
		return -FL_EINVALID;

	while (*text) {
		unsigned start = name.length++; /* the label's length byte */
		unsigned label = 0;
		while (*text && *text != '.') {
			uint8_t byte;
			text = read_character(text, &byte);
			/* One byte must be left for the root. */
			if (!text || label == DNS_LABEL_MAX || name.length >= DNS_NAME_MAX - 1)
				return -FL_EINVALID;
			name.bytes[name.length++] = lower(byte);
			label++;
		}
		if (label == 0)
			return -FL_EINVALID;
		name.bytes[start] = (uint8_t)label;
		if (*text == '.')
			text++;
		if (*text && name.length >= DNS_NAME_MAX - 1)
			return -FL_EINVALID;
	}
	name.bytes[name.length++] = 0;
	*ret_name = name;
	return 0;
}

const char *dns_name_format(const struct dns_name *name, char *text)
{
	char *at = text;
	const char *end = text + DNS_NAME_TEXT_BYTES;
	for (unsigned i = 0; name->bytes[i];) {
		unsigned label_end = i + 1 + name->bytes[i];
		for (i++; i < label_end; i++) {
			uint8_t c = name->bytes[i];
			if (c <= ' ' || c > '~')
				at += snprintf(at, (size_t)(end - at), "\\%03u", c);
			else if (strchr(".\\\"();@$", c))
				at += snprintf(at, (size_t)(end - at), "\\%c", c);
			else
				*at++ = (char)c;
		}
		*at++ = '.';
	}
	if (at == text)
		*at++ = '.';
	*at = '\0';
	return text;
}

int dns_name_below(const struct dns_name *name, const struct dns_name *zone)
{
	if (name->length < zone->length)
		return -FL_ENOTFOUND;
	unsigned above = (unsigned)name->length - zone->length;
	/* The zone must begin at a label: equal bytes alone could begin inside one. */
	unsigned at = 0;
	while (at < above)
		at += 1u + name->bytes[at];
	if (at != above || memcmp(name->bytes + at, zone->bytes, zone->length) != 0)
		return -FL_ENOTFOUND;
	return (int)above;
}

int dns_name_read(const uint8_t *message, size_t length, size_t offset, struct dns_name *ret_name)
{
	struct dns_name name;
	size_t used = 0; /* bytes of the name so far */
	size_t taken = 0; /* bytes at `offset`, once the first pointer or the end fixed them */
	size_t run = offset; /* where this uninterrupted run of labels began */
	size_t at = offset;

	for (;;) {
		if (at >= length)
			return -FL_EINVALID;
		unsigned label = message[at];
		if ((label & POINTER_BITS) == POINTER_BITS) {
			if (length - at < 2)
				return -FL_EINVALID;
			size_t target = dns_get_u16(message + at) & 0x3fffu;
			/* Strictly before this run: each jump shortens what is left, so it ends. */
			if (target < DNS_HEADER_BYTES || target >= run)
				return -FL_EINVALID;
			if (taken == 0)
				taken = at + 2 - offset;
			run = at = target;
			continue;
		}
		if (label > DNS_LABEL_MAX) /* 01 and 10 are not in use (RFC 6891 §5) */
			return -FL_EINVALID;
		if (length - at < 1 + label || DNS_NAME_MAX - used < 1 + label)
			return -FL_EINVALID;
		memcpy(name.bytes + used, message + at, 1 + label);
		used += 1 + label;
		at += 1 + label;
		if (label == 0)
			break;
	}
	if (taken == 0)
		taken = at - offset;
	name.length = (uint8_t)used;
	ret_name->length = name.length;
	memcpy(ret_name->bytes, name.bytes, used);
	return (int)taken;
}

int dns_name_skip(const uint8_t *message, size_t length, size_t offset)
{
	size_t at = offset;
	while (at < length && at - offset < DNS_NAME_MAX) {
		unsigned label = message[at];
		if ((label & POINTER_BITS) == POINTER_BITS) {
			if (length - at < 2)
				return -FL_EINVALID;
			size_t target = dns_get_u16(message + at) & 0x3fffu;
			if (target < DNS_HEADER_BYTES || target >= offset)
				return -FL_EINVALID;
			return (int)(at + 2 - offset);
		}
		if (label > DNS_LABEL_MAX)
			return -FL_EINVALID;
		at += 1 + label;
		if (label == 0)
			return (int)(at - offset);
	}
	return -FL_EINVALID;
}

/* ---- queries ---- */

/* RFC 7871 §6: the address has exactly the bytes that its length needs, zero behind its bits;
 * §7.2.1: a wrong one, an unknown family included, is a FORMERR. */
static bool read_client_subnet(const uint8_t *data, size_t length, struct dns_client_subnet *ret)
{
	if (length < 4)
		return false;
	unsigned family = dns_get_u16(data);
	struct dns_client_subnet subnet = {
	    .address.family = family == 1 ? IP_V4 : IP_V6, .source = data[2], .scope = 0};
	if ((family != 1 && family != 2) || data[3] != 0 ||
	    subnet.source > ip_family_bits(subnet.address.family) ||
	    length - 4 != (subnet.source + 7u) / 8)
		return false;

	memcpy(subnet.address.bytes, data + 4, length - 4);
	struct ip_address cut = subnet.address;
	ip_address_mask(&cut, subnet.source);
	if (!ip_address_equal(&cut, &subnet.address))
		return false;
	*ret = subnet;
	return true;
}

/* The options of an OPT record; those that we do not know are passed (RFC 6891 §6.1.2). */
static bool read_options(const uint8_t *data, size_t length, struct dns_edns *edns)
{
	while (length > 0) {
		if (length < OPTION_FIXED)
			return false;
		unsigned code = dns_get_u16(data);
		size_t size = dns_get_u16(data + 2);
		data += OPTION_FIXED;
		length -= OPTION_FIXED;
		if (size > length)
			return false;
		if (code == DNS_OPTION_NSID)
			edns->nsid = true;
		/* RFC 7873 §5.2: of several the first counts; §5.2.2: a wrong length is a FORMERR.
		 */
		if (code == DNS_OPTION_COOKIE && !edns->cookie) {
			if (size != DNS_COOKIE_CLIENT_BYTES && (size < 16 || size > 40))
				return false;
			edns->cookie = data;
			edns->cookie_length = (uint8_t)size;
		}
		if (code == DNS_OPTION_ZONE_VERSION) {
			if (size > 0) /* RFC 9660 §3.1: a query's is empty */
				return false;
			edns->zone_version = true;
		}
		if (code == DNS_OPTION_CLIENT_SUBNET) {
			/* Two of them would say two things. */
			if (edns->has_subnet || !read_client_subnet(data, size, &edns->subnet))
				return false;
			edns->has_subnet = true;
		}
		data += size;
		length -= size;
	}
	return true;
}

/* `fixed` points behind the name of a record of type OPT, whose data is inside the message. */
static enum dns_rcode read_opt(const uint8_t *fixed, bool is_root, struct dns_edns *edns)
{
	/* RFC 6891 §6.1.1: a second OPT is a FORMERR; §6.1.2: its name is the root. */
	if (edns->present || !is_root)
		return DNS_FORMERR;
	edns->present = true;
	edns->payload = dns_get_u16(fixed + 2);
	edns->version = fixed[5];
	edns->dnssec_ok = fixed[6] & 0x80;
	/* Another version may lay out its options in another way: do not look. */
	if (edns->version != 0)
		return DNS_BADVERS;
	return read_options(fixed + RECORD_FIXED, dns_get_u16(fixed + 8), edns) ? DNS_NOERROR
										: DNS_FORMERR;
}

/* Pass the records from `at` to the end, of which those after `additional_from` are additional. */
static enum dns_rcode read_records(const uint8_t *message, size_t length, size_t at, unsigned count,
				   unsigned additional_from, struct dns_edns *edns)
{
	enum dns_rcode rcode = DNS_NOERROR;
	for (unsigned i = 0; i < count; i++) {
		int name = dns_name_skip(message, length, at);
		if (name < 0 || length - at - (size_t)name < RECORD_FIXED)
			return DNS_FORMERR;
		const uint8_t *fixed = message + at + name;
		size_t data = dns_get_u16(fixed + 8);
		if (length - at - (size_t)name - RECORD_FIXED < data)
			return DNS_FORMERR;
		if (dns_get_u16(fixed) == DNS_OPT) {
			enum dns_rcode found = i < additional_from
						   ? DNS_FORMERR
						   : read_opt(fixed, message[at] == 0, edns);
			/* A broken message is a FORMERR, whatever version its OPT has. */
			if (found == DNS_FORMERR)
				return DNS_FORMERR;
			if (found != DNS_NOERROR)
				rcode = found;
		}
		at += (size_t)name + RECORD_FIXED + data;
	}
	return at == length ? rcode : DNS_FORMERR;
}

/*
 * Look for OPT in a message that is refused whatever it says: RFC 6891 §6.1.1 wants one in the
 * answer all the same. The body of another opcode may have another form; if it cannot be passed,
 * there is no OPT to speak of.
 */
static void find_opt(const uint8_t *message, size_t length, struct dns_edns *edns)
{
	size_t at = DNS_HEADER_BYTES;
	for (unsigned left = dns_get_u16(message + 4); left > 0; left--) {
		int name = dns_name_skip(message, length, at);
		if (name < 0 || length - at - (size_t)name < QUESTION_FIXED)
			return;
		at += (size_t)name + QUESTION_FIXED;
	}
	unsigned before = (unsigned)dns_get_u16(message + 6) + dns_get_u16(message + 8);
	(void)read_records(message, length, at, before + dns_get_u16(message + 10), before, edns);
}

static enum dns_rcode read_body(const uint8_t *message, size_t length, struct dns_query *query)
{
	if (query->opcode != DNS_OPCODE_QUERY || dns_get_u16(message + 4) != 1) {
		find_opt(message, length, &query->edns);
		/* RFC 9619: exactly one question */
		return query->opcode != DNS_OPCODE_QUERY ? DNS_NOTIMP : DNS_FORMERR;
	}

	int name = dns_name_read(message, length, DNS_HEADER_BYTES, &query->name);
	if (name < 0 || length - DNS_HEADER_BYTES - (size_t)name < QUESTION_FIXED)
		return DNS_FORMERR;
	dns_name_lower(&query->name);
	const uint8_t *fixed = message + DNS_HEADER_BYTES + name;
	query->type = dns_get_u16(fixed);
	query->class = dns_get_u16(fixed + 2);
	query->question_length = (size_t)name + QUESTION_FIXED;

	unsigned before = (unsigned)dns_get_u16(message + 6) + dns_get_u16(message + 8);
	return read_records(message, length, DNS_HEADER_BYTES + query->question_length,
			    before + dns_get_u16(message + 10), before, &query->edns);
}

enum dns_verdict dns_query_read(const uint8_t *message, size_t length, struct dns_query *ret_query)
{
	if (length < DNS_HEADER_BYTES)
		return DNS_VERDICT_SHORT;
	unsigned flags = dns_get_u16(message + 2);
	if (flags & DNS_FLAG_QR)
		return DNS_VERDICT_RESPONSE;

	ret_query->id = dns_get_u16(message);
	ret_query->opcode = flags >> 11 & 0xf;
	ret_query->recursion_desired = flags & DNS_FLAG_RD;
	ret_query->question_length = 0;
	ret_query->type = ret_query->class = 0;
	ret_query->edns = (struct dns_edns){.present = false};
	ret_query->rcode = read_body(message, length, ret_query);
	return DNS_VERDICT_ANSWER;
}

/* ---- answers ---- */

static size_t subnet_bytes(const struct dns_client_subnet *subnet)
{
	return (subnet->source + 7u) / 8;
}

size_t dns_opt_bytes(const struct dns_opt *opt)
{
	size_t bytes = 1 + RECORD_FIXED;
	if (opt->nsid)
		bytes += OPTION_FIXED + opt->nsid_length;
	if (opt->subnet)
		bytes += OPTION_FIXED + 4 + subnet_bytes(opt->subnet);
	if (opt->cookie)
		bytes += OPTION_FIXED + DNS_COOKIE_BYTES;
	if (opt->extended != DNS_EXTENDED_NONE)
		bytes += OPTION_FIXED + 2;
	if (opt->zone_labels)
		bytes += OPTION_FIXED + ZONE_VERSION_BYTES;
	return bytes;
}

size_t dns_opt_write(const struct dns_opt *opt, uint8_t *bytes)
{
	size_t total = dns_opt_bytes(opt);
	bytes[0] = 0; /* the root */
	dns_put_u16(bytes + 1, DNS_OPT);
	dns_put_u16(bytes + 3, opt->payload);
	bytes[5] = (uint8_t)(opt->rcode >> 4);
	bytes[6] = 0; /* version */
	dns_put_u16(bytes + 7, opt->dnssec_ok ? 0x8000 : 0); /* RFC 3225 §3: DO is copied */
	dns_put_u16(bytes + 9, (unsigned)(total - 1 - RECORD_FIXED));

	uint8_t *at = bytes + 1 + RECORD_FIXED;
	if (opt->nsid) {
		dns_put_u16(at, DNS_OPTION_NSID);
		dns_put_u16(at + 2, (unsigned)opt->nsid_length);
		memcpy(at + OPTION_FIXED, opt->nsid, opt->nsid_length);
		at += OPTION_FIXED + opt->nsid_length;
	}
	if (opt->subnet) {
		dns_put_u16(at, DNS_OPTION_CLIENT_SUBNET);
		dns_put_u16(at + 2, (unsigned)(4 + subnet_bytes(opt->subnet)));
		dns_put_u16(at + 4, opt->subnet->address.family == IP_V4 ? 1 : 2);
		at[6] = opt->subnet->source;
		at[7] = opt->subnet->scope;
		memcpy(at + 8, opt->subnet->address.bytes, subnet_bytes(opt->subnet));
		at += OPTION_FIXED + 4 + subnet_bytes(opt->subnet);
	}
	if (opt->cookie) {
		dns_put_u16(at, DNS_OPTION_COOKIE);
		dns_put_u16(at + 2, DNS_COOKIE_BYTES);
		memcpy(at + 4, opt->cookie, DNS_COOKIE_BYTES);
		at += OPTION_FIXED + DNS_COOKIE_BYTES;
	}
	if (opt->extended != DNS_EXTENDED_NONE) {
		dns_put_u16(at, DNS_OPTION_EXTENDED_ERROR);
		dns_put_u16(at + 2, 2); /* without a text: the code says it all */
		dns_put_u16(at + 4, opt->extended);
		at += OPTION_FIXED + 2;
	}
	if (opt->zone_labels) {
		dns_put_u16(at, DNS_OPTION_ZONE_VERSION);
		dns_put_u16(at + 2, ZONE_VERSION_BYTES);
		at[4] = (uint8_t)opt->zone_labels;
		at[5] = DNS_ZONE_VERSION_SERIAL;
		dns_put_u32(at + 6, opt->zone_serial);
	}
	return total;
}
