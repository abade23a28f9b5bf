/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/room.h"

#include "base/file.h"
#include "base/netaddr.h"
#include "base/sysctl.h"

#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOOLS_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define RESOLV_CONF "/etc/resolv.conf"

struct setting {
	const char *path;
	const char *value;
};

/* Before a link is up. Duplicate address detection would cost a second. */
static const struct setting SETTINGS[] = {
    {"net/ipv4/conf/all/rp_filter", "0"},     {"net/ipv4/conf/default/rp_filter", "0"},
    {"net/ipv6/conf/all/disable_ipv6", "0"},  {"net/ipv6/conf/default/disable_ipv6", "0"},
    {"net/ipv6/conf/all/accept_dad", "0"},    {"net/ipv6/conf/default/accept_dad", "0"},
    {"net/ipv6/conf/default/accept_ra", "0"},
};

/* Errors are provoked on purpose in a lab; the kernel must not ration them. */
static const struct setting ROUTER_SETTINGS[] = {
    {"net/ipv4/ip_forward", "1"},
    {"net/ipv6/conf/all/forwarding", "1"},
    {"net/ipv4/icmp_ratelimit", "0"},
    {"net/ipv6/icmp/ratelimit", "0"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- the room --- */

static int touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/*
 * A name service of the computer may keep the file that /etc/resolv.conf points to below /run,
 * which is covered now. A machine's own is mounted on it, so something must be there.
 */
static void keep_resolv_conf(void)
{
	char target[PATH_MAX], path[PATH_MAX + 8], *slash;
	ssize_t length = readlink(RESOLV_CONF, target, sizeof(target) - 1);
	if (length < 0 || access(RESOLV_CONF, F_OK) == 0)
		return;
	target[length] = '\0';
	snprintf(path, sizeof(path), "%s%s", *target == '/' ? "" : "/etc/", target);
	slash = strrchr(path, '/');
	*slash = '\0';
	if (file_make_folders(path, 0755, NULL) < 0)
		return;
	*slash = '/';
	/* Without it, entering a machine that names a resolver says what is missing. */
	if (touch(path) < 0)
		errno = 0;
}

int room_make(struct error *err)
{
	static const char *const FOLDERS[] = {ROOM_ROOT, ROOM_LOGS, ROOM_BPFFS, ROOM_MACHINES};
	static const struct {
		const char *type, *target, *options;
	} MOUNTS[] = {{"tmpfs", "/run", "mode=0755"},
		      {"proc", "/proc", NULL},
		      {"bpf", ROOM_BPFFS, "mode=0700"}};
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_set(err, -errno, "cannot have mounts of its own: %s",
				 error_text(-errno));
	for (size_t i = 0; i < COUNT(MOUNTS); i++) {
		if (mount(MOUNTS[i].type, MOUNTS[i].target, MOUNTS[i].type, 0, MOUNTS[i].options) <
		    0)
			return error_set(err, -errno, "cannot mount %s on %s: %s", MOUNTS[i].type,
					 MOUNTS[i].target, error_text(-errno));
		for (size_t f = 0; i == 0 && f < COUNT(FOLDERS); f++)
			if (mkdir(FOLDERS[f], 0755) < 0)
				return error_set(err, -errno, "%s: %s", FOLDERS[f],
						 error_text(-errno));
	}
	keep_resolv_conf();
	return 0;
}

/* --- machines --- */

int room_write_setting(const char *path, const char *value)
{
	char full[PATH_MAX];
	if ((size_t)snprintf(full, sizeof(full), SYSCTL_ROOT "%s", path) >= sizeof(full))
		return -ENAMETOOLONG;
	int fd = open(full, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int result = write(fd, value, strlen(value)) < 0 ? -errno : 0;
	close(fd);
	return result;
}

/* Absent ones belong to what this kernel was built without. */
static int write_settings(const struct setting *settings, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		int result = room_write_setting(settings[i].path, settings[i].value);
		if (result < 0 && result != -ENOENT)
			return error_set(err, result, "cannot set %s to %s: %s", settings[i].path,
					 settings[i].value, error_text(result));
	}
	return 0;
}

static int raise_loopback(struct error *err)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int result = fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	return result < 0 ? error_set(err, result, "cannot raise lo: %s", error_text(result)) : 0;
}

/* In a namespace of the machine's own, which this gives a name. */
static int furnish_machine(const struct topology_machine *machine, struct error *err)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), ROOM_MACHINES "/%s", machine->name);
	int result = touch(path);
	if (result == 0 && mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0)
		result = -errno;
	if (result < 0)
		return error_set(err, result, "cannot name the namespace of %s: %s", machine->name,
				 error_text(result));
	result = write_settings(SETTINGS, COUNT(SETTINGS), err);
	if (result == 0 && machine->forwards)
		result = write_settings(ROUTER_SETTINGS, COUNT(ROUTER_SETTINGS), err);
	return result < 0 ? result : raise_loopback(err);
}

