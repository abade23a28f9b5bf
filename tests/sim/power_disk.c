/* SPDX-License-Identifier: Apache-2.0 */
#include "power_disk.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECTOR 512u
#define MOST_FILES 32
#define MOST_NAMES 16
#define NAME_BYTES 256

/* A change of a file since it was last synced; of its length when there are no bytes. */
struct change {
	size_t offset;
	size_t length;
	unsigned char *bytes; /* owned; NULL: cut to `offset` */
};

struct content {
	unsigned char *bytes; /* owned */
	size_t length;
	size_t room;
};

struct file {
	bool used;
	struct content durable;
	struct content now;
	struct change *changes; /* owned */
	size_t change_count;
	size_t change_room;
};

/* What names mean: an index of `files` each, -1 none. */
struct names {
	char name[MOST_NAMES][NAME_BYTES];
	int file[MOST_NAMES];
};

struct machine {
	const char *folder; /* what lies below it is this machine's; NULL: all that is no other's */
	struct random random;
	uint64_t cut_at;
	uint64_t events;
	bool is_cut;
	struct file files[MOST_FILES];
	struct names now;
	/* As they were on disk, and after each change since; the last is `now`. */
	struct names *history;
	size_t history_count;
};

static struct machine machines[POWER_DISK_MACHINES];
static struct machine *disk = machines; /* whose disk is used now */

/* Who names a file by its path means the disk that it is on. */
static void select_by_path(const char *path)
{
	disk = machines;
	for (size_t i = 1; path && i < POWER_DISK_MACHINES; i++) {
		const char *folder = machines[i].folder;
		if (folder && strncmp(path, folder, strlen(folder)) == 0 &&
		    path[strlen(folder)] == '/')
			disk = &machines[i];
	}
}

void power_disk_select(unsigned machine, const char *folder)
{
	disk = &machines[machine];
	disk->folder = folder;
}

static void *must(void *memory)
{
	assert(memory);
	return memory;
}

/* --- content --- */

static void content_resize(struct content *content, size_t length)
{
	if (length >= content->room) {
		content->room = 2 * length + 65536;
		content->bytes = must(realloc(content->bytes, content->room));
	}
	if (length > content->length)
		memset(content->bytes + content->length, 0, length - content->length);
	content->length = length;
}

static void content_write(struct content *content, size_t offset, const unsigned char *bytes,
			  size_t length)
{
	if (offset + length > content->length)
		content_resize(content, offset + length);
	memcpy(content->bytes + offset, bytes, length);
}

static void content_copy(struct content *to, const struct content *from)
{
	content_resize(to, from->length);
	if (from->length)
		memcpy(to->bytes, from->bytes, from->length);
}

/* --- files --- */

static void forget_changes(struct file *file)
{
	for (size_t i = 0; i < file->change_count; i++)
		free(file->changes[i].bytes);
	file->change_count = 0;
}

/* Its memory is the next file's. */
static void file_empty(struct file *file)
{
	forget_changes(file);
	file->used = false;
	file->durable.length = 0;
	file->now.length = 0;
}

static void file_free(struct file *file)
{
	forget_changes(file);
	free(file->changes);
	free(file->durable.bytes);
	free(file->now.bytes);
	*file = (struct file){0};
}

static void add_change(struct file *file, size_t offset, const void *bytes, size_t length)
{
	struct change change = {.offset = offset, .length = length};
	if (bytes) {
		change.bytes = must(malloc(length + 1));
		memcpy(change.bytes, bytes, length);
		content_write(&file->now, offset, bytes, length);
	} else {
		content_resize(&file->now, offset);
	}
	if (file->change_count == file->change_room) {
		file->change_room = 2 * file->change_room + 16;
		file->changes =
		    must(realloc(file->changes, file->change_room * sizeof(*file->changes)));
	}
	file->changes[file->change_count++] = change;
}

/* All that was written is durable. */
static void flush(struct file *file)
{
	for (size_t i = 0; i < file->change_count; i++) {
		const struct change *change = &file->changes[i];
		if (change->bytes)
			content_write(&file->durable, change->offset, change->bytes,
				      change->length);
		else
			content_resize(&file->durable, change->offset);
	}
	forget_changes(file);
}

