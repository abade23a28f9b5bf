/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/dataplane_memory.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAPS 16

/* One map at one moment. */
struct map {
	char name[32];
	uint64_t memory; /* bytes, by the kernel's account */
	size_t record; /* bytes of one entry, over all CPUs */
	size_t records;
	uint8_t *content; /* owned; NULL if the map cannot be mapped into memory */
};

struct snapshot {
	struct map maps[MAPS];
	size_t count;
	uint64_t memory;
};

static void snapshot_done(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->count; i++)
		free(snapshot->maps[i].content);
}

static int read_memory(int fd, uint64_t *ret_bytes)
{
	char path[64];
	char line[128];
	int result = -FL_ENOTFOUND;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	FILE *file = fopen(path, "re");
	if (!file)
		return -errno;
	while (result < 0 && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "memlock:", 8) == 0) {
			*ret_bytes = strtoull(line + 8, NULL, 10);
			result = 0;
		}
	}
	(void)fclose(file);
	return result;
}

static int copy_content(struct map *map, int fd)
{
	size_t bytes = map->record * map->records;
	void *memory = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	map->content = malloc(bytes);
	if (map->content)
		memcpy(map->content, memory, bytes);
	munmap(memory, bytes);
	return map->content ? 0 : -ENOMEM;
}

static int map_take(struct map *map, int fd)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return -errno;
	map->record = (info.value_size + 7u) & ~7u;
	map->records = info.max_entries;
	if (info.type == BPF_MAP_TYPE_PERCPU_ARRAY)
		map->record *= (size_t)libbpf_num_possible_cpus();
	int result = read_memory(fd, &map->memory);
	if (result == 0 && info.map_flags & BPF_F_MMAPABLE)
		result = copy_content(map, fd);
	return result;
}

static int snapshot_add(struct snapshot *snapshot, const char *folder, const char *name)
{
	char path[512];
	struct map *map = &snapshot->maps[snapshot->count];
	if (snapshot->count == MAPS || strlen(name) >= sizeof(map->name))
		return -FL_ELIMIT;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	int fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	snapshot->count++;
	memcpy(map->name, name, strlen(name) + 1);
	int result = map_take(map, fd);
	snapshot->memory += map->memory;
	close(fd);
	return result;
}

static int snapshot_take(const struct rig *rig, struct snapshot *snapshot, struct error *err)
{
	const char *folder = rig_maps_folder(rig);
	int result = 0;
	*snapshot = (struct snapshot){0};
	DIR *pins = opendir(folder);
	if (!pins)
		return error_set(err, -errno, "'%s' cannot be read: %s", folder,
				 error_text(-errno));
	for (struct dirent *pin = readdir(pins); pin && result == 0; pin = readdir(pins)) {
		if (pin->d_name[0] != '.')
			result = snapshot_add(snapshot, folder, pin->d_name);
	}
	closedir(pins);
	if (result < 0)
		return error_set(err, result, "the maps in '%s' cannot be examined: %s", folder,
				 error_text(result));
	return 0;
}

static const struct map *find_map(const struct snapshot *snapshot, const char *name)
{
	for (size_t i = 0; i < snapshot->count; i++) {
		if (strcmp(snapshot->maps[i].name, name) == 0)
			return &snapshot->maps[i];
	}
	return NULL;
}

static bool is_zero(const uint8_t *bytes, size_t length)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

/* Records of `after` that `before`, which may be smaller, does not have. */
static size_t count_changed(const struct map *before, const struct map *after)
{
	size_t changed = 0;
	for (size_t i = 0; after->content && i < after->records; i++) {
		const uint8_t *record = after->content + i * after->record;
		bool same =
		    before && i < before->records
			? memcmp(before->content + i * before->record, record, after->record) == 0
			: is_zero(record, after->record);
		changed += !same;
	}
	return changed;
}

/* Bytes of the map's records that the further versions took. */
static uint64_t taken(const struct snapshot *before, const struct snapshot *after,
		      const struct map *map)
{
	/* Whoever takes a descriptor takes its counters, which nothing has written to yet. */
	const struct map *counted =
	    strcmp(map->name, "counters") == 0 ? find_map(after, "descriptors") : map;
	if (!counted || strcmp(map->name, "settings") == 0)
		return 0;
	return count_changed(find_map(before, counted->name), counted) * map->record;
}

static void print_versions(const struct snapshot *before, const struct snapshot *after,
			   FILE *stream)
{
	const double further = RIG_VERSIONS - 1;
	double sum = 0;
	fprintf(stream, "\"per_version\": {\"maps\": {");
	for (size_t i = 0; i < after->count; i++) {
		double bytes = (double)taken(before, after, &after->maps[i]) / further;
		sum += bytes;
		fprintf(stream, "%s\"%s\": %.1f", i > 0 ? ", " : "", after->maps[i].name, bytes);
	}
	fprintf(stream, "}, \"bytes\": %.1f, \"allocated\": %.1f}", sum,
		((double)after->memory - (double)before->memory) / further);
}

static int measure_versions(struct rig *rig, FILE *stream, struct error *err)
{
	struct snapshot before = {0};
	struct snapshot after = {0};
	int result = rig_publish_shared(rig, 1, err);
	if (result == 0)
		result = snapshot_take(rig, &before, err);
	if (result == 0)
		result = rig_publish_shared(rig, RIG_VERSIONS, err);
	if (result == 0)
		result = snapshot_take(rig, &after, err);
	if (result == 0)
		print_versions(&before, &after, stream);
	snapshot_done(&before);
	snapshot_done(&after);
	return result < 0 ? result : rig_publish(rig, RIG_VERSIONS, err);
}

static int run_flows(struct rig *rig, struct error *err)
{
	double ns;
	int result = 0;
	for (int i = 0; i < 2 && result == 0; i++) {
		struct rig_case rig_case = {.family = i == 0 ? IP_V4 : IP_V6,
					    .kind = RIG_ESTABLISHED,
					    .program = RIG_EDGE,
					    .flows = STAMP_FLOWS,
					    .versions = RIG_VERSIONS};
		result = rig_time(rig, &rig_case, STAMP_FLOWS, &ns, err);
	}
	return result;
}

static int measure_flows(struct rig *rig, FILE *stream, struct error *err)
{
	struct snapshot before = {0};
	struct snapshot after = {0};
	int result = snapshot_take(rig, &before, err);
	if (result == 0)
		result = run_flows(rig, err);
	if (result == 0)
		result = snapshot_take(rig, &after, err);
	if (result == 0) {
		fprintf(stream,
			"\"total\": %" PRIu64 ", \"flows\": %u, \"total_after_flows\": %" PRIu64
			", \"per_flow\": %.3f",
			before.memory, 2 * STAMP_FLOWS, after.memory,
			((double)after.memory - (double)before.memory) / (2.0 * STAMP_FLOWS));
	}
	snapshot_done(&before);
	snapshot_done(&after);
	return result;
}

int memory_print(struct rig *rig, FILE *stream, struct error *err)
{
	fputs("{", stream);
	int result = measure_flows(rig, stream, err);
	if (result < 0)
		return result;
	fputs(", ", stream);
	result = measure_versions(rig, stream, err);
	if (result == 0)
		fprintf(stream, ", \"cpus\": %d}\n", libbpf_num_possible_cpus());
	return result;
}
