/* SPDX-License-Identifier: Apache-2.0 */
#include "state/replica.h"

#include "base/arena.h"
#include "state/records.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *replica_kind_name(enum replica_kind kind)
{
	switch (kind) {
	case REPLICA_STORE:
		break;
	case REPLICA_READ:
		return "read-only store";
	case REPLICA_GOOD:
		return "last good copy";
	case REPLICA_NOTHING:
		return "nothing";
	}
	return "store";
}

static void path_of(const struct replica_options *options, const char *name, char path[PATH_MAX])
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
		result = store_wait(store, &wait.done, REPLICA_TIMEOUT_MS, err);
	if (result == 0 && wait.result < 0)
		return error_set(err, wait.result, "%s", wait.error.text);
	*ret_revision = wait.revision;
	return result;
}

/* The first entry of a ledger introduces the key of the node that writes it. */
static int introduce(const struct replica_options *options, const struct replica *replica,
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
	    ledger_introduce_ops(head, replica->signer, &change, options->node,
				 ledger_signer_public_key(replica->signer), &arena, &append, err);
	if (result == 0) {
		const struct store_txn txn = {.compares = append.compares,
					      .compare_count = append.compare_count,
					      .ops = append.ops,
					      .op_count = append.op_count};
		result = txn_and_wait(replica->store, &txn, &revision, err);
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
		result = store_wait(store, &wait->done, REPLICA_TIMEOUT_MS, err);
	if (result == 0 && wait->result < 0)
		result = error_set(err, wait->result, "%s", wait->error.text);
	return result;
}

static int foreign(const struct replica_options *options, const char *owner, struct error *err)
{
	return error_set(err, -FL_ESTATE,
			 "%s is the state of node %s, not of %s: start with --node %s, or give "
			 "this node a --state of its own",
			 options->folder, owner, options->node, owner);
}

/* A store belongs to one node. Under another name its entries would be signed by a stranger, and
 * the acknowledgements of the old name would be waited for without an end. */
static int check_owner(const struct replica_options *options, struct store *store,
		       struct error *err)
{
	struct owner_wait wait;
	char own[RECORD_KEY_BYTES];
	if (options->follows)
		return 0;
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

/* What a release before this one kept beside its store. */
static const char *const former_files[] = {"snapshot", "snapshot.good"};

static bool has_file(const struct replica_options *options, const char *name)
{
	char path[PATH_MAX];
	path_of(options, name, path);
	return access(path, F_OK) == 0;
}

/* Where there was a store, an empty one in its place would make the node forget all of it, and
 * begin a second ledger. Where a node follows, it is filled again. */
static bool had_store(const struct replica_options *options, const struct replica *replica)
{
	if (options->follows)
		return false;
	return replica->acknowledged.sequence || has_file(options, COPY_GOOD_FILE) ||
	       has_file(options, former_files[0]) || has_file(options, former_files[1]);
}

static int lost(const struct replica_options *options, const char *what, struct error *err)
{
	return error_set(err, -FL_ENOTFOUND,
			 "%s/store.db %s, though this node has had one. Put it, or a backup of "
			 "it, in its place; or, to begin anew, which breaks the flows that are "
			 "there, stop the daemon, run `fairlead detach` and move all files of the "
			 "folder away",
			 options->folder, what);
}

static int begin_ledger(const struct replica_options *options, struct replica *replica,
			struct image *image, struct error *err)
{
	if (had_store(options, replica))
		return lost(options, "is empty", err);
	int result = introduce(options, replica, &image->head, err);
	if (result < 0)
		return result;
	image_done(image);
	return image_load(image, replica->store, clock_now_ms(options->clock), err);
}

static void close_store(struct replica *replica, struct image *image)
{
	image_done(image);
	store_close(replica->store);
	replica->store = NULL;
	ledger_signer_free(replica->signer);
	replica->signer = NULL;
}

/* Everything that can fail because of the store or its disk, before anything stands on it. */
static int open_store(const struct replica_options *options, struct replica *replica,
		      struct image *image, struct error *err)
{
	const struct store_sqlite_options sqlite = {.folder = options->folder,
						    .clock = options->clock};
	*image = (struct image){0};
	int result = 0;
	if (!has_file(options, "store.db") && had_store(options, replica))
		result = lost(options, "is missing", err);
	if (result == 0)
		result = store_open_sqlite(&sqlite, &replica->store, err);
	if (result == 0 && options->owned)
		options->owned(options->context);
	if (result == 0)
		result = ledger_signer_open(options->folder, options->node, &replica->signer, err);
	if (result == 0)
		result = image_load(image, replica->store, clock_now_ms(options->clock), err);
	if (result == 0 && image->head.sequence)
		result = check_owner(options, replica->store, err);
	if (result == 0 && !image->head.sequence && !options->follows)
		result = begin_ledger(options, replica, image, err);
	if (result < 0)
		close_store(replica, image);
	return result;
}

/* --- in memory --- */

/* `name`: of a file, or NULL for an empty store. What it holds is this node's, or it is refused. */
static int open_in_memory(const struct replica_options *options, struct replica *replica,
			  const char *name, const char *cause, struct image *image,
			  struct error *err)
{
	char path[PATH_MAX];
	const struct store_copy_options copy = {
	    .path = name ? path : NULL, .clock = options->clock, .why = cause};
	*image = (struct image){0};
	if (name)
		path_of(options, name, path);
	int result = store_open_copy(&copy, &replica->store, err);
	if (result == 0)
		result = image_load(image, replica->store, clock_now_ms(options->clock), err);
	if (result == 0 && image->head.sequence)
		result = check_owner(options, replica->store, err);
	if (result < 0)
		close_store(replica, image);
	return result;
}

/* What a person is told of the state that is used instead, and orders are refused with. */
static void tell_used(struct replica *replica, const struct image *image, const char *cause)
{
	static const char *const by[] = {[REPLICA_STORE] = "",
					 [REPLICA_READ] = "what its store holds",
					 [REPLICA_GOOD] = "its last good copy",
					 [REPLICA_NOTHING] = "what the maps hold"};
	snprintf(replica->why, sizeof(replica->why),
		 "nothing can be changed now: %.1000s. Until then this node forwards and answers "
		 "by %s (ledger entry %llu)",
		 cause, by[replica->kind], (unsigned long long)image->head.sequence);
}

/* The file itself without a trace, or the last good copy. `cause` is why the file is not opened for
 * changes; -FL_ESTATE and -ENOMEM are no reason to go on to the next. */
static int open_instead(const struct replica_options *options, struct replica *replica,
			struct image *image, const struct error *cause, struct error *err)
{
	char text[1200];
	snprintf(text, sizeof(text), "%.1000s", cause->text);
	replica->fault = cause->code;
	replica->kind = REPLICA_READ;
	int result = cause->code == -FL_ENOTFOUND
			 ? cause->code
			 : open_in_memory(options, replica, "store.db", text, image, err);
	if (result < 0 && result != -FL_ESTATE && result != -ENOMEM) {
		replica->kind = REPLICA_GOOD;
		result = open_in_memory(options, replica, COPY_GOOD_FILE, text, image, err);
	}
	if (result == -ENOENT && cause->code == -FL_ENOTFOUND) {
		replica->kind = REPLICA_NOTHING;
		result = open_in_memory(options, replica, NULL, text, image, err);
	}
	if (result == 0)
		tell_used(replica, image, text);
	return result;
}

/* Does it lie in the state, or in what it is kept on? Nothing else can stand in otherwise, or must
 * not hide what is wrong. */
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

static void note_file(const struct replica_options *options, struct stat *ret_file)
{
	char path[PATH_MAX];
	path_of(options, "store.db", path);
	*ret_file = (struct stat){0};
	(void)stat(path, ret_file);
}

static int open_any(const struct replica_options *options, struct replica *replica,
		    struct image *image, struct error *err)
{
	struct error cause = {0};
	struct error other = {0};
	note_file(options, &replica->file);
	replica->kind = REPLICA_STORE;
	int result = open_store(options, replica, image, &cause);
	if (result == 0)
		return 0;
	if (is_fault_of_store(result)) {
		int instead = open_instead(options, replica, image, &cause, &other);
		if (instead == 0)
			return 0;
		size_t length = strlen(cause.text);
		if (instead != -ENOENT)
			snprintf(cause.text + length, sizeof(cause.text) - length,
				 ". Nothing can stand in: %.400s", other.text);
	}
	*err = cause;
	return result;
}

/* --- crashes --- */

/* True when the last good copy was opened instead of what crashes. */
static bool open_good(const struct replica_options *options, struct replica *replica,
		      struct image *image)
{
	const struct crashes *crashes = &replica->crashes;
	char cause[512];
	if (crashes->count < REPLICA_CRASHES)
		return false;
	snprintf(cause, sizeof(cause),
		 "this program ended uncleanly %u times in a row, each time soon after it had "
		 "started on a newer state (ledger entry %llu). Look into its log for the cause; "
		 "then start another build of it, or restart it, which tries the newer state again",
		 crashes->count, (unsigned long long)crashes->sequence);
	replica->kind = REPLICA_GOOD;
	if (open_in_memory(options, replica, COPY_GOOD_FILE, cause, image, NULL) < 0)
		return false;
	/* A state that was good before is not what crashes: going back to it would help nothing. */
	if (crashes->sequence && crashes->sequence <= image->head.sequence) {
		close_store(replica, image);
		return false;
	}
	tell_used(replica, image, cause);
	replica->crashed = true;
	return true;
}

/* --- the mark --- */

static void set_standing(struct replica *replica, enum replica_standing standing, const char *what)
{
	replica->standing = standing;
	snprintf(replica->behind, sizeof(replica->behind),
		 "%.300s. What is forwarded stays as it is, and orders are refused. Put the newer "
		 "state back; or run `fairlead store recover`, which goes on from the newest one "
		 "that is there, and tells with --dry-run what that means",
		 what);
}

static void set_forked(struct replica *replica)
{
	char what[300];
	snprintf(what, sizeof(what),
		 "the state here has another history than what this node does: ledger entry %llu "
		 "is not the one that was acknowledged and is forwarded by",
		 (unsigned long long)replica->acknowledged.sequence);
	set_standing(replica, REPLICA_FORKED, what);
}

static void set_current(struct replica *replica)
{
	replica->standing = REPLICA_CURRENT;
	replica->behind[0] = '\0';
}

/* A recovery went on without the entry, by the operator's word. */
static bool is_given_up(const struct ledger_position *mark, const struct image *image)
{
	const struct placement_recovery *recovery =
	    image->placement ? &image->placement->recovery : NULL;
	return recovery && recovery->sequence && recovery->lost_sequence == mark->sequence &&
	       memcmp(recovery->lost_digest.bytes, mark->digest.bytes, DIGEST_BYTES) == 0;
}

/* Does the replica have the entry that this node acknowledged last? */
static int judge(struct replica *replica, const struct image *image, struct error *err)
{
	const struct ledger_position *mark = &replica->acknowledged;
	char what[300];
	bool has = false;
	set_current(replica);
	if (!mark->sequence && replica->mark.is_damaged)
		set_standing(replica, REPLICA_OLDER,
			     "the mark of what this node acknowledged is damaged, so it is not "
			     "known whether the state here is as new");
	if (!mark->sequence && is_given_up(mark, image) &&
	    image->placement->recovery.sequence == image->head.sequence)
		set_current(replica);
	if (!mark->sequence)
		return 0;
	if (mark->sequence > image->head.sequence) {
		unsigned long long missing = mark->sequence - image->head.sequence;
		snprintf(what, sizeof(what),
			 "the state here is older than what this node does: it ends at ledger "
			 "entry %llu, and entry %llu was acknowledged and is forwarded by; %llu "
			 "%s missing",
			 (unsigned long long)image->head.sequence,
			 (unsigned long long)mark->sequence, missing,
			 missing == 1 ? "entry is" : "entries are");
		set_standing(replica, REPLICA_OLDER, what);
		return 0;
	}
	if (is_given_up(mark, image))
		return 0;
	int result = copy_has_entry(replica->store, mark, &has, err);
	if (result == 0 && !has)
		set_forked(replica);
	return result;
}

static void set_refusal(struct replica *replica)
{
	/* What is waited for may end the other one by itself. */
	const char *refusal = *replica->why      ? replica->why
			      : *replica->awaits ? replica->awaits
						 : replica->behind;
	snprintf(replica->refusal, sizeof(replica->refusal), "%s", refusal);
}

bool replica_await(struct replica *replica, const char *why)
{
	if (strncmp(replica->awaits, why, sizeof(replica->awaits) - 1) == 0)
		return false;
	snprintf(replica->awaits, sizeof(replica->awaits), "%s", why);
	set_refusal(replica);
	return true;
}

int replica_judge(struct replica *replica, const struct image *image, struct error *err)
{
	int result = judge(replica, image, err);
	set_refusal(replica);
	return result;
}

void replica_moved(struct replica *replica, const struct image *image)
{
	const struct ledger_position *mark = &replica->acknowledged;
	struct ledger_position found;
	/* Each revision brings one entry at most, so that none is passed unseen. */
	if (replica->standing != REPLICA_OLDER || !image_position(image, mark->sequence, &found))
		return;
	if (memcmp(found.digest.bytes, mark->digest.bytes, DIGEST_BYTES) == 0)
		set_current(replica);
	else
		set_forked(replica);
	set_refusal(replica);
}

void replica_set_behind_maps(struct replica *replica)
{
	if (replica->standing != REPLICA_CURRENT)
		return;
	set_standing(replica, REPLICA_OLDER,
		     "the store holds no configuration, but this machine forwards packets by an "
		     "earlier one");
	set_refusal(replica);
}

/* Of two marks the newer one counts. */
static void note(struct replica *replica, const struct mark_note *note)
{
	if (note->position.sequence <= replica->acknowledged.sequence)
		return;
	replica->acknowledged = note->position;
	replica->has_peers = note->has_peers;
}

int replica_acknowledge(struct replica *replica, const struct mark_note *mark, struct error *err)
{
	int result = mark_write(&replica->mark, mark, err);
	if (result == 0)
		note(replica, mark);
	return result;
}

int replica_learn(struct replica *replica, const struct image *image,
		  const struct ledger_position *position, struct error *err)
{
	const struct mark_note learned = {.position = *position, .has_peers = true};
	if (position->sequence <= replica->acknowledged.sequence ||
	    position->sequence <= image->head.sequence)
		return 0;
	int result = replica_acknowledge(replica, &learned, err);
	return result == 0 ? replica_judge(replica, image, err) : result;
}

/* A copy beside the store was the store: one with entries that the store lacks says so, also where
 * mark and maps do not. Of a damaged mark it is not known what it named. */
static void note_copies(struct replica *replica, const struct replica_options *options)
{
	struct mark_note copied = {.has_peers = replica->has_peers};
	if (replica->mark.is_damaged && !replica->acknowledged.sequence)
		return;
	for (size_t i = 0; copy_names[i]; i++) {
		if (copy_head(options->folder, copy_names[i], &copied.position) == 0)
			note(replica, &copied);
	}
}

/* --- */

int replica_open(const struct replica_options *options, struct replica *ret_replica,
		 struct image *ret_image, struct error *err)
{
	struct replica replica = {0};
	struct image image = {0};
	int result = mark_read(&replica.mark, options->disk, options->folder);
	if (result < 0)
		return error_set(err, result, "out of memory");
	crashes_read(&replica.crashes, options->disk, options->folder);
	note(&replica, &replica.mark.newest);
	note(&replica, &options->pinned);
	if (!open_good(options, &replica, &image)) {
		crashes_expect(&replica.crashes, 0);
		result = open_any(options, &replica, &image, err);
	}
	if (result == 0 && replica.kind != REPLICA_GOOD)
		note_copies(&replica, options);
	if (result == 0)
		result = replica_judge(&replica, &image, err);
	if (result < 0) {
		close_store(&replica, &image);
		if (!replica.crashed)
			crashes_take_back(&replica.crashes);
		return result;
	}
	if (!replica.crashed)
		crashes_expect(&replica.crashes, image.head.sequence);
	/* The maps may be gone at the next start: a machine forgets them with its power. */
	int noted = mark_write(&replica.mark, &options->pinned, NULL);
	(void)noted;
	*ret_replica = replica;
	*ret_image = image;
	return 0;
}

/* A store that is damaged stays so until somebody does something; a disk may recover. */
static bool is_worth_trying(const struct replica *replica, const struct replica_options *options)
{
	struct stat now;
	if (replica->kind == REPLICA_STORE || replica->crashed)
		return false;
	note_file(options, &now);
	if (!now.st_ino)
		return false;
	if (replica->fault != -FL_ECORRUPT && replica->fault != -FL_ENOTFOUND)
		return true;
	return now.st_ino != replica->file.st_ino || now.st_size != replica->file.st_size ||
	       now.st_mtim.tv_sec != replica->file.st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != replica->file.st_mtim.tv_nsec;
}

bool replica_may_return(const struct replica *replica, const struct replica_options *options)
{
	struct replica trial = {.acknowledged = replica->acknowledged};
	struct image image;
	if (!is_worth_trying(replica, options) || open_store(options, &trial, &image, NULL) < 0)
		return false;
	close_store(&trial, &image);
	return true;
}

void replica_remove_former(const char *folder)
{
	char path[PATH_MAX];
	for (size_t i = 0; i < sizeof(former_files) / sizeof(*former_files); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, former_files[i]);
		(void)unlink(path);
	}
}
