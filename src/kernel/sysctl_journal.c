/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/sysctl_journal.h"

#include "base/sysctl.h"
#include "kernel/boot.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(sizeof(struct sysctl_saved) == 128 && offsetof(struct sysctl_saved, before) == 112,
	       "the format of all releases");

#define NAME "sysctls"

static void path_of(const struct sysctl_saved *saved, char path[SYSCTL_PATH_BYTES])
{
	snprintf(path, SYSCTL_PATH_BYTES, "net/%s", saved->name);
}

/* The interface that a setting belongs to; 0: none, or one that is not there. */
static uint32_t ifindex_of(const char *name)
{
	char interface[IF_NAMESIZE];
	return sscanf(name, "ipv%*1[46]/conf/%15[^/]/", interface) == 1 ? if_nametoindex(interface)
									: 0;
}

static int write_entry(struct sysctl_journal *journal, size_t at, const struct sysctl_saved *saved,
		       struct error *err)
{
	uint32_t key = (uint32_t)at;
	if (bpf_map_update_elem(journal->map, &key, saved, BPF_ANY) < 0)
		return error_set(err, -errno, "the journal in '%s' cannot be written: %s",
				 journal->root, error_text(-errno));
	journal->saved[at] = *saved;
	return 0;
}

static int forget(struct sysctl_journal *journal, size_t at, struct error *err)
{
	return write_entry(journal, at, &(const struct sysctl_saved){0}, err);
}

int sysctl_journal_open(struct sysctl_journal *journal, const char *pin_root, struct error *err)
{
	*journal = (struct sysctl_journal){.map = -1};
	snprintf(journal->root, sizeof(journal->root), "%s", pin_root);
	journal->saved = calloc(SYSCTL_JOURNAL_ENTRIES, sizeof(*journal->saved));
	if (!journal->saved)
		return error_set(err, -ENOMEM, "out of memory");
	int result = boot_namespace_read(&journal->namespace, err);
	if (result == 0)
		result = pins_open_array(pin_root, NAME, sizeof(struct sysctl_saved),
					 SYSCTL_JOURNAL_ENTRIES, &journal->map, err);
	for (uint32_t i = 0; i < SYSCTL_JOURNAL_ENTRIES && result == 0; i++) {
		struct sysctl_saved *saved = &journal->saved[i];
		if (bpf_map_lookup_elem(journal->map, &i, saved) < 0)
			result = error_set(err, -errno, "the journal in '%s' cannot be read: %s",
					   journal->root, error_text(-errno));
		else if (saved->namespace && saved->namespace != journal->namespace)
			result = forget(journal, i, err);
	}
	return result;
}

void sysctl_journal_close(struct sysctl_journal *journal)
{
	if (journal->map >= 0)
		close(journal->map);
	free(journal->saved);
	journal->map = -1;
	journal->saved = NULL;
}

int sysctl_journal_record(struct sysctl_journal *journal, const struct sysctl_saved *saved,
			  struct error *err)
{
	size_t at = SYSCTL_JOURNAL_ENTRIES;
	for (size_t i = SYSCTL_JOURNAL_ENTRIES; i-- > 0;) {
		const struct sysctl_saved *other = &journal->saved[i];
		if (strcmp(other->name, saved->name) == 0) {
			if (!other->namespace || other->ifindex == saved->ifindex)
				return 0;
			return write_entry(journal, i, saved, err);
		}
		if (other->name[0] == '\0')
			at = i;
	}
	if (at == SYSCTL_JOURNAL_ENTRIES)
		return error_set(err, -FL_ELIMIT, "there are more than %d sysctls to save",
				 SYSCTL_JOURNAL_ENTRIES);
	return write_entry(journal, at, saved, err);
}

/* 1 if it was read, 0 if there is no such setting, or an error. */
static int read_setting(const char *path, int *ret_value, struct error *err)
{
	int result = sysctl_read(path, ret_value);
	if (result == -ENOENT)
		return 0;
	if (result < 0)
		return error_set(err, result, SYSCTL_ROOT "%s cannot be read: %s", path,
				 error_text(result));
	return 1;
}

static int record_value(struct sysctl_journal *journal, const char *path, int before, int ours,
			struct error *err)
{
	ASSERT(strncmp(path, "net/", 4) == 0 && strlen(path) < SYSCTL_PATH_BYTES);
	struct sysctl_saved saved = {.namespace = journal->namespace, .ours = ours};
	snprintf(saved.name, sizeof(saved.name), "%s", path + 4);
	snprintf(saved.before, sizeof(saved.before), "%d", before);
	saved.ifindex = ifindex_of(saved.name);
	return sysctl_journal_record(journal, &saved, err);
}

int sysctl_journal_keep(struct sysctl_journal *journal, const char *path, int ours,
			struct error *err)
{
	int before;
	int result = read_setting(path, &before, err);
	return result > 0 ? record_value(journal, path, before, ours, err) : result;
}

static int write_setting(const char *path, int value, struct error *err)
{
	int result = sysctl_write(path, value);
	if (result < 0)
		error_set(err, result, SYSCTL_ROOT "%s cannot be set to %d: %s", path, value,
			  error_text(result));
	return result;
}

int sysctl_journal_set(struct sysctl_journal *journal, const char *path, int value,
		       struct error *err)
{
	int before;
	int result = read_setting(path, &before, err);
	if (result <= 0 || before == value)
		return result < 0 ? result : 0;
	result = record_value(journal, path, before, value, err);
	return result < 0 ? result : write_setting(path, value, err);
}

static int put_back(const struct sysctl_saved *saved, struct error *err)
{
	char path[SYSCTL_PATH_BYTES];
	int value;
	path_of(saved, path);
	if (saved->namespace && ifindex_of(saved->name) != saved->ifindex)
		return 0;
	int result = read_setting(path, &value, err);
	if (result <= 0)
		return result;
	if (saved->namespace && value != saved->ours)
		return 0;
	return write_setting(path, (int)strtol(saved->before, NULL, 10), err);
}

int sysctl_journal_restore(struct sysctl_journal *journal, sysctl_journal_stays *stays,
			   const void *context, struct error *err)
{
	int first = 0;
	for (size_t i = SYSCTL_JOURNAL_ENTRIES; i-- > 0;) {
		const struct sysctl_saved *saved = &journal->saved[i];
		char path[SYSCTL_PATH_BYTES];
		path_of(saved, path);
		if (saved->name[0] == '\0' || (stays && stays(path, context)))
			continue;
		int result = put_back(saved, first ? NULL : err);
		if (result == 0)
			result = forget(journal, i, first ? NULL : err);
		if (first == 0)
			first = result;
	}
	return first;
}

int sysctl_journal_undo(struct sysctl_journal *journal, struct error *err)
{
	int result = sysctl_journal_restore(journal, NULL, NULL, err);
	return result < 0 ? result : pins_remove(journal->root, NAME, err);
}
