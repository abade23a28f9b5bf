/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/dns_data.h"

#include "base/text.h"

#include <string.h>

/* The text that is left, the data so far, and what is wrong with it. */
struct data_reader {
	const char *text;
	const struct dns_name *zone;
	uint8_t *data;
	size_t length;
	const char *fault;
};

/* Part of the text, between blanks; quotes and escapes are still in it. */
struct word {
	const char *text;
	size_t length;
};

static void fail(struct data_reader *reader, const char *fault)
{
	if (!reader->fault)
		reader->fault = fault;
}

static void put(struct data_reader *reader, const void *bytes, size_t length)
{
	if (DNS_DATA_MAX - reader->length < length) {
		fail(reader, "it is too long");
		return;
	}
	if (length > 0)
		memcpy(reader->data + reader->length, bytes, length);
	reader->length += length;
}

static void put_number(struct data_reader *reader, unsigned value, unsigned bytes)
{
	uint8_t wire[2] = {(uint8_t)(value >> 8), (uint8_t)value};
	put(reader, wire + 2 - bytes, bytes);
}

/* ---- words ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The next word, or false at the end. */
static bool take_word(struct data_reader *reader, struct word *word)
{
	const char *at = reader->text;
	while (is_blank(*at))
		at++;
	word->text = at;
	for (bool quoted = false; *at && (quoted || !is_blank(*at)); at++) {
		if (*at == '"')
			quoted = !quoted;
		else if (*at == '\\' && at[1])
			at++;
	}
	word->length = (size_t)(at - word->text);
	reader->text = at;
	return word->length > 0;
}

/* The bytes that a word means, into `bytes`; how many. */
static size_t word_bytes(struct data_reader *reader, const struct word *word, uint8_t *bytes,
			 size_t size)
{
	size_t length = 0;
	bool quoted = false;
	for (size_t i = 0; i < word->length; i++) {
		unsigned byte = (unsigned char)word->text[i];
		if (byte == '"') {
			quoted = !quoted;
			continue;
		}
		if (byte == '\\') {
			unsigned digits = 0;
			if (++i == word->length) {
				fail(reader, "a backslash at its end escapes nothing");
				return 0;
			}
			for (byte = 0;
			     digits < 3 && i + digits < word->length &&
			     word->text[i + digits] >= '0' && word->text[i + digits] <= '9';
			     digits++)
				byte = 10 * byte + (unsigned)(word->text[i + digits] - '0');
			if (digits == 0)
				byte = (unsigned char)word->text[i];
			else if (digits < 3 || byte > UINT8_MAX)
				fail(reader, "a byte by its number is \\000 to \\255");
			else
				i += 2;
		}
		if (length == size) {
			fail(reader, "a part of it is too long");
			return 0;
		}
		bytes[length++] = (uint8_t)byte;
	}
	if (quoted)
		fail(reader, "a quote is not closed");
	return length;
}

/* A word as a text that ends; "" after a fault. */
static const char *word_text(struct data_reader *reader, const struct word *word, char *text,
			     size_t size)
{
	if (word->length >= size)
		fail(reader, "a part of it is too long");
	size_t length = word->length < size ? word->length : 0;
	memcpy(text, word->text, length);
	text[length] = '\0';
	return text;
}

static unsigned take_number(struct data_reader *reader, uint32_t most, const char *fault)
{
	struct word word;
	char text[16];
	uint32_t number = 0;
	if (!take_word(reader, &word) || word.length >= sizeof(text) ||
	    text_parse_number(word_text(reader, &word, text, sizeof(text)), most, &number))
		fail(reader, fault);
	return number;
}

static void take_name(struct data_reader *reader, const char *fault)
{
	struct word word;
	char text[DNS_NAME_TEXT_BYTES];
	struct dns_name name = {.length = 1};
	if (!take_word(reader, &word)) {
		fail(reader, fault);
		return;
	}
	word_text(reader, &word, text, sizeof(text));
	size_t length = strlen(text);
	bool is_zone = strcmp(text, "@") == 0;
	bool is_full = length > 0 && text[length - 1] == '.' &&
		       (length < 2 || text[length - 2] != '\\' || length == 1);
	if (!is_zone && dns_name_parse(text, &name) < 0)
		fail(reader, "its name is no domain name");
	else if (is_full)
		put(reader, name.bytes, name.length);
	else if (name.length - 1u + reader->zone->length > DNS_NAME_MAX)
		fail(reader, "its name is too long below the zone; one that is not below it ends "
			     "in a dot");
	else {
		put(reader, name.bytes, name.length - 1u);
		put(reader, reader->zone->bytes, reader->zone->length);
	}
}

