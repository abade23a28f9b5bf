/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What src/kernel does with a real kernel: the journal of settings, and the sentences about
 * programs that it refuses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/sysctl.h"
#include "kernel/boot.h"
#include "kernel/load.h"
#include "kernel/sysctl_journal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define IGNORE "net/ipv4/conf/all/arp_ignore"
#define ANNOUNCE "net/ipv4/conf/all/arp_announce"
#define LEG "net/ipv4/conf/leg/rp_filter"

static char root[] = "/tmp/fairlead-kernel-XXXXXX";

static void command(const char *line)
{
	/* NOLINTNEXTLINE(cert-env33-c): a fixed command of the tests */
	assert_int_equal(system(line), 0);
}

static int read_setting(const char *path)
{
	int value = -1;
	assert_int_equal(sysctl_read(path, &value), 0);
	return value;
}

/* Every test begins with an empty journal and these values. */
static int begin(void **state)
{
	static struct sysctl_journal journal;
	struct error err;
	command("ip link del leg 2>/dev/null; ip link add leg type veth peer name far");
	assert_int_equal(sysctl_write(IGNORE, 0), 0);
	assert_int_equal(sysctl_write(ANNOUNCE, 1), 0);
	assert_int_equal(sysctl_write(LEG, 1), 0);
	assert_int_equal(sysctl_journal_open(&journal, root, &err), 0);
	*state = &journal;
	return 0;
}

static int end(void **state)
{
	struct sysctl_journal *journal = *state;
	int result = sysctl_journal_undo(journal, NULL);
	sysctl_journal_close(journal);
	return result;
}

/* What a process that was killed leaves, the next one reads. */
static void reopen(struct sysctl_journal *journal)
{
	struct error err;
	sysctl_journal_close(journal);
	assert_int_equal(sysctl_journal_open(journal, root, &err), 0);
}

static void test_settings_are_put_back(void **state)
{
	struct sysctl_journal *journal = *state;
	struct error err;
	assert_int_equal(sysctl_journal_set(journal, IGNORE, 1, &err), 0);
	assert_int_equal(sysctl_journal_set(journal, LEG, 2, &err), 0);
	assert_int_equal(sysctl_journal_set(journal, LEG, 0, &err), 0);
	assert_int_equal(sysctl_journal_set(journal, "net/ipv4/conf/none/rp_filter", 2, &err), 0);
	assert_int_equal(read_setting(IGNORE), 1);
	reopen(journal);
	/* The first value that was found counts: the second one was ours. */
	assert_int_equal(sysctl_journal_undo(journal, &err), 0);
	assert_int_equal(read_setting(IGNORE), 0);
	char pin[PINS_PATH_BYTES];
	pins_path(pin, root, "sysctls", NULL);
	assert_int_equal(access(pin, F_OK), -1);
}

static void test_what_others_set_stays(void **state)
{
	struct sysctl_journal *journal = *state;
	struct error err;
	assert_int_equal(sysctl_journal_set(journal, IGNORE, 1, &err), 0);
	assert_int_equal(sysctl_write(IGNORE, 2), 0);
	assert_int_equal(sysctl_journal_undo(journal, &err), 0);
	assert_int_equal(read_setting(IGNORE), 2);
}

static void test_an_interface_made_anew_keeps_its_own(void **state)
{
	struct sysctl_journal *journal = *state;
	struct error err;
	assert_int_equal(sysctl_journal_set(journal, LEG, 2, &err), 0);
	command("ip link del leg && ip link add leg type veth peer name far");
	assert_int_equal(sysctl_write(LEG, 2), 0);
	assert_int_equal(sysctl_journal_restore(journal, NULL, NULL, &err), 0);
	assert_int_equal(read_setting(LEG), 2);
	/* What is recorded of the new one takes the place of what was of the old one. */
	assert_int_equal(sysctl_journal_set(journal, LEG, 1, &err), 0);
	assert_int_equal(sysctl_journal_undo(journal, &err), 0);
	assert_int_equal(read_setting(LEG), 2);
}

static bool is_ignore(const char *path, const void *context)
{
	(void)context;
	return strcmp(path, IGNORE) == 0;
}

static void test_some_are_put_back(void **state)
{
	struct sysctl_journal *journal = *state;
	struct error err;
	assert_int_equal(sysctl_journal_set(journal, IGNORE, 1, &err), 0);
	assert_int_equal(sysctl_journal_set(journal, ANNOUNCE, 2, &err), 0);
	assert_int_equal(sysctl_journal_restore(journal, is_ignore, NULL, &err), 0);
	assert_int_equal(read_setting(IGNORE), 1);
	assert_int_equal(read_setting(ANNOUNCE), 1);
	/* That one is forgotten: what is set there now is somebody's. */
	assert_int_equal(sysctl_write(ANNOUNCE, 2), 0);
	assert_int_equal(sysctl_journal_undo(journal, &err), 0);
	assert_int_equal(read_setting(IGNORE), 0);
	assert_int_equal(read_setting(ANNOUNCE), 2);
}

