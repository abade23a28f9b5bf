/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs, and their pins: <pin_root>/programs/<build>_<program>. A process of the same build
 * takes over the program that runs, so that a restart neither has it verified again, which is the
 * longest step of a start, nor exchanges it on an interface. The build is the digest of the whole
 * object; of another one the program is loaded, and so it is if the pinned one reads other maps
 * than those that are pinned.
 */
#include "base/file.h"
#include "dataplane/internal.h"
#include "dataplane/skeleton.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define FOLDER "programs"
#define NEW "_new" /* after the pin's name, until it takes the old one's place */
#define MOST_MAPS 64u /* of one program */

static const char *const names[EDGE_PROGRAMS] = {
    [EDGE_PROGRAM_PACKETS] = "edge",
    [EDGE_PROGRAM_HEARTBEAT] = "heartbeat",
};

static void pin_leaf(const struct edge *edge, size_t which, const char *suffix, char leaf[64])
{
	snprintf(leaf, 64, "%s_%s%s", edge->build_id, names[which], suffix);
}

static void pin_path(const struct edge *edge, size_t which, const char *suffix,
		     char path[EDGE_PATH])
{
	char leaf[64];
	pin_leaf(edge, which, suffix, leaf);
	maps_path(path, edge->pin_root, FOLDER, leaf);
}

void edge_programs_init(struct edge_programs *programs)
{
	for (size_t i = 0; i < EDGE_PROGRAMS; i++)
		programs->fds[i] = -1;
}

void edge_programs_close(struct edge_programs *programs)
{
	for (size_t i = 0; i < EDGE_PROGRAMS; i++) {
		if (programs->fds[i] >= 0)
			close(programs->fds[i]);
	}
	edge_programs_init(programs);
}

int edge_program_fd(const struct edge *edge)
{
	return edge->programs.fds[EDGE_PROGRAM_PACKETS];
}

/* --- taking over --- */

/* The ids of the maps that are pinned; 0 in the place of one that is not. */
static size_t pinned_map_ids(const struct edge *edge, uint32_t ids[MOST_MAPS])
{
	const struct bpf_map *map;
	size_t count = 0;
	bpf_object__for_each_map(map, edge->skeleton->obj)
	{
		struct bpf_map_info info = {0};
		uint32_t size = sizeof(info);
		int fd = bpf_obj_get(bpf_map__pin_path(map));
		ASSERT(count < MOST_MAPS);
		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
			info.id = 0;
		if (fd >= 0)
			close(fd);
		ids[count++] = info.id;
	}
	return count;
}

static bool contains(const uint32_t *ids, size_t count, uint32_t id)
{
	for (size_t i = 0; i < count; i++) {
		if (ids[i] == id)
			return true;
	}
	return false;
}

/* Does it read those maps, and no other? A map that is no longer pinned says what was. */
static bool reads_only(int program_fd, const uint32_t *ids, size_t count)
{
	uint32_t read[MOST_MAPS];
	struct bpf_prog_info info = {.nr_map_ids = MOST_MAPS, .map_ids = (uint64_t)(uintptr_t)read};
	uint32_t size = sizeof(info);
	if (bpf_obj_get_info_by_fd(program_fd, &info, &size) < 0 || info.nr_map_ids == 0 ||
	    info.nr_map_ids > MOST_MAPS)
		return false;
	for (uint32_t i = 0; i < info.nr_map_ids; i++) {
		if (!contains(ids, count, read[i]))
			return false;
	}
	return true;
}

static bool is_named(int program_fd, const char *name)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);
	return bpf_obj_get_info_by_fd(program_fd, &info, &size) == 0 &&
	       strcmp(info.name, name) == 0;
}

/* All of them, or none. */
static bool take_over(struct edge *edge)
{
	uint32_t ids[MOST_MAPS];
	size_t count = pinned_map_ids(edge, ids);
	bool whole = edge->adopted;
	for (size_t i = 0; i < EDGE_PROGRAMS && whole; i++) {
		char path[EDGE_PATH];
		pin_path(edge, i, "", path);
		int fd = bpf_obj_get(path);
		edge->programs.fds[i] = fd;
		whole = fd >= 0 && is_named(fd, names[i]) && reads_only(fd, ids, count);
	}
	if (!whole)
		edge_programs_close(&edge->programs);
	return whole;
}

/* --- loading --- */

