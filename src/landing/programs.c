/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/programs.h"

#include "abi/landing.h"
#include "base/buffer.h"
#include "base/digest.h"
#include "base/file.h"
#include "landing.skel.h"
#include "lookup.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

_Static_assert(LANDING_ABI_EDGES >= 2 * LANDING_EDGES_MAX, "room to add before deleting");
_Static_assert(LANDING_ABI_ADDRESSES >= 2 * LANDING_ADDRESSES_MAX, "room to add before deleting");
_Static_assert(LANDING_ABI_POOLS >= 2 * LANDING_POOLS_MAX, "room to add before deleting");

#define VERIFIER_LOG_BYTES 65536

static int check_privileges(struct error *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
	if (syscall(SYS_capget, &header, data) < 0)
		return error_set(err, -errno, "cannot read the process's privileges: %s",
				 strerror(errno));
	uint64_t held = (uint64_t)data[1].effective << 32 | data[0].effective;
	bool has_bpf = held & (1ull << CAP_BPF | 1ull << CAP_SYS_ADMIN);
	bool has_net = held & 1ull << CAP_NET_ADMIN;
	if (has_bpf && has_net)
		return 0;
	return error_set(err, -FL_EPRIVILEGE,
			 "landing loads BPF programs and sets routes, and lacks the privilege%s "
			 "%s%s%s: run it as root or with AmbientCapabilities=CAP_BPF CAP_NET_ADMIN "
			 "CAP_SYS_PTRACE",
			 has_bpf || has_net ? "" : "s", has_bpf ? "" : "CAP_BPF",
			 has_bpf || has_net ? "" : " and ", has_net ? "" : "CAP_NET_ADMIN");
}

/* The folder, or the nearest one above it that exists, must lie on a bpffs. */
static int check_bpffs(const char *path, struct error *err)
{
	char part[PATH_MAX];
	struct statfs info;
	snprintf(part, sizeof(part), "%s", path);
	while (statfs(part, &info) < 0) {
		char *slash = strrchr(part, '/');
		if (errno != ENOENT || !slash || slash == part)
			return error_set(err, -FL_EUNSUPPORTED, "%s: cannot look for a bpffs: %s",
					 path, strerror(errno));
		*slash = '\0';
	}
	if (info.f_type == BPF_FS_MAGIC)
		return 0;
	return error_set(err, -FL_EUNSUPPORTED,
			 "%s: not on a BPF file system, where programs outlive the daemon: "
			 "mount one with `mount -t bpf bpf /sys/fs/bpf`",
			 path);
}

static int find_interfaces(struct programs *programs, const struct landing_options *options,
			   struct error *err)
{
	if (options->interface_count > LANDING_INTERFACES_MAX)
		return error_set(err, -FL_ELIMIT,
				 "%u underlay interfaces; landing takes at most %d",
				 options->interface_count, LANDING_INTERFACES_MAX);
	for (unsigned i = 0; i < options->interface_count; i++) {
		struct program_interface *interface = &programs->interfaces[i];
		const char *name = options->interfaces[i];
		*interface = (struct program_interface){.link = -1};
		if (strlen(name) < sizeof(interface->name))
			interface->ifindex = if_nametoindex(name);
		if (!interface->ifindex)
			return error_set(err, -FL_ENOTFOUND,
					 "%s: there is no such interface; landing was told to take "
					 "tunnels on it (underlay)",
					 name);
		memcpy(interface->name, name, strlen(name));
		programs->interface_count++;
	}
	return 0;
}

static void describe_layout(const struct bpf_object *object, struct buffer *text)
{
	struct bpf_map *map;
	bpf_object__for_each_map(map, object)
	{
		if (!bpf_map__is_internal(map))
			buffer_printf(text, "%s %d %u %u %u %u\n", bpf_map__name(map),
				      (int)bpf_map__type(map), bpf_map__key_size(map),
				      bpf_map__value_size(map), bpf_map__max_entries(map),
				      bpf_map__map_flags(map));
	}
}

