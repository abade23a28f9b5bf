/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/origin.h"

#include "base/arena.h"
#include "base/file.h"
#include "state/records.h"
#include "state/snapshot.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *origin_name(enum origin_kind kind)
{
	switch (kind) {
	case ORIGIN_STORE:
		break;
	case ORIGIN_SNAPSHOT:
		return "snapshot";
	case ORIGIN_LAST_GOOD:
		return "last good snapshot";
	}
	return "store";
}

static void path_of(const struct origin_options *options, const char *name, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", options->folder, name);
}

/* --- the store --- */

struct txn_wait {
	bool done;
	int result;
	uint64_t revision;
	struct error error;
};

static void on_txn(void *context, int result, const struct error *err,
		   const struct store_txn_outcome *outcome)
{
	struct txn_wait *wait = context;
	wait->done = true;
	wait->result = result;
	wait->revision = outcome ? outcome->revision : 0;
	if (err)
		wait->error = *err;
}

static int txn_and_wait(struct store *store, const struct store_txn *txn, uint64_t *ret_revision,
			struct error *err)
{
	struct txn_wait wait = {0};
	int result = store_txn(store, txn, on_txn, &wait, err);
	if (result == 0)
		result = store_wait(store, &wait.done, ORIGIN_TIMEOUT_MS, err);
	if (result == 0 && wait.result < 0)
		return error_set(err, wait.result, "%s", wait.error.text);
	*ret_revision = wait.revision;
	return result;
}

/* The first entry of a ledger introduces the key of the node that writes it. */
static int introduce(const struct origin_options *options, const struct origin *origin,
		     const struct ledger_head *head, struct error *err)
{
	const struct ledger_change change = {.time_ms = clock_wall_ms(options->clock),
					     .who = "fairlead",
					     .why = "the fabric begins"};
	struct ledger_append append;
	uint64_t revision;
	struct arena arena;
	arena_init(&arena, 0);
	int result =
	    ledger_introduce_ops(head, origin->signer, &change, options->node,
				 ledger_signer_public_key(origin->signer), &arena, &append, err);
	if (result == 0) {
		const struct store_txn txn = {.compares = append.compares,
					      .compare_count = append.compare_count,
					      .ops = append.ops,
					      .op_count = append.op_count};
		result = txn_and_wait(origin->store, &txn, &revision, err);
	}
	arena_done(&arena);
	return result;
}

struct owner_wait {
	bool done;
	int result;
	struct error error;
	char key[STORE_KEY_BYTES + 1];
};

static void on_owner(void *context, int result, const struct error *err,
		     const struct store_page *page)
{
	struct owner_wait *wait = context;
	wait->done = true;
	wait->result = result;
	if (err)
		wait->error = *err;
	if (result == 0 && page->count)
		snprintf(wait->key, sizeof(wait->key), "%s", page->records[0].key);
}

/* The first key under `prefix`, or "" in wait->key. */
static int read_first_key(struct store *store, const char *prefix, struct owner_wait *wait,
			  struct error *err)
{
	const struct store_range range = {.key = prefix, .prefix = true, .limit = 1};
	*wait = (struct owner_wait){0};
	int result = store_range(store, &range, on_owner, wait, err);
	if (result == 0)
		result = store_wait(store, &wait->done, ORIGIN_TIMEOUT_MS, err);
	if (result == 0 && wait->result < 0)
		result = error_set(err, wait->result, "%s", wait->error.text);
	return result;
}

static int foreign(const struct origin_options *options, const char *owner, struct error *err)
{
	return error_set(err, -FL_ESTATE,
			 "%s is the state of node %s, not of %s: start with --node %s, or give "
			 "this node a --state of its own",
			 options->folder, owner, options->node, owner);
}

/* A store belongs to one node. Under another name its entries would be signed by a stranger, and
 * the acknowledgements of the old name would be waited for without an end. */
static int check_owner(const struct origin_options *options, struct store *store, struct error *err)
{
	struct owner_wait wait;
	char own[RECORD_KEY_BYTES];
	snprintf(own, sizeof(own), "node/%s/", options->node);
	int result = read_first_key(store, own, &wait, err);
	if (result < 0 || *wait.key)
		return result;
	result = read_first_key(store, "node/", &wait, err);
	if (result < 0)
		return result;
	char *name = wait.key + strlen("node/");
	name[strcspn(name, "/")] = '\0';
	return foreign(options, name, err);
}

static bool has_snapshot(const struct origin_options *options)
{
	char newest[PATH_MAX];
	char good[PATH_MAX];
	path_of(options, ORIGIN_NEWEST, newest);
	path_of(options, ORIGIN_GOOD, good);
	return access(newest, F_OK) == 0 || access(good, F_OK) == 0;
}

