/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SHARE_DECIMALS 6
#define DEGREE_DECIMALS 9
#define MAX_WHOLE_DEGREES                                                                          \
	1000000u /* that are scanned, so that 400 is out of range, not malformed */
#define MAX_DISTANCE_LENGTH 32

/* --- characters --- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_label_character(char c)
{
	return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-';
}

size_t text_utf8_step(const char *bytes, size_t length)
{
	const unsigned char *b = (const unsigned char *)bytes;
	if (length == 0)
		return 0;
	if (b[0] < 0x80)
		return 1;

	/* RFC 3629 section 4: the second byte's range excludes overlong forms, surrogates and
	 * everything above U+10FFFF. */
	size_t step = b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
	unsigned low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80;
	unsigned high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
	if (b[0] < 0xc2 || b[0] > 0xf4 || length < step || b[1] < low || b[1] > high)
		return 0;
	for (size_t i = 2; i < step; i++)
		if ((b[i] & 0xc0) != 0x80)
			return 0;
	return step;
}

int text_is_control(const char *bytes, size_t step)
{
	const unsigned char *b = (const unsigned char *)bytes;
	if (step == 1)
		return b[0] < 0x20 || b[0] == 0x7f;
	if (step == 2)
		return b[0] == 0xc2 && b[1] < 0xa0;
	return step == 3 &&
	       (memcmp(b, "\xe2\x80\xa8", 3) == 0 || memcmp(b, "\xe2\x80\xa9", 3) == 0 ||
		memcmp(b, "\xef\xbb\xbf", 3) == 0);
}

int text_is_direction(const char *bytes, size_t step)
{
	const unsigned char *b = (const unsigned char *)bytes;
	if (step == 2)
		return b[0] == 0xd8 && b[1] == 0x9c; /* U+061C */
	if (step != 3 || b[0] != 0xe2)
		return 0;
	/* U+200E and U+200F, U+202A to U+202E, U+2066 to U+2069 */
	return (b[1] == 0x80 && (b[2] == 0x8e || b[2] == 0x8f || (b[2] >= 0xaa && b[2] <= 0xae))) ||
	       (b[1] == 0x81 && b[2] >= 0xa6 && b[2] <= 0xa9);
}

/* --- numbers --- */

/* Read digits up to `max`; the place of the first other character, NULL when there is no digit, a
 * leading zero, or too large a number. */
static const char *scan_number(const char *text, uint64_t max, uint64_t *ret_number)
{
	uint64_t number = 0;
	const char *p = text;
	if (!is_digit(*p) || (*p == '0' && is_digit(p[1])))
		return NULL;
	for (; is_digit(*p); p++) {
		uint64_t digit = (uint64_t)(*p - '0');
		if (digit > max || number > (max - digit) / 10)
			return NULL;
		number = number * 10 + digit;
	}
	*ret_number = number;
	return p;
}

/* Read `digits[.digits]` as a whole number of 10^-decimals. NULL as above, or with more decimals
 * than that. `max` bounds the whole part. */
static const char *scan_decimal(const char *text, uint64_t max, unsigned decimals,
				uint64_t *ret_scaled)
{
	uint64_t scaled;
	const char *p = scan_number(text, max, &scaled);
	if (!p)
		return NULL;
	bool has_point = *p == '.';
	if (has_point && !is_digit(*++p))
		return NULL;
	for (unsigned i = 0; i < decimals; i++) {
		unsigned digit = 0;
		if (has_point && is_digit(*p))
			digit = (unsigned)(*p++ - '0');
		scaled = scaled * 10 + digit;
	}
	if (has_point && is_digit(*p))
		return NULL;
	*ret_scaled = scaled;
	return p;
}

/* Write `scaled` 10^-decimals without useless zeros. */
static void format_decimal(uint64_t scaled, unsigned decimals, char *text)
{
	uint64_t unit = 1;
	for (unsigned i = 0; i < decimals; i++)
		unit *= 10;
	uint64_t fraction = scaled % unit;
	int length = snprintf(text, TEXT_BYTES, "%" PRIu64, scaled / unit);
	if (fraction == 0)
		return;
	length += snprintf(text + length, (size_t)(TEXT_BYTES - length), ".%0*" PRIu64,
			   (int)decimals, fraction);
	while (text[length - 1] == '0')
		text[--length] = '\0';
}

const char *text_parse_number(const char *text, uint32_t max, uint32_t *ret_number)
{
	uint64_t number;
	const char *end = scan_number(text, UINT64_MAX, &number);
	if (!end || *end)
		return "write it in plain decimal digits, without quotes";
	if (number > max)
		return "it is too large";
	*ret_number = (uint32_t)number;
	return NULL;
}

/* --- durations --- */

