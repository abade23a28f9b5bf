/* SPDX-License-Identifier: Apache-2.0 */
#include "state/copies.h"

#include "base/clock.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_MS 30000 /* for one call of the store */
#define HEAD_BYTES 4096u
#define STORE_BYTES ((size_t)4 << 30) /* of a copy that is taken into memory */

const char *const copy_names[] = {COPY_GOOD_FILE, COPY_PROVING_FILE, NULL};

static void path_of(const char *folder, const char *name, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", folder, name);
}

int copy_head(const char *folder, const char *name, struct ledger_position *ret_head)
{
	char path[PATH_MAX];
	struct buffer value;
	struct ledger_head head = {0};
	path_of(folder, name, path);
	buffer_init(&value, HEAD_BYTES);
	int result = store_copy_peek(path, LEDGER_HEAD_KEY, &value, NULL);
	const struct store_record record = {
	    .key = LEDGER_HEAD_KEY, .value = value.data, .value_length = value.length};
	if (result == 0)
		result = ledger_head_parse(&record, &head, NULL);
	buffer_done(&value);
	if (result == 0)
		*ret_head =
		    (struct ledger_position){.sequence = head.sequence, .digest = head.digest};
	return result;
}

struct entry_wait {
	bool done;
	int result;
	struct error error;
	struct ledger_position found;
};

static void on_entry(void *context, int result, const struct error *err,
		     const struct ledger_page *page)
{
	struct entry_wait *wait = context;
	wait->done = true;
	wait->result = result;
	if (err)
		wait->error = *err;
	if (result == 0 && page->count)
		wait->found = (struct ledger_position){.sequence = page->entries[0].sequence,
						       .digest = page->entries[0].digest};
}

/* Entry `sequence`, 0 for the last one; its sequence is 0 when there is none. */
static int find_entry(struct store *store, uint64_t sequence, struct ledger_position *ret_found,
		      struct error *err)
{
	struct entry_wait wait = {0};
	int result = ledger_range(store, sequence, 1, on_entry, &wait, err);
	if (result == 0)
		result = store_wait(store, &wait.done, TIMEOUT_MS, err);
	if (result == 0 && wait.result < 0)
		result = error_set(err, wait.result, "%s", wait.error.text);
	if (result == 0)
		*ret_found = wait.found;
	return result;
}

int copy_has_entry(struct store *store, const struct ledger_position *position, bool *ret_has,
		   struct error *err)
{
	struct ledger_position found = {0};
	int result = position->sequence ? find_entry(store, position->sequence, &found, err) : 0;
	*ret_has = !position->sequence ||
		   (found.sequence == position->sequence &&
		    memcmp(found.digest.bytes, position->digest.bytes, DIGEST_BYTES) == 0);
	return result;
}

int copy_judge(const char *folder, const char *name, const struct ledger_position *mark,
	       const struct ledger_position *state, struct copy_verdict *ret_verdict,
	       struct error *err)
{
	char path[PATH_MAX];
	struct store *store = NULL;
	struct copy_verdict verdict = {0};
	const struct store_copy_options options = {
	    .path = path, .clock = &clock_system, .why = "it is only read"};
	path_of(folder, name, path);
	int result = store_open_copy(&options, &store, err);
	if (result < 0)
		return result;
	result = find_entry(store, 0, &verdict.head, err);
	if (result == 0)
		result = copy_has_entry(store, mark, &verdict.has_mark, err);
	if (result == 0)
		result = copy_has_entry(store, state, &verdict.has_state, err);
	store_close(store);
	if (result == 0)
		*ret_verdict = verdict;
	return result;
}

/* A log that was left would be played into the store that takes the place, so it goes first. */
static int set_aside(const char *folder, const struct disk *disk, uint64_t stamp, struct error *err)
{
	static const char *const suffixes[] = {"-wal", "-shm", ""};
	char from[PATH_MAX];
	char to[PATH_MAX];
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		snprintf(from, sizeof(from), "%s/store.db%s", folder, suffixes[i]);
		snprintf(to, sizeof(to), "%s/store.db.aside-%llu%s", folder,
			 (unsigned long long)stamp, suffixes[i]);
		int result = disk->rename(disk->context, from, to);
		if (result < 0 && result != -ENOENT)
			return error_set(err, result, "%s: cannot be set aside: %s", from,
					 error_text(result));
	}
	int result = disk->sync_folder(disk->context, from);
	return result < 0
		   ? error_set(err, result, "%s: cannot write: %s", folder, error_text(result))
		   : 0;
}

int copy_take_place(const char *folder, const struct disk *disk, const char *name, uint64_t stamp,
		    struct error *err)
{
	char path[PATH_MAX];
	struct buffer bytes;
	buffer_init(&bytes, STORE_BYTES);
	path_of(folder, name, path);
	int result = disk->read(disk->context, path, &bytes);
	if (result < 0)
		error_set(err, result, "%s: cannot read: %s", path, error_text(result));
	if (result == 0)
		result = set_aside(folder, disk, stamp, err);
	path_of(folder, "store.db", path);
	if (result == 0)
		result = disk_replace(disk, path, bytes.data, bytes.length, 0600, err);
	buffer_done(&bytes);
	return result;
}