/* Where there are snapshots there was a store: an empty one in its place would make the node
 * forget all of it, and begin a second ledger. */
static int lost(const struct origin_options *options, const char *what, struct error *err)
{
	return error_set(err, -FL_ENOTFOUND,
			 "%s/store.db %s, though this node has had one. Put it, or a backup of "
			 "it, in its place; or, to begin anew, which breaks the flows that are "
			 "there, stop the daemon and move %s and %s away",
			 options->folder, what, ORIGIN_NEWEST, ORIGIN_GOOD);
}

static int check_present(const struct origin_options *options, struct error *err)
{
	char path[PATH_MAX];
	path_of(options, "store.db", path);
	if (access(path, F_OK) < 0 && errno == ENOENT && has_snapshot(options))
		return lost(options, "is missing", err);
	return 0;
}

static int begin_ledger(const struct origin_options *options, struct origin *origin,
			struct image *image, struct error *err)
{
	if (has_snapshot(options))
		return lost(options, "is empty", err);
	int result = introduce(options, origin, &image->head, err);
	if (result < 0)
		return result;
	image_done(image);
	return image_load(image, origin->store, clock_now_ms(options->clock), err);
}

static void close_store(struct origin *origin, struct image *image)
{
	image_done(image);
	store_close(origin->store);
	origin->store = NULL;
	ledger_signer_free(origin->signer);
	origin->signer = NULL;
}

/* Everything that can fail because of the store or its disk, before anything stands on it. */
static int open_store(const struct origin_options *options, struct origin *origin,
		      struct image *image, struct error *err)
{
	const struct store_sqlite_options sqlite = {.folder = options->folder,
						    .clock = options->clock};
	*image = (struct image){0};
	int result = check_present(options, err);
	if (result == 0)
		result = store_open_sqlite(&sqlite, &origin->store, err);
	if (result == 0 && options->owned)
		options->owned(options->context);
	if (result == 0)
		result = ledger_signer_open(options->folder, options->node, &origin->signer, err);
	if (result == 0)
		result = image_load(image, origin->store, clock_now_ms(options->clock), err);
	if (result == 0 && image->head.sequence)
		result = check_owner(options, origin->store, err);
	if (result == 0 && !image->head.sequence)
		result = begin_ledger(options, origin, image, err);
	if (result < 0)
		close_store(origin, image);
	return result;
}

/* --- snapshots --- */

static int read_snapshot(const struct origin_options *options, const char *name,
			 struct snapshot *ret_snapshot, struct error *err)
{
	char path[PATH_MAX];
	path_of(options, name, path);
	int result = snapshot_read(options->disk, path, ret_snapshot, err);
	if (result == 0 && strcmp(ret_snapshot->head.node, options->node) != 0) {
		result = foreign(options, ret_snapshot->head.node, err);
		snapshot_done(ret_snapshot);
	}
	return result;
}

static int open_frozen(const struct origin_options *options, struct origin *origin,
		       struct snapshot *snapshot, struct image *image, struct error *err)
{
	int result = store_open_frozen(snapshot, origin->why, &origin->store, err);
	if (result == 0)
		result = image_load(image, origin->store, clock_now_ms(options->clock), err);
	if (result < 0)
		close_store(origin, image);
	return result;
}

/* What a person is told of the snapshot that is used. */
static void tell_used(struct origin *origin, const struct snapshot_head *head, const char *name,
		      const char *cause)
{
	char time[CLOCK_TEXT_BYTES];
	clock_format(head->wall_ms, time, sizeof(time));
	snprintf(origin->why, sizeof(origin->why),
		 "nothing can be changed now: %.1500s. Until then this node forwards and answers "
		 "by its %s of %s (ledger entry %llu)",
		 cause, name, time, (unsigned long long)head->sequence);
}

/* The newest snapshot that is sound. `cause` is why the store is not used. */
static int open_newest(const struct origin_options *options, struct origin *origin,
		       struct image *image, const struct error *cause, struct error *err)
{
	struct snapshot snapshot = {0};
	struct error newest = {0};
	char text[1500];
	origin->kind = ORIGIN_SNAPSHOT;
	origin->fault = cause->code;
	snprintf(text, sizeof(text), "%.1400s", cause->text);
	int result = read_snapshot(options, ORIGIN_NEWEST, &snapshot, &newest);
	if (result == 0) {
		tell_used(origin, &snapshot.head, "newest snapshot", text);
		result = open_frozen(options, origin, &snapshot, image, &newest);
		if (result == 0)
			return 0;
	}
	if (result == -FL_ESTATE || result == -ENOMEM) {
		*err = newest;
		return result;
	}
	snprintf(text, sizeof(text), "%.1000s; and %.400s", cause->text, newest.text);
	result = read_snapshot(options, ORIGIN_GOOD, &snapshot, err);
	if (result == 0) {
		tell_used(origin, &snapshot.head, "last good snapshot", text);
		result = open_frozen(options, origin, &snapshot, image, err);
	}
	return result;
}