static int set_layout(struct programs *programs, struct error *err)
{
	struct buffer text;
	struct digest digest;
	buffer_init(&text, 0);
	buffer_printf(&text, "landing %d\n", LANDING_ABI_VERSION);
	describe_layout(programs->landing->obj, &text);
	describe_layout(programs->lookup->obj, &text);
	int result = text.status;
	if (result == 0) {
		digest_of(text.data, text.length, &digest);
		hex_encode(digest.bytes, (sizeof(programs->layout) - 1) / 2, programs->layout);
	}
	buffer_done(&text);
	return result < 0 ? error_set(err, result, "out of memory") : 0;
}

static int set_pin_paths(const struct programs *programs, const struct bpf_object *object,
			 struct error *err)
{
	struct bpf_map *map;
	bpf_object__for_each_map(map, object)
	{
		char path[PATH_MAX];
		if (bpf_map__is_internal(map))
			continue;
		if ((size_t)snprintf(path, sizeof(path), "%s/%s/%s", programs->pin_root,
				     programs->layout, bpf_map__name(map)) >= sizeof(path))
			return error_set(err, -ENAMETOOLONG, "%s: the path is too long",
					 programs->pin_root);
		int result = bpf_map__set_pin_path(map, path);
		if (result < 0)
			return error_set(err, result, "%s: cannot pin: %s", path,
					 error_text(result));
	}
	return 0;
}

/* The verifier's last words, which say what it did not like. */
static const char *last_line(char *log)
{
	for (size_t length = strlen(log); length && log[length - 1] == '\n'; length--)
		log[length - 1] = '\0';
	char *last = strrchr(log, '\n');
	return last ? last + 1 : log;
}

static int load(struct programs *programs, char *log, struct error *err)
{
	struct bpf_object_open_opts options = {
	    .sz = sizeof(options), .kernel_log_buf = log, .kernel_log_size = VERIFIER_LOG_BYTES};
	programs->landing = landing_bpf__open_opts(&options);
	programs->lookup = programs->landing ? lookup_bpf__open_opts(&options) : NULL;
	if (!programs->landing || !programs->lookup)
		return error_set(err, -errno, "cannot open the BPF programs: %s", strerror(errno));

	int result = set_layout(programs, err);
	if (result == 0)
		result = set_pin_paths(programs, programs->landing->obj, err);
	if (result == 0)
		result = set_pin_paths(programs, programs->lookup->obj, err);
	if (result < 0)
		return result;
	result = landing_bpf__load(programs->landing);
	if (result == 0)
		result = lookup_bpf__load(programs->lookup);
	if (result < 0)
		return error_set(err, -FL_EUNSUPPORTED,
				 "the kernel does not load landing's BPF programs: %s%s%s; Linux "
				 "6.1 or later is needed",
				 error_text(result), *log ? ": " : "", last_line(log));
	return 0;
}

static int read_tag(struct programs *programs, struct error *err)
{
	struct bpf_prog_info info = {0};
	__u32 size = sizeof(info);
	int fd = bpf_program__fd(programs->landing->progs.landing_decapsulate);
	int result = bpf_obj_get_info_by_fd(fd, &info, &size);
	if (result < 0)
		return error_set(err, result, "cannot read back the BPF program: %s",
				 error_text(result));
	hex_encode(info.tag, sizeof(info.tag), programs->tag);
	return 0;
}

int programs_open(struct programs *programs, const struct landing_options *options,
		  struct error *err)
{
	*programs = (struct programs){.lookup_link = -1, .generic_only = options->generic_only};
	if (strlen(options->pin_root) >= sizeof(programs->pin_root) - 64)
		return error_set(err, -ENAMETOOLONG, "%s: the path is too long", options->pin_root);
	memcpy(programs->pin_root, options->pin_root, strlen(options->pin_root) + 1);

	int result = check_privileges(err);
	if (result == 0)
		result = find_interfaces(programs, options, err);
	if (result == 0)
		result = check_bpffs(programs->pin_root, err);
	if (result == 0)
		result = file_make_folders(programs->pin_root, 0700, err);
	if (result < 0)
		return result;

