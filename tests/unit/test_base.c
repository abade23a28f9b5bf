/* SPDX-License-Identifier: Apache-2.0 */
/* The base folder: limits hold, failures stick, texts round-trip. */
#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/disk.h"
#include "base/error.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/netaddr.h"
#include "base/random.h"
#include "base/search.h"
#include "base/siphash.h"
#include "base/sockaddr.h"
#include "base/sysctl.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void errors_have_names_and_prefixes(void **state)
{
	(void)state;
	assert_string_equal(error_name(-ENOENT), "ENOENT");
	assert_string_equal(error_name(-FL_ECONFLICT), "FL_ECONFLICT");
	struct error err = {0};
	assert_int_equal(error_set(&err, -FL_EINVALID, "%d is odd", 3), -FL_EINVALID);
	assert_int_equal(error_prefix(&err, "weights"), -FL_EINVALID);
	assert_string_equal(err.text, "weights: 3 is odd");
	assert_int_equal(error_set(NULL, -ENOMEM, "nobody listens"), -ENOMEM);
}

static void arena_zeroes_aligns_and_stops_at_its_limit(void **state)
{
	(void)state;
	struct arena arena;
	arena_init(&arena, 100000);
	for (size_t size = 1; size < 200; size++) {
		unsigned char *bytes = arena_alloc(&arena, size);
		assert_non_null(bytes);
		assert_int_equal((uintptr_t)bytes % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(bytes[i], 0);
		memset(bytes, 0xff, size);
	}
	assert_string_equal(arena_printf(&arena, "%s-%d", "web", 2), "web-2");
	assert_null(arena_alloc(&arena, 100000));
	assert_null(arena_array(&arena, SIZE_MAX / 2, 4));
	arena_done(&arena);
}

static void buffer_refuses_to_grow_past_its_cap(void **state)
{
	(void)state;
	struct buffer buffer;
	buffer_init(&buffer, 10);
	buffer_puts(&buffer, "12345");
	buffer_printf(&buffer, "%d", 67890);
	assert_int_equal(buffer.status, 0);
	assert_string_equal(buffer.data, "1234567890");
	buffer_putc(&buffer, 'x');
	assert_int_equal(buffer.status, -FL_ELIMIT);
	assert_null(buffer_take(&buffer));
	buffer_clear(&buffer);
	buffer_puts(&buffer, "abc");
	buffer_consume(&buffer, 1);
	char *taken = buffer_take(&buffer);
	assert_string_equal(taken, "bc");
	free(taken);
	buffer_done(&buffer);
}

static void seeded_random_repeats_and_is_fair_enough(void **state)
{
	(void)state;
	struct random a, b;
	random_init_seeded(&a, 7);
	random_init_seeded(&b, 7);
	unsigned seen[5] = {0};
	for (int i = 0; i < 5000; i++) {
		uint64_t value = random_below(&a, 5);
		assert_int_equal(value, random_below(&b, 5));
		seen[value]++;
	}
	for (int i = 0; i < 5; i++)
		assert_in_range(seen[i], 850, 1150);
}

static void hex_round_trips_and_refuses_the_rest(void **state)
{
	(void)state;
	struct digest digest, back;
	char text[DIGEST_HEX_BYTES];
	digest_of("abc", 3, &digest);
	hex_encode(digest.bytes, DIGEST_BYTES, text);
	/* FIPS 180-4's example. */
	assert_string_equal(text,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(hex_decode(text, back.bytes, DIGEST_BYTES), 0);
	assert_memory_equal(digest.bytes, back.bytes, DIGEST_BYTES);
	text[3] = 'g';
	assert_int_equal(hex_decode(text, back.bytes, DIGEST_BYTES), -FL_EINVALID);
	assert_int_equal(hex_decode("ab", back.bytes, DIGEST_BYTES), -FL_EINVALID);
}

static void prefixes_parse_strictly(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "10.0.0.0", "10.0.0.1/24", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x",
	    "::/129",   "10.0.0.0/ 8", "10.0.0.0/+8", "/8",        "::g/64",
	    ""};
	struct ip_prefix prefix;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ip_prefix_parse(bad[i], &prefix), -FL_EINVALID);

	char text[IP_TEXT_BYTES];
	assert_int_equal(ip_prefix_parse("2001:db8:f::/108", &prefix), 0);
	assert_string_equal(ip_prefix_format(&prefix, text), "2001:db8:f::/108");
	struct ip_address address = prefix.address;
	ip_address_or_low_bits(&address, 3, 16);
	ip_address_or_low_bits(&address, 0x1ff, 0);
	assert_string_equal(ip_address_format(&address, text), "2001:db8:f::3:1ff");
	assert_true(ip_prefix_contains(&prefix, &address));

	ip_address_or_low_bits(&address, 0x5, 95);
	assert_string_equal(ip_address_format(&address, text), "2001:dba:800f::3:1ff");

	struct ip_prefix wide, other;
	assert_int_equal(ip_prefix_parse("2001:db8::/32", &wide), 0);
	assert_int_equal(ip_prefix_parse("0.0.0.0/0", &other), 0);
	assert_true(ip_prefix_overlaps(&wide, &prefix));
	assert_true(ip_prefix_overlaps(&prefix, &wide));
	assert_false(ip_prefix_overlaps(&other, &prefix));

	/* Same address and same length: neither alone makes two prefixes equal. */
	struct ip_prefix shorter;
	assert_int_equal(ip_prefix_parse("2001:db8:f::/107", &shorter), 0);
	assert_int_equal(ip_prefix_parse("2001:db8:e::/108", &other), 0);
	assert_true(ip_prefix_equal(&prefix, &prefix));
	assert_false(ip_prefix_equal(&prefix, &shorter));
	assert_false(ip_prefix_equal(&prefix, &other));
}