/* From the largest, so that the first that divides a duration is its canonical unit. */
static const struct {
	const char *name;
	uint64_t ms;
} UNITS[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

#define UNIT_COUNT (sizeof(UNITS) / sizeof(UNITS[0]))

const char *text_parse_duration(const char *text, uint64_t *ret_ms)
{
	uint64_t number;
	const char *unit = scan_number(text, TEXT_MAX_DURATION_MS, &number);
	if (!unit)
		return "it must be a whole number and a unit, such as 500ms, 30s, 5m, 1h or 7d";
	if (!*unit)
		return "it has no unit; write ms, s, m, h or d behind the number";
	for (size_t i = 0; i < UNIT_COUNT; i++) {
		if (strcmp(unit, UNITS[i].name) != 0)
			continue;
		if (number > TEXT_MAX_DURATION_MS / UNITS[i].ms)
			return "it is longer than a year";
		*ret_ms = number * UNITS[i].ms;
		return NULL;
	}
	return "it must be one whole number and one unit of ms, s, m, h or d";
}

const char *text_format_duration(uint64_t ms, char *text)
{
	size_t unit = 0;
	while (ms % UNITS[unit].ms != 0)
		unit++;
	if (ms == 0)
		unit = 3;
	snprintf(text, TEXT_BYTES, "%" PRIu64 "%s", ms / UNITS[unit].ms, UNITS[unit].name);
	return text;
}

/* --- shares --- */

#define SHARE_SCALE 100000000ull /* 100 % in 10^-6 percent */

const char *text_parse_share(const char *text, uint32_t *ret_share)
{
	uint64_t scaled;
	const char *end = scan_decimal(text, 100, SHARE_DECIMALS, &scaled);
	if (!end || strcmp(end, "%") != 0 || scaled > SHARE_SCALE)
		return "it must be a percentage from above 0% to 100%, such as 5% or 12.5%";
	uint64_t share = (scaled * TEXT_SHARE_WHOLE + SHARE_SCALE / 2) / SHARE_SCALE;
	if (share == 0)
		return "it is too small: the smallest share is 0.001%";
	*ret_share = (uint32_t)share;
	return NULL;
}

const char *text_format_share(uint32_t share, char *text)
{
	/* Shares lie 0.0015 % apart, so three decimals always tell them apart; most need fewer. */
	uint64_t scaled = ((uint64_t)share * SHARE_SCALE + TEXT_SHARE_WHOLE / 2) / TEXT_SHARE_WHOLE;
	for (uint64_t step = 1000000; step >= 1000; step /= 10) {
		uint64_t rounded = (scaled + step / 2) / step * step;
		if ((rounded * TEXT_SHARE_WHOLE + SHARE_SCALE / 2) / SHARE_SCALE == share) {
			scaled = rounded;
			break;
		}
	}
	char digits[TEXT_BYTES];
	format_decimal(scaled, SHARE_DECIMALS, digits);
	snprintf(text, TEXT_BYTES, "%.60s%%", digits);
	return text;
}

double text_share_number(uint32_t share)
{
	char text[TEXT_BYTES];
	/* A whole number of millionths of a percent: nothing of the locale, and exact as a
	 * quotient. */
	uint64_t scaled = 0;
	int decimals = 0;
	for (const char *c = text_format_share(share, text); *c && *c != '%'; c++) {
		if (*c == '.')
			decimals = 1;
		else
			scaled = 10 * scaled + (uint64_t)(*c - '0');
		decimals += decimals && *c != '.';
	}
	double divisor = 100;
	for (int i = 1; i < decimals; i++)
		divisor *= 10;
	return (double)scaled / divisor;
}

/* --- endpoints --- */

const char *text_scan_port(const char *text, uint16_t *ret_port)
{
	uint64_t port;
	const char *end = scan_number(text, UINT16_MAX, &port);
	if (!end || port == 0)
		return NULL;
	*ret_port = (uint16_t)port;
	return end;
}

const char *text_parse_endpoint(const char *text, struct ip_address *ret_address,
				uint16_t *ret_port)
{
	const char *fault =
	    "it must be \"ADDRESS:PORT\", \"[ADDRESS]:PORT\" for IPv6, or \":PORT\"";
	const char *colon = strrchr(text, ':');
	uint16_t port;
	if (!colon)
		return fault;
	const char *end = text_scan_port(colon + 1, &port);
	if (!end || *end)
		return "the port behind the last colon must be a number from 1 to 65535";

	struct ip_address address = {.family = IP_NONE};
	bool bracketed = text[0] == '[' && colon - text >= 2 && colon[-1] == ']';
	const char *start = bracketed ? text + 1 : text;
	size_t length = (size_t)(colon - start) - (bracketed ? 1 : 0);
	if (length > 0) {
		char address_text[IP_TEXT_BYTES];
		if (length >= sizeof(address_text))
			return fault;
		memcpy(address_text, start, length);
		address_text[length] = '\0';
		if (ip_address_parse(address_text, &address) < 0 ||
		    (address.family == IP_V6) != bracketed)
			return fault;
	} else if (bracketed) {
		return fault;
	}
	*ret_address = address;
	*ret_port = port;
	return NULL;
}

const char *text_format_endpoint(const struct ip_address *address, uint16_t port, char *text)
{
	char address_text[IP_TEXT_BYTES] = "";
	if (address->family != IP_NONE)
		ip_address_format(address, address_text);
	snprintf(text, TEXT_BYTES, address->family == IP_V6 ? "[%.46s]:%u" : "%.46s:%u",
		 address_text, port);
	return text;
}

/* --- degrees --- */

const char *text_parse_degrees(const char *text, unsigned limit, double *ret_degrees)
{
	uint64_t scaled;
	bool negative = text[0] == '-';
	const char *end =
	    scan_decimal(text + (negative ? 1 : 0), MAX_WHOLE_DEGREES, DEGREE_DECIMALS, &scaled);
	if (!end || *end)
		return "it must be a decimal number with at most nine decimals";
	if (scaled > limit * (uint64_t)TEXT_DEGREE_SCALE)
		return "it is out of range";
	/* Both numbers are exact, so this is the double nearest to what was written. */
	double degrees = (double)scaled / TEXT_DEGREE_SCALE;
	*ret_degrees = negative && scaled ? -degrees : degrees;
	return NULL;
}

const char *text_format_degrees(double degrees, char *text)
{
	bool negative = degrees < 0;
	char digits[TEXT_BYTES];
	uint64_t scaled = (uint64_t)((negative ? -degrees : degrees) * TEXT_DEGREE_SCALE + 0.5);
	format_decimal(scaled, DEGREE_DECIMALS, digits);
	snprintf(text, TEXT_BYTES, "%s%.60s", negative ? "-" : "", digits);
	return text;
}

/* --- names --- */

/* Check one label of `length` characters. */
static const char *check_label(const char *text, size_t length)
{
	if (length == 0)
		return "it has an empty label";
	if (length > 63)
		return "a label has at most 63 characters";
	for (size_t i = 0; i < length; i++) {
		if (text[i] >= 'A' && text[i] <= 'Z')
			return "names are written in lower case";
		if (!is_label_character(text[i]))
			return "a label holds only letters a to z, digits and hyphens";
	}
	if (text[0] == '-' || text[length - 1] == '-')
		return "a label neither begins nor ends with a hyphen";
	return NULL;
}

const char *text_check_label(const char *text)
{
	return check_label(text, strlen(text));
}

bool text_is_node_name(const char *text)
{
	size_t length = strnlen(text, TEXT_NAME_MAX + 1);
	return length >= 1 && length <= TEXT_NAME_MAX && text[0] != '-' &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

const char *text_check_domain(const char *text)
{
	size_t length = strlen(text);
	if (length > 253)
		return "a domain name has at most 253 characters";
	if (length > 1 && text[length - 1] == '.')
		return "it is written without the dot at its end";
	for (;;) {
		size_t label = strcspn(text, ".");
		const char *fault = check_label(text, label);
		if (fault)
			return fault;
		if (!text[label])
			return NULL;
		text += label + 1;
	}
}

const char *text_check_unicast(const struct ip_address *address)
{
#define PREFIX(ip, bits, ...) {{{__VA_ARGS__}, ip}, bits}
	static const struct {
		struct ip_prefix prefix;
		const char *fault;
	} SPECIAL[] = {
	    {PREFIX(IP_V4, 8, 0), "0.0.0.0/8 means \"this network\" (RFC 1122)"},
	    {PREFIX(IP_V4, 8, 127), "it is a loopback address"},
	    {PREFIX(IP_V4, 16, 169, 254), "it is a link-local address"},
	    {PREFIX(IP_V4, 4, 224), "it is a multicast address"},
	    {PREFIX(IP_V4, 4, 240), "it is a reserved or broadcast address"},
	    {PREFIX(IP_V6, 128, 0), "it is the unspecified address"},
	    {PREFIX(IP_V6, 128, [15] = 1), "it is the loopback address"},
	    {PREFIX(IP_V6, 96, [10] = 0xff, 0xff),
	     "it is an IPv4-mapped address; write the IPv4 address itself"},
	    {PREFIX(IP_V6, 10, 0xfe, 0x80), "it is a link-local address"},
	    {PREFIX(IP_V6, 8, 0xff), "it is a multicast address"},
	};
#undef PREFIX
	for (size_t i = 0; i < sizeof(SPECIAL) / sizeof(SPECIAL[0]); i++) {
		if (ip_prefix_contains(&SPECIAL[i].prefix, address))
			return SPECIAL[i].fault;
	}
	return NULL;
}

/* --- likeness --- */

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* "Optimal string alignment": the classical table, with swaps of neighbours. */
size_t text_distance(const char *a, const char *b)
{
	size_t table[MAX_DISTANCE_LENGTH + 1][MAX_DISTANCE_LENGTH + 1];
	size_t rows = strlen(a), columns = strlen(b);
	if (rows > MAX_DISTANCE_LENGTH || columns > MAX_DISTANCE_LENGTH)
		return SIZE_MAX;
	for (size_t i = 0; i <= rows; i++) {
		for (size_t j = 0; j <= columns; j++) {
			if (i == 0 || j == 0) {
				table[i][j] = i + j;
				continue;
			}
			size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
			table[i][j] = least(table[i - 1][j - 1] + change,
					    least(table[i - 1][j], table[i][j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				table[i][j] = least(table[i][j], table[i - 2][j - 2] + 1);
		}
	}
	return table[rows][columns];
}
