/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text: the small notations of files, both ways: durations (`30s`), shares (`12.5%`),
 * endpoints (`[::1]:8080`), degrees, names. Each value has exactly one canonical
 * text, and parsing that text gives the value again.
 *
 * Parsers return NULL when all is well, or the rest of the sentence "… is not a duration: ".
 * Outputs are untouched on failure. Nothing here depends on the locale.
 */
#ifndef FAIRLEAD_BASE_TEXT_H
#define FAIRLEAD_BASE_TEXT_H

#include "base/netaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_BYTES 64 /* holds any canonical text below, with its NUL */
#define TEXT_MAX_DURATION_MS (365ull * 86400 * 1000)
#define TEXT_SHARE_WHOLE 65536u /* the share 100% */
#define TEXT_DEGREE_SCALE 1e9 /* degrees are kept to nine decimals */

/* Bytes of the well-formed UTF-8 character at `bytes` (RFC 3629), 0 if there is none. */
size_t text_utf8_step(const char *bytes, size_t length);

/* Is the character of `step` bytes one that a terminal or a line counter could take for more than
 * a character: C0, DEL, C1, U+2028, U+2029, U+FEFF? Tabs and line ends are among them. */
int text_is_control(const char *bytes, size_t step);

/* Does the character change the direction in which a terminal writes (the bidirectional controls of
 * Unicode)? What comes after it looks like something else. */
int text_is_direction(const char *bytes, size_t step);

/* A port from 1 to 65535 at the beginning of `text`; the first character after it, or NULL. */
const char *text_scan_port(const char *text, uint16_t *ret_port);

/* Decimal digits without sign or leading zero, at most `max`. */
const char *text_parse_number(const char *text, uint32_t max, uint32_t *ret_number);

/* One number and one unit of ms, s, m, h, d; at most a year. */
const char *text_parse_duration(const char *text, uint64_t *ret_ms);
const char *text_format_duration(uint64_t ms, char *text);

/* Percent with up to six decimals → 1/65536ths of the clients, 1…65536, rounded to nearest. */
const char *text_parse_share(const char *text, uint32_t *ret_share);
const char *text_format_share(uint32_t share, char *text);
/* The share as a number from 0 to 1, as exactly as it was written: 0.05 of `5%`. */
double text_share_number(uint32_t share);

/* `127.0.0.1:8080`, `[::1]:8080`, `:8080` (family IP_NONE). */
const char *text_parse_endpoint(const char *text, struct ip_address *ret_address,
				uint16_t *ret_port);
const char *text_format_endpoint(const struct ip_address *address, uint16_t port, char *text);

/* Signed decimal with up to nine decimals, within ±`limit` degrees. */
const char *text_parse_degrees(const char *text, unsigned limit, double *ret_degrees);
const char *text_format_degrees(double degrees, char *text);

/* A lower-case DNS label of letters, digits and inner hyphens (RFC 1123 section 2.1). */
const char *text_check_label(const char *text);

#define TEXT_NAME_MAX 63u /* bytes of a node's or a fabric's name */

/* A node's name: 1 to TEXT_NAME_MAX of a-z, 0-9 and '-', no '-' first. */
bool text_is_node_name(const char *text);

/* Labels joined by dots, at most 253 characters, no dot at the end. */
const char *text_check_domain(const char *text);

/* Why the address can be no machine's own unicast address; NULL when it can. */
const char *text_check_unicast(const struct ip_address *address);

/* Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`; SIZE_MAX
 * when either is longer than 32. */
size_t text_distance(const char *a, const char *b);

#endif
