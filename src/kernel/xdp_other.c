/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/xdp_other.h"

#include <bpf/bpf.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMM_BYTES 32

/* The link that holds the program on the interface; 0: none does. Links of all network namespaces
 * are seen, and each has an interface of that index. */
static uint32_t link_of(uint32_t ifindex, uint32_t program)
{
	uint32_t id = 0;
	while (bpf_link_get_next_id(id, &id) == 0) {
		struct bpf_link_info info = {0};
		uint32_t size = sizeof(info);
		int link = bpf_link_get_fd_by_id(id);
		if (link < 0)
			continue;
		bool found = bpf_obj_get_info_by_fd(link, &info, &size) == 0 &&
			     info.type == BPF_LINK_TYPE_XDP && info.prog_id == program &&
			     info.xdp.ifindex == ifindex;
		close(link);
		if (found)
			return id;
	}
	return 0;
}

static bool read_file(int folder, const char *name, char *text, size_t size)
{
	int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, text, size - 1) : -1;
	if (fd >= 0)
		close(fd);
	text[got > 0 ? got : 0] = '\0';
	return got > 0;
}

/* Does one of the process's descriptors, `folder` being its /proc/PID/fdinfo, hold the link? */
static bool holds(int folder, const char *wanted)
{
	bool found = false;
	DIR *list = fdopendir(folder);
	const struct dirent *entry;
	if (!list) {
		close(folder);
		return false;
	}
	while (!found && (entry = readdir(list))) {
		char text[1024];
		if (isdigit((unsigned char)entry->d_name[0]) &&
		    read_file(folder, entry->d_name, text, sizeof(text)))
			found = strstr(text, wanted);
	}
	closedir(list);
	return found;
}

/* The process that holds the link, and what it is called; 0: none that can be seen from here. */
static long find_holder(uint32_t link, char comm[COMM_BYTES])
{
	char wanted[32];
	long pid = 0;
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	if (!proc)
		return 0;
	snprintf(wanted, sizeof(wanted), "\nlink_id:\t%u\n", link);
	while (!pid && (entry = readdir(proc))) {
		char path[64];
		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    strtol(entry->d_name, NULL, 10) == (long)getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/%.16s/fdinfo", entry->d_name);
		int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (folder < 0 || !holds(folder, wanted))
			continue;
		pid = strtol(entry->d_name, NULL, 10);
		snprintf(path, sizeof(path), "/proc/%.16s/comm", entry->d_name);
		(void)read_file(AT_FDCWD, path, comm, COMM_BYTES);
		comm[strcspn(comm, "\n")] = '\0';
	}
	closedir(proc);
	return pid;
}

int xdp_explain_other(uint32_t ifindex, const char *interface, uint32_t program, struct error *err)
{
	char comm[COMM_BYTES] = "";
	uint32_t link = link_of(ifindex, program);
	long pid = link ? find_holder(link, comm) : 0;
	if (!link)
		return error_set(err, -FL_ECONFLICT,
				 "another XDP program is on it (id %u); remove that with 'ip link "
				 "set %s xdp off'",
				 program, interface);
	if (pid)
		return error_set(err, -FL_ECONFLICT,
				 "another XDP program is on it (id %u), which process %ld (%s) "
				 "holds by link %u: stop that first%s",
				 program, pid, comm, link,
				 strncmp(comm, "fairlead", strlen("fairlead")) == 0
				     ? ", and take away what it pinned by `fairlead detach`"
				     : "");
	return error_set(err, -FL_ECONFLICT,
			 "another XDP program is on it (id %u), which link %u holds, pinned or by "
			 "a process that cannot be seen from here: 'bpftool link detach id %u' "
			 "removes it",
			 program, link, link);
}
