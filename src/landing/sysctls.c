/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/sysctls.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/sysctl.h"

#include <inttypes.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FILE_TITLE "fairlead landing sysctls 1"
#define FILE_BYTES_MAX 16384

static int write_setting(const char *path, int value, struct error *err)
{
	int result = sysctl_write(path, value);
	if (result < 0)
		error_set(err, result, SYSCTL_ROOT "%s: cannot set it to %d: %s", path, value,
			  error_text(result));
	return result;
}

int sysctls_parse(const char *text, struct sysctls *ret_sysctls)
{
	struct sysctls parsed = {0};
	int used = 0;
	char cookie[24];
	if (sscanf(text, FILE_TITLE "\nlife %36s %20[0-9]%n", parsed.life, cookie, &used) != 2 ||
	    text[used] != '\n')
		return -FL_ECORRUPT;
	size_t boot_length = strlen(parsed.life);
	snprintf(parsed.life + boot_length, sizeof(parsed.life) - boot_length, " %s", cookie);

	for (text += used + 1; *text; text += used + 1) {
		if (parsed.count == SYSCTLS_MAX)
			return -FL_ECORRUPT;
		struct sysctl_record *record = &parsed.records[parsed.count++];
		used = 0;
		if (sscanf(text, "%79s %d %d %u%n", record->path, &record->previous, &record->ours,
			   &record->ifindex, &used) != 4 ||
		    text[used] != '\n')
			return -FL_ECORRUPT;
		/* What is read here is written to as root: never outside of the net folder. */
		if (strncmp(record->path, "net/", 4) != 0 || strstr(record->path, ".."))
			return -FL_ECORRUPT;
	}
	memcpy(ret_sysctls->life, parsed.life, sizeof(parsed.life));
	memcpy(ret_sysctls->records, parsed.records, sizeof(parsed.records));
	ret_sysctls->count = parsed.count;
	return 0;
}

void sysctls_format(const struct sysctls *sysctls, struct buffer *ret_text)
{
	buffer_printf(ret_text, "%s\nlife %s\n", FILE_TITLE, sysctls->life);
	for (unsigned i = 0; i < sysctls->count; i++) {
		const struct sysctl_record *record = &sysctls->records[i];
		buffer_printf(ret_text, "%s %d %d %u\n", record->path, record->previous,
			      record->ours, record->ifindex);
	}
}

static int read_life(char life[SYSCTL_LIFE_BYTES], struct error *err)
{
	char boot_id[LANDING_BOOT_ID_BYTES];
	int result = landing_boot_id(boot_id, err);
	if (result < 0)
		return result;
	/* Unlike the namespace's inode, its cookie is never used again in this boot. */
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0)
		result = -errno;
	if (fd >= 0)
		close(fd);
	if (result < 0)
		return error_set(err, result, "cannot identify the network namespace: %s",
				 error_text(result));
	snprintf(life, SYSCTL_LIFE_BYTES, "%s %" PRIu64, boot_id, cookie);
	return 0;
}

int sysctls_open(struct sysctls *sysctls, const char *state_folder, struct error *err)
{
	*sysctls = (struct sysctls){0};
	if ((size_t)snprintf(sysctls->file, sizeof(sysctls->file), "%s/sysctls", state_folder) >=
	    sizeof(sysctls->file))
		return error_set(err, -ENAMETOOLONG, "%s: the path is too long", state_folder);
	char life[SYSCTL_LIFE_BYTES];
	int result = read_life(life, err);
	if (result < 0)
		return result;

	struct buffer text;
	buffer_init(&text, FILE_BYTES_MAX);
	if (access(sysctls->file, F_OK) == 0) {
		result = file_read(sysctls->file, &text, err);
		if (result == 0)
			result = sysctls_parse(text.data ? text.data : "", sysctls);
		if (result == -FL_ECORRUPT)
			error_set(err, result,
				  "%s: this is not a whole list of previous sysctl values; restore "
				  "the sysctls by hand and remove the file",
				  sysctls->file);
	}
	buffer_done(&text);
	if (result < 0)
		return result;
	if (strcmp(sysctls->life, life) != 0)
		sysctls->count = 0;
	memcpy(sysctls->life, life, sizeof(life));
	return 0;
}