static void put_string(struct data_reader *reader, const void *bytes, size_t length)
{
	put_number(reader, (unsigned)length, 1);
	put(reader, bytes, length);
}

/* ---- types ---- */

static void read_address(struct data_reader *reader, enum ip_family family)
{
	struct ip_address address;
	if (ip_address_parse(reader->text, &address) < 0 || address.family != family)
		fail(reader, family == IP_V4 ? "write an IPv4 address" : "write an IPv6 address");
	else
		put(reader, address.bytes, ip_family_bits(family) / 8);
	reader->text = "";
}

static void read_txt(struct data_reader *reader)
{
	const char *text = reader->text;
	reader->text = "";
	if (text[strspn(text, " \t")] != '"') {
		size_t left = strlen(text);
		do {
			size_t piece = left < DNS_STRING_MAX ? left : DNS_STRING_MAX;
			put_string(reader, text, piece);
			text += piece;
			left -= piece;
		} while (left > 0);
		return;
	}
	reader->text = text;
	for (struct word word; take_word(reader, &word) && !reader->fault;) {
		uint8_t bytes[DNS_STRING_MAX];
		size_t length = word_bytes(reader, &word, bytes, sizeof(bytes));
		put_string(reader, bytes, length);
	}
}

static void read_mx(struct data_reader *reader)
{
	static const char FORM[] = "write a preference and a name, such as `10 mail.example.org.`";
	put_number(reader, take_number(reader, UINT16_MAX, FORM), 2);
	take_name(reader, FORM);
}

