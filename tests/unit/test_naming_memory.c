/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of building a snapshot and of opening a server fails in turn: each failure is
 * returned as such, and leaves nothing behind (the sanitizer build looks for leaks).
 */
#include "naming/server.h"
#include "tests/addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The linker passes the house's calls through these (--wrap); libc's own are not touched. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

static unsigned fail_at; /* which allocation from now on fails; 0: none */
static bool failed;

static bool must_fail(void)
{
	if (fail_at == 0)
		return false;
	fail_at--;
	failed |= fail_at == 0;
	return fail_at == 0;
}

void *__wrap_malloc(size_t size)
{
	return must_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return must_fail() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
	return must_fail() ? NULL : __real_realloc(block, size);
}

static int build(struct naming_snapshot **ret_snapshot, struct error *err)
{
	static char names[100][4] = {""};
	static struct naming_service services[100];
	struct ip_address ns = address("192.0.2.53");
	struct naming_nameserver nameserver = {"ns.z", &ns, 1};
	struct naming_share share = {.upper = 65536,
				     .v4 = address("192.0.2.1"),
				     .counter_slot = NAMING_NO_SLOT,
				     .held = true};
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

static void building_survives_every_failure(void **state)
{
	(void)state;
	unsigned failures = 0;
	for (unsigned n = 1;; n++) {
		struct naming_snapshot *snapshot = NULL;
		struct error err = {0};
		failed = false;
		fail_at = n;
		int result = build(&snapshot, &err);
		fail_at = 0;
		if (!failed) {
			assert_int_equal(result, 0);
			naming_snapshot_free(snapshot);
			break;
		}
		failures++;
		assert_int_equal(result, -ENOMEM);
		assert_int_equal(err.code, -ENOMEM);
		assert_non_null(strstr(err.text, "memory"));
		assert_null(snapshot);
	}
	assert_true(failures >= 8); /* table twice, five arrays, the block */
}

static void opening_survives_every_failure(void **state)
{
	(void)state;
	struct ip_address listen = address("127.0.0.1");
	struct naming_server_options options = {
	    .addresses = &listen, .address_count = 1, .threads = 2};
	unsigned failures = 0;
	for (unsigned n = 1;; n++) {
		struct naming_server *server = NULL;
		struct error err = {0};
		failed = false;
		fail_at = n;
		int result = naming_server_open(&options, &server, &err);
		fail_at = 0;
		if (!failed) {
			assert_int_equal(result, 0);
			naming_server_close(server);
			break;
		}
		failures++;
		assert_int_equal(result, -ENOMEM);
		assert_int_equal(err.code, -ENOMEM);
		assert_null(server);
	}
	assert_true(failures >= 9); /* the server, and four for each thread */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(building_survives_every_failure),
	    cmocka_unit_test(opening_survives_every_failure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
