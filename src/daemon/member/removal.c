/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/member/removal.h"

#include "api/unix.h"
#include "base/disk.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "daemon/daemon.h"
#include "daemon/names_plane.h"
#include "fabric/removal_proof.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTE "removed"
#define ASIDE "removed-"
#define NOTE_BYTES 65536u

bool removal_withdraws(const struct daemon *daemon)
{
	return daemon->removal.sequence != 0;
}

static void set_alarm(struct removal *removal, const char *node, uint64_t now_ms)
{
	(void)ALARM_SET(&removal->alarm, now_ms, NODE_REMOVED, node,
			(unsigned long long)removal->sequence);
}

/* --- hearing of it ---------------------------------------------------------------------------- */

static void note(const struct daemon *daemon, const void *proof, size_t length)
{
	char path[PATH_MAX];
	struct error err = {0};
	snprintf(path, sizeof(path), "%s/" NOTE, daemon->options->state_folder);
	/* Without it the next start is told again before it takes traffic, or forwards as before.
	 */
	if (disk_write_durably(path, proof, length, 0600, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "removal.not_noted", "error", err.text, NULL);
}

static void withdraw(struct daemon *daemon, uint64_t now_ms)
{
	daemon->removal.empties_ms = now_ms + REMOVAL_WAIT_MS;
	daemon->acting.options.is_names = false;
	names_plane_free(daemon->names);
	daemon->names = NULL;
	daemon_event(daemon, "removal.withdrawn",
		     json_pack("{s:I, s:I}", "sequence", (json_int_t)daemon->removal.sequence, "ms",
			       (json_int_t)REMOVAL_WAIT_MS));
}

void removal_take(struct daemon *daemon, const char *from, const void *proof, size_t length)
{
	struct removal *removal = &daemon->removal;
	const char *node = daemon->options->node;
	uint64_t now_ms = clock_now_ms(daemon->clock);
	struct error err = {0};
	if (removal->sequence)
		return;
	int result = removal_proof_check(&daemon->image, node, daemon->self.channel_key, proof,
					 length, &removal->sequence, &err);
	if (must_succeed(result) < 0) {
		if (ALARM_SET(&removal->doubt, now_ms, REMOVAL_NOT_BELIEVED, node, from, err.text))
			daemon_tell_alarm(daemon, &removal->doubt);
		return;
	}
	alarm_end(&removal->doubt);
	set_alarm(removal, node, now_ms);
	daemon_tell_alarm(daemon, &removal->alarm);
	note(daemon, proof, length);
	withdraw(daemon, now_ms);
}

void removal_tick(struct daemon *daemon, uint64_t now_ms)
{
	struct removal *removal = &daemon->removal;
	if (!removal->empties_ms || now_ms < removal->empties_ms)
		return;
	removal->empties_ms = 0;
	daemon->again = true;
	uv_stop(&daemon->loop);
}

/* --- what is left ----------------------------------------------------------------------------- */

int removal_read(const char *state_folder, uint64_t *ret_sequence, struct error *err)
{
	struct buffer bytes;
	struct ledger_entry entry;
	char path[PATH_MAX];
	*ret_sequence = 0;
	snprintf(path, sizeof(path), "%s/" NOTE, state_folder);
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	buffer_init(&bytes, NOTE_BYTES);
	int result = file_read(path, &bytes, err);
	if (result == 0)
		result = ledger_entry_parse(bytes.data, bytes.length, &entry, err);
	/* It was checked when it was noted; who can write here can do worse. */
	if (result == 0) {
		*ret_sequence = entry.sequence;
		ledger_entry_done(&entry);
	} else {
		error_prefix(err, "%s", path);
	}
	buffer_done(&bytes);
	return result;
}

int removal_begin(const struct daemon_options *options, struct daemon_options *ret_options,
		  struct removal *ret_removal, struct error *err)
{
	struct removal removal = {0};
	struct daemon_options bare = *options;
	int result = removal_read(options->state_folder, &removal.sequence, err);
	if (result == 0 && removal.sequence) {
		bare.edge = bare.names = bare.backend = bare.announces = false;
		removal.is_over = true;
		set_alarm(&removal, options->node, 0);
		result = daemon_empty(options, err);
		log_event(LOG_LEVEL_WARNING, "removal.emptied", "node", options->node, NULL);
	}
	*ret_options = bare;
	*ret_removal = removal;
	return result;
}

/* "FOLDER/NAME" into `path`, of PATH_MAX bytes. */
static int join_path(const char *folder, const char *name, char *path, struct error *err)
{
	if (snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX)
		return 0;
	return error_set(err, -ENAMETOOLONG, "%s: the path is too long", folder);
}

static int move(const char *folder, const char *to, struct error *err)
{
	char from_path[PATH_MAX];
	char to_path[PATH_MAX];
	DIR *list = opendir(folder);
	struct dirent *one;
	int result = 0;
	if (!list)
		return error_set(err, -errno, "%s: %s", folder, error_text(-errno));
	while (result == 0 && (one = readdir(list))) {
		if (strcmp(one->d_name, ".") == 0 || strcmp(one->d_name, "..") == 0 ||
		    strncmp(one->d_name, ASIDE, strlen(ASIDE)) == 0 ||
		    strcmp(one->d_name, NOTE) == 0)
			continue;
		result = join_path(folder, one->d_name, from_path, err);
		if (result == 0)
			result = join_path(to, one->d_name, to_path, err);
		if (result == 0 && rename(from_path, to_path) < 0)
			result = error_set(err, -errno, "%s: it cannot be put aside: %s", from_path,
					   error_text(-errno));
	}
	closedir(list);
	return result;
}

int removal_make_room(const struct daemon_options *options, struct error *err)
{
	const char *folder = options->state_folder;
	char name[sizeof(ASIDE) + 24];
	char note_path[PATH_MAX];
	char aside[PATH_MAX];
	char aside_note[PATH_MAX];
	uint64_t sequence;
	int result = removal_read(folder, &sequence, err);
	if (result < 0 || !sequence)
		return result;
	result = api_unix_claim(options->socket_path, err);
	if (result == -EADDRINUSE)
		return error_set(err, -EBUSY,
				 "the daemon of the removed node still runs: stop it, then join");
	if (result == 0)
		result = daemon_empty(options, err);
	snprintf(name, sizeof(name), ASIDE "%llu", (unsigned long long)sequence);
	if (result == 0)
		result = join_path(folder, NOTE, note_path, err);
	if (result == 0)
		result = join_path(folder, name, aside, err);
	if (result == 0)
		result = join_path(aside, NOTE, aside_note, err);
	if (result == 0)
		result = file_make_folders(aside, 0700, err);
	if (result == 0)
		result = move(folder, aside, err);
	/* The note goes last: what was cut short is done again. */
	if (result == 0 && rename(note_path, aside_note) < 0)
		result = error_set(err, -errno, "%s: it cannot be put aside: %s", note_path,
				   error_text(-errno));
	return result;
}