static void read_caa(struct data_reader *reader)
{
	static const char FORM[] =
	    "write flags, a tag and a value, such as `0 issue \"ca.example.org\"`";
	struct word tag, value;
	uint8_t bytes[DNS_DATA_MAX];
	put_number(reader, take_number(reader, UINT8_MAX, FORM), 1);
	if (!take_word(reader, &tag) || !take_word(reader, &value)) {
		fail(reader, FORM);
		return;
	}
	for (size_t i = 0; i < tag.length; i++) {
		char c = tag.text[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')))
			fail(reader, "a tag has letters and digits"); /* RFC 8659 §4.1 */
	}
	if (tag.length > DNS_STRING_MAX)
		fail(reader, FORM);
	else
		put_string(reader, tag.text, tag.length);
	put(reader, bytes, word_bytes(reader, &value, bytes, sizeof(bytes)));
}

/* ---- HTTPS and SVCB (RFC 9460) ---- */

enum {
	KEY_MANDATORY = 0,
	KEY_ALPN = 1,
	KEY_NO_DEFAULT_ALPN = 2,
	KEY_PORT = 3,
	KEY_IPV4HINT = 4,
	KEY_ECH = 5,
	KEY_IPV6HINT = 6,
	KEY_DOHPATH = 7,
	PARAMETERS_MAX = 16,
	PARAMETER_BYTES = 1024,
	KEY_UNKNOWN = 65536,
};

struct parameter {
	unsigned key;
	struct word value;
};

static unsigned key_of(const char *name, size_t length)
{
	static const char *const NAMES[] = {"mandatory", "alpn", "no-default-alpn", "port",
					    "ipv4hint",  "ech",  "ipv6hint",        "dohpath"};
	for (unsigned i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++)
		if (strlen(NAMES[i]) == length && memcmp(NAMES[i], name, length) == 0)
			return i;
	char digits[8] = {0};
	uint32_t number;
	if (length <= 3 || length > 8 || memcmp(name, "key", 3) != 0)
		return KEY_UNKNOWN;
	memcpy(digits, name + 3, length - 3);
	return text_parse_number(digits, UINT16_MAX - 1, &number) ? KEY_UNKNOWN : number;
}

/* The next item of a list with commas, or false at the end. */
static bool take_item(const uint8_t **at, const uint8_t *end, const uint8_t **item, size_t *length)
{
	if (*at >= end)
		return false;
	const uint8_t *comma = memchr(*at, ',', (size_t)(end - *at));
	*item = *at;
	*length = (size_t)((comma ? comma : end) - *at);
	*at = comma ? comma + 1 : end;
	return true;
}

static void put_hint(struct data_reader *reader, const uint8_t *item, size_t length,
		     enum ip_family family)
{
	char text[IP_TEXT_BYTES] = {0};
	struct ip_address address;
	if (length < sizeof(text))
		memcpy(text, item, length);
	if (ip_address_parse(text, &address) < 0 || address.family != family)
		fail(reader, "its hints are addresses of their family, with commas between them");
	else
		put(reader, address.bytes, ip_family_bits(family) / 8);
}

/* RFC 9460 §8: keys that are there, each once, rising, and not itself. */
static void put_mandatory(struct data_reader *reader, const uint8_t *bytes, size_t length,
			  const struct parameter *parameters, size_t count)
{
	const uint8_t *at = bytes, *item;
	size_t item_length, named = 0;
	bool wanted[PARAMETERS_MAX] = {false};
	while (take_item(&at, bytes + length, &item, &item_length)) {
		unsigned key = key_of((const char *)item, item_length);
		size_t i = 0;
		while (i < count && parameters[i].key != key)
			i++;
		if (key == KEY_MANDATORY || i == count || wanted[i]) {
			fail(reader, "`mandatory` names keys that are there, each once");
			return;
		}
		wanted[i] = true;
		named++;
	}
	if (named == 0)
		fail(reader, "`mandatory` names keys that are there, each once");
	for (size_t i = 0; i < count; i++)
		if (wanted[i])
			put_number(reader, parameters[i].key, 2);
}

static void put_value(struct data_reader *reader, const struct parameter *parameter,
		      const struct parameter *parameters, size_t count)
{
	uint8_t bytes[PARAMETER_BYTES];
	size_t length = word_bytes(reader, &parameter->value, bytes, sizeof(bytes)), item_length;
	const uint8_t *at = bytes, *item;
	uint32_t port = 0;
	char text[8] = {0};
	switch (parameter->key) {
	case KEY_MANDATORY:
		put_mandatory(reader, bytes, length, parameters, count);
		return;
	case KEY_ALPN:
		while (take_item(&at, bytes + length, &item, &item_length)) {
			if (item_length == 0 || item_length > DNS_STRING_MAX)
				fail(reader, "`alpn` has names with commas between them");
			else
				put_string(reader, item, item_length);
		}
		break;
	case KEY_NO_DEFAULT_ALPN:
		if (length > 0)
			fail(reader, "`no-default-alpn` has no value");
		return;
	case KEY_PORT:
		memcpy(text, bytes, length < sizeof(text) ? length : 0);
		if (text_parse_number(text, UINT16_MAX, &port))
			fail(reader, "its port is a number from 0 to 65535");
		put_number(reader, port, 2);
		return;
	case KEY_IPV4HINT:
	case KEY_IPV6HINT:
		while (take_item(&at, bytes + length, &item, &item_length))
			put_hint(reader, item, item_length,
				 parameter->key == KEY_IPV4HINT ? IP_V4 : IP_V6);
		break;
	default: /* of others the bytes are known, and not what they mean */
		put(reader, bytes, length);
		return;
	}
	if (length == 0)
		fail(reader, "one of its keys has no value");
}

/* Read the parameters in any order, and keep them by rising key, as they are in the message. */
static size_t read_parameters(struct data_reader *reader, struct parameter *parameters)
{
	size_t count = 0;
	for (struct word word; take_word(reader, &word) && !reader->fault;) {
		const char *equals = memchr(word.text, '=', word.length);
		size_t name = equals ? (size_t)(equals - word.text) : word.length;
		struct parameter parameter = {.key = key_of(word.text, name),
					      .value = {word.text + name, 0}};
		if (equals)
			parameter.value = (struct word){equals + 1, word.length - name - 1};
		size_t at = count;
		while (at > 0 && parameters[at - 1].key > parameter.key)
			at--;
		if (parameter.key == KEY_UNKNOWN)
			fail(reader, "it has keys such as alpn=h2,h3, port=8443, and key65000=…");
		else if (name == 3 && parameter.key == KEY_ECH)
			fail(reader, "`ech` is not read; write key5= and its bytes as \\DDD");
		else if (count == PARAMETERS_MAX)
			fail(reader, "it has more than 16 keys");
		else if (at > 0 && parameters[at - 1].key == parameter.key)
			fail(reader, "it has a key twice");
		if (reader->fault)
			return 0;
		memmove(parameters + at + 1, parameters + at, (count - at) * sizeof(*parameters));
		parameters[at] = parameter;
		count++;
	}
	return count;
}

static void read_svcb(struct data_reader *reader)
{
	static const char FORM[] = "write a priority, a name (`.` for this one) and keys, such as "
				   "`1 . alpn=h2,h3`";
	struct parameter parameters[PARAMETERS_MAX];
	unsigned priority = take_number(reader, UINT16_MAX, FORM);
	put_number(reader, priority, 2);
	take_name(reader, FORM);
	size_t count = read_parameters(reader, parameters);
	if (priority == 0 && count > 0)
		fail(reader, "with priority 0 it is an alias, and has no keys");
	bool has_alpn = false, needs_alpn = false;
	for (size_t i = 0; i < count && !reader->fault; i++) {
		has_alpn |= parameters[i].key == KEY_ALPN;
		needs_alpn |= parameters[i].key == KEY_NO_DEFAULT_ALPN;
		put_number(reader, parameters[i].key, 2);
		size_t length_at = reader->length;
		put_number(reader, 0, 2);
		put_value(reader, &parameters[i], parameters, count);
		if (!reader->fault)
			dns_put_u16(reader->data + length_at,
				    (unsigned)(reader->length - length_at - 2));
	}
	if (needs_alpn && !has_alpn)
		fail(reader, "`no-default-alpn` needs `alpn`"); /* RFC 9460 §7.1.1 */
}

int dns_data_parse(unsigned type, const char *text, const struct dns_name *zone, uint8_t *data,
		   const char **ret_fault)
{
	struct data_reader reader = {.text = text, .zone = zone, .data = data};
	struct word rest;
	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		read_address(&reader, type == DNS_A ? IP_V4 : IP_V6);
		break;
	case DNS_CNAME:
		take_name(&reader, "write a name, such as `www.example.org.`");
		break;
	case DNS_MX:
		read_mx(&reader);
		break;
	case DNS_TXT:
		read_txt(&reader);
		break;
	case DNS_CAA:
		read_caa(&reader);
		break;
	case DNS_HTTPS:
	case DNS_SVCB:
		read_svcb(&reader);
		break;
	default:
		fail(&reader, "records of this type are not served");
		break;
	}
	if (!reader.fault && take_word(&reader, &rest))
		fail(&reader, "there is something behind its end");
	if (reader.fault) {
		*ret_fault = reader.fault;
		return -FL_EINVALID;
	}
	return (int)reader.length;
}

