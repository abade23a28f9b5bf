/* SPDX-License-Identifier: Apache-2.0 */
/* Records as an operator writes them: which bytes they become, and what is refused, with which
 * words. */
#include "tests/addresses.h"
#include "wire/dns_data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define BYTES(literal) (const uint8_t *)(literal), sizeof(literal) - 1

static int parse(unsigned type, const char *text, uint8_t *data, const char **ret_fault)
{
	struct dns_name zone;
	assert_int_equal(dns_name_parse("z", &zone), 0);
	/* Exactly as long as it is, so that the sanitizer sees one byte too far. */
	char *copy = strdup(text);
	assert_non_null(copy);
	int length = dns_data_parse(type, copy, &zone, data, ret_fault);
	free(copy);
	return length;
}

static const struct {
	unsigned type;
	const char *text;
	const uint8_t *data;
	size_t length;
} GOOD[] = {
    {DNS_A, "192.0.2.1", BYTES("\xc0\0\2\1")},
    {DNS_AAAA, "2001:db8::1", BYTES("\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1")},
    {DNS_CNAME, "www", BYTES("\3www\1z\0")},
    {DNS_CNAME, "WWW.Example.org.", BYTES("\3www\7example\3org\0")},
    {DNS_CNAME, "@", BYTES("\1z\0")},
    {DNS_CNAME, "a\\.b", BYTES("\3a.b\1z\0")},
    {DNS_MX, "10 mail.example.org.", BYTES("\0\x0a\4mail\7example\3org\0")},
    {DNS_MX, "  65535\t mail ", BYTES("\xff\xff\4mail\1z\0")},
    {DNS_MX, "0 .", BYTES("\0\0\0")}, /* RFC 7505: takes no mail */
    {DNS_TXT, "", BYTES("\0")},
    {DNS_TXT, "v=spf1 -all", BYTES("\x0bv=spf1 -all")},
    {DNS_TXT, "a \\; \"b\"",
     BYTES("\x08"
	   "a \\; \"b\"")},
    {DNS_TXT, "\"one\" \"two words\" \"\"", BYTES("\3one\x09two words\0")},
    {DNS_TXT, "\"q\\\" b\\\\ \\255\"", BYTES("\7q\" b\\ \xff")},
    {DNS_CAA, "0 issue \"ca.example.org; a=b\"", BYTES("\0\5issueca.example.org; a=b")},
    {DNS_CAA, "128 iodef mailto:a@b.org", BYTES("\x80\5iodefmailto:a@b.org")},
    {DNS_CAA, "0 issuewild \"\"", BYTES("\0\x09issuewild")},
    {DNS_HTTPS, "0 web", BYTES("\0\0\3web\1z\0")},
    {DNS_HTTPS, "1 .", BYTES("\0\1\0")},
    {DNS_HTTPS, "1 . alpn=h2,h3", BYTES("\0\1\0\0\1\0\6\2h2\2h3")},
    {DNS_HTTPS, "16 web port=8443 alpn=\"h3\"",
     BYTES("\0\x10\3web\1z\0\0\1\0\3\2h3\0\3\0\2\x20\xfb")},
    {DNS_HTTPS, "1 . no-default-alpn alpn=h3 mandatory=port,alpn port=1",
     BYTES("\0\1\0\0\0\0\4\0\1\0\3\0\1\0\3\2h3\0\2\0\0\0\3\0\2\0\1")},
    {DNS_SVCB, "1 . ipv6hint=2001:db8::1 ipv4hint=192.0.2.1,192.0.2.2",
     BYTES("\0\1\0\0\4\0\x08\xc0\0\2\1\xc0\0\2\2\0\6\0\x10\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1")},
    {DNS_SVCB, "1 . dohpath=/q{?dns} key65000=\"a\\001\" key5=x",
     BYTES("\0\1\0\0\5\0\1x\0\7\0\x08/q{?dns}\xfd\xe8\0\2"
	   "a\1")},
};

static void what_is_written_becomes_these_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(GOOD); i++) {
		uint8_t data[DNS_DATA_MAX];
		const char *fault = NULL;
		int length = parse(GOOD[i].type, GOOD[i].text, data, &fault);
		if (length < 0)
			fail_msg("%s: %s", GOOD[i].text, fault);
		if ((size_t)length != GOOD[i].length ||
		    memcmp(data, GOOD[i].data, GOOD[i].length) != 0)
			fail_msg("%s: %d bytes, or others", GOOD[i].text, length);
	}
}