/* Each sector of a write for itself: a disk may write them in any order. */
static void tear(struct content *durable, const struct change *change)
{
	if (!change->bytes) {
		if (random_below(&disk->random, 2))
			content_resize(durable, change->offset);
		return;
	}
	for (size_t at = 0; at < change->length;) {
		size_t place = change->offset + at;
		size_t length = SECTOR - place % SECTOR;
		if (length > change->length - at)
			length = change->length - at;
		if (random_below(&disk->random, 2))
			content_write(durable, place, change->bytes + at, length);
		at += length;
	}
}

/* One cut in four keeps all that was written, and one loses it all; the others tear. */
static void lose(struct file *file)
{
	uint64_t how = random_below(&disk->random, 4);
	if (how == 0) {
		content_copy(&file->durable, &file->now);
	} else if (how > 1) {
		for (size_t i = 0; i < file->change_count; i++)
			tear(&file->durable, &file->changes[i]);
	}
	forget_changes(file);
	content_copy(&file->now, &file->durable);
}

/* --- names --- */

static int find(const struct names *names, const char *name)
{
	for (int i = 0; i < MOST_NAMES; i++) {
		if (names->file[i] >= 0 && strcmp(names->name[i], name) == 0)
			return i;
	}
	return -1;
}

static void set(struct names *names, const char *name, int file)
{
	int place = find(names, name);
	for (int i = 0; place < 0 && i < MOST_NAMES; i++) {
		if (names->file[i] < 0)
			place = i;
	}
	assert(place >= 0);
	snprintf(names->name[place], NAME_BYTES, "%s", name);
	names->file[place] = file;
}

static void note_names(void)
{
	disk->history =
	    must(realloc(disk->history, (disk->history_count + 1) * sizeof(*disk->history)));
	disk->history[disk->history_count++] = disk->now;
}

static void names_are_durable(void)
{
	disk->history_count = 0;
	note_names();
}

static bool is_named(int file)
{
	for (size_t h = 0; h < disk->history_count; h++) {
		for (int i = 0; i < MOST_NAMES; i++) {
			if (disk->history[h].file[i] == file)
				return true;
		}
	}
	return false;
}

static int file_new(void)
{
	/* Files that no name can bring back any more make room. */
	for (int i = 0; i < MOST_FILES; i++) {
		if (disk->files[i].used && is_named(i))
			continue;
		file_empty(&disk->files[i]);
		disk->files[i].used = true;
		return i;
	}
	abort();
}

/* --- the power --- */

static void cut(void)
{
	disk->is_cut = true;
	disk->now = disk->history[random_below(&disk->random, disk->history_count)];
	for (int i = 0; i < MOST_FILES; i++) {
		if (disk->files[i].used)
			lose(&disk->files[i]);
	}
}

/* Call it after a change was noted: the power may go while it is on its way. Fails when it went. */
static bool event(void)
{
	if (disk->is_cut)
		return false;
	if (++disk->events != disk->cut_at)
		return true;
	cut();
	return false;
}

void power_disk_done(void)
{
	for (int i = 0; i < MOST_FILES; i++)
		file_free(&disk->files[i]);
	free(disk->history);
	disk->history = NULL;
	disk->history_count = 0;
}

void power_disk_reset(uint64_t seed, uint64_t cut_at)
{
	for (int i = 0; i < MOST_FILES; i++)
		file_empty(&disk->files[i]);
	random_init_seeded(&disk->random, seed);
	power_disk_restore(cut_at);
	for (int i = 0; i < MOST_NAMES; i++)
		disk->now.file[i] = -1;
	names_are_durable();
}

void power_disk_restore(uint64_t cut_at)
{
	disk->is_cut = false;
	disk->events = 0;
	disk->cut_at = cut_at;
	names_are_durable();
}

void power_disk_stop(void)
{
	if (disk->is_cut)
		return;
	disk->is_cut = true;
	for (int i = 0; i < MOST_FILES; i++)
		flush(&disk->files[i]);
}

