/* SPDX-License-Identifier: Apache-2.0 */
#include "state/changes.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/random.h"

#include <stdlib.h>
#include <string.h>

#define MOST_ATTEMPTS 8

/* How far the first change of the queue is. */
enum stage {
	STAGE_QUEUED,
	STAGE_SENT,
	STAGE_COMMITTED, /* it is over when the image shows `wait_revision` */
	STAGE_OVERTAKEN, /* it is built anew when the image shows `wait_revision` */
};

struct changes {
	struct changes_options options;
	struct change *first;
	struct change **last;
	enum stage stage;
	bool pumping; /* guards against recursion through done callbacks */
	bool stopped;
	struct store_id wait_id;
	uint64_t wait_revision; /* of wait_id */
	uint64_t sequence;
	unsigned attempts;
	struct change_draft *draft; /* of the change in flight */
};

int changes_new(const struct changes_options *options, struct changes **ret_changes)
{
	struct changes *changes = calloc(1, sizeof(*changes));
	if (!changes)
		return -ENOMEM;
	changes->options = *options;
	changes->last = &changes->first;
	*ret_changes = changes;
	return 0;
}

static void draft_free(struct change_draft *draft)
{
	if (!draft)
		return;
	json_decref(draft->what);
	arena_done(&draft->arena);
	free(draft);
}

/* Take the first change off the queue and tell its owner, who may submit others meanwhile. */
static void finish(struct changes *changes, int result, const struct error *err, uint64_t sequence)
{
	struct change *change = changes->first;
	changes->first = change->next;
	if (!changes->first)
		changes->last = &changes->first;
	changes->stage = STAGE_QUEUED;
	changes->attempts = 0;
	draft_free(changes->draft);
	changes->draft = NULL;
	change->done(change, result, err, sequence);
}

void changes_stop(struct changes *changes)
{
	if (changes)
		changes->stopped = true;
}

void changes_free(struct changes *changes)
{
	if (!changes)
		return;
	changes->stopped = true;
	while (changes->first) {
		struct error err = {0};
		error_set(&err, -ECANCELED, "the daemon is stopping%s",
			  changes->stage == STAGE_QUEUED
			      ? ": nothing was changed"
			      : "; whether this was committed shows in `fairlead log`");
		finish(changes, -ECANCELED, &err, 0);
	}
	free(changes);
}

static void on_txn(void *context, int result, const struct error *err,
		   const struct store_txn_outcome *outcome);

/* The ledger entry joins the ops that the change itself wants. */
static int add_entry(struct changes *changes, struct change *change, struct error *err)
{
	struct change_draft *draft = changes->draft;
	const struct ledger_change entry = {.time_ms = clock_wall_ms(changes->options.clock),
					    .who = change->who,
					    .why = change->why,
					    .kind = change->kind,
					    .what = draft->what,
					    .sequence = draft->sequence};
	struct ledger_append append;
	int result = ledger_append_ops(&draft->image->head, changes->options.signer, &entry,
				       &draft->arena, &append, err);
	if (result < 0)
		return result;
	ASSERT(draft->op_count + append.op_count <= STORE_TXN_OPS);
	ASSERT(draft->compare_count + append.compare_count <= STORE_TXN_OPS);
	memcpy(draft->compares + draft->compare_count, append.compares,
	       append.compare_count * sizeof(append.compares[0]));
	draft->compare_count += append.compare_count;
	memcpy(draft->ops + draft->op_count, append.ops, append.op_count * sizeof(append.ops[0]));
	draft->op_count += append.op_count;
	return 0;
}

static int send(struct changes *changes, struct error *err)
{
	struct change_draft *draft = changes->draft;
	uint8_t id_bytes[16];
	char id[2 * sizeof(id_bytes) + 1];
	random_fill(changes->options.random, id_bytes, sizeof(id_bytes));
	hex_encode(id_bytes, sizeof(id_bytes), id);
	const struct store_txn txn = {.compares = draft->compares,
				      .compare_count = draft->compare_count,
				      .ops = draft->ops,
				      .op_count = draft->op_count,
				      .id = id};
	return store_txn(changes->options.authority, &txn, on_txn, changes, err);
}

