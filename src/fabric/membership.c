/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/membership.h"

#include "base/buffer.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct membership {
	struct membership_options options;
	struct change change; /* in flight while `busy` */
	bool busy;
	struct alarm alarm;
};

int membership_new(const struct membership_options *options, struct membership **ret_membership)
{
	struct membership *membership = calloc(1, sizeof(*membership));
	if (!membership)
		return -ENOMEM;
	membership->options = *options;
	*ret_membership = membership;
	return 0;
}

void membership_free(struct membership *membership)
{
	free(membership);
}

const struct alarm *membership_alarm(const struct membership *membership)
{
	return &membership->alarm;
}

/* The roles that the record shall have: those of the flags, and those in which something still
 * acts. Only what was recorded can still act. */
static unsigned roles_wanted(const struct membership *membership, const struct member *recorded)
{
	const struct membership_options *options = &membership->options;
	unsigned roles = options->self->roles;
#define X(id, name, bit, meaning)                                                                  \
	if (recorded && member_has(recorded, MEMBER_##id) &&                                       \
	    !member_has(options->self, MEMBER_##id) &&                                             \
	    options->acts(options->context, MEMBER_##id))                                          \
		roles |= (unsigned)MEMBER_##id;
	MEMBER_ROLES(X)
#undef X
	return roles;
}

/* The record as it is to be, and why it differs from the flags; false when it must not be touched.
 */
static bool want(struct membership *membership, const struct member *recorded,
		 struct member *ret_wanted)
{
	const struct member *self = membership->options.self;
	char roles[MEMBER_ROLES_BYTES];
	alarm_end(&membership->alarm);
	/* Its record cannot be read here, which is an alarm of its own. */
	if (recorded && !*recorded->key)
		return false;
	if (recorded && strcmp(recorded->key, self->key) != 0) {
		ALARM_SET(&membership->alarm, 0, MEMBER_OTHER_KEY, self->name, self->name);
		return false;
	}
	*ret_wanted = *self;
	ret_wanted->roles = roles_wanted(membership, recorded);
	if (ret_wanted->roles != self->roles)
		ALARM_SET(&membership->alarm, 0, MEMBER_ROLE_LEFT, self->name,
			  member_roles_format(ret_wanted->roles & ~self->roles, roles));
	/* An edge's tunnels come from where they came from, while its maps send them. */
	if (recorded && member_has(recorded, MEMBER_EDGE) && !member_has(self, MEMBER_EDGE) &&
	    member_has(ret_wanted, MEMBER_EDGE)) {
		memcpy(ret_wanted->sources, recorded->sources, sizeof(ret_wanted->sources));
		ret_wanted->source_count = recorded->source_count;
	}
	return true;
}

static json_t *roles_json(unsigned roles)
{
	char text[MEMBER_ROLES_BYTES];
	return json_string(member_roles_format(roles, text));
}

static int build(struct change *change, struct change_draft *draft, struct error *err)
{
	struct membership *membership = change->context;
	const struct member *recorded = image_member(draft->image, membership->options.self->name);
	struct member wanted;
	struct buffer value;
	char key[RECORD_KEY_BYTES];
	(void)err;
	if (!want(membership, recorded, &wanted) || (recorded && member_equal(recorded, &wanted)))
		return CHANGE_NOTHING;
	change->kind = recorded ? LEDGER_KIND_MEMBER_UPDATE : LEDGER_KIND_MEMBER_ADD;
	buffer_init(&value, STORE_VALUE_BYTES);
	int result = record_member_put(&wanted, &value);
	record_member_key(wanted.name, key);
	if (result == 0)
		result = draft_put(draft, key, image_record_revision(draft->image, key), &value);
	if (result == 0) {
		json_t *sources = json_array();
		for (size_t i = 0; i < wanted.source_count; i++) {
			char text[IP_TEXT_BYTES];
			json_array_append_new(
			    sources, json_string(ip_address_format(&wanted.sources[i], text)));
		}
		draft->what = json_pack("{s:s, s:s, s:o, s:o, s:I}", "node", wanted.name, "site",
					wanted.site, "roles", roles_json(wanted.roles), "sources",
					sources, "features", (json_int_t)wanted.features);
		if (recorded)
			json_object_set_new(draft->what, "roles_before",
					    roles_json(recorded->roles));
	}
	buffer_done(&value);
	return result < 0 ? result : CHANGE_COMMIT;
}

static void membership_done(struct change *change, int result, const struct error *err,
			    uint64_t sequence)
{
	struct membership *membership = change->context;
	(void)err; /* the store's failures are told where txns end, and it is tried again */
	(void)result;
	(void)sequence;
	membership->busy = false;
}

void membership_run(struct membership *membership)
{
	const struct membership_options *options = &membership->options;
	const struct member *recorded = image_member(options->image, options->self->name);
	struct member wanted;
	if (membership->busy || options->rests(options->context) ||
	    !want(membership, recorded, &wanted) || (recorded && member_equal(recorded, &wanted)))
		return;
	membership->busy = true;
	membership->change =
	    (struct change){.kind = recorded ? LEDGER_KIND_MEMBER_UPDATE : LEDGER_KIND_MEMBER_ADD,
			    .who = "fairlead",
			    .build = build,
			    .done = membership_done,
			    .context = membership};
	snprintf(membership->change.why, sizeof(membership->change.why),
		 recorded ? "the node was started with other flags"
			  : "the node's first start as a member");
	changes_submit(options->changes, &membership->change);
}