static bool is_below(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

bool power_disk_is_synced(const char *prefix)
{
	for (int i = 0; i < MOST_NAMES; i++) {
		int file = disk->now.file[i];
		if (file >= 0 && is_below(disk->now.name[i], prefix) &&
		    disk->files[file].change_count)
			return false;
	}
	return true;
}

/* --- copies --- */

struct power_copy {
	size_t count;
	char name[MOST_NAMES][NAME_BYTES];
	struct content content[MOST_NAMES]; /* owned */
};

struct power_copy *power_disk_copy(const char *prefix)
{
	struct power_copy *copy = must(calloc(1, sizeof(*copy)));
	for (int i = 0; i < MOST_NAMES; i++) {
		int file = disk->now.file[i];
		if (file < 0 || !is_below(disk->now.name[i], prefix))
			continue;
		memcpy(copy->name[copy->count], disk->now.name[i], NAME_BYTES);
		content_copy(&copy->content[copy->count++], &disk->files[file].now);
	}
	return copy;
}

void power_disk_put_back(const struct power_copy *copy, const char *prefix)
{
	for (int i = 0; i < MOST_NAMES; i++) {
		if (disk->now.file[i] >= 0 && is_below(disk->now.name[i], prefix))
			disk->now.file[i] = -1;
	}
	for (size_t i = 0; i < copy->count; i++) {
		if (!is_below(copy->name[i], prefix))
			continue;
		int file = file_new();
		content_copy(&disk->files[file].now, &copy->content[i]);
		content_copy(&disk->files[file].durable, &copy->content[i]);
		set(&disk->now, copy->name[i], file);
		note_names();
	}
	names_are_durable();
}

void power_copy_free(struct power_copy *copy)
{
	if (!copy)
		return;
	for (size_t i = 0; i < copy->count; i++)
		free(copy->content[i].bytes);
	free(copy);
}

/* --- as it is asked --- */

bool power_disk_is_cut(void)
{
	return disk->is_cut;
}

uint64_t power_disk_events(void)
{
	return disk->events;
}

/* --- as a struct disk --- */

static int make(const char *name)
{
	int file = file_new();
	set(&disk->now, name, file);
	note_names();
	return file;
}

static int disk_create(void *context, const char *path, mode_t mode, int *ret_file)
{
	(void)context, (void)mode;
	select_by_path(path);
	if (disk->is_cut)
		return -EIO;
	*ret_file = make(path);
	return event() ? 0 : -EIO;
}

static int disk_write(void *context, int file, const void *bytes, size_t length)
{
	(void)context;
	if (disk->is_cut)
		return -EIO;
	add_change(&disk->files[file], disk->files[file].now.length, bytes, length);
	return event() ? 0 : -EIO;
}

/* Syncing a file that is new makes its name durable too, as ext4 and xfs do; a rename has to be
 * synced with its folder. */
static bool sync_file(int number)
{
	if (!event())
		return false;
	flush(&disk->files[number]);
	return true;
}

static int disk_sync(void *context, int file)
{
	(void)context;
	return sync_file(file) ? 0 : -EIO;
}

static int disk_close(void *context, int file)
{
	(void)context, (void)file;
	return disk->is_cut ? -EIO : 0;
}

static int disk_update(void *context, const char *path, off_t offset, const void *bytes,
		       size_t length)
{
	(void)context;
	select_by_path(path);
	int place = find(&disk->now, path);
	if (disk->is_cut)
		return -EIO;
	if (place < 0)
		return -ENOENT;
	int file = disk->now.file[place];
	add_change(&disk->files[file], (size_t)offset, bytes, length);
	return event() && sync_file(file) ? 0 : -EIO;
}

static int disk_read(void *context, const char *path, struct buffer *ret_bytes)
{
	(void)context;
	select_by_path(path);
	int place = find(&disk->now, path);
	if (disk->is_cut)
		return -EIO;
	if (place < 0)
		return -ENOENT;
	const struct content *content = &disk->files[disk->now.file[place]].now;
	buffer_append(ret_bytes, content->length ? (const char *)content->bytes : "",
		      content->length);
	return ret_bytes->status;
}

static int change_name(const char *from, const char *to)
{
	select_by_path(from);
	int place = find(&disk->now, from);
	if (disk->is_cut)
		return -EIO;
	if (place < 0)
		return -ENOENT;
	int file = disk->now.file[place];
	disk->now.file[place] = -1;
	if (to)
		set(&disk->now, to, file);
	note_names();
	return event() ? 0 : -EIO;
}

static int disk_rename(void *context, const char *from, const char *to)
{
	(void)context;
	return change_name(from, to);
}

static int disk_remove(void *context, const char *path)
{
	(void)context;
	return change_name(path, NULL);
}

static int disk_sync_folder(void *context, const char *path)
{
	(void)context;
	select_by_path(path);
	if (!event())
		return -EIO;
	names_are_durable();
	return 0;
}

const struct disk power_disk = {.create = disk_create,
				.write = disk_write,
				.sync = disk_sync,
				.close = disk_close,
				.update = disk_update,
				.read = disk_read,
				.rename = disk_rename,
				.remove = disk_remove,
				.sync_folder = disk_sync_folder};

/* --- as SQLite's VFS --- */

#define MOST_REGIONS 16

struct vfs_file {
	sqlite3_file base;
	struct machine *machine;
	int file;
	char *delete_at_close; /* owned; NULL: it stays */
	void *regions[MOST_REGIONS]; /* the WAL's index: memory, lost with the process */
};

/* Of the machine whose disk is used from now on. */
static struct vfs_file *of(sqlite3_file *file)
{
	disk = ((struct vfs_file *)file)->machine;
	return (struct vfs_file *)file;
}

static void free_regions(struct vfs_file *file)
{
	for (int i = 0; i < MOST_REGIONS; i++) {
		free(file->regions[i]);
		file->regions[i] = NULL;
	}
}

static int vfs_close(sqlite3_file *file)
{
	free_regions(of(file));
	if (of(file)->delete_at_close)
		(void)disk_remove(NULL, of(file)->delete_at_close);
	free(of(file)->delete_at_close);
	return SQLITE_OK;
}

static int vfs_read(sqlite3_file *file, void *bytes, int length, sqlite3_int64 offset)
{
	int number = of(file)->file;
	if (disk->is_cut)
		return SQLITE_IOERR_READ;
	const struct content *content = &disk->files[number].now;
	size_t wanted = (size_t)length;
	size_t from = (size_t)offset;
	size_t there = from < content->length ? content->length - from : 0;
	size_t got = there < wanted ? there : wanted;
	if (got)
		memcpy(bytes, content->bytes + from, got);
	memset((char *)bytes + got, 0, wanted - got);
	return got == wanted ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int vfs_write(sqlite3_file *file, const void *bytes, int length, sqlite3_int64 offset)
{
	int number = of(file)->file;
	if (disk->is_cut)
		return SQLITE_IOERR_WRITE;
	add_change(&disk->files[number], (size_t)offset, bytes, (size_t)length);
	return event() ? SQLITE_OK : SQLITE_IOERR_WRITE;
}

static int vfs_truncate(sqlite3_file *file, sqlite3_int64 length)
{
	int number = of(file)->file;
	if (disk->is_cut)
		return SQLITE_IOERR_TRUNCATE;
	add_change(&disk->files[number], (size_t)length, NULL, 0);
	return event() ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
}

/* SQLite syncs the folder of a file that it made when it first syncs the file. */
static int vfs_sync(sqlite3_file *file, int flags)
{
	(void)flags;
	if (!sync_file(of(file)->file))
		return SQLITE_IOERR_FSYNC;
	names_are_durable();
	return SQLITE_OK;
}

static int vfs_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
	int number = of(file)->file;
	*ret_size = (sqlite3_int64)disk->files[number].now.length;
	return disk->is_cut ? SQLITE_IOERR_FSTAT : SQLITE_OK;
}

static int vfs_lock(sqlite3_file *file, int level)
{
	(void)file, (void)level;
	return SQLITE_OK;
}

static int vfs_reserved(sqlite3_file *file, int *ret_reserved)
{
	(void)file;
	*ret_reserved = 0;
	return SQLITE_OK;
}

static int vfs_control(sqlite3_file *file, int operation, void *argument)
{
	(void)file, (void)operation, (void)argument;
	return SQLITE_NOTFOUND;
}

static int vfs_sector_size(sqlite3_file *file)
{
	(void)file;
	return SECTOR;
}

/* As SQLite takes it of the machine's own file systems: bytes that a write does not name stay. */
static int vfs_characteristics(sqlite3_file *file)
{
	(void)file;
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int vfs_shm_map(sqlite3_file *file, int region, int size, int extend,
		       void volatile **ret_memory)
{
	assert(region < MOST_REGIONS);
	void **place = &of(file)->regions[region];
	if (!*place && extend)
		*place = must(calloc(1, (size_t)size));
	*ret_memory = *place;
	return SQLITE_OK;
}

static int vfs_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
	(void)file, (void)offset, (void)count, (void)flags;
	return SQLITE_OK;
}

static void vfs_shm_barrier(sqlite3_file *file)
{
	(void)file;
}

static int vfs_shm_unmap(sqlite3_file *file, int remove)
{
	(void)remove;
	free_regions(of(file));
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = {.iVersion = 2,
					   .xClose = vfs_close,
					   .xRead = vfs_read,
					   .xWrite = vfs_write,
					   .xTruncate = vfs_truncate,
					   .xSync = vfs_sync,
					   .xFileSize = vfs_size,
					   .xLock = vfs_lock,
					   .xUnlock = vfs_lock,
					   .xCheckReservedLock = vfs_reserved,
					   .xFileControl = vfs_control,
					   .xSectorSize = vfs_sector_size,
					   .xDeviceCharacteristics = vfs_characteristics,
					   .xShmMap = vfs_shm_map,
					   .xShmLock = vfs_shm_lock,
					   .xShmBarrier = vfs_shm_barrier,
					   .xShmUnmap = vfs_shm_unmap};

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags,
		    int *ret_flags)
{
	(void)vfs;
	file->pMethods = NULL;
	select_by_path(name);
	if (disk->is_cut)
		return SQLITE_CANTOPEN;
	int place = name ? find(&disk->now, name) : -1;
	if (place < 0 && (flags & SQLITE_OPEN_READONLY))
		return SQLITE_CANTOPEN;
	int number = place >= 0 ? disk->now.file[place] : make(name ? name : "temporary");
	*(struct vfs_file *)file =
	    (struct vfs_file){.base.pMethods = &methods, .machine = disk, .file = number};
	if (flags & SQLITE_OPEN_DELETEONCLOSE)
		of(file)->delete_at_close = must(strdup(name ? name : "temporary"));
	if (ret_flags)
		*ret_flags = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	(void)vfs;
	select_by_path(name);
	if (disk->is_cut)
		return SQLITE_IOERR_DELETE;
	if (find(&disk->now, name) < 0)
		return SQLITE_IOERR_DELETE_NOENT;
	if (disk_remove(NULL, name) < 0 || (sync && disk_sync_folder(NULL, name) < 0))
		return SQLITE_IOERR_DELETE;
	return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_there)
{
	(void)vfs, (void)flags;
	select_by_path(name);
	*ret_there = find(&disk->now, name) >= 0;
	return disk->is_cut ? SQLITE_IOERR_ACCESS : SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int size, char *path)
{
	(void)vfs;
	snprintf(path, (size_t)size, "%s", name);
	return SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *vfs, int length, char *bytes)
{
	(void)vfs;
	random_fill(&disk->random, bytes, (size_t)length);
	return length;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
	(void)vfs;
	return microseconds;
}

static int vfs_time(sqlite3_vfs *vfs, double *ret_days)
{
	(void)vfs;
	*ret_days = 2460000.5;
	return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int length, char *text)
{
	(void)vfs, (void)length, (void)text;
	return 0;
}

void power_disk_register(void)
{
	static sqlite3_vfs vfs = {.iVersion = 1,
				  .szOsFile = sizeof(struct vfs_file),
				  .mxPathname = NAME_BYTES - 16,
				  .zName = "power",
				  .xOpen = vfs_open,
				  .xDelete = vfs_delete,
				  .xAccess = vfs_access,
				  .xFullPathname = vfs_full_path,
				  .xRandomness = vfs_randomness,
				  .xSleep = vfs_sleep,
				  .xCurrentTime = vfs_time,
				  .xGetLastError = vfs_last_error};
	assert(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
}