static void settings_of_the_kernel_are_numbers(void **state)
{
	(void)state;
	char path[5000];
	int value = -1;
	assert_int_equal(sysctl_read("net/ipv4/conf/no such/forwarding", &value), -ENOENT);
	assert_int_equal(sysctl_write("net/ipv4/conf/no such/forwarding", 1), -ENOENT);
	assert_int_equal(value, -1);
	assert_int_equal(sysctl_read("kernel/ngroups_max", &value), 0);
	assert_int_equal(value, sysconf(_SC_NGROUPS_MAX));
	/* Not even root may write this one. */
	assert_true(sysctl_write("kernel/ngroups_max", 1) < 0);

	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(sysctl_read(path, &value), -ENAMETOOLONG);
}

static void files_are_replaced_whole(void **state)
{
	(void)state;
	char folder[] = "/tmp/fairlead-base-XXXXXX";
	assert_non_null(mkdtemp(folder));
	char path[256], deep[128];
	snprintf(deep, sizeof(deep), "%s/a/b", folder);
	assert_int_equal(file_make_folders(deep, 0700, NULL), 0);
	assert_int_equal(file_make_folders(deep, 0700, NULL), 0);
	snprintf(path, sizeof(path), "%s/file", deep);
	assert_int_equal(disk_write_durably(path, "old", 3, 0600, NULL), 0);
	assert_int_equal(disk_write_durably(path, "newer", 5, 0600, NULL), 0);

	struct buffer bytes;
	struct error err = {0};
	buffer_init(&bytes, 4);
	assert_int_equal(file_read(path, &bytes, &err), -FL_ELIMIT);
	buffer_done(&bytes);
	buffer_init(&bytes, 100);
	assert_int_equal(file_read(path, &bytes, &err), 0);
	assert_string_equal(bytes.data, "newer");
	buffer_done(&bytes);
	unlink(path);
	assert_int_equal(file_read(path, &bytes, &err), -ENOENT);
	assert_int_equal(disk_write_durably("/proc/nowhere/x", "x", 1, 0600, &err), -ENOENT);
	rmdir(deep);
	snprintf(deep, sizeof(deep), "%s/a", folder);
	rmdir(deep);
	assert_int_equal(rmdir(folder), 0);
}