/* Does it lie in the state, or in what it is kept on? Else a snapshot does not help, or must not
 * hide what is wrong. */
static bool is_fault_of_store(int result)
{
	switch (result) {
	case -ENOMEM:
	case -EBUSY:
	case -FL_ESTATE:
	case -FL_EPRIVILEGE:
		return false;
	default:
		return true;
	}
}

static void note_file(const struct origin_options *options, struct stat *ret_file)
{
	char path[PATH_MAX];
	path_of(options, "store.db", path);
	*ret_file = (struct stat){0};
	(void)stat(path, ret_file);
}

static int open_store_or_snapshot(const struct origin_options *options, struct origin *origin,
				  struct image *image, struct error *err)
{
	struct error cause = {0};
	struct error other = {0};
	note_file(options, &origin->file);
	origin->kind = ORIGIN_STORE;
	int result = open_store(options, origin, image, &cause);
	if (result < 0 && is_fault_of_store(result) && has_snapshot(options)) {
		if (open_newest(options, origin, image, &cause, &other) == 0)
			return 0;
		size_t length = strlen(cause.text);
		snprintf(cause.text + length, sizeof(cause.text) - length,
			 ". No snapshot can stand in: %.400s", other.text);
	}
	if (result < 0)
		*err = cause;
	return result;
}

/* --- crashes --- */

/* True when the last good snapshot was opened instead of what crashes. */
static bool open_last_good(const struct origin_options *options, struct origin *origin,
			   struct image *image)
{
	const struct crashes *crashes = &origin->crashes;
	struct snapshot snapshot = {0};
	char cause[512];
	if (crashes->count < ORIGIN_CRASHES ||
	    read_snapshot(options, ORIGIN_GOOD, &snapshot, NULL) < 0)
		return false;
	/* A state that was good before is not what crashes: going back to it would help nothing. */
	if (crashes->sequence && crashes->sequence <= snapshot.head.sequence) {
		snapshot_done(&snapshot);
		return false;
	}
	snprintf(cause, sizeof(cause),
		 "this program ended uncleanly %u times in a row, each time soon after it had "
		 "started on a newer state (ledger entry %llu). Look into its log for the cause; "
		 "then start another build of it, or restart it, which tries the newer state again",
		 crashes->count, (unsigned long long)crashes->sequence);
	origin->kind = ORIGIN_LAST_GOOD;
	tell_used(origin, &snapshot.head, "last good snapshot", cause);
	if (open_frozen(options, origin, &snapshot, image, NULL) == 0)
		return true;
	/* Sound, and yet nothing to stand on. */
	origin->kind = ORIGIN_STORE;
	origin->why[0] = '\0';
	return false;
}

int origin_open(const struct origin_options *options, struct origin *ret_origin,
		struct image *ret_image, struct error *err)
{
	struct origin origin = {0};
	struct image image = {0};
	crashes_read(&origin.crashes, options->disk, options->folder);
	if (!open_last_good(options, &origin, &image)) {
		crashes_expect(&origin.crashes, 0);
		int result = open_store_or_snapshot(options, &origin, &image, err);
		if (result < 0) {
			crashes_take_back(&origin.crashes);
			return result;
		}
		crashes_expect(&origin.crashes, image.head.sequence);
	}
	*ret_origin = origin;
	*ret_image = image;
	return 0;
}

/* A store that is damaged stays so until somebody does something; a disk may recover. */
static bool is_worth_trying(const struct origin *origin, const struct origin_options *options)
{
	struct stat now;
	if (origin->kind != ORIGIN_SNAPSHOT)
		return false;
	note_file(options, &now);
	if (!now.st_ino)
		return false;
	if (origin->fault != -FL_ECORRUPT && origin->fault != -FL_ENOTFOUND)
		return true;
	return now.st_ino != origin->file.st_ino || now.st_size != origin->file.st_size ||
	       now.st_mtim.tv_sec != origin->file.st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != origin->file.st_mtim.tv_nsec;
}

bool origin_may_return(const struct origin *origin, const struct origin_options *options)
{
	struct origin trial = {0};
	struct image image;
	if (!is_worth_trying(origin, options) || open_store(options, &trial, &image, NULL) < 0)
		return false;
	close_store(&trial, &image);
	return true;
}