static int save(const struct sysctls *sysctls, struct error *err)
{
	struct buffer text;
	buffer_init(&text, FILE_BYTES_MAX);
	sysctls_format(sysctls, &text);
	int result = text.status
			 ? error_set(err, text.status, "%s: cannot write: %s", sysctls->file,
				     error_text(text.status))
			 : file_write_durably(sysctls->file, text.data, text.length, 0600, err);
	buffer_done(&text);
	return result;
}

/* One sysctl that landing looks after. */
struct sysctl_need {
	char path[SYSCTL_PATH_BYTES];
	char all_path[SYSCTL_PATH_BYTES]; /* "" or that of conf/all, which joins in the value */
	bool (*serves)(int value, int all);
	int ours;
	unsigned ifindex;
	bool is_new;
};

/* The kernel takes the larger of conf/all and conf/IF for rp_filter; 1 drops clients whose way
 * back leads through another interface, 2 only such as have no way back at all. */
static bool rp_filter_serves(int value, int all)
{
	return (value > all ? value : all) != 1;
}

/* A backend that calls a service may be led back to itself: from its own address, by tunnel. */
static bool accept_local_serves(int value, int all)
{
	return value || all;
}

/* 0 answers ARP for pool addresses; 4 to 7 are unused and act as 0. */
static bool arp_ignore_serves(int value, int all)
{
	(void)all;
	return (value >= 1 && value <= 3) || value == 8;
}

static bool arp_announce_serves(int value, int all)
{
	(void)all;
	return value == 2;
}

static bool nonlocal_bind_serves(int value, int all)
{
	(void)all;
	return value != 0;
}

static void add_interface_needs(const struct sysctl_interface *interface, struct sysctl_need *needs,
				unsigned *count)
{
	static const struct {
		const char *name;
		bool (*serves)(int, int);
		int ours;
	} kinds[] = {{"rp_filter", rp_filter_serves, 2}, {"accept_local", accept_local_serves, 1}};
	for (unsigned i = 0; i < 2; i++) {
		struct sysctl_need *need = &needs[(*count)++];
		snprintf(need->path, sizeof(need->path), "net/ipv4/conf/%s/%s", interface->name,
			 kinds[i].name);
		snprintf(need->all_path, sizeof(need->all_path), "net/ipv4/conf/all/%s",
			 kinds[i].name);
		need->serves = kinds[i].serves;
		need->ours = kinds[i].ours;
		need->ifindex = interface->ifindex;
		need->is_new = interface->is_new;
	}
}

static unsigned list_needs(const struct sysctl_wish *wish, struct sysctl_need needs[SYSCTLS_MAX])
{
	unsigned count = 0;
	memset(needs, 0, SYSCTLS_MAX * sizeof(*needs));
	if (wish->v4) {
		needs[count++] = (struct sysctl_need){
		    .path = "net/ipv4/conf/all/arp_ignore", .serves = arp_ignore_serves, .ours = 1};
		needs[count++] = (struct sysctl_need){.path = "net/ipv4/conf/all/arp_announce",
						      .serves = arp_announce_serves,
						      .ours = 2};
		for (unsigned i = 0; i < wish->interface_count; i++) {
			if (wish->interfaces[i].ifindex)
				add_interface_needs(&wish->interfaces[i], needs, &count);
		}
	}
	if (wish->v6)
		needs[count++] = (struct sysctl_need){
		    .path = "net/ipv6/ip_nonlocal_bind", .serves = nonlocal_bind_serves, .ours = 1};
	return count;
}

static struct sysctl_record *find_record(struct sysctls *sysctls, const struct sysctl_need *need)
{
	for (unsigned i = 0; i < sysctls->count; i++) {
		struct sysctl_record *record = &sysctls->records[i];
		if (strcmp(record->path, need->path) == 0 && record->ifindex == need->ifindex)
			return record;
	}
	return NULL;
}

