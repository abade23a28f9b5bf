/* SPDX-License-Identifier: Apache-2.0 */
/* A landing's configuration: understood whole, or refused with a sentence. */
#include "daemon/landing_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define POOLS "\"pools\": [\"198.51.100.0/26\", \"2001:db8:f::/108\"]"
#define EDGES "\"edges\": [\"10.0.0.2\"]"
#define ADDRESSES "\"addresses\": [\"10.0.1.11\", \"fd00:1::11\"]"
#define HANDING(protocol, port, listen, listen_port)                                               \
	"{\"destination\": \"198.51.100.1\", \"protocol\": " protocol ", \"port\": " port          \
	", \"listen_address\": " listen ", \"listen_port\": " listen_port "}"
#define WITH(handings) "{" POOLS "," EDGES "," ADDRESSES ", \"handings\": [" handings "]}"

static int parse(const char *text, struct arena *arena, struct landing_desired *desired,
		 struct error *err)
{
	json_t *json = json_loads(text, 0, NULL);
	assert_non_null(json);
	int result = landing_config_parse(json, arena, desired, err);
	json_decref(json);
	return result;
}

static void all_of_it_is_understood(void **state)
{
	(void)state;
	struct arena arena;
	struct landing_desired desired;
	char text[IP_TEXT_BYTES];
	arena_init(&arena, 0);
	assert_int_equal(parse(WITH(HANDING("6", "80", "\"127.0.0.1\"",
					    "8080") "," HANDING("17", "65535", "\"\"", "1")),
			       &arena, &desired, NULL),
			 0);
	assert_int_equal(desired.pool_count, 2);
	assert_string_equal(ip_prefix_format(&desired.pools[1], text), "2001:db8:f::/108");
	assert_int_equal(desired.edge_count, 1);
	assert_int_equal(desired.address_count, 2);
	assert_string_equal(ip_address_format(&desired.addresses[1], text), "fd00:1::11");
	assert_int_equal(desired.handing_count, 2);
	const struct landing_handing *first = &desired.handings[0];
	assert_int_equal(first->destination.length, 32);
	assert_int_equal(first->protocol, 6);
	assert_int_equal(first->port, 80);
	assert_int_equal(first->listener.port, 8080);
	assert_int_equal(desired.handings[1].port, 65535);
	assert_int_equal(desired.handings[1].listener.address.family, IP_NONE);
	arena_done(&arena);
}

static void half_of_it_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "{}",
	    "{" POOLS "," EDGES "," ADDRESSES "}",
	    "{\"pools\": {}," EDGES "," ADDRESSES ", \"handings\": []}",
	    "{\"pools\": [\"198.51.100.1/26\"]," EDGES "," ADDRESSES ", \"handings\": []}",
	    "{\"pools\": [7]," EDGES "," ADDRESSES ", \"handings\": []}",
	    "{" POOLS ", \"edges\": [\"\"], " ADDRESSES ", \"handings\": []}",
	    "{" POOLS "," EDGES ", \"addresses\": [null], \"handings\": []}",
	    WITH("{}"),
	    WITH("7"),
	    WITH(HANDING("0", "80", "\"\"", "80")),
	    WITH(HANDING("256", "80", "\"\"", "80")),
	    WITH(HANDING("6", "65536", "\"\"", "80")),
	    WITH(HANDING("6", "0", "\"\"", "80")),
	    WITH(HANDING("6", "80", "\"\"", "-1")),
	    WITH(HANDING("6", "80", "\"localhost\"", "80")),
	    WITH(HANDING("6", "80", "null", "80")),
	    WITH(HANDING("\"6\"", "80", "\"\"", "80")),
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct arena arena;
		struct landing_desired desired = {.pool_count = 77};
		struct error err = {0};
		arena_init(&arena, 0);
		assert_int_equal(parse(bad[i], &arena, &desired, &err), -FL_EINVALID);
		assert_true(strncmp(err.text, "the node sent", 13) == 0);
		assert_int_equal(desired.pool_count, 77);
		arena_done(&arena);
	}
}

/* What does not fit is said, not left out. */
static void more_than_a_landing_takes_is_refused(void **state)
{
	(void)state;
	struct arena arena;
	struct error err = {0};
	struct ip_address *addresses;
	size_t count;
	json_t *list = json_array();
	for (int i = 0; i <= LANDING_ADDRESSES_MAX; i++) {
		char text[32];
		snprintf(text, sizeof(text), "10.0.0.%d", i);
		json_array_append_new(list, json_string(text));
	}
	arena_init(&arena, 0);
	assert_int_equal(
	    landing_addresses_parse(list, LANDING_ADDRESSES_MAX, &arena, &addresses, &count, &err),
	    -FL_ELIMIT);
	assert_non_null(strstr(err.text, "65 addresses"));
	assert_int_equal(landing_addresses_parse(list, LANDING_ADDRESSES_MAX + 1, &arena,
						 &addresses, &count, &err),
			 0);
	assert_int_equal(count, LANDING_ADDRESSES_MAX + 1);
	json_decref(list);
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_of_it_is_understood),
	    cmocka_unit_test(half_of_it_is_refused),
	    cmocka_unit_test(more_than_a_landing_takes_is_refused),
	};
	return cmocka_run_group_tests_name("landing_config", tests, NULL, NULL);
}