/* What its processes find in /etc/resolv.conf. */
static int write_resolv_conf(const struct topology_machine *machine, struct error *err)
{
	char path[PATH_MAX], address[IP_TEXT_BYTES];
	snprintf(path, sizeof(path), ROOM_ROOT "/%s/resolv.conf", machine->name);
	FILE *file = fopen(path, "we");
	if (!file)
		return error_set(err, -errno, "%s: %s", path, error_text(-errno));
	(void)fprintf(file, "nameserver %s\n", ip_address_format(&machine->resolver, address));
	if (fclose(file) != 0)
		return error_set(err, -errno, "%s: %s", path, error_text(-errno));
	return 0;
}

int room_add_machine(const struct topology_machine *machine, struct error *err)
{
	char folder[PATH_MAX];
	snprintf(folder, sizeof(folder), ROOM_ROOT "/%s", machine->name);
	if (mkdir(folder, 0755) < 0)
		return error_set(err, -errno, "%s: %s", folder, error_text(-errno));
	if (machine->resolver.family != IP_NONE) {
		int result = write_resolv_conf(machine, err);
		if (result < 0)
			return result;
	}
	int outside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (outside < 0 || unshare(CLONE_NEWNET) < 0) {
		int result = error_set(err, -errno, "cannot make a network namespace for %s: %s",
				       machine->name, error_text(-errno));
		if (outside >= 0)
			close(outside);
		return result;
	}
	int result = furnish_machine(machine, err);
	room_leave(outside);
	return result;
}

/* --- going there --- */

static int set_network(const char *machine, struct error *err)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), ROOM_MACHINES "/%s", machine);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int result = fd < 0 || setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	if (result < 0)
		return error_set(err, result, "cannot enter the machine %s: %s", machine,
				 error_text(result));
	return 0;
}

int room_enter(const char *machine, int *ret_outside, struct error *err)
{
	int outside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (outside < 0)
		return error_set(err, -errno, "cannot tell the present network: %s",
				 error_text(-errno));
	int result = set_network(machine, err);
	if (result < 0)
		close(outside);
	else
		*ret_outside = outside;
	return result;
}

void room_leave(int outside)
{
	ASSERT(setns(outside, CLONE_NEWNET) == 0);
	close(outside);
}

/* The file is mounted for this process and its children alone. */
static int use_resolver(const char *machine, struct error *err)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), ROOM_ROOT "/%s/resolv.conf", machine);
	if (access(path, F_OK) < 0)
		return 0;
	if (unshare(CLONE_NEWNS) < 0 || mount(path, RESOLV_CONF, NULL, MS_BIND, NULL) < 0)
		return error_set(err, -errno,
				 "cannot give %s its resolver: " RESOLV_CONF ": %s; create that "
				 "file, or leave `resolver` out",
				 machine, error_text(-errno));
	return 0;
}

static int set_environment(const char *lab, const char *machine)
{
	char folder[PATH_MAX], own[PATH_MAX], path[PATH_MAX + sizeof(TOOLS_PATH) + 1];
	ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);
	if (length < 0)
		return -errno;
	own[length] = '\0';
	char *slash = strrchr(own, '/');
	if (slash)
		*slash = '\0';
	snprintf(path, sizeof(path), "%s:" TOOLS_PATH, own);
	snprintf(folder, sizeof(folder), ROOM_ROOT "/%s", machine);
	if (setenv("PATH", path, 1) < 0 || setenv("LAB", lab, 1) < 0 ||
	    setenv("MACHINE", machine, 1) < 0 || setenv("DIR", folder, 1) < 0)
		return -errno;
	return 0;
}

int room_become(const char *lab, const char *machine, struct error *err)
{
	int result = set_network(machine, err);
	if (result == 0)
		result = use_resolver(machine, err);
	if (result < 0)
		return result;
	if (unshare(CLONE_NEWUTS) < 0 || sethostname(machine, strlen(machine)) < 0)
		return error_set(err, -errno, "cannot take the name %s: %s", machine,
				 error_text(-errno));
	result = set_environment(lab, machine);
	return result < 0 ? error_set(err, result, "%s", error_text(result)) : 0;
}