static int meet_need(struct sysctls *sysctls, const struct sysctl_need *need,
		     struct landing_alarms *alarms, struct error *err)
{
	int value = 0;
	int all = 0;
	int result = sysctl_read(need->path, &value);
	if (result == 0 && need->all_path[0])
		result = sysctl_read(need->all_path, &all);
	if (result == -ENOENT && need->ifindex)
		return 0; /* the interface has just gone */
	if (result < 0)
		return error_set(err, result, SYSCTL_ROOT "%s: cannot read: %s", need->path,
				 error_text(result));
	if (need->serves(value, all))
		return 0;

	if (!find_record(sysctls, need)) {
		if (sysctls->count == SYSCTLS_MAX)
			return error_set(err, -FL_ELIMIT, "%s: more than %d sysctls", sysctls->file,
					 SYSCTLS_MAX);
		struct sysctl_record *record = &sysctls->records[sysctls->count];
		*record = (struct sysctl_record){
		    .previous = value, .ours = need->ours, .ifindex = need->ifindex};
		memcpy(record->path, need->path, sizeof(record->path));
		sysctls->count++;
		result = save(sysctls, err);
		if (result < 0) {
			sysctls->count--;
			return result;
		}
	}
	result = write_setting(need->path, need->ours, err);
	if (result == 0 && !need->is_new)
		LANDING_ALARM(alarms, SYSCTL_CHANGED, need->path, need->path, value, need->ours);
	return result;
}

/* An interface that was made anew has values of its own: nothing of ours is in it. */
static bool was_made_anew(const struct sysctl_record *record)
{
	char name[IF_NAMESIZE];
	return record->ifindex && sscanf(record->path, "net/ipv4/conf/%15[^/]/", name) == 1 &&
	       if_nametoindex(name) != record->ifindex;
}

static int restore(const struct sysctl_record *record, struct error *err)
{
	int value = 0;
	if (was_made_anew(record))
		return 0;
	int result = sysctl_read(record->path, &value);
	if (result == -ENOENT)
		return 0;
	if (result < 0)
		return error_set(err, result, SYSCTL_ROOT "%s: cannot read: %s", record->path,
				 error_text(result));
	return value == record->ours ? write_setting(record->path, record->previous, err) : 0;
}

static bool is_needed(const struct sysctl_record *record, const struct sysctl_need *needs,
		      unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (strcmp(record->path, needs[i].path) == 0 && record->ifindex == needs[i].ifindex)
			return true;
	}
	return false;
}

/* Put back and forget what is recorded and not needed any more. */
static int drop_records(struct sysctls *sysctls, const struct sysctl_need *needs,
			unsigned need_count, struct error *err)
{
	unsigned kept = 0;
	unsigned before = sysctls->count;
	int first = 0;
	for (unsigned i = 0; i < before; i++) {
		const struct sysctl_record *record = &sysctls->records[i];
		bool keep = is_needed(record, needs, need_count);
		if (!keep) {
			int result = restore(record, first ? NULL : err);
			keep = result < 0;
			first = first ? first : result;
		}
		if (keep)
			sysctls->records[kept++] = *record;
	}
	sysctls->count = kept;
	if (kept != before && first == 0)
		first = save(sysctls, err);
	return first;
}

int sysctls_apply(struct sysctls *sysctls, const struct sysctl_wish *wish,
		  struct landing_alarms *alarms, struct error *err)
{
	struct sysctl_need needs[SYSCTLS_MAX];
	unsigned count = list_needs(wish, needs);
	for (unsigned i = 0; i < count; i++) {
		int result = meet_need(sysctls, &needs[i], alarms, err);
		if (result < 0)
			return result;
	}
	return drop_records(sysctls, needs, count, err);
}

int sysctls_undo(struct sysctls *sysctls, struct error *err)
{
	int result = drop_records(sysctls, NULL, 0, err);
	if (result == 0 && unlink(sysctls->file) < 0 && errno != ENOENT)
		result =
		    error_set(err, -errno, "%s: cannot remove: %s", sysctls->file, strerror(errno));
	return result;
}
