/* SPDX-License-Identifier: Apache-2.0 */
/* Members as commands show them: who they are, and what was last heard of them. */
#include "api/show.h"
#include "base/memory.h"
#include "fabric/driver.h"
#include "fabric/fence.h"

#include <string.h>

static void put_heard(const struct sights *sights, const struct member *member, json_t *json)
{
	const struct observed_node *seen = observations_find(sights->observations, member->name);
	const uint64_t applied = merge_applied_by(sights, member);
	if (seen)
		json_object_set_new(json, "heard_ms",
				    json_integer((json_int_t)(sights->now_ms - seen->heard_ms)));
	if (applied == UINT64_MAX)
		return;
	json_object_set_new(json, "applied", json_integer((json_int_t)applied));
	json_object_set_new(json, "behind",
			    json_integer((json_int_t)(sights->image->head.sequence - applied)));
}

/* Who is a member no more, and may still forward. */
static void put_unfenced(const struct sights *sights, json_t *list)
{
	const struct removed_list *removed = &sights->image->removed;
	for (size_t i = 0; i < removed->count; i++) {
		const struct removed_member *gone = &removed->items[i];
		char roles[MEMBER_ROLES_BYTES];
		char text[FENCE_TEXT];
		if (removed_is_fenced(gone))
			continue;
		must_succeed(fence_text(sights->image, sights->reports, gone, text));
		json_t *json = json_pack("{s:s, s:s, s:s}", "name", gone->name, "roles",
					 member_roles_format(gone->roles, roles), "removed",
					 text + strlen(gone->name) + strlen(": "));
		if (gone->channel_address.family)
			json_object_set_new(json, "address", show_address(&gone->channel_address));
		json_array_append_new(list, json);
	}
}

json_t *show_nodes(const struct api_host *host)
{
	const struct image *image = host->image;
	const struct sights sights = driver_sights(host->driver);
	json_t *list = json_array();
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *member = image->members[i].member;
		char roles[MEMBER_ROLES_BYTES];
		json_t *json =
		    json_pack("{s:s, s:s, s:s, s:I}", "name", member->name, "site", member->site,
			      "roles", member_roles_format(member->roles, roles), "level",
			      (json_int_t)member->features);
		if (member->channel_address.family)
			json_object_set_new(json, "address",
					    show_address(&member->channel_address));
		if (*member->channel_key)
			json_object_set_new(json, "channel_key", json_string(member->channel_key));
		put_heard(&sights, member, json);
		json_array_append_new(list, json);
	}
	put_unfenced(&sights, list);
	return list;
}
