/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/snapshots.h"

#include "base/log.h"
#include "daemon/origin.h"
#include "state/snapshot.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROVING "snapshot.proving"
#define PAGE_RECORDS 64u /* a page is copied in the loop: small, so that nobody waits for it */
#define GATHER_MS 300u /* changes that come together are one snapshot */
#define REST_FACTOR 10u /* of the time that writing took */
#define RETRY_MS 5000u

/* What a thread does; the loop does nothing with the files meanwhile. */
enum job {
	JOB_CHECK, /* read both files */
	JOB_BEGIN, /* a new one: its head */
	JOB_ADD, /* `page`, which holds records */
	JOB_COMMIT,
	JOB_ABANDON,
	JOB_PROVE, /* newest → proving */
	JOB_PROMOTE, /* proving → good */
};

struct file_state {
	uint64_t sequence; /* 0: there is none, or it is damaged */
	struct error error; /* what is wrong with it; code 0: nothing */
};

struct snapshots {
	struct daemon *daemon;
	const struct disk *disk;
	char newest_path[PATH_MAX];
	char proving_path[PATH_MAX];
	char good_path[PATH_MAX];
	struct file_state newest;
	struct file_state good;
	uint64_t proving; /* sequence; 0: none is being proven */
	uint64_t proving_since_ms;
	uint64_t dirty_since_ms; /* the image is newer than the newest; 0: it is not */
	uint64_t begun_ms;
	uint64_t rest_until_ms;
	bool checked;

	/* the job under way */
	bool busy;
	bool closing;
	enum job job;
	uv_work_t work;
	int result;
	struct error error;
	struct file_state found[2]; /* of JOB_CHECK: newest, good */

	/* the snapshot that is being written */
	struct snapshot_writer writer;
	struct snapshot_head head;
	struct buffer page;
	size_t part; /* of snapshot_parts */
	char last_key[STORE_KEY_BYTES + 1];
	struct alarm alarm; /* none can be kept */
};

uint64_t snapshots_good_ms(void)
{
	const char *text = getenv(SNAPSHOTS_GOOD_VARIABLE);
	unsigned long long ms = text ? strtoull(text, NULL, 10) : 0;
	return ms ? ms : SNAPSHOTS_GOOD_MS;
}

/* --- in a thread --- */

static void check_file(const struct snapshots *snapshots, const char *path,
		       struct file_state *found)
{
	struct snapshot snapshot = {0};
	int result = snapshot_read(snapshots->disk, path, &snapshot, &found->error);
	/* What could not be read for want of memory is not known to be damaged. */
	if (result == -ENOENT || result == -ENOMEM)
		found->error.code = 0;
	found->sequence = result == 0 ? snapshot.head.sequence : 0;
	snapshot_done(&snapshot);
}

/* A copy, and no second name: what damages one of them must not damage the other. It is read back
 * in full, so that what is proven is what the disk holds. */
static int copy(const struct snapshots *snapshots, struct error *err)
{
	struct snapshot snapshot = {0};
	int result = snapshot_read(snapshots->disk, snapshots->newest_path, &snapshot, err);
	if (result == 0)
		result = disk_replace(snapshots->disk, snapshots->proving_path, snapshot.bytes.data,
				      snapshot.bytes.length, 0600, err);
	snapshot_done(&snapshot);
	return result;
}

static int promote(const struct snapshots *snapshots, struct error *err)
{
	const struct disk *disk = snapshots->disk;
	int result = disk->rename(disk->context, snapshots->proving_path, snapshots->good_path);
	if (result == 0)
		result = disk->sync_folder(disk->context, snapshots->good_path);
	if (result < 0)
		return error_set(err, result, "%s: cannot write: %s", snapshots->good_path,
				 error_text(result));
	return 0;
}

static void work(uv_work_t *request)
{
	struct snapshots *snapshots = request->data;
	struct error *err = &snapshots->error;
	*err = (struct error){0};
	snapshots->result = 0;
	switch (snapshots->job) {
	case JOB_CHECK:
		check_file(snapshots, snapshots->newest_path, &snapshots->found[0]);
		check_file(snapshots, snapshots->good_path, &snapshots->found[1]);
		break;
	case JOB_BEGIN:
		snapshots->result =
		    snapshot_writer_begin(&snapshots->writer, snapshots->disk,
					  snapshots->newest_path, &snapshots->head, err);
		break;
	case JOB_ADD:
		snapshots->result = snapshot_writer_add(&snapshots->writer, snapshots->page.data,
							snapshots->page.length, err);
		break;
	case JOB_COMMIT:
		snapshots->result = snapshot_writer_commit(&snapshots->writer, err);
		break;
	case JOB_ABANDON:
		snapshot_writer_abandon(&snapshots->writer);
		break;
	case JOB_PROVE:
		snapshots->result = copy(snapshots, err);
		break;
	case JOB_PROMOTE:
		snapshots->result = promote(snapshots, err);
		break;
	}
}