static struct change_draft *draft_new(const struct changes *changes)
{
	struct change_draft *draft = calloc(1, sizeof(*draft));
	if (!draft)
		return NULL;
	arena_init(&draft->arena, 0);
	draft->image = changes->options.image;
	draft->sequence = draft->image->head.sequence + 1;
	draft->applied_sequence =
	    changes->options.applied ? changes->options.applied(changes->options.context) : 0;
	draft->wall_ms = clock_wall_ms(changes->options.steady);
	draft->random = changes->options.random;
	return draft;
}

/* May the change be built upon this image at all? */
static int check_ready(const struct changes *changes, const struct change *change,
		       struct error *err)
{
	const struct changes_options *options = &changes->options;
	if (options->refusal && *options->refusal && !change->recovers)
		return error_set(err, -FL_ESTATE, "%s", options->refusal);
	if (options->image->is_old && !change->upgrades && !change->recovers)
		return error_set(
		    err, -FL_ESTATE,
		    "the state still has the form of an earlier release; this one takes "
		    "it over first, and says in `fairlead status` what keeps it from "
		    "that");
	return 0;
}

/* What this program cannot read, it keeps: a newer one's record would lose what it says. */
static int check_read(const struct change_draft *draft, struct error *err)
{
	char text[IMAGE_UNREAD_TEXT];
	for (size_t i = 0; draft->image->unread_count && i < draft->op_count; i++) {
		const struct image_unread *unread = image_unread(draft->image, draft->ops[i].key);
		if (unread)
			return error_set(err, -FL_EUNSUPPORTED,
					 "this would change a record that is not understood here: "
					 "%s; give the order on a node with a newer release, or "
					 "upgrade this one",
					 image_unread_text(unread, text));
	}
	return 0;
}

static int build(struct change *change, struct change_draft *draft, struct error *err)
{
	int result = change->build(change, draft, err);
	if (result != CHANGE_COMMIT)
		return result;
	int unread = check_read(draft, err);
	return unread < 0 ? unread : result;
}

int changes_try(const struct changes *changes, struct change *change, struct error *err)
{
	int result = check_ready(changes, change, err);
	if (result < 0)
		return result;
	struct change_draft *draft = draft_new(changes);
	if (!draft)
		return -ENOMEM;
	result = build(change, draft, err);
	draft_free(draft);
	return result < 0 ? result : 0;
}

/* Build and send the first change. Returns false when it is already over. */
static bool begin(struct changes *changes)
{
	struct change *change = changes->first;
	struct error err = {0};
	int result = check_ready(changes, change, &err);
	if (result < 0) {
		finish(changes, result, &err, 0);
		return false;
	}
	changes->wait_id = store_id(changes->options.authority);
	if (!store_id_equal(&changes->wait_id, &changes->options.image->authority)) {
		error_set(
		    &err, -FL_EUNAVAILABLE,
		    "this node has not caught up yet with the place where changes are decided; "
		    "nothing was changed. `fairlead status` says why");
		finish(changes, -FL_EUNAVAILABLE, &err, 0);
		return false;
	}
	struct change_draft *draft = draft_new(changes);
	if (!draft) {
		error_set(&err, -ENOMEM, "out of memory");
		finish(changes, -ENOMEM, &err, 0);
		return false;
	}
	changes->draft = draft;
	changes->sequence = draft->sequence;

	result = build(change, draft, &err);
	if (result == CHANGE_COMMIT) {
		changes->sequence = draft->sequence;
		result = add_entry(changes, change, &err);
		if (result == 0)
			result = send(changes, &err);
		if (result == 0) {
			changes->stage = STAGE_SENT;
			return true;
		}
	}
	if (result == -ENOMEM)
		error_set(&err, result, "out of memory");
	finish(changes, result, result < 0 ? &err : NULL, 0);
	return false;
}

/* Does the first change wait for the authority or for the image? Ends it when the image shows it.
 */
