/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel settings of an edge. They are for the slow path only: bpf_fib_lookup() answers only
 * for an interface that forwards, and an encapsulated packet that is left to the kernel has our own
 * address as its source, which the kernel takes for a fake unless told otherwise.
 *
 *   ipv4 IF/forwarding     1
 *   ipv4 IF/accept_local   1
 *   ipv4 IF/rp_filter      2 where strict filtering is in force; the source may be another
 *                          interface's address
 *   ipv6 all/forwarding    1; IPv6 forwards by the machine, not by the interface. It also turns
 *   ipv6 IF/accept_ra      router advertisements off where this is 1, so it becomes 2, on every IF
 *
 * Before one is changed, its value goes to the map that is pinned as <pin_root>/sysctls, so that
 * they can be undone after any crash and by any build: that map's format never changes.
 */
#include "base/sysctl.h"
#include "dataplane/internal.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSCTL_ENTRIES 256
#define NET SYSCTL_ROOT "net/"

struct sysctl_saved {
	char name[112]; /* below net; "" in an unused entry */
	char value[16];
};

static int read_net(const char *name, int *ret_value)
{
	char path[128];
	snprintf(path, sizeof(path), "net/%s", name);
	return sysctl_read(path, ret_value);
}

static int write_net(const char *name, int value)
{
	char path[128];
	snprintf(path, sizeof(path), "net/%s", name);
	return sysctl_write(path, value);
}

static int open_saved(const char *pin_root, bool create, int *ret_fd, struct error *err)
{
	char path[EDGE_PATH];
	maps_path(path, pin_root, "sysctls", NULL);
	int fd = bpf_obj_get(path);
	if (fd < 0 && errno == ENOENT && create) {
		fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sysctls", sizeof(uint32_t),
				    sizeof(struct sysctl_saved), SYSCTL_ENTRIES, NULL);
		if (fd >= 0 && bpf_obj_pin(fd, path) < 0) {
			int code = -errno;
			close(fd);
			return error_set(err, code, "'%s' cannot be pinned: %s", path,
					 error_text(code));
		}
	}
	if (fd < 0)
		return error_set(err, -errno, "'%s' cannot be opened: %s", path,
				 error_text(-errno));
	*ret_fd = fd;
	return 0;
}

/* Remember the first value that was found; later ones are ours. */
static int save(int saved_fd, const char *name, int value, struct error *err)
{
	for (uint32_t i = 0; i < SYSCTL_ENTRIES; i++) {
		struct sysctl_saved saved;
		if (bpf_map_lookup_elem(saved_fd, &i, &saved) < 0)
			return error_set(err, -errno, "saved sysctls cannot be read: %s",
					 error_text(-errno));
		if (strcmp(saved.name, name) == 0)
			return 0;
		if (saved.name[0] != '\0')
			continue;
		snprintf(saved.name, sizeof(saved.name), "%s", name);
		snprintf(saved.value, sizeof(saved.value), "%d", value);
		if (bpf_map_update_elem(saved_fd, &i, &saved, BPF_ANY) < 0)
			return error_set(err, -errno, "sysctls cannot be saved: %s",
					 error_text(-errno));
		return 0;
	}
	return error_set(err, -FL_ELIMIT, "there are more than %d sysctls to save", SYSCTL_ENTRIES);
}

/* Set it to `value`, unless it has it or the kernel has no such setting. */
static int set(int saved_fd, const char *name, int value, struct error *err)
{
	int before;
	int result = read_net(name, &before);
	if (result == -ENOENT || (result == 0 && before == value))
		return 0;
	if (result == 0)
		result = save(saved_fd, name, before, err);
	if (result == 0)
		result = write_net(name, value);
	if (result < 0)
		return error_set(err, result, NET "%s cannot be set to %d: %s", name, value,
				 error_text(result));
	return 0;
}

static int set_v4(int saved_fd, const char *interface, struct error *err)
{
	char name[112];
	int own = 0;
	int all = 0;
	snprintf(name, sizeof(name), "ipv4/conf/%s/forwarding", interface);
	int result = set(saved_fd, name, 1, err);
	snprintf(name, sizeof(name), "ipv4/conf/%s/accept_local", interface);
	if (result == 0)
		result = set(saved_fd, name, 1, err);
	snprintf(name, sizeof(name), "ipv4/conf/%s/rp_filter", interface);
	/* The larger of the two is in force. */
	if (result == 0 && read_net(name, &own) == 0 &&
	    read_net("ipv4/conf/all/rp_filter", &all) == 0 && (own == 1 || all == 1) && own != 2 &&
	    all != 2)
		result = set(saved_fd, name, 2, err);
	return result;
}

/* What writing to all/forwarding, now or when it is undone, would change of one interface. */
static int keep_v6(int saved_fd, const char *interface, struct error *err)
{
	char name[112];
	int value = 0;
	int result = 0;
	snprintf(name, sizeof(name), "ipv6/conf/%.64s/forwarding", interface);
	if (read_net(name, &value) == 0 && value != 0)
		result = save(saved_fd, name, value, err);
	snprintf(name, sizeof(name), "ipv6/conf/%.64s/accept_ra", interface);
	if (result == 0 && read_net(name, &value) == 0 && value == 1)
		result = set(saved_fd, name, 2, err);
	return result;
}

static int set_v6(int saved_fd, struct error *err)
{
	int forwarding = 1;
	if (read_net("ipv6/conf/all/forwarding", &forwarding) < 0 || forwarding != 0)
		return 0;
	DIR *interfaces = opendir(NET "ipv6/conf");
	int result = 0;
	if (!interfaces)
		return error_set(err, -errno, NET "ipv6/conf cannot be read: %s",
				 error_text(-errno));
	for (struct dirent *entry = readdir(interfaces); entry && result == 0;
	     entry = readdir(interfaces)) {
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, "all") != 0)
			result = keep_v6(saved_fd, entry->d_name, err);
	}
	closedir(interfaces);
	if (result == 0)
		result = set(saved_fd, "ipv6/conf/all/forwarding", 1, err);
	return result;
}

int sysctl_apply(const char *pin_root, const char *interface, struct error *err)
{
	int saved_fd = -1;
	int result = open_saved(pin_root, true, &saved_fd, err);
	if (result < 0)
		return result;
	result = set_v4(saved_fd, interface, err);
	if (result == 0)
		result = set_v6(saved_fd, err);
	close(saved_fd);
	return result;
}

/* The reverse order: all/forwarding first, then what it changes of single interfaces. */
static void restore(int saved_fd)
{
	for (uint32_t i = SYSCTL_ENTRIES; i-- > 0;) {
		struct sysctl_saved saved;
		if (bpf_map_lookup_elem(saved_fd, &i, &saved) < 0 || saved.name[0] == '\0')
			continue;
		/* An interface that has gone took its settings along. */
		(void)write_net(saved.name, (int)strtol(saved.value, NULL, 10));
	}
}

int sysctl_undo(const char *pin_root, struct error *err)
{
	char path[EDGE_PATH];
	int saved_fd = -1;
	maps_path(path, pin_root, "sysctls", NULL);
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	int result = open_saved(pin_root, false, &saved_fd, err);
	if (result < 0)
		return result;
	restore(saved_fd);
	close(saved_fd);
	if (unlink(path) < 0)
		return error_set(err, -errno, "'%s' cannot be removed: %s", path,
				 error_text(-errno));
	return 0;
}