/* --- in the loop --- */

static void on_worked(uv_work_t *request, int status);

static void submit(struct snapshots *snapshots, enum job job)
{
	snapshots->job = job;
	snapshots->busy = true;
	snapshots->work.data = snapshots;
	/* Fails only without a function to call. */
	(void)uv_queue_work(&snapshots->daemon->loop, &snapshots->work, work, on_worked);
}

/* The disk, most likely: what is on it stays, and it is tried again. */
static void rest(struct snapshots *snapshots, const struct error *err)
{
	uint64_t now_ms = clock_now_ms(snapshots->daemon->clock);
	snapshots->rest_until_ms = now_ms + RETRY_MS;
	if (ALARM_SET(&snapshots->alarm, now_ms, SNAPSHOT_FAILED, "", err->text))
		daemon_tell_alarm(snapshots->daemon, &snapshots->alarm);
}

static void read_page(struct snapshots *snapshots);

static void on_page(void *context, int result, const struct error *err,
		    const struct store_page *page)
{
	struct snapshots *snapshots = context;
	buffer_clear(&snapshots->page);
	for (size_t i = 0; result == 0 && i < page->count; i++)
		snapshot_put_record(&page->records[i], &snapshots->page);
	if (result == 0)
		result = snapshots->page.status;
	if (result < 0) {
		/* Compacted: others were faster than the disk. It begins anew. */
		struct error own;
		if (!err) {
			error_set(&own, result, "out of memory");
			err = &own;
		}
		if (snapshots->closing) {
			snapshot_writer_abandon(&snapshots->writer);
			snapshots->busy = false;
			return;
		}
		if (result != -FL_ECOMPACTED)
			rest(snapshots, err);
		submit(snapshots, JOB_ABANDON);
		return;
	}
	if (page->count)
		snprintf(snapshots->last_key, sizeof(snapshots->last_key), "%s",
			 page->records[page->count - 1].key);
	if (!page->more) {
		snapshots->part++;
		snapshots->last_key[0] = '\0';
	}
	if (snapshots->page.length)
		submit(snapshots, JOB_ADD);
	else
		read_page(snapshots);
}

static void read_page(struct snapshots *snapshots)
{
	struct error err = {0};
	if (snapshots->part == SNAPSHOT_PARTS) {
		submit(snapshots, JOB_COMMIT);
		return;
	}
	const struct snapshot_part *part = &snapshot_parts[snapshots->part];
	const struct store_range range = {.key = part->key,
					  .prefix = part->prefix,
					  .after =
					      *snapshots->last_key ? snapshots->last_key : NULL,
					  .limit = PAGE_RECORDS,
					  .revision = snapshots->head.revision};
	int result = store_range(snapshots->daemon->store, &range, on_page, snapshots, &err);
	if (result < 0)
		on_page(snapshots, result, &err, NULL);
}

static void begin(struct snapshots *snapshots, uint64_t now_ms)
{
	const struct daemon *daemon = snapshots->daemon;
	snapshots->head = (struct snapshot_head){.revision = daemon->image.revision,
						 .sequence = daemon->image.head.sequence,
						 .wall_ms = clock_wall_ms(daemon->clock)};
	snprintf(snapshots->head.node, sizeof(snapshots->head.node), "%s", daemon->options->node);
	snapshots->part = 0;
	snapshots->last_key[0] = '\0';
	snapshots->begun_ms = now_ms;
	submit(snapshots, JOB_BEGIN);
}

static void tell_damage(struct snapshots *snapshots, const struct file_state *file,
			const char *which)
{
	struct alarm alarm = {0};
	if (file->error.code && ALARM_SET(&alarm, 0, SNAPSHOT_DAMAGED, which, file->error.text))
		daemon_tell_alarm(snapshots->daemon, &alarm);
}

static void checked(struct snapshots *snapshots)
{
	snapshots->checked = true;
	snapshots->newest = snapshots->found[0];
	snapshots->good = snapshots->found[1];
	tell_damage(snapshots, &snapshots->newest, "newest");
	tell_damage(snapshots, &snapshots->good, "good");
}

static void written(struct snapshots *snapshots)
{
	uint64_t now_ms = clock_now_ms(snapshots->daemon->clock);
	char sequence[24];
	snapshots->newest = (struct file_state){.sequence = snapshots->head.sequence};
	snapshots->dirty_since_ms = 0;
	snapshots->rest_until_ms = now_ms + REST_FACTOR * (now_ms - snapshots->begun_ms);
	snprintf(sequence, sizeof(sequence), "%llu", (unsigned long long)snapshots->head.sequence);
	log_event(LOG_LEVEL_DEBUG, "snapshot.written", "sequence", sequence, NULL);
}

