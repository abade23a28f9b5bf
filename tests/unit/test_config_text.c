/* SPDX-License-Identifier: Apache-2.0 */
/* The small notations of the file: what is accepted, what is refused, and canonical forms. */
#include "base/text.h"
#include "config/port.h"
#include "model/fabric.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void durations(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t ms;
		const char *canonical;
	} GOOD[] = {
	    {"500ms", 500, "500ms"},
	    {"30s", 30000, "30s"},
	    {"60s", 60000, "1m"},
	    {"90s", 90000, "90s"},
	    {"5m", 300000, "5m"},
	    {"1h", 3600000, "1h"},
	    {"24h", 86400000, "1d"},
	    {"7d", 604800000, "7d"},
	    {"0s", 0, "0s"},
	    {"0ms", 0, "0s"},
	    {"1500ms", 1500, "1500ms"},
	    {"365d", TEXT_MAX_DURATION_MS, "365d"},
	};
	static const char *const BAD[] = {"",
					  "5",
					  "s",
					  "-1s",
					  "+1s",
					  "1 s",
					  "1.5s",
					  "01s",
					  "1h30m",
					  "366d",
					  "1w",
					  "1S",
					  "1ss",
					  "99999999999999999999s",
					  "18446744073709551615d"};
	char text[TEXT_BYTES];
	for (size_t i = 0; i < COUNT(GOOD); i++) {
		uint64_t ms = 1;
		assert_null(text_parse_duration(GOOD[i].text, &ms));
		assert_int_equal(ms, GOOD[i].ms);
		assert_string_equal(text_format_duration(ms, text), GOOD[i].canonical);
	}
	for (size_t i = 0; i < COUNT(BAD); i++) {
		uint64_t ms = 77;
		assert_non_null(text_parse_duration(BAD[i], &ms));
		assert_int_equal(ms, 77);
	}
}

static void shares(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint32_t share;
	} GOOD[] = {{"5%", 3277},     {"12.5%", 8192}, {"100%", 65536},
		    {"50.0%", 32768}, {"0.001%", 1},   {"99.999999%", 65536}};
	static const char *const BAD[] = {"",     "5",      "%",   "0%",        "0.0001%",
					  "101%", "100.1%", "-5%", "5 %",       ".5%",
					  "5.%",  "05%",    "5%%", "1.1234567%"};
	uint32_t share;
	char text[TEXT_BYTES];
	for (size_t i = 0; i < COUNT(GOOD); i++) {
		assert_null(text_parse_share(GOOD[i].text, &share));
		assert_int_equal(share, GOOD[i].share);
	}
	for (size_t i = 0; i < COUNT(BAD); i++)
		assert_non_null(text_parse_share(BAD[i], &share));
	assert_string_equal(text_format_share(3277, text), "5%");
	assert_string_equal(text_format_share(8192, text), "12.5%");
	assert_true(text_share_number(3277) == 0.05);
	assert_true(text_share_number(8192) == 0.125);
	assert_true(text_share_number(21823) == 0.333);
	assert_true(text_share_number(0) == 0 && text_share_number(TEXT_SHARE_WHOLE) == 1);
	for (uint32_t every = 1; every <= SHARE_WHOLE; every++) {
		assert_null(text_parse_share(text_format_share(every, text), &share));
		assert_int_equal(share, every);
	}
}

static void ports(void **state)
{
	(void)state;
	static const char *const GOOD[] = {"tcp/80", "udp/53", "quic/443", "tcp/8000-8099",
					   "tcp/1-65535"};
	static const char *const BAD[] = {
	    "",          "80",     "tcp",     "tcp/",    "tcp/0",   "tcp/65536", "tcp/80-",
	    "tcp/80-79", "TCP/80", "sctp/80", "tcp/080", "tcp/80 ", "tcp/-80",   "tcp/80-90-95"};
	struct service_port port;
	char text[TEXT_BYTES];
	for (size_t i = 0; i < COUNT(GOOD); i++) {
		assert_null(port_parse(GOOD[i], &port));
		assert_string_equal(port_format(&port, text), GOOD[i]);
	}
	assert_null(port_parse("quic/443", &port));
	assert_int_equal(port.protocol, SERVICE_UDP);
	assert_true(port.quic);
	for (size_t i = 0; i < COUNT(BAD); i++)
		assert_non_null(port_parse(BAD[i], &port));
}