/* Cut anywhere it is something or is refused, and reading stays within the text. */
static void a_text_cut_anywhere_is_read_to_its_end(void **state)
{
	(void)state;
	static const unsigned types[] = {DNS_A,  DNS_AAAA,  DNS_CAA,  DNS_CNAME,
					 DNS_MX, DNS_HTTPS, DNS_SVCB, DNS_TXT};
	for (size_t i = 0; i < COUNT(GOOD); i++)
		for (size_t length = 0; length <= strlen(GOOD[i].text); length++)
			for (size_t t = 0; t < COUNT(types); t++) {
				uint8_t data[DNS_DATA_MAX];
				const char *fault = NULL;
				char *cut = strndup(GOOD[i].text, length);
				assert_non_null(cut);
				int got = parse(types[t], cut, data, &fault);
				assert_true(got >= 0 ? fault == NULL : fault != NULL);
				assert_true(got <= (int)DNS_DATA_MAX);
				free(cut);
			}
}

static void what_is_wrong_is_refused_with_what_to_write(void **state)
{
	(void)state;
	static const struct {
		unsigned type;
		const char *text;
		const char *says;
	} cases[] = {
	    {DNS_A, "2001:db8::1", "IPv4"},
	    {DNS_A, "192.0.2.1 192.0.2.2", "IPv4"},
	    {DNS_AAAA, "192.0.2.1", "IPv6"},
	    {DNS_CNAME, "", "write a name"},
	    {DNS_CNAME, "a..b", "no domain name"},
	    {DNS_CNAME, "a b", "behind its end"},
	    {DNS_CNAME, "a.\\", "no domain name"},
	    {DNS_MX, "mail", "a preference and a name"},
	    {DNS_MX, "10", "a preference and a name"},
	    {DNS_MX, "65536 mail", "a preference and a name"},
	    {DNS_MX, "10 mail x", "behind its end"},
	    {DNS_TXT, "\"one", "quote is not closed"},
	    {DNS_TXT, "\"a\\25\"", "\\000 to \\255"},
	    {DNS_TXT, "\"a\\256\"", "\\000 to \\255"},
	    {DNS_CAA, "0 issue", "flags, a tag and a value"},
	    {DNS_CAA, "256 issue x", "flags, a tag and a value"},
	    {DNS_CAA, "0 is-sue x", "letters and digits"},
	    {DNS_HTTPS, "1", "a priority, a name"},
	    {DNS_HTTPS, ". 1", "a priority, a name"},
	    {DNS_HTTPS, "0 web alpn=h2", "an alias"},
	    {DNS_HTTPS, "1 . alpn", "no value"},
	    {DNS_HTTPS, "1 . alpn=h2,,h3", "names with commas"},
	    {DNS_HTTPS, "1 . colour=red", "keys such as"},
	    {DNS_HTTPS, "1 . key65535=x", "keys such as"},
	    {DNS_HTTPS, "1 . key=x", "keys such as"},
	    {DNS_HTTPS, "1 . port=65536", "port"},
	    {DNS_HTTPS, "1 . port=1 port=2", "twice"},
	    {DNS_HTTPS, "1 . port=1 key3=x", "twice"},
	    {DNS_HTTPS, "1 . no-default-alpn", "needs `alpn`"},
	    {DNS_HTTPS, "1 . alpn=h2 no-default-alpn=x", "has no value"},
	    {DNS_HTTPS, "1 . ipv4hint=2001:db8::1", "of their family"},
	    {DNS_HTTPS, "1 . ipv6hint=192.0.2.1", "of their family"},
	    {DNS_HTTPS, "1 . ech=AAAA", "`ech` is not read"},
	    {DNS_HTTPS, "1 . mandatory=alpn", "`mandatory` names"},
	    {DNS_HTTPS, "1 . alpn=h2 mandatory=alpn,alpn", "`mandatory` names"},
	    {DNS_HTTPS, "1 . alpn=h2 mandatory=mandatory", "`mandatory` names"},
	    {DNS_HTTPS, "1 . alpn=h2 mandatory=", "`mandatory` names"},
	    {DNS_HTTPS,
	     "1 . key10=a key11=a key12=a key13=a key14=a key15=a key16=a key17=a key18=a key19=a "
	     "key20=a key21=a key22=a key23=a key24=a key25=a key26=a",
	     "more than 16"},
	    {DNS_SOA, "x", "not served"},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t data[DNS_DATA_MAX];
		const char *fault = NULL;
		if (parse(cases[i].type, cases[i].text, data, &fault) != -FL_EINVALID)
			fail_msg("%s: taken", cases[i].text);
		if (!strstr(fault, cases[i].says))
			fail_msg("%s: %s", cases[i].text, fault);
	}
}