/* ---- addresses ---- */

static size_t add_addresses(const uint8_t *bytes, size_t length, enum ip_family family,
			    struct ip_address *addresses, size_t count)
{
	size_t size = ip_family_bits(family) / 8;
	for (; length >= size; bytes += size, length -= size, count++) {
		if (count >= DNS_DATA_ADDRESSES_MAX)
			continue;
		addresses[count] = (struct ip_address){.family = (uint8_t)family};
		memcpy(addresses[count].bytes, bytes, size);
	}
	return count;
}

size_t dns_data_addresses(unsigned type, const uint8_t *data, size_t length,
			  struct ip_address *addresses)
{
	if (type == DNS_A || type == DNS_AAAA)
		return add_addresses(data, length, type == DNS_A ? IP_V4 : IP_V6, addresses, 0);
	if (type != DNS_HTTPS && type != DNS_SVCB)
		return 0;
	size_t at = 2, count = 0; /* behind the priority */
	while (at < length && data[at])
		at += 1u + data[at];
	for (at++; at < length && length - at >= 4;) {
		unsigned key = dns_get_u16(data + at);
		size_t size = dns_get_u16(data + at + 2);
		at += 4;
		if (size > length - at)
			break;
		if (key == KEY_IPV4HINT || key == KEY_IPV6HINT)
			count = add_addresses(data + at, size, key == KEY_IPV4HINT ? IP_V4 : IP_V6,
					      addresses, count);
		at += size;
	}
	return count;
}