/* A process that locks the folder, says so through `ready`, and lives until it is killed. */
static pid_t start_holder(const char *folder)
{
	int ready[2];
	char byte = 'x';
	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int fd;
		if (lock_folder(folder, "the test's folder", &fd, NULL) == 0 &&
		    write(ready[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return child;
}

static void a_folder_is_locked_by_one_process_until_it_ends(void **state)
{
	(void)state;
	char folder[] = "/tmp/fairlead-lock-XXXXXX";
	char holder[64];
	int fd = -1;
	struct error err = {0};
	assert_non_null(mkdtemp(folder));
	pid_t child = start_holder(folder);
	assert_int_equal(lock_folder(folder, "the test's folder", &fd, &err), -EBUSY);
	assert_int_equal(fd, -1);
	snprintf(holder, sizeof(holder), "process %ld (test_base) holds it", (long)child);
	assert_non_null(strstr(err.text, "the test's folder is in use"));
	assert_non_null(strstr(err.text, holder));

	/* A crash releases it. */
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(lock_folder(folder, "the test's folder", &fd, &err), 0);
	int second = -1;
	assert_int_equal(lock_folder(folder, "the test's folder", &second, &err), -EBUSY);
	close(fd);
	assert_int_equal(lock_folder(folder, "the test's folder", &fd, &err), 0);
	close(fd);
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(lock_folder(folder, "the test's folder", &fd, &err), -ENOENT);
}

static void time_formats_as_rfc3339(void **state)
{
	(void)state;
	char text[CLOCK_TEXT_BYTES];
	clock_format(1795332664123u, text, sizeof(text));
	assert_string_equal(text, "2026-11-22T07:31:04.123Z");
}

static void siphash_gives_its_authors_vectors(void **state)
{
	(void)state;
	/* Appendix A of the paper, and the reference code's first vector: no input. */
	uint8_t key[SIPHASH_KEY_BYTES], input[15];
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(input); i++)
		input[i] = (uint8_t)i;
	assert_true(siphash24(key, input, sizeof(input)) == 0xa129ca6149be45e5);
	assert_true(siphash24(key, "", 0) == 0x726fdb47dd0e0e31);
}

static int compare_number(const void *sequence, size_t place, const void *key)
{
	const int *numbers = sequence;
	return (numbers[place] > *(const int *)key) - (numbers[place] < *(const int *)key);
}

static void search_finds_what_is_there_and_where_the_rest_belongs(void **state)
{
	(void)state;
	static const int numbers[] = {1, 3, 5, 7, 9};
	for (size_t count = 0; count <= 5; count++) {
		for (int key = 0; key <= 10; key++) {
			bool found;
			size_t place = search_place(numbers, count, &key, compare_number, &found);
			size_t expected = (size_t)key / 2 < count ? (size_t)key / 2 : count;
			assert_int_equal(place, expected);
			assert_int_equal(found, key % 2 && expected < count);
		}
	}
}

static void test_addresses_as_sockets_have_them(void **state)
{
	(void)state;
	static const char *const texts[] = {"192.0.2.1", "2001:db8::1", "0.0.0.0", "::"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct ip_address address;
		union sockaddr_ip place;
		assert_int_equal(ip_address_parse(texts[i], &address), 0);
		const bool v4 = address.family == IP_V4;
		assert_int_equal(sockaddr_ip_set(&place, &address, 7122),
				 v4 ? sizeof(place.v4) : sizeof(place.v6));
		const struct ip_address back = sockaddr_address(&place.any);
		assert_true(ip_address_equal(&back, &address));
		assert_int_equal(sockaddr_port(&place.any), 7122);
	}
	const struct sockaddr other = {.sa_family = AF_UNIX};
	assert_int_equal(sockaddr_address(&other).family, IP_NONE);
	assert_int_equal(sockaddr_address(NULL).family, IP_NONE);
	assert_int_equal(sockaddr_port(&other), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_addresses_as_sockets_have_them),
	    cmocka_unit_test(errors_have_names_and_prefixes),
	    cmocka_unit_test(arena_zeroes_aligns_and_stops_at_its_limit),
	    cmocka_unit_test(buffer_refuses_to_grow_past_its_cap),
	    cmocka_unit_test(seeded_random_repeats_and_is_fair_enough),
	    cmocka_unit_test(hex_round_trips_and_refuses_the_rest),
	    cmocka_unit_test(prefixes_parse_strictly),
	    cmocka_unit_test(settings_of_the_kernel_are_numbers),
	    cmocka_unit_test(files_are_replaced_whole),
	    cmocka_unit_test(a_folder_is_locked_by_one_process_until_it_ends),
	    cmocka_unit_test(time_formats_as_rfc3339),
	    cmocka_unit_test(search_finds_what_is_there_and_where_the_rest_belongs),
	    cmocka_unit_test(siphash_gives_its_authors_vectors),
	};
	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
