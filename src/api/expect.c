/* SPDX-License-Identifier: Apache-2.0 */
#include "api/expect.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "control/render_parts.h"
#include "ledger/ledger.h"
#include "state/image.h"

#include <stdlib.h>

struct expectation {
	const struct api_host *host;
	uint64_t expected;
	struct buffer newest; /* the last order, in words */
	uint64_t orders;
	expect_fn *done;
	void *context;
};

static void finish(struct expectation *expectation, int result, const struct error *err,
		   uint64_t newest)
{
	expect_fn *done = expectation->done;
	void *context = expectation->context;
	buffer_done(&expectation->newest);
	free(expectation);
	done(context, result, err, newest);
}

/* "entry 15, of alice at 2026-11-30 07:31:04 (apply: publish web/2: more capacity)" */
static void note_order(struct expectation *expectation, const struct ledger_entry *entry)
{
	struct buffer *text = &expectation->newest;
	struct buffer words;
	char time[CLOCK_TEXT_BYTES];
	char shown[PART_BYTES];
	buffer_init(&words, 0);
	render_entry_words(entry->kind, entry->what, &words);
	clock_format(entry->time_ms, time, sizeof(time));
	buffer_clear(text);
	buffer_printf(text, "entry %llu, by %.64s at %s (%s%s%.300s%s%.300s)",
		      (unsigned long long)entry->sequence, entry->who, part_time(time, shown),
		      entry->kind, words.length ? ": " : "", words.length ? words.data : "",
		      *entry->why ? ": " : "", entry->why);
	must_succeed(text->status);
	buffer_done(&words);
	expectation->orders++;
}

static void conclude(struct expectation *expectation, uint64_t newest)
{
	struct error err = {0};
	if (!expectation->orders) {
		finish(expectation, 0, NULL, newest);
		return;
	}
	error_set(&err, -FL_ECONFLICT,
		  "the configuration has moved past entry %llu, which this was planned against: %s "
		  "%s. Nothing was changed; look at `fairlead log --from %llu`, bring the file up "
		  "to date, and plan it again",
		  (unsigned long long)expectation->expected,
		  expectation->orders == 1 ? "there is" : "the newest order is",
		  expectation->newest.data, (unsigned long long)expectation->expected + 1);
	finish(expectation, err.code, &err, newest);
}

static void read_on(struct expectation *expectation, uint64_t from);

static void on_page(void *context, int result, const struct error *err,
		    const struct ledger_page *page)
{
	struct expectation *expectation = context;
	if (result < 0) {
		finish(expectation, result, err, 0);
		return;
	}
	for (size_t i = 0; i < page->count; i++) {
		if (ledger_kind_is_order(page->entries[i].kind))
			note_order(expectation, &page->entries[i]);
	}
	if (page->more && page->count)
		read_on(expectation, page->entries[page->count - 1].sequence + 1);
	else
		conclude(expectation, page->head.sequence);
}

static void read_on(struct expectation *expectation, uint64_t from)
{
	struct error err = {0};
	int result = ledger_range(expectation->host->store, from, STORE_PAGE_RECORDS, on_page,
				  expectation, &err);
	if (result < 0)
		finish(expectation, result, &err, 0);
}

void expect_begin(const struct api_host *host, uint64_t expected, expect_fn *done, void *context)
{
	uint64_t head = host->image->head.sequence;
	struct error err = {0};
	if (expected > head) {
		error_set(&err, -FL_ECONFLICT,
			  "the ledger has no entry %llu: its newest is %llu. Nothing was changed; "
			  "plan the file again",
			  (unsigned long long)expected, (unsigned long long)head);
		done(context, err.code, &err, head);
		return;
	}
	struct expectation *expectation = must_alloc(1, sizeof(*expectation));
	*expectation = (struct expectation){
	    .host = host, .expected = expected, .done = done, .context = context};
	buffer_init(&expectation->newest, 0);
	read_on(expectation, expected + 1);
}