	/* libbpf talks to stderr by itself; what matters of it is in `err`. */
	libbpf_set_print(NULL);
	char *log = calloc(1, VERIFIER_LOG_BYTES);
	if (!log)
		return error_set(err, -ENOMEM, "out of memory");
	result = load(programs, log, err);
	free(log);
	return result < 0 ? result : read_tag(programs, err);
}

static void close_link(int *link)
{
	if (*link >= 0)
		close(*link);
	*link = -1;
}

void programs_done(struct programs *programs)
{
	for (unsigned i = 0; i < programs->interface_count; i++)
		close_link(&programs->interfaces[i].link);
	close_link(&programs->lookup_link);
	landing_bpf__destroy(programs->landing);
	lookup_bpf__destroy(programs->lookup);
	programs->landing = NULL;
	programs->lookup = NULL;
}

/* Make the keys of `map` those of `wanted`; all values are 1. */
static int map_set(const struct bpf_map *map, const void *wanted, size_t count, struct error *err)
{
	const size_t size = bpf_map__key_size(map);
	const __u32 one = 1;
	const char *keys = wanted;
	int fd = bpf_map__fd(map);
	int result = 0;
	for (size_t i = 0; i < count && result == 0; i++)
		result = bpf_map_update_elem(fd, keys + i * size, &one, BPF_ANY);

	char present[64];
	char *surplus = calloc(bpf_map__max_entries(map), size);
	size_t surplus_count = 0;
	ASSERT(size <= sizeof(present));
	if (!surplus)
		result = -ENOMEM;
	for (const void *previous = NULL;
	     result == 0 && bpf_map_get_next_key(fd, previous, present) == 0; previous = present) {
		bool keep = false;
		for (size_t i = 0; i < count && !keep; i++)
			keep = memcmp(keys + i * size, present, size) == 0;
		if (!keep && surplus_count < bpf_map__max_entries(map))
			memcpy(surplus + surplus_count++ * size, present, size);
	}
	for (size_t i = 0; i < surplus_count && result == 0; i++)
		result = bpf_map_delete_elem(fd, surplus + i * size);
	free(surplus);
	return result < 0 ? error_set(err, result, "cannot fill the BPF map %s: %s",
				      bpf_map__name(map), error_text(result))
			  : 0;
}

static int fill_addresses(const struct bpf_map *map, const struct ip_address *addresses,
			  unsigned count, struct error *err)
{
	struct landing_address_key *keys = calloc(count ? count : 1, sizeof(*keys));
	if (!keys)
		return error_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < count; i++) {
		keys[i].family = addresses[i].family;
		memcpy(keys[i].bytes, addresses[i].bytes, sizeof(keys[i].bytes));
	}
	int result = map_set(map, keys, count, err);
	free(keys);
	return result;
}

int programs_fill(struct programs *programs, const struct landing_desired *desired,
		  struct error *err)
{
	struct landing_pool_key pools[LANDING_POOLS_MAX] = {0};
	for (unsigned i = 0; i < desired->pool_count; i++) {
		pools[i].length = LANDING_POOL_KEY_BITS + desired->pools[i].length;
		pools[i].family = desired->pools[i].address.family;
		memcpy(pools[i].bytes, desired->pools[i].address.bytes, sizeof(pools[i].bytes));
	}
	const struct landing_bpf *landing = programs->landing;
	int result =
	    fill_addresses(landing->maps.landing_edges, desired->edges, desired->edge_count, err);
	if (result == 0)
		result = map_set(landing->maps.landing_pools, pools, desired->pool_count, err);
	if (result == 0)
		result = fill_addresses(landing->maps.landing_addresses, desired->addresses,
					desired->address_count, err);
	return result;
}

static int decapsulator(const struct programs *programs)
{
	return bpf_program__fd(programs->landing->progs.landing_decapsulate);
}