/* What follows a job that succeeded. */
static void go_on(struct snapshots *snapshots)
{
	switch (snapshots->job) {
	case JOB_CHECK:
		checked(snapshots);
		break;
	case JOB_BEGIN:
	case JOB_ADD:
		snapshots->busy = true;
		read_page(snapshots);
		break;
	case JOB_COMMIT:
		alarm_end(&snapshots->alarm);
		written(snapshots);
		break;
	case JOB_ABANDON:
		break;
	case JOB_PROVE:
		alarm_end(&snapshots->alarm);
		snapshots->proving = snapshots->newest.sequence;
		snapshots->proving_since_ms = clock_now_ms(snapshots->daemon->clock);
		break;
	case JOB_PROMOTE:
		alarm_end(&snapshots->alarm);
		snapshots->good = (struct file_state){.sequence = snapshots->proving};
		snapshots->proving = 0;
		daemon_event(snapshots->daemon, "snapshot.good",
			     json_pack("{s:I}", "sequence", (json_int_t)snapshots->good.sequence));
		break;
	}
}

static void on_worked(uv_work_t *request, int status)
{
	struct snapshots *snapshots = request->data;
	(void)status; /* nobody cancels */
	snapshots->busy = false;
	daemon_used_memory(snapshots->daemon);
	if (snapshots->closing) {
		if (snapshots->result == 0 &&
		    (snapshots->job == JOB_BEGIN || snapshots->job == JOB_ADD))
			snapshot_writer_abandon(&snapshots->writer);
		return;
	}
	if (snapshots->result < 0) {
		if (snapshots->job == JOB_PROMOTE)
			snapshots->proving = 0;
		if (snapshots->job == JOB_PROVE)
			snapshots->newest.sequence = 0; /* whatever is wrong, it is written anew */
		rest(snapshots, &snapshots->error);
	} else {
		go_on(snapshots);
	}
}

static bool is_proven(const struct snapshots *snapshots, uint64_t now_ms)
{
	return snapshots->proving && now_ms - snapshots->proving_since_ms >= snapshots_good_ms();
}

static bool is_due(struct snapshots *snapshots, uint64_t now_ms)
{
	const struct image *image = &snapshots->daemon->image;
	if (!image->fabric || image->head.sequence == snapshots->newest.sequence)
		return false;
	if (!snapshots->dirty_since_ms)
		snapshots->dirty_since_ms = now_ms;
	return now_ms - snapshots->dirty_since_ms >= GATHER_MS;
}

void snapshots_run(struct snapshots *snapshots, bool well, uint64_t now_ms)
{
	if (!well)
		snapshots->proving_since_ms = now_ms;
	if (snapshots->busy || now_ms < snapshots->rest_until_ms)
		return;
	if (!snapshots->checked)
		submit(snapshots, JOB_CHECK);
	else if (well && is_proven(snapshots, now_ms))
		submit(snapshots, JOB_PROMOTE);
	else if (well && is_due(snapshots, now_ms))
		begin(snapshots, now_ms);
	else if (!snapshots->proving && snapshots->newest.sequence &&
		 snapshots->newest.sequence != snapshots->good.sequence)
		submit(snapshots, JOB_PROVE);
}

/* --- */

int snapshots_new(struct daemon *daemon, struct snapshots **ret_snapshots)
{
	struct snapshots *snapshots = calloc(1, sizeof(*snapshots));
	const char *folder = daemon->options->state_folder;
	if (!snapshots)
		return -ENOMEM;
	snapshots->daemon = daemon;
	snapshots->disk = &disk_system;
	snprintf(snapshots->newest_path, PATH_MAX, "%s/" ORIGIN_NEWEST, folder);
	snprintf(snapshots->proving_path, PATH_MAX, "%s/" PROVING, folder);
	snprintf(snapshots->good_path, PATH_MAX, "%s/" ORIGIN_GOOD, folder);
	buffer_init(&snapshots->page, 0);
	*ret_snapshots = snapshots;
	return 0;
}

void snapshots_stop(struct snapshots *snapshots)
{
	if (snapshots)
		snapshots->closing = true;
}

void snapshots_free(struct snapshots *snapshots)
{
	if (!snapshots)
		return;
	while (snapshots->busy)
		uv_run(&snapshots->daemon->loop, UV_RUN_ONCE);
	buffer_done(&snapshots->page);
	free(snapshots);
}

void snapshots_put_alarms(const struct snapshots *snapshots, json_t *list)
{
	const struct clock *clock = snapshots->daemon->clock;
	if (alarm_stands(&snapshots->alarm))
		json_array_append_new(list, alarm_json(&snapshots->alarm, "", clock));
	if (snapshots->newest.error.code)
		ALARM_PUT(list, clock, 0, SNAPSHOT_DAMAGED, "newest", snapshots->newest.error.text);
	if (snapshots->good.error.code)
		ALARM_PUT(list, clock, 0, SNAPSHOT_DAMAGED, "good", snapshots->good.error.text);
}

struct snapshots_state snapshots_state(const struct snapshots *snapshots)
{
	return (struct snapshots_state){.newest = snapshots->newest.sequence,
					.good = snapshots->good.sequence};
}
