/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of earlier releases' landings, `sysctls` in a state folder:
 *
 *	fairlead landing sysctls 1
 *	life BOOT-ID NAMESPACE-COOKIE
 *	PATH BEFORE OURS IFINDEX      (one line each; IFINDEX 0: of no interface)
 */
#include "kernel/sysctl_journal.h"

#include "base/buffer.h"
#include "base/file.h"
#include "kernel/boot.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_TITLE "fairlead landing sysctls 1"
#define FILE_BYTES_MAX 16384

int sysctl_file_parse(const char *text, const char *boot_id, uint64_t namespace,
		      struct sysctl_saved ret_saved[SYSCTL_JOURNAL_ENTRIES], size_t *ret_count)
{
	char boot[BOOT_ID_BYTES];
	uint64_t cookie;
	size_t count = 0;
	int used = 0;
	if (sscanf(text, FILE_TITLE "\nlife %36s %" SCNu64 "%n", boot, &cookie, &used) != 2 ||
	    text[used] != '\n')
		return -FL_ECORRUPT;
	for (text += used + 1; *text; text += used + 1) {
		if (count == SYSCTL_JOURNAL_ENTRIES)
			return -FL_ECORRUPT;
		struct sysctl_saved *saved = &ret_saved[count++];
		*saved = (struct sysctl_saved){.namespace = namespace};
		used = 0;
		/* What is read here is written to as root: never outside of the net folder. */
		if (sscanf(text, "net/%95s %15[-0-9] %" SCNd32 " %" SCNu32 "%n", saved->name,
			   saved->before, &saved->ours, &saved->ifindex, &used) != 4 ||
		    text[used] != '\n' || strstr(saved->name, ".."))
			return -FL_ECORRUPT;
	}
	*ret_count = strcmp(boot, boot_id) == 0 && cookie == namespace ? count : 0;
	return 0;
}

int sysctl_journal_take_over(struct sysctl_journal *journal, const char *file, struct error *err)
{
	struct sysctl_saved saved[SYSCTL_JOURNAL_ENTRIES];
	char boot_id[BOOT_ID_BYTES];
	struct buffer text;
	size_t count = 0;
	if (access(file, F_OK) < 0)
		return 0;
	int result = boot_id_read(boot_id, err);
	buffer_init(&text, FILE_BYTES_MAX);
	if (result == 0)
		result = file_read(file, &text, err);
	if (result == 0) {
		result = sysctl_file_parse(text.data ? text.data : "", boot_id, journal->namespace,
					   saved, &count);
		if (result < 0)
			error_set(err, result,
				  "%s: this is not a whole list of previous sysctl values; restore "
				  "the sysctls by hand and remove the file",
				  file);
	}
	buffer_done(&text);
	for (size_t i = 0; i < count && result == 0; i++)
		result = sysctl_journal_record(journal, &saved[i], err);
	if (result == 0 && unlink(file) < 0)
		result =
		    error_set(err, -errno, "'%s' cannot be removed: %s", file, error_text(-errno));
	return result;
}