static __u32 program_id(int program)
{
	struct bpf_prog_info info = {0};
	__u32 size = sizeof(info);
	return bpf_obj_get_info_by_fd(program, &info, &size) == 0 ? info.id : 0;
}

/* The program on the interface, 0 if there is none, and how it is attached. */
static __u32 program_on(unsigned ifindex, bool *ret_native)
{
	struct bpf_xdp_query_opts query = {.sz = sizeof(query)};
	if (bpf_xdp_query((int)ifindex, 0, &query) < 0)
		return 0;
	*ret_native = query.attach_mode == XDP_ATTACHED_DRV;
	return query.attach_mode == XDP_ATTACHED_MULTI ? query.drv_prog_id : query.prog_id;
}

/*
 * The link acts on this very interface. Its index alone does not say so: another namespace may
 * have an interface of the same number, and the link be on that one.
 */
static bool link_is_on(int link, unsigned ifindex, bool *ret_native)
{
	struct bpf_link_info info = {0};
	__u32 size = sizeof(info);
	return bpf_obj_get_info_by_fd(link, &info, &size) == 0 && info.type == BPF_LINK_TYPE_XDP &&
	       info.xdp.ifindex == ifindex && info.prog_id &&
	       program_on(ifindex, ret_native) == info.prog_id;
}

static void link_path(const struct programs *programs, unsigned ifindex, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s/link_if%u", PATH_MAX - 64, programs->pin_root, ifindex);
}

static int create_link(const struct programs *programs, struct program_interface *interface,
		       struct error *err)
{
	struct bpf_link_create_opts options = {.sz = sizeof(options), .flags = XDP_FLAGS_DRV_MODE};
	int link = -EOPNOTSUPP;
	if (!programs->generic_only)
		link = bpf_link_create(decapsulator(programs), (int)interface->ifindex, BPF_XDP,
				       &options);
	bool native = link >= 0;
	if (link < 0 && link != -EBUSY && link != -EEXIST) {
		options.flags = XDP_FLAGS_SKB_MODE;
		link = bpf_link_create(decapsulator(programs), (int)interface->ifindex, BPF_XDP,
				       &options);
	}
	if (link == -EBUSY || link == -EEXIST) {
		bool ignored;
		return error_set(err, -FL_ECONFLICT,
				 "%s: another XDP program (id %u) is on this interface; landing "
				 "cannot share it, detach that one",
				 interface->name, program_on(interface->ifindex, &ignored));
	}
	if (link < 0)
		return error_set(err, link, "%s: cannot attach the XDP program: %s",
				 interface->name, error_text(link));
	interface->link = link;
	interface->native = native;
	return 0;
}

/* Switch a link that an earlier run left, or make one. */
static int attach_interface(const struct programs *programs, struct program_interface *interface,
			    struct error *err)
{
	char path[PATH_MAX];
	link_path(programs, interface->ifindex, path);
	close_link(&interface->link);
	int link = bpf_obj_get(path);
	if (link >= 0) {
		bool native = false;
		if (link_is_on(link, interface->ifindex, &native) &&
		    !(native && programs->generic_only) &&
		    bpf_link_update(link, decapsulator(programs), NULL) == 0) {
			interface->link = link;
			interface->native = native;
			return 0;
		}
		close(link);
	}
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set(err, -errno, "%s: cannot remove: %s", path, strerror(errno));
	int result = create_link(programs, interface, err);
	if (result < 0)
		return result;
	result = bpf_obj_pin(interface->link, path);
	if (result < 0) {
		close_link(&interface->link);
		return error_set(err, result, "%s: cannot pin: %s", path, error_text(result));
	}
	return 0;
}

