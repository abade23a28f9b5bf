/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void process_name(long pid, char name[PROCESS_NAME_BYTES])
{
	char path[64];
	name[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
	FILE *comm = fopen(path, "re");
	if (!comm)
		return;
	if (!fgets(name, PROCESS_NAME_BYTES, comm))
		name[0] = '\0';
	name[strcspn(name, "\n")] = '\0';
	(void)fclose(comm);
}

static bool has_inode(long pid, unsigned long inode)
{
	char path[64], wanted[40], target[64];
	snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	snprintf(path, sizeof(path), "/proc/%ld/fd", pid);
	DIR *folder = opendir(path);
	if (!folder)
		return false;
	bool found = false;
	int fd = dirfd(folder);
	for (struct dirent *entry; fd >= 0 && !found && (entry = readdir(folder));) {
		ssize_t length = readlinkat(fd, entry->d_name, target, sizeof(target) - 1);
		if (length < 0)
			continue;
		target[length] = '\0';
		found = strcmp(target, wanted) == 0;
	}
	closedir(folder);
	return found;
}

bool process_of_socket(unsigned long inode, char *text, size_t size)
{
	DIR *processes = opendir("/proc");
	if (!processes)
		return false;
	bool found = false;
	for (struct dirent *entry; !found && (entry = readdir(processes));) {
		char name[PROCESS_NAME_BYTES];
		long pid = strtol(entry->d_name, NULL, 10); /* 0 for what is no process */
		if (pid <= 0 || !has_inode(pid, inode))
			continue;
		process_name(pid, name);
		snprintf(text, size, "%s (pid %ld)", *name ? name : "?", pid);
		found = true;
	}
	closedir(processes);
	return found;
}