int edge_programs_take(const struct edge_bpf *skeleton, struct edge_programs *programs,
		       struct error *err)
{
	const struct bpf_program *const loaded[EDGE_PROGRAMS] = {
	    [EDGE_PROGRAM_PACKETS] = skeleton->progs.edge,
	    [EDGE_PROGRAM_HEARTBEAT] = skeleton->progs.heartbeat,
	};
	for (size_t i = 0; i < EDGE_PROGRAMS; i++) {
		programs->fds[i] = fcntl(bpf_program__fd(loaded[i]), F_DUPFD_CLOEXEC, 0);
		if (programs->fds[i] < 0)
			return error_set(err, -errno, "a program cannot be held open: %s",
					 error_text(-errno));
	}
	return 0;
}

static int skip_loading(const struct edge_bpf *skeleton, struct error *err)
{
	struct bpf_program *program;
	bpf_object__for_each_program(program, skeleton->obj)
	{
		int result = bpf_program__set_autoload(program, false);
		if (result < 0)
			return error_set(err, result, "a program cannot be left out: %s",
					 error_text(result));
	}
	return 0;
}

static int pin(const struct edge *edge, size_t which)
{
	char new[EDGE_PATH];
	char path[EDGE_PATH];
	pin_path(edge, which, NEW, new);
	pin_path(edge, which, "", path);
	(void)unlink(new); /* a process that ended in between left it */
	if (bpf_obj_pin(edge->programs.fds[which], new) < 0 || rename(new, path) < 0)
		return -errno;
	return 0;
}

int edge_programs_pin(const struct edge *edge, struct error *err)
{
	char folder[EDGE_PATH];
	maps_path(folder, edge->pin_root, FOLDER, NULL);
	int result = file_make_folders(folder, 0700, err);
	for (size_t i = 0; i < EDGE_PROGRAMS && result == 0; i++) {
		result = pin(edge, i);
		if (result < 0)
			error_set(err, result, "the program cannot be pinned in '%s': %s", folder,
				  error_text(result));
	}
	return result;
}

int edge_programs_load(struct edge *edge, struct error *err)
{
	if (take_over(edge)) {
		int result = skip_loading(edge->skeleton, err);
		return result < 0 ? result : maps_load(edge->skeleton, err);
	}
	int result = maps_load(edge->skeleton, err);
	if (result == 0)
		result = edge_programs_take(edge->skeleton, &edge->programs, err);
	if (result == 0)
		result = edge_programs_pin(edge, err);
	return result;
}

int edge_programs_repin(struct edge *edge, char ret_name[EDGE_PATH], struct error *err)
{
	int result = 0;
	for (size_t i = 0; i < EDGE_PROGRAMS && result == 0; i++) {
		char leaf[64];
		pin_leaf(edge, i, "", leaf);
		result = maps_repin_one(edge, edge->programs.fds[i], FOLDER, leaf, ret_name, err);
	}
	return result;
}

/* --- removing --- */

/* Other programs pin where they like: ours are named after a build and a program. */
static bool is_ours(const char *leaf)
{
	size_t digits = strspn(leaf, "0123456789abcdef");
	if (digits != EDGE_LAYOUT_HEX - 1 || leaf[digits] != '_')
		return false;
	for (size_t i = 0; i < EDGE_PROGRAMS; i++) {
		size_t length = strlen(names[i]);
		const char *rest = leaf + digits + 1 + length;
		if (strncmp(leaf + digits + 1, names[i], length) == 0 &&
		    (*rest == '\0' || strcmp(rest, NEW) == 0))
			return true;
	}
	return false;
}

static bool is_of_build(const struct edge *edge, const char *leaf)
{
	return strncmp(leaf, edge->build_id, strlen(edge->build_id)) == 0;
}

int edge_programs_sweep(const char *pin_root, const struct edge *keep, struct error *err)
{
	char folder[EDGE_PATH];
	char path[EDGE_PATH];
	maps_path(folder, pin_root, FOLDER, NULL);
	DIR *pins = opendir(folder);
	if (!pins)
		return errno == ENOENT ? 0
				       : error_set(err, -errno, "'%s' cannot be read: %s", folder,
						   error_text(-errno));
	for (struct dirent *pin = readdir(pins); pin; pin = readdir(pins)) {
		if (!is_ours(pin->d_name) || (keep && is_of_build(keep, pin->d_name)) ||
		    strlen(folder) + strlen(pin->d_name) + 2 > sizeof(path))
			continue;
		maps_path(path, pin_root, FOLDER, pin->d_name);
		(void)unlink(path); /* what stays is only memory that is not given back */
	}
	closedir(pins);
	if (!keep && rmdir(folder) < 0 && errno != ENOTEMPTY)
		return error_set(err, -errno, "'%s' cannot be removed: %s", folder,
				 error_text(-errno));
	return 0;
}
