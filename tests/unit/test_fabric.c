/* SPDX-License-Identifier: Apache-2.0 */
/* The fabric's arithmetic: pools, sites, slots and their addresses. */
#include "model/fabric.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct pool pool(const char *prefix, uint8_t site_bits)
{
	struct pool result = {.site_bits = site_bits};
	assert_int_equal(ip_prefix_parse(prefix, &result.prefix), 0);
	return result;
}

static void slots_are_counted(void **state)
{
	(void)state;
	static const struct {
		const char *prefix;
		uint8_t site_bits;
		uint32_t slots;
	} cases[] = {
	    {"198.51.100.0/26", 1, 32},      {"198.51.100.7/32", 0, 1},
	    {"198.51.100.0/31", 1, 1},       {"198.51.100.0/31", 2, 0},
	    {"10.0.0.0/8", 4, 1 << 20},      {"2001:db8:f::/108", 4, 1 << 16},
	    {"2001:db8:f::/48", 8, 1 << 20},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pool one = pool(cases[i].prefix, cases[i].site_bits);
		assert_int_equal(pool_slot_count(&one), cases[i].slots);
	}
}

static void addresses_go_there_and_back(void **state)
{
	(void)state;
	static const struct {
		const char *prefix;
		uint8_t site_bits;
		uint32_t site, slot;
		const char *address;
	} cases[] = {
	    {"198.51.100.0/26", 1, 0, 0, "198.51.100.0"},
	    {"198.51.100.0/26", 1, 1, 31, "198.51.100.63"},
	    {"198.51.100.64/26", 1, 1, 2, "198.51.100.98"},
	    {"2001:db8:f::/108", 4, 3, 0x1ff, "2001:db8:f::3:1ff"},
	    {"2001:db8:f::/108", 0, 0, 0xfffff, "2001:db8:f::f:ffff"},
	    /* The site lies beyond the lowest 64 bits. */
	    {"2001:db8::/32", 16, 0xbeef, 0xabcde, "2001:db8:beef::a:bcde"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pool one = pool(cases[i].prefix, cases[i].site_bits);
		struct ip_address address = pool_address(&one, cases[i].site, cases[i].slot);
		char text[IP_TEXT_BYTES];
		uint32_t site, slot;
		assert_string_equal(ip_address_format(&address, text), cases[i].address);
		assert_true(pool_locate(&one, &address, &site, &slot));
		assert_int_equal(site, cases[i].site);
		assert_int_equal(slot, cases[i].slot);
	}
}

static void strange_addresses_are_not_located(void **state)
{
	(void)state;
	static const char *const strange[] = {
	    "2001:db9::1", "198.51.100.1",
	    /* In the prefix, but above the slots that a site can have. */
	    "2001:db8:0:0:1::", "2001:db8::10:0"};
	struct pool one = pool("2001:db8::/32", 8);
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		struct ip_address address;
		uint32_t site = 77, slot = 78;
		assert_int_equal(ip_address_parse(strange[i], &address), 0);
		assert_false(pool_locate(&one, &address, &site, &slot));
		assert_int_equal(site, 77);
		assert_int_equal(slot, 78);
	}
}

static void names_are_looked_up(void **state)
{
	(void)state;
	struct backend backends[] = {{.name = "web1"}, {.name = "web2"}};
	struct service services[] = {{.name = "web", .backends = backends, .backend_count = 2}};
	struct site sites[] = {{.name = "fra"}, {.name = "nyc"}};
	struct fabric fabric = {
	    .services = services, .service_count = 1, .sites = sites, .site_count = 2};
	assert_ptr_equal(fabric_service(&fabric, "web"), &services[0]);
	assert_null(fabric_service(&fabric, "we"));
	assert_ptr_equal(fabric_site(&fabric, "nyc"), &sites[1]);
	assert_null(fabric_site(&fabric, ""));
	assert_ptr_equal(service_backend(&services[0], "web2"), &backends[1]);
	assert_null(service_backend(&services[0], "web3"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(slots_are_counted),
	    cmocka_unit_test(addresses_go_there_and_back),
	    cmocka_unit_test(strange_addresses_are_not_located),
	    cmocka_unit_test(names_are_looked_up),
	};
	return cmocka_run_group_tests_name("fabric", tests, NULL, NULL);
}
