/* SPDX-License-Identifier: Apache-2.0 */
/* What has nothing to do with packets: clock, disk, keys, certificate, what is pinned. */
#include "base/process.h"
#include "doctor/examination.h"
#include "kernel/pins.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#define OFFSET_MS 2000 /* sessions and certificates bear minutes; a person who reads logs, less */
#define FREE_BYTES (64ull << 20) /* the store's file, its journal and a copy beside it */
#define FREE_PART 100ull /* or one of so many parts of the file system, if that is less */

static void check_clock(struct examination *seen)
{
	struct timex state = {.modes = 0};
	seen->looked++;
	if (seen->offset_known && llabs((long long)seen->offset_ms) > OFFSET_MS)
		FINDING_PUT(seen->findings, CLOCK_OFFSET, "", "", llabs((long long)seen->offset_ms),
			    seen->offset_ms < 0 ? "behind" : "ahead of");
	if (adjtimex(&state) == TIME_ERROR)
		FINDING_PUT_PLAIN(seen->findings, CLOCK_ALONE, "", "");
}

static void check_disk(struct examination *seen)
{
	struct statvfs disk;
	seen->looked++;
	if (statvfs(seen->folders->state, &disk) < 0) {
		examination_unknown(seen, "the room on the disk of %s: %s", seen->folders->state,
				    error_text(-errno));
		return;
	}
	const uint64_t all = (uint64_t)disk.f_blocks * disk.f_frsize;
	const uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
	if (room < FREE_BYTES && (room < all / FREE_PART * 10 || all < FREE_BYTES))
		FINDING_PUT(seen->findings, DISK_FULL, seen->folders->state, "",
			    seen->folders->state, (long long)(room >> 20));
}

static void check_key(struct examination *seen, const char *name)
{
	char path[PATH_MAX];
	struct stat file;
	snprintf(path, sizeof(path), "%s/%s", seen->folders->state, name);
	if (stat(path, &file) < 0)
		return;
	seen->looked++;
	if (file.st_mode & 077u || file.st_uid != 0)
		FINDING_PUT(seen->findings, KEY_OPEN, path, "", path,
			    (unsigned)file.st_mode & 07777u, (unsigned)file.st_uid);
}

/* A renewal is due at two thirds of its life, and is tried again all the time: with a quarter left
 * something keeps it. */
static void check_certificate(struct examination *seen)
{
	const json_t *channel = json_object_get(seen->facts, "channel");
	const json_t *left = json_object_get(channel, "certificate_s");
	char port[16];
	if (!left)
		return;
	seen->looked++;
	snprintf(port, sizeof(port), "%lld",
		 (long long)json_integer_value(json_object_get(channel, "port")));
	if (json_integer_value(left) <
	    json_integer_value(json_object_get(channel, "certificate_life_s")) / 4)
		FINDING_PUT(seen->findings, CERTIFICATE_END, "", port,
			    (long long)json_integer_value(left) / 3600);
}

/* Folders of maps beside the one in use. Which that is only the daemon says. */
static void check_pins(struct examination *seen)
{
	const char *used = json_string_value(json_object_get(seen->facts, "layout"));
	if (!used)
		return;
	seen->looked++;
	DIR *folder = opendir(seen->folders->edge_pins);
	for (struct dirent *entry = folder ? readdir(folder) : NULL; entry;
	     entry = readdir(folder)) {
		char path[PATH_MAX];
		if (!pins_is_layout(entry->d_name, "") ||
		    strncmp(entry->d_name, used, strlen(used)) == 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", seen->folders->edge_pins, entry->d_name);
		FINDING_PUT(seen->findings, PINS_STALE, path, "", path);
	}
	if (folder)
		closedir(folder);
}

void check_machine(struct examination *seen)
{
	check_clock(seen);
	check_disk(seen);
	check_key(seen, "node.key");
	check_key(seen, "channel/key.pem");
	check_key(seen, "channel/ca-key.pem");
	check_certificate(seen);
	check_pins(seen);
}
