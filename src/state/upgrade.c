/* SPDX-License-Identifier: Apache-2.0 */
#include "state/upgrade.h"

#include "state/publication.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>

/* The most that one step below writes. */
#define STEP_OPS (2u * MODEL_MAX_POOLS + 8u)

struct upgrade {
	struct change change;
	struct changes *changes;
	upgrade_done_fn *done;
	void *context;
	unsigned parts;
	bool more;
};

static bool is_full(struct upgrade *upgrade, const struct change_draft *draft)
{
	upgrade->more =
	    draft->op_count + STEP_OPS > CHANGE_MAX_OPS || draft->bytes > CHANGE_MAX_BYTES;
	return upgrade->more;
}

struct cleaning {
	struct upgrade *upgrade;
	struct change_draft *draft;
	uint64_t old_revision;
};

/* Written before the old form was changed last: perhaps it says something else. */
static int remove_stale(void *context, const char *key, uint64_t revision)
{
	const struct cleaning *cleaning = context;
	if (revision > cleaning->old_revision || is_full(cleaning->upgrade, cleaning->draft))
		return 0;
	return draft_remove(cleaning->draft, key, revision);
}

static int put_sites(struct upgrade *upgrade, struct change_draft *draft,
		     const struct placement *placement, struct error *err)
{
	const struct fabric *fabric = draft->image->fabric;
	int result = 0;
	for (size_t i = 0; i < fabric->site_count && result == 0 && !is_full(upgrade, draft); i++)
		result = publication_put_site(draft, &fabric->sites[i], err);
	for (size_t i = 0; i < placement->site_count && result == 0 && !is_full(upgrade, draft);
	     i++)
		result = publication_put_placed_site(draft, placement, i);
	return result;
}

/* A service of the file that was not published, since the program ended while it carried the file
 * out, is left out: applying the file again publishes it. */
static int put_services(struct upgrade *upgrade, struct change_draft *draft, struct error *err)
{
	const struct image *image = draft->image;
	int result = 0;
	for (size_t i = 0; i < image->service_count && result == 0 && !is_full(upgrade, draft);
	     i++) {
		const struct image_service *service = image->services[i];
		if (service->configured && service->state && !service->state->removed)
			result = publication_put_config(draft, service->configured, err);
	}
	return result;
}

static int put_slots(struct upgrade *upgrade, struct change_draft *draft,
		     const struct placement *placement)
{
	int result = 0;
	for (size_t i = 0;
	     i < placement->used_slot_count && result == 0 && !is_full(upgrade, draft); i++)
		result = publication_put_slot(draft, placement, &placement->used_slots[i]);
	return result;
}

static int put_records(struct upgrade *upgrade, struct change_draft *draft, struct error *err)
{
	static const struct placement NO_NUMBERS;
	const struct image *image = draft->image;
	const struct placement *placement = image->placement ? image->placement : &NO_NUMBERS;
	int result = publication_put_pools(draft, placement);
	if (result == 0)
		result = put_slots(upgrade, draft, placement);
	if (result < 0 || !image->fabric || upgrade->more)
		return result;
	result = put_sites(upgrade, draft, placement, err);
	if (result == 0 && !upgrade->more)
		result = put_services(upgrade, draft, err);
	if (result == 0 && !is_full(upgrade, draft))
		result = publication_put_fabric(draft, image->fabric, err);
	return result;
}

static int remove_old(struct change_draft *draft)
{
	static const char *const KEYS[] = {"config", "placement"};
	int result = 0;
	for (size_t i = 0; i < 2 && result == 0; i++) {
		uint64_t revision = image_record_revision(draft->image, KEYS[i]);
		if (revision)
			result = draft_remove(draft, KEYS[i], revision);
	}
	return result;
}

static int build_upgrade(struct change *change, struct change_draft *draft, struct error *err)
{
	struct upgrade *upgrade = (struct upgrade *)change;
	const struct image *image = draft->image;
	struct cleaning cleaning = {
	    .upgrade = upgrade, .draft = draft, .old_revision = image_old_revision(image)};
	upgrade->more = false;
	if (!image->is_old)
		return CHANGE_NOTHING;
	int result = image_each_record(image, remove_stale, &cleaning);
	/* A key is changed only once in a txn: what was removed is written in the next. */
	upgrade->more = draft->op_count > 0;
	if (result == 0 && !upgrade->more)
		result = put_records(upgrade, draft, err);
	if (result == 0 && !upgrade->more)
		result = remove_old(draft);
	if (result < 0)
		return result;
	draft->what = json_pack("{s:i, s:i}", "part", (int)upgrade->parts + 1, "records",
				(int)draft->op_count);
	return draft->what ? CHANGE_COMMIT : -ENOMEM;
}

static void upgrade_done(struct change *change, int result, const struct error *err,
			 uint64_t sequence)
{
	struct upgrade *upgrade = (struct upgrade *)change;
	upgrade->parts += sequence != 0;
	if (result == 0 && upgrade->more) {
		changes_submit_first(upgrade->changes, change);
		return;
	}
	upgrade->done(upgrade->context, result, err);
	free(upgrade);
}

int upgrade_begin(struct changes *changes, upgrade_done_fn *done, void *context)
{
	struct upgrade *upgrade = calloc(1, sizeof(*upgrade));
	if (!upgrade)
		return -ENOMEM;
	*upgrade = (struct upgrade){
	    .change = {.kind = LEDGER_KIND_UPGRADE,
		       .who = "fairlead",
		       .why = "the state of an earlier release is written as records",
		       .build = build_upgrade,
		       .done = upgrade_done,
		       .upgrades = true},
	    .changes = changes,
	    .done = done,
	    .context = context};
	changes_submit_first(changes, &upgrade->change);
	return 0;
}