static int watch_interface(const struct programs *programs, struct program_interface *interface,
			   struct landing_alarms *alarms, struct error *err)
{
	unsigned before = interface->ifindex;
	bool native = false;
	interface->ifindex = if_nametoindex(interface->name);
	if (!interface->ifindex) {
		close_link(&interface->link);
		alarms_add(alarms, false,
			   "interface %s has vanished: no tunnel can land through it; it is taken "
			   "up again when it comes back",
			   interface->name);
		return 0;
	}
	if (interface->link >= 0 && interface->ifindex == before &&
	    link_is_on(interface->link, interface->ifindex, &native) &&
	    program_on(interface->ifindex, &native) == program_id(decapsulator(programs)))
		return 0;
	int result = attach_interface(programs, interface, err);
	if (result < 0)
		return result;
	alarms_add(alarms, true, "%s %s; landing's program is attached (%s)", interface->name,
		   before == interface->ifindex ? "had lost landing's program" : "has come back",
		   interface->native ? "native" : "generic");
	return 0;
}

int programs_attach(struct programs *programs, struct landing_alarms *alarms, struct error *err)
{
	for (unsigned i = 0; i < programs->interface_count; i++) {
		struct error reason;
		struct program_interface *interface = &programs->interfaces[i];
		int result = watch_interface(programs, interface, alarms, &reason);
		/* A check goes on with the other interfaces; a change must know. */
		if (result < 0 && alarms)
			alarms_add(alarms, false, "%.200s", reason.text);
		else if (result < 0)
			return error_set(err, result, "%s", reason.text);
	}
	return 0;
}

static ino_t own_namespace(void)
{
	struct stat info;
	return stat("/proc/thread-self/ns/net", &info) == 0 ? info.st_ino : 0;
}

static bool lookup_is_here(int link)
{
	struct bpf_link_info info = {0};
	__u32 size = sizeof(info);
	return bpf_obj_get_info_by_fd(link, &info, &size) == 0 &&
	       info.type == BPF_LINK_TYPE_NETNS && info.netns.netns_ino == own_namespace();
}

static int create_lookup(const struct programs *programs, const char *path, int *ret_link,
			 struct error *err)
{
	int namespace = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (namespace < 0)
		return error_set(err, -errno, "cannot open the network namespace: %s",
				 strerror(errno));
	int link = bpf_link_create(bpf_program__fd(programs->lookup->progs.landing_hand), namespace,
				   BPF_SK_LOOKUP, NULL);
	close(namespace);
	if (link < 0)
		return error_set(err, link, "cannot attach the sk_lookup program: %s",
				 error_text(link));
	int result = bpf_obj_pin(link, path);
	if (result < 0) {
		close(link);
		return error_set(err, result, "%s: cannot pin: %s", path, error_text(result));
	}
	*ret_link = link;
	return 0;
}

int programs_attach_lookup(struct programs *programs, bool wanted, struct landing_alarms *alarms,
			   struct error *err)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%.*s/link_lookup", PATH_MAX - 64, programs->pin_root);
	if (wanted && programs->lookup_link >= 0 && lookup_is_here(programs->lookup_link))
		return 0;
	bool lost = programs->lookup_link >= 0;
	close_link(&programs->lookup_link);
	int link = bpf_obj_get(path);
	if (link < 0 && !wanted)
		return 0;
	if (link >= 0 && wanted && lookup_is_here(link) &&
	    bpf_link_update(link, bpf_program__fd(programs->lookup->progs.landing_hand), NULL) ==
		0) {
		programs->lookup_link = link;
		return 0;
	}
	if (link >= 0) {
		(void)bpf_link_detach(link);
		close(link);
	}
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set(err, -errno, "%s: cannot remove: %s", path, strerror(errno));
	if (!wanted)
		return 0;
	int result = create_lookup(programs, path, &programs->lookup_link, err);
	if (result == 0 && lost)
		alarms_add(alarms, true, "the sk_lookup program was gone; attached again");
	return result;
}

int programs_handings_map(const struct programs *programs)
{
	return bpf_map__fd(programs->lookup->maps.landing_handings);
}

int programs_listeners_map(const struct programs *programs)
{
	return bpf_map__fd(programs->lookup->maps.landing_listeners);
}

