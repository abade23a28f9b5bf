/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of building a snapshot and of opening a server fails in turn: each failure is
 * returned as such, and leaves nothing behind (the sanitizer build looks for leaks).
 */
#include "base/random.h"
#include "failing_memory.h"
#include "naming/server.h"
#include "tests/addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int build(struct naming_snapshot **ret_snapshot, struct error *err)
{
	static char names[100][4] = {""};
	static struct naming_service services[100];
	struct ip_address ns = address("192.0.2.53");
	struct naming_nameserver nameserver = {"ns.z", &ns, 1};
	struct naming_share share = {.upper = 65536, .v4 = address("192.0.2.1"), .held = true};
	for (unsigned i = 0; i < 100; i++) { /* enough for the table to grow */
		names[i][0] = (char)('a' + i / 10);
		names[i][1] = (char)('a' + i % 10);
		services[i] =
		    (struct naming_service){.name = names[i], .shares = &share, .share_count = 1};
	}
	struct naming_input input = {.zone = "z",
				     .contact = "h.z",
				     .nameservers = &nameserver,
				     .nameserver_count = 1,
				     .services = services,
				     .service_count = 100};
	return naming_snapshot_build(&input, ret_snapshot, err);
}

static int build_step(void *context)
{
	struct naming_snapshot *snapshot = NULL;
	struct error err = {0};
	(void)context;
	int result = build(&snapshot, &err);
	assert_int_equal(err.code, result);
	assert_int_equal(result < 0, !snapshot);
	if (result < 0)
		assert_non_null(strstr(err.text, "memory"));
	naming_snapshot_free(snapshot);
	return result;
}

static void building_survives_every_failure(void **state)
{
	(void)state;
	/* The table twice, five arrays, the block. */
	failing_memory_each("naming_snapshot_build", build_step, NULL, 8);
}

static int open_step(void *context)
{
	const struct naming_server_options *options = context;
	struct naming_server *server = NULL;
	struct error err = {0};
	int result = naming_server_open(options, &server, &err);
	assert_int_equal(err.code, result);
	assert_int_equal(result < 0, !server);
	naming_server_close(server);
	return result;
}

static void opening_survives_every_failure(void **state)
{
	(void)state;
	struct ip_address listen = address("127.0.0.1");
	struct random random;
	random_init_seeded(&random, 1);
	struct naming_server_options options = {
	    .addresses = &listen, .address_count = 1, .threads = 2, .random = &random};
	/* The server, the limiter, the secrets, and four for each thread. */
	failing_memory_each("naming_server_open", open_step, &options, 11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(building_survives_every_failure),
	    cmocka_unit_test(opening_survives_every_failure),
	};
	return cmocka_run_group_tests(tests, failing_memory_setup, NULL);
}