/* Fill an entry as releases before did: the name and the value alone. */
static void write_former(int map, uint32_t entry, const char *name, const char *value)
{
	struct {
		char name[112];
		char value[16];
	} former = {0};
	snprintf(former.name, sizeof(former.name), "%s", name);
	snprintf(former.value, sizeof(former.value), "%s", value);
	assert_int_equal(bpf_map_update_elem(map, &entry, &former, BPF_ANY), 0);
}

static void test_an_earlier_release_is_undone(void **state)
{
	struct sysctl_journal *journal = *state;
	struct error err;
	write_former(journal->map, 0, "ipv4/conf/leg/rp_filter", "0");
	write_former(journal->map, 1, "ipv4/conf/all/arp_announce", "2");
	write_former(journal->map, 2, "ipv4/conf/gone/rp_filter", "1");
	reopen(journal);
	/* What it recorded is not recorded again. */
	assert_int_equal(sysctl_journal_set(journal, LEG, 2, &err), 0);
	assert_int_equal(sysctl_journal_undo(journal, &err), 0);
	assert_int_equal(read_setting(LEG), 0);
	assert_int_equal(read_setting(ANNOUNCE), 2);
}

static void test_another_namespace_is_forgotten(void **state)
{
	struct sysctl_journal *journal = *state;
	struct error err;
	assert_int_equal(sysctl_journal_set(journal, IGNORE, 1, &err), 0);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(sysctl_write(IGNORE, 1), 0);
	reopen(journal);
	assert_int_equal(sysctl_journal_undo(journal, &err), 0);
	assert_int_equal(read_setting(IGNORE), 1);
}

static void write_file(const char *path, const char *records)
{
	char boot_id[BOOT_ID_BYTES];
	uint64_t namespace;
	FILE *file = fopen(path, "we");
	assert_int_equal(boot_id_read(boot_id, NULL), 0);
	assert_int_equal(boot_namespace_read(&namespace, NULL), 0);
	assert_non_null(file);
	fprintf(file, "fairlead landing sysctls 1\nlife %s %" PRIu64 "\n%s", boot_id, namespace,
		records);
	assert_int_equal(fclose(file), 0);
}

static void test_a_former_file_is_taken_over_once(void **state)
{
	struct sysctl_journal *journal = *state;
	struct error err;
	char path[] = "/tmp/fairlead-sysctls-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(sysctl_write(IGNORE, 1), 0);
	assert_int_equal(sysctl_write(ANNOUNCE, 1), 0);
	write_file(path, IGNORE " 0 1 0\n" ANNOUNCE " 0 2 0\nnet/ipv4/conf/leg/rp_filter 0 1 99\n");
	assert_int_equal(sysctl_journal_take_over(journal, path, &err), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(sysctl_journal_take_over(journal, path, &err), 0);
	reopen(journal);
	assert_int_equal(sysctl_journal_undo(journal, &err), 0);
	assert_int_equal(read_setting(IGNORE), 0);
	assert_int_equal(read_setting(ANNOUNCE), 1); /* somebody else's meanwhile */
	assert_int_equal(read_setting(LEG), 1); /* of an interface that had that index */
	write_file(path, "nothing whole");
	assert_int_equal(sysctl_journal_take_over(journal, path, &err), -FL_ECORRUPT);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(unlink(path), 0);
}

static void test_more_than_there_is_room_for(void **state)
{
	struct sysctl_journal *journal = *state;
	struct error err;
	struct sysctl_saved saved = {.namespace = journal->namespace};
	for (int i = 0; i < SYSCTL_JOURNAL_ENTRIES; i++) {
		snprintf(saved.name, sizeof(saved.name), "ipv4/conf/none/%d", i);
		assert_int_equal(sysctl_journal_record(journal, &saved, &err), 0);
	}
	assert_int_equal(sysctl_journal_set(journal, IGNORE, 1, &err), -FL_ELIMIT);
	assert_int_equal(read_setting(IGNORE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_settings_are_put_back, begin, end),
	    cmocka_unit_test_setup_teardown(test_what_others_set_stays, begin, end),
	    cmocka_unit_test_setup_teardown(test_an_interface_made_anew_keeps_its_own, begin, end),
	    cmocka_unit_test_setup_teardown(test_some_are_put_back, begin, end),
	    cmocka_unit_test_setup_teardown(test_an_earlier_release_is_undone, begin, end),
	    cmocka_unit_test_setup_teardown(test_a_former_file_is_taken_over_once, begin, end),
	    cmocka_unit_test_setup_teardown(test_more_than_there_is_room_for, begin, end),
	    cmocka_unit_test_setup_teardown(test_another_namespace_is_forgotten, begin, end),
	};
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 || !mkdtemp(root) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bpf", root, "bpf", 0, NULL) < 0) {
		perror("the BPF tests need root");
		return 1;
	}
	int result = cmocka_run_group_tests(tests, NULL, NULL);
	umount(root);
	rmdir(root);
	return result;
}
