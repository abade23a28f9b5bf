/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/good_copy.h"

#include "base/memory.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define GATHER_MS 300u /* changes that come together are one copy */
#define REST_FACTOR 10u /* of the time that copying took */
#define RETRY_MS 5000u

/* What a thread does; the loop does nothing with the files meanwhile. */
enum job {
	JOB_CHECK, /* read the last good one */
	JOB_COPY, /* replica → proving */
	JOB_PROMOTE, /* proving → good */
};

struct good_copy {
	struct daemon *daemon;
	const struct disk *disk;
	char proving_path[PATH_MAX];
	char good_path[PATH_MAX];
	bool checked;
	uint64_t good; /* ledger entry; 0: there is none, or it is damaged */
	uint64_t proving; /* the same of the one being proven; 0: there is none */
	uint64_t proving_since_ms;
	uint64_t dirty_since_ms; /* the image is newer than both; 0: it is not */
	uint64_t rest_until_ms;
	struct alarm alarm;

	/* the job under way */
	bool busy;
	enum job job;
	uint64_t sequence; /* that it is about, or has found */
	uint64_t begun_ms;
	uv_work_t work;
	int result;
	struct error error;
};

uint64_t good_copy_ms(void)
{
	const char *text = getenv(GOOD_COPY_VARIABLE);
	unsigned long long ms = text ? strtoull(text, NULL, 10) : 0;
	return ms ? ms : GOOD_COPY_MS;
}

/* --- in a thread --- */

static int promote(const struct good_copy *copy, struct error *err)
{
	const struct disk *disk = copy->disk;
	int result = disk->rename(disk->context, copy->proving_path, copy->good_path);
	if (result == 0)
		result = disk->sync_folder(disk->context, copy->good_path);
	if (result < 0)
		return error_set(err, result, "%s: cannot write: %s", copy->good_path,
				 error_text(result));
	replica_remove_former(copy->daemon->options->state_folder);
	return 0;
}

static int check(struct good_copy *copy, struct error *err)
{
	const struct ledger_position none = {0};
	struct copy_verdict verdict;
	int result = copy_judge(copy->daemon->options->state_folder, COPY_GOOD_FILE, &none, &none,
				&verdict, err);
	if (result == 0)
		copy->sequence = verdict.head.sequence;
	return result;
}

static void work(uv_work_t *request)
{
	struct good_copy *copy = request->data;
	struct error *err = &copy->error;
	*err = (struct error){0};
	switch (copy->job) {
	case JOB_CHECK:
		copy->result = check(copy, err);
		break;
	case JOB_COPY:
		copy->result = store_sqlite_copy(copy->daemon->options->state_folder, copy->disk,
						 copy->proving_path, err);
		break;
	case JOB_PROMOTE:
		copy->result = promote(copy, err);
		break;
	}
}

/* --- in the loop --- */

static void copy_alarm_told(struct good_copy *copy, bool is_new)
{
	if (is_new)
		daemon_tell_alarm(copy->daemon, &copy->alarm);
}

static void copy_failed(struct good_copy *copy, uint64_t now_ms)
{
	copy->rest_until_ms = now_ms + RETRY_MS;
	copy->proving = 0;
	copy_alarm_told(
	    copy, ALARM_SET(&copy->alarm, now_ms, COPY_FAILED, COPY_GOOD_FILE, copy->error.text));
}

static void on_worked(uv_work_t *request, int status)
{
	struct good_copy *copy = request->data;
	uint64_t now_ms = clock_now_ms(copy->daemon->clock);
	(void)status; /* nobody cancels */
	copy->busy = false;
	daemon_used_memory(copy->daemon);
	if (copy->job == JOB_CHECK) {
		copy->checked = true;
		copy->good = copy->result == 0 ? copy->sequence : 0;
		if (must_succeed(copy->result) < 0 && copy->result != -ENOENT)
			copy_alarm_told(copy, ALARM_SET(&copy->alarm, now_ms, COPY_DAMAGED,
							COPY_GOOD_FILE, copy->error.text));
		return;
	}
	if (copy->result < 0) {
		copy_failed(copy, now_ms);
		return;
	}
	if (copy->job == JOB_COPY) {
		copy->proving = copy->sequence;
		copy->proving_since_ms = now_ms;
		copy->dirty_since_ms = 0;
		copy->rest_until_ms = now_ms + REST_FACTOR * (now_ms - copy->begun_ms);
	} else {
		alarm_end(&copy->alarm);
		copy->good = copy->sequence;
		copy->proving = 0;
		daemon_event(copy->daemon, "copy.good",
			     json_pack("{s:I}", "sequence", (json_int_t)copy->good));
	}
}

static void submit(struct good_copy *copy, enum job job, uint64_t sequence, uint64_t now_ms)
{
	copy->job = job;
	copy->sequence = sequence;
	copy->begun_ms = now_ms;
	copy->busy = true;
	copy->work.data = copy;
	/* Fails only without a function to call. */
	(void)uv_queue_work(&copy->daemon->loop, &copy->work, work, on_worked);
}

static bool is_due(struct good_copy *copy, uint64_t now_ms)
{
	const struct image *image = &copy->daemon->image;
	if (!image->fabric || image->head.sequence == copy->good)
		return false;
	if (!copy->dirty_since_ms)
		copy->dirty_since_ms = now_ms;
	return now_ms - copy->dirty_since_ms >= GATHER_MS;
}

void good_copy_run(struct good_copy *copy, bool well, uint64_t now_ms)
{
	if (!well)
		copy->proving_since_ms = now_ms;
	if (copy->busy || now_ms < copy->rest_until_ms)
		return;
	if (!copy->checked)
		submit(copy, JOB_CHECK, 0, now_ms);
	else if (!well)
		return;
	else if (copy->proving && now_ms - copy->proving_since_ms >= good_copy_ms())
		submit(copy, JOB_PROMOTE, copy->proving, now_ms);
	else if (!copy->proving && is_due(copy, now_ms))
		submit(copy, JOB_COPY, copy->daemon->image.head.sequence, now_ms);
}

/* --- */

struct good_copy *good_copy_new(struct daemon *daemon)
{
	struct good_copy *copy = must_alloc(1, sizeof(*copy));
	const char *folder = daemon->options->state_folder;
	copy->daemon = daemon;
	copy->disk = &disk_system;
	snprintf(copy->proving_path, PATH_MAX, "%s/" COPY_PROVING_FILE, folder);
	snprintf(copy->good_path, PATH_MAX, "%s/" COPY_GOOD_FILE, folder);
	return copy;
}

void good_copy_free(struct good_copy *copy)
{
	while (copy && copy->busy)
		uv_run(&copy->daemon->loop, UV_RUN_ONCE);
	free(copy);
}

const struct alarm *good_copy_alarm(const struct good_copy *copy)
{
	return &copy->alarm;
}

uint64_t good_copy_sequence(const struct good_copy *copy)
{
	return copy->good;
}
