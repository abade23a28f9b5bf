/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/passing_renewal.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/random.h"
#include "state/changes.h"
#include "state/image.h"
#include "state/passing_secret.h"

#include <stdlib.h>
#include <string.h>

struct passing_renewal {
	struct passing_renewal_options options;
	bool busy;
	struct change change;
};

static size_t count_edges(const struct image *image)
{
	size_t count = 0;
	for (size_t i = 0; i < image->member_count; i++)
		count += member_has(image->members[i].member, MEMBER_EDGE);
	return count;
}

/* Who was an edge when the secret was drawn, and is none any more, knows it. */
static bool has_lost_edge(const struct image *image)
{
	const struct removed_list *removed = &image->removed;
	for (size_t i = 0; i < removed->count; i++) {
		if (removed->items[i].sequence > image->passing.sequence &&
		    removed->items[i].source_count)
			return true;
	}
	return false;
}

static bool is_due(const struct passing_renewal *renewal, const struct image *image,
		   uint64_t wall_ms)
{
	const struct passing_renewal_options *options = &renewal->options;
	const struct passing_secret *secret = &image->passing;
	if (count_edges(image) < 2 || image_unread(image, PASSING_SECRET_KEY))
		return false;
	if (!secret->sequence)
		return true;
	/* A clock that was set back does not keep a secret for ever. */
	return (wall_ms < secret->made_ms || wall_ms - secret->made_ms >= PASSING_RENEWAL_MS ||
		has_lost_edge(image)) &&
	       options->applied(options->context) >= secret->sequence;
}

static int build(struct change *change, struct change_draft *draft, struct error *err)
{
	struct passing_renewal *renewal = change->context;
	const struct passing_secret *before = &draft->image->passing;
	struct passing_secret secret = {.sequence = draft->sequence,
					.made_ms = draft->wall_ms,
					.has_former = before->sequence != 0};
	struct buffer value;
	(void)err;
	if (!is_due(renewal, draft->image, draft->wall_ms))
		return CHANGE_NOTHING;
	random_fill(draft->random, secret.secret, sizeof(secret.secret));
	memcpy(secret.former, before->secret, sizeof(secret.former));
	draft->what = json_object();
	buffer_init(&value, STORE_VALUE_BYTES);
	int result = draft->what ? passing_secret_put(&secret, &value) : -ENOMEM;
	if (result == 0)
		result = draft_put(draft, PASSING_SECRET_KEY,
				   image_record_revision(draft->image, PASSING_SECRET_KEY), &value);
	buffer_done(&value);
	return result < 0 ? result : CHANGE_COMMIT;
}

static void done(struct change *change, int result, const struct error *err, uint64_t sequence)
{
	struct passing_renewal *renewal = change->context;
	(void)err; /* the store's failures are told where txns end, and it is tried again */
	(void)result;
	(void)sequence;
	renewal->busy = false;
}

void passing_renewal_run(struct passing_renewal *renewal)
{
	const struct passing_renewal_options *options = &renewal->options;
	if (renewal->busy || options->rests(options->context) ||
	    !is_due(renewal, options->image, clock_wall_ms(options->steady)))
		return;
	renewal->busy = true;
	renewal->change =
	    (struct change){.kind = LEDGER_KIND_PASSING,
			    .who = "fairlead",
			    .why = "by its token an edge knows what another edge passed on",
			    .build = build,
			    .done = done,
			    .context = renewal};
	changes_submit(options->changes, &renewal->change);
}

int passing_renewal_new(const struct passing_renewal_options *options,
			struct passing_renewal **ret_renewal)
{
	struct passing_renewal *renewal = calloc(1, sizeof(*renewal));
	if (!renewal)
		return -ENOMEM;
	renewal->options = *options;
	*ret_renewal = renewal;
	return 0;
}

void passing_renewal_free(struct passing_renewal *renewal)
{
	free(renewal);
}