static int remove_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	DIR *folder = fdopendir(fd);
	if (!folder) {
		close(fd);
		return -ENOMEM;
	}
	int result = 0;
	const struct dirent *entry;
	while (result == 0 && (entry = readdir(folder))) {
		if (entry->d_name[0] != '.' && unlinkat(fd, entry->d_name, 0) < 0)
			result = -errno;
	}
	closedir(folder); /* and `fd` with it */
	return result == 0 && rmdir(path) < 0 ? -errno : result;
}

static bool is_ours(const struct programs *programs, const char *name)
{
	unsigned ifindex;
	char rest;
	if (strcmp(name, programs->layout) == 0 || strcmp(name, "link_lookup") == 0)
		return true;
	if (sscanf(name, "link_if%u%c", &ifindex, &rest) != 1)
		return false;
	for (unsigned i = 0; i < programs->interface_count; i++) {
		if (programs->interfaces[i].ifindex == ifindex)
			return true;
	}
	return false;
}

static int remove_pin(const char *root, const char *name)
{
	char path[PATH_MAX];
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", root, name) >= sizeof(path))
		return -ENAMETOOLONG;
	if (strncmp(name, "link_", 5) != 0)
		return remove_folder(path);
	int link = bpf_obj_get(path);
	if (link >= 0) {
		/* -ENOLINK: its interface is gone already. */
		(void)bpf_link_detach(link);
		close(link);
	}
	return unlink(path) < 0 ? -errno : 0;
}

static int remove_pins(struct programs *programs, bool ours_too, struct error *err)
{
	DIR *folder = opendir(programs->pin_root);
	if (!folder)
		return error_set(err, -errno, "%s: cannot open: %s", programs->pin_root,
				 strerror(errno));
	int result = 0;
	const struct dirent *entry;
	while (result == 0 && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.' || (!ours_too && is_ours(programs, entry->d_name)))
			continue;
		result = remove_pin(programs->pin_root, entry->d_name);
		if (result < 0)
			error_set(err, result, "%s/%s: cannot remove: %s", programs->pin_root,
				  entry->d_name, error_text(result));
	}
	closedir(folder);
	return result;
}

int programs_sweep(struct programs *programs, struct error *err)
{
	return remove_pins(programs, false, err);
}

int programs_undo(struct programs *programs, struct error *err)
{
	for (unsigned i = 0; i < programs->interface_count; i++)
		close_link(&programs->interfaces[i].link);
	close_link(&programs->lookup_link);
	int result = remove_pins(programs, true, err);
	if (result == 0 && rmdir(programs->pin_root) < 0)
		result = error_set(err, -errno, "%s: cannot remove: %s", programs->pin_root,
				   strerror(errno));
	return result;
}

int programs_counters(const struct programs *programs, struct landing_counters *ret_counters,
		      struct error *err)
{
	int cpus = libbpf_num_possible_cpus();
	if (cpus < 0)
		return error_set(err, cpus, "cannot count the CPUs: %s", error_text(cpus));
	struct landing_counts *counts = calloc((size_t)cpus, sizeof(*counts));
	if (!counts)
		return error_set(err, -ENOMEM, "out of memory");
	const __u32 zero = 0;
	int result =
	    bpf_map_lookup_elem(bpf_map__fd(programs->landing->maps.landing_counts), &zero, counts);
	struct landing_counters sum = {0};
	for (int cpu = 0; cpu < cpus && result == 0; cpu++) {
		const __u64 *accepted = counts[cpu].accepted;
		sum.passed += counts[cpu].passed;
		sum.accepted_4in4 += accepted[LANDING_TUNNEL(false, false)];
		sum.accepted_6in4 += accepted[LANDING_TUNNEL(false, true)];
		sum.accepted_4in6 += accepted[LANDING_TUNNEL(true, false)];
		sum.accepted_6in6 += accepted[LANDING_TUNNEL(true, true)];
		for (unsigned reason = 0; reason < DROP_REASONS; reason++)
			sum.drops[reason] += counts[cpu].drops[reason];
	}
	free(counts);
	if (result < 0)
		return error_set(err, result, "cannot read the drop counters: %s",
				 error_text(result));
	*ret_counters = sum;
	return 0;
}