static void endpoints(void **state)
{
	(void)state;
	static const char *const GOOD[] = {"127.0.0.1:8080", "[::1]:8080", ":8080",
					   "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"};
	static const char *const BAD[] = {
	    "",
	    "8080",
	    "127.0.0.1",
	    "127.0.0.1:",
	    "127.0.0.1:0",
	    "::1:8080",
	    "[::1]",
	    "[127.0.0.1]:80",
	    "[]:80",
	    "[:80",
	    "]:80",
	    "localhost:80",
	    "127.0.0.1:65536",
	    "1111111111111111111111111111111111111111111111111111111111111111:1"};
	struct ip_address address;
	uint16_t port;
	char text[TEXT_BYTES];
	for (size_t i = 0; i < COUNT(GOOD); i++) {
		assert_null(text_parse_endpoint(GOOD[i], &address, &port));
		assert_string_equal(text_format_endpoint(&address, port, text), GOOD[i]);
	}
	for (size_t i = 0; i < COUNT(BAD); i++)
		assert_non_null(text_parse_endpoint(BAD[i], &address, &port));
}

static void degrees(void **state)
{
	(void)state;
	static const char *const GOOD[] = {"0",    "50.11",       "-74.01",        "180",
					   "-180", "0.000000001", "179.999999999", "-0.5"};
	static const char *const BAD[] = {"",   "-",  "180.000000001", "181", "1e2", "0x10", "nan",
					  "1.", ".5", "1.0000000001",  "+1",  "01",  "1,5"};
	double value;
	char text[TEXT_BYTES];
	for (size_t i = 0; i < COUNT(GOOD); i++) {
		assert_null(text_parse_degrees(GOOD[i], 180, &value));
		assert_string_equal(text_format_degrees(value, text), GOOD[i]);
	}
	for (size_t i = 0; i < COUNT(BAD); i++)
		assert_non_null(text_parse_degrees(BAD[i], 180, &value));
	assert_null(text_parse_degrees("-0", 180, &value));
	assert_string_equal(text_format_degrees(value, text), "0");
}

static void names(void **state)
{
	(void)state;
	char label[80];
	memset(label, 'a', sizeof(label));
	label[63] = '\0';
	assert_null(text_check_label(label));
	label[63] = 'a';
	label[64] = '\0';
	assert_non_null(text_check_label(label));
	static const char *const BAD[] = {"", "-a", "a-", "A", "a_b", "a.b", "ä", "a b"};
	for (size_t i = 0; i < COUNT(BAD); i++)
		assert_non_null(text_check_label(BAD[i]));
	assert_null(text_check_label("0"));
	assert_null(text_check_domain("svc.example.net"));
	assert_null(text_check_domain("net"));
	char domain[260];
	for (size_t i = 0; i < sizeof(domain); i++)
		domain[i] = i % 2 ? '.' : 'a';
	domain[253] = '\0';
	assert_null(text_check_domain(domain));
	domain[253] = '.';
	domain[255] = '\0';
	assert_non_null(text_check_domain(domain));
	static const char *const BAD_DOMAINS[] = {"", ".", "a.", ".a", "a..b", "a.-b"};
	for (size_t i = 0; i < COUNT(BAD_DOMAINS); i++)
		assert_non_null(text_check_domain(BAD_DOMAINS[i]));
}

static void utf8_follows_rfc_3629(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t step;
	} CASES[] = {
	    {"a", 1},
	    {"\xc3\xa9", 2},
	    {"\xe2\x82\xac", 3},
	    {"\xf0\x9f\x98\x80", 4},
	    {"\xc0\x80", 0},
	    {"\xe0\x80\x80", 0},
	    {"\xed\xa0\x80", 0},
	    {"\xf4\x90\x80\x80", 0},
	    {"\xf5\x80\x80\x80", 0},
	    {"\x80", 0},
	    {"\xc3", 0},
	    {"\xe2\x82", 0},
	    {"\xf0\x9f\x98", 0},
	    {"\xc3(", 0},
	};
	for (size_t i = 0; i < COUNT(CASES); i++)
		assert_int_equal(text_utf8_step(CASES[i].bytes, strlen(CASES[i].bytes)),
				 CASES[i].step);
	assert_int_equal(text_utf8_step("", 0), 0);
	assert_true(text_is_control("\x1b", 1));
	assert_true(text_is_control("\xc2\x9b", 2)); /* CSI as one character */
	assert_true(text_is_control("\xe2\x80\xa8", 3));
	assert_false(text_is_control("\xc2\xa0", 2));
}

static void likeness_counts_slips(void **state)
{
	(void)state;
	assert_int_equal(text_distance("weight", "weight"), 0);
	assert_int_equal(text_distance("wieght", "weight"), 1);
	assert_int_equal(text_distance("weigh", "weight"), 1);
	assert_int_equal(text_distance("", "abc"), 3);
	assert_int_equal(text_distance("kitten", "sitting"), 3);
	assert_true(text_distance("a23456789012345678901234567890123", "a") == SIZE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(durations),
	    cmocka_unit_test(shares),
	    cmocka_unit_test(ports),
	    cmocka_unit_test(endpoints),
	    cmocka_unit_test(degrees),
	    cmocka_unit_test(names),
	    cmocka_unit_test(utf8_follows_rfc_3629),
	    cmocka_unit_test(likeness_counts_slips),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