static void what_is_too_long_is_refused(void **state)
{
	(void)state;
	static char text[3 * DNS_DATA_MAX];
	uint8_t data[DNS_DATA_MAX];
	const char *fault = NULL;
	static const struct {
		unsigned type;
		const char *head;
		const char *tail;
		size_t most;
	} cases[] = {
	    {DNS_TXT, "", "", DNS_DATA_MAX - DNS_DATA_MAX / 256},
	    {DNS_TXT, "\"", "\"", 255},
	    {DNS_CAA, "0 issue \"", "\"", DNS_DATA_MAX - 7},
	    {DNS_CAA, "0 ", " x", 255},
	    {DNS_CNAME, "", "", 63},
	    {DNS_HTTPS, "1 . alpn=", "", 255},
	    {DNS_HTTPS, "1 . key9=\"", "\"", 1024},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		for (size_t more = 0; more < 2; more++) {
			size_t head = strlen(cases[i].head);
			strcpy(text, cases[i].head);
			memset(text + head, 'x', cases[i].most + more);
			strcpy(text + head + cases[i].most + more, cases[i].tail);
			int length = parse(cases[i].type, text, data, &fault);
			if ((length < 0) != (more > 0))
				fail_msg("%s… of %zu: %d", cases[i].head, cases[i].most + more,
					 length);
		}
	}
	/* A name that is short enough by itself and not below the zone. */
	memset(text, 'a', sizeof(text));
	for (size_t at = 63; at < 253; at += 64)
		text[at] = '.';
	text[252] = '\0';
	assert_true(parse(DNS_CNAME, text, data, &fault) < 0);
	assert_non_null(strstr(fault, "ends in a dot"));
	text[252] = '.';
	text[253] = '\0';
	assert_int_equal(parse(DNS_CNAME, text, data, &fault), 254);
}

static void addresses_are_found_in_data(void **state)
{
	(void)state;
	static const struct {
		unsigned type;
		const char *text;
		size_t count;
		const char *last;
	} cases[] = {
	    {DNS_A, "192.0.2.1", 1, "192.0.2.1"},
	    {DNS_AAAA, "2001:db8::1", 1, "2001:db8::1"},
	    {DNS_TXT, "192.0.2.1", 0, NULL},
	    {DNS_HTTPS, "1 . alpn=h2", 0, NULL},
	    {DNS_HTTPS, "1 a.b port=1 ipv6hint=2001:db8::2 ipv4hint=192.0.2.1,192.0.2.2", 3,
	     "2001:db8::2"},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t data[DNS_DATA_MAX];
		struct ip_address found[DNS_DATA_ADDRESSES_MAX];
		const char *fault = NULL;
		int length = parse(cases[i].type, cases[i].text, data, &fault);
		assert_true(length > 0);
		assert_int_equal(dns_data_addresses(cases[i].type, data, (size_t)length, found),
				 cases[i].count);
		char text[IP_TEXT_BYTES];
		if (cases[i].count > 0)
			assert_string_equal(ip_address_format(&found[cases[i].count - 1], text),
					    cases[i].last);
		/* Cut anywhere, nothing is read behind the end. */
		for (size_t cut = 0; cut < (size_t)length; cut++) {
			uint8_t *part = malloc(cut ? cut : 1);
			assert_non_null(part);
			memcpy(part, data, cut);
			assert_true(dns_data_addresses(cases[i].type, part, cut, found) <=
				    cases[i].count);
			free(part);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_written_becomes_these_bytes),
	    cmocka_unit_test(a_text_cut_anywhere_is_read_to_its_end),
	    cmocka_unit_test(what_is_wrong_is_refused_with_what_to_write),
	    cmocka_unit_test(what_is_too_long_is_refused),
	    cmocka_unit_test(addresses_are_found_in_data),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