static bool is_waiting(struct changes *changes)
{
	const struct image *image = changes->options.image;
	if (changes->stage == STAGE_QUEUED)
		return false;
	if (changes->stage == STAGE_SENT)
		return true;
	if (!store_id_equal(&changes->wait_id, &image->authority)) {
		struct error err;
		error_set(
		    &err, -FL_EUNAVAILABLE,
		    "the place where changes are decided was exchanged meanwhile; whether this "
		    "was committed shows in `fairlead log`");
		finish(changes, -FL_EUNAVAILABLE, &err, 0);
		return false;
	}
	if (image->revision < changes->wait_revision)
		return true;
	if (changes->stage == STAGE_COMMITTED)
		finish(changes, 0, NULL, changes->sequence);
	changes->stage = STAGE_QUEUED;
	return false;
}

static void pump(struct changes *changes)
{
	if (changes->pumping)
		return;
	changes->pumping = true;
	while (!changes->stopped && !is_waiting(changes)) {
		if (!changes->first || begin(changes))
			break;
	}
	changes->pumping = false;
}

static void on_txn(void *context, int result, const struct error *err,
		   const struct store_txn_outcome *outcome)
{
	struct changes *changes = context;
	if (changes->options.told)
		changes->options.told(changes->options.context, result, err);
	/* The store is closing: what is still queued is told so by changes_free(). */
	if (result == -ECANCELED)
		changes->stopped = true;
	if (result == 0) {
		changes->stage = STAGE_COMMITTED;
		changes->wait_revision = outcome->revision;
	} else if (result == -FL_ECONFLICT && ++changes->attempts < MOST_ATTEMPTS) {
		/* Somebody was faster; the watch brings what they did. */
		changes->stage = STAGE_OVERTAKEN;
		changes->wait_revision = outcome->revision;
		draft_free(changes->draft);
		changes->draft = NULL;
	} else {
		finish(changes, result, err, 0);
	}
	pump(changes);
}

void changes_submit(struct changes *changes, struct change *change)
{
	change->next = NULL;
	*changes->last = change;
	changes->last = &change->next;
	pump(changes);
}

void changes_submit_first(struct changes *changes, struct change *change)
{
	/* What is on its way stays the first. */
	struct change **place =
	    changes->stage == STAGE_QUEUED ? &changes->first : &changes->first->next;
	change->next = *place;
	*place = change;
	if (!change->next)
		changes->last = &change->next;
	pump(changes);
}

bool changes_pending(const struct changes *changes, const char *kind)
{
	for (const struct change *change = changes->first; change; change = change->next) {
		if (strcmp(change->kind, kind) == 0)
			return true;
	}
	return false;
}

void changes_image_moved(struct changes *changes)
{
	pump(changes);
}

static int draft_op(struct change_draft *draft, enum store_op_kind kind, const char *key,
		    struct buffer *value)
{
	if (draft->op_count >= CHANGE_MAX_OPS)
		return -FL_ELIMIT;
	char *copy = arena_strdup(&draft->arena, key);
	char *bytes =
	    value ? arena_strndup(&draft->arena, value->data ? value->data : "", value->length)
		  : NULL;
	if (!copy || (value && !bytes))
		return -ENOMEM;
	draft->bytes += strlen(copy) + (value ? value->length : 0);
	draft->ops[draft->op_count++] = (struct store_op){
	    .kind = kind, .key = copy, .value = bytes, .value_length = value ? value->length : 0};
	return 0;
}

static int draft_compared(struct change_draft *draft, enum store_op_kind kind, const char *key,
			  uint64_t mod_revision, struct buffer *value)
{
	if (draft->compare_count >= CHANGE_MAX_OPS)
		return -FL_ELIMIT;
	int result = draft_op(draft, kind, key, value);
	if (result < 0)
		return result;
	draft->compares[draft->compare_count++] = (struct store_compare){
	    .key = draft->ops[draft->op_count - 1].key, .mod_revision = mod_revision};
	return 0;
}

int draft_put(struct change_draft *draft, const char *key, uint64_t mod_revision,
	      struct buffer *value)
{
	return draft_compared(draft, STORE_PUT, key, mod_revision, value);
}

int draft_remove(struct change_draft *draft, const char *key, uint64_t mod_revision)
{
	return draft_compared(draft, STORE_DELETE, key, mod_revision, NULL);
}

int draft_put_new(struct change_draft *draft, const char *key, struct buffer *value)
{
	return draft_op(draft, STORE_PUT, key, value);
}

int draft_delete(struct change_draft *draft, const char *key)
{
	return draft_op(draft, STORE_DELETE, key, NULL);
}
