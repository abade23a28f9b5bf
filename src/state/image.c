/* SPDX-License-Identifier: Apache-2.0 */
#include "state/image.h"

#include "base/search.h"
#include "state/image_find.h"
#include "state/image_pieces.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOAD_TIMEOUT_MS 60000

/* --- services and versions --- */

static struct image_service *service_add(struct image *image, const char *name)
{
	struct image_service **services =
	    realloc(image->services, (image->service_count + 1) * sizeof(*services));
	if (!services)
		return NULL;
	image->services = services;
	struct image_service *service = calloc(1, sizeof(*service));
	if (!service)
		return NULL;
	snprintf(service->name, sizeof(service->name), "%s", name);
	size_t at = image->service_count;
	while (at && strcmp(services[at - 1]->name, name) > 0) {
		services[at] = services[at - 1];
		at--;
	}
	services[at] = service;
	image->service_count++;
	return service;
}

static struct image_service *service_get(struct image *image, const char *name)
{
	struct image_service *service = image_service(image, name);
	return service ? service : service_add(image, name);
}

static void version_free(struct image_version *entry)
{
	arena_done(&entry->arena);
	free(entry);
}

/* "NAME/0000000017" */
static int split_key(const char *rest, char name[MODEL_NAME_BYTES], uint32_t *ret_number)
{
	const char *slash = strchr(rest, '/');
	if (!slash || slash - rest >= MODEL_NAME_BYTES)
		return -FL_ECORRUPT;
	memcpy(name, rest, (size_t)(slash - rest));
	name[slash - rest] = '\0';
	char *end;
	unsigned long number = strtoul(slash + 1, &end, 10);
	if (end == slash + 1 || *end || number > UINT32_MAX)
		return -FL_ECORRUPT;
	*ret_number = (uint32_t)number;
	return 0;
}

static int take_version(struct image *image, const struct store_record *record, struct error *err)
{
	char name[MODEL_NAME_BYTES];
	uint32_t number;
	int result = split_key(record_key_rest(record->key, RECORD_VERSION), name, &number);
	if (result < 0)
		return error_set(err, result, "the store's key %s names no version", record->key);
	struct image_service *service = service_get(image, name);
	struct image_version *entry = calloc(1, sizeof(*entry));
	struct image_version **versions =
	    service ? realloc(service->versions, (service->version_count + 1) * sizeof(*versions))
		    : NULL;
	if (versions)
		service->versions = versions;
	if (!entry || !versions) {
		free(entry);
		return -ENOMEM;
	}
	arena_init(&entry->arena, 0);
	result = record_version_parse(record->value, record->value_length, &entry->arena,
				      &entry->version, err);
	if (result == 0 &&
	    (entry->version->number != number || strcmp(entry->version->service, name) != 0))
		result = error_set(err, -FL_ECORRUPT, "the store's key %s holds another version",
				   record->key);
	if (result == 0 && image_version_find(service, number))
		result = error_set(err, -FL_ECORRUPT,
				   "version %s/%u was written twice: a version never changes", name,
				   number);
	if (result < 0) {
		version_free(entry);
		return result;
	}
	entry->learned_ms = image->now_ms;
	versions[service->version_count++] = entry;
	service->touched = true;
	return 0;
}

static void drop_version(struct image *image, const char *rest)
{
	char name[MODEL_NAME_BYTES];
	uint32_t number;
	struct image_service *service =
	    split_key(rest, name, &number) == 0 ? image_service(image, name) : NULL;
	for (size_t i = 0; service && i < service->version_count; i++) {
		if (service->versions[i]->version->number != number)
			continue;
		version_free(service->versions[i]);
		service->touched = true;
		service->version_count--;
		memmove(service->versions + i, service->versions + i + 1,
			(service->version_count - i) * sizeof(*service->versions));
		return;
	}
}

/* What reads well may still be another's work: no process of ours writes such a state. */
static int check_state(const struct service_state *state, const char *name, struct error *err)
{
	struct service_fault fault = service_state_judge(state);
	if (strcmp(state->name, name) != 0)
		return error_set(err, -FL_ECORRUPT, "it is the state of another service");
	return fault.rule ? error_set(err, -FL_ECORRUPT,
				      "the stored service state breaks a rule (%s): it was changed "
				      "by another hand; put a backup of the store in its place",
				      fault.rule)
			  : 0;
}

static int take_service(struct image *image, const struct store_record *record, struct error *err)
{
	const char *name = record_key_rest(record->key, RECORD_SERVICE);
	struct image_service *service = service_get(image, name);
	if (!service)
		return -ENOMEM;
	struct arena arena;
	struct service_state *state;
	arena_init(&arena, 0);
	int result = record_service_parse(record->value, record->value_length, &arena, &state, err);
	if (result == 0)
		result = check_state(state, name, err);
	if (result < 0) {
		arena_done(&arena);
		return result;
	}
	if (!service->state || service->state->index != state->index)
		image_pieces_renumber(image);
	arena_done(&service->arena);
	service->arena = arena;
	service->state = state;
	service->mod_revision = record->mod_revision;
	service->touched = true;
	return 0;
}

static void drop_service(struct image *image, const char *name)
{
	struct image_service *service = image_service(image, name);
	if (!service)
		return;
	arena_done(&service->arena);
	service->state = NULL;
	service->mod_revision = 0;
	image_pieces_renumber(image);
}

static int take_service_config(struct image *image, const struct store_record *record,
			       struct error *err)
{
	const char *name = record_key_rest(record->key, RECORD_CONFIG_SERVICE);
	struct image_service *service =
	    strlen(name) < MODEL_NAME_BYTES ? service_get(image, name) : NULL;
	if (!service)
		return -ENOMEM;
	return image_pieces_take_service(image, service, record, err);
}

static int drop_service_config(struct image *image, const char *name)
{
	struct image_service *service = image_service(image, name);
	return service ? image_pieces_take_service(image, service, NULL, NULL) : 0;
}

static int take_ended(struct image *image, const struct store_record *record, struct error *err)
{
	const char *name = record_key_rest(record->key, RECORD_ENDED);
	struct ended_service ended;
	int result = record_ended_parse(record->value, record->value_length, &ended, err);
	struct image_service *service =
	    result == 0 && strlen(name) < MODEL_NAME_BYTES ? service_get(image, name) : NULL;
	if (result < 0 || !service)
		return result < 0 ? result : -ENOMEM;
	service->ended = ended;
	service->ended_revision = record->mod_revision;
	return 0;
}

static void drop_ended(struct image *image, const char *name)
{
	struct image_service *service = image_service(image, name);
	if (!service)
		return;
	service->ended = (struct ended_service){0};
	service->ended_revision = 0;
}

/* --- members --- */

/* A node whose record cannot be read here is waited for all the same, in every role that matters.
 */
static int unread_member(const char *name, struct image_member *taken)
{
	taken->member = arena_alloc(&taken->arena, sizeof(*taken->member));
	const char *copy = arena_strdup(&taken->arena, name);
	if (!taken->member || !copy)
		return -ENOMEM;
	taken->is_unread = true;
	*taken->member = (struct member){
	    .name = copy, .site = "", .key = "", .roles = MEMBER_EDGE | MEMBER_NAMES};
	return 0;
}

/* The roles in which a node is waited for before an address changes its meaning. */
static void note_ceased(struct image *image, const struct member *before, unsigned roles)
{
	if (before->roles & ~roles & (MEMBER_EDGE | MEMBER_NAMES))
		image->ceased_ms = image->now_ms;
}

static int take_member(struct image *image, const struct store_record *record, struct error *err)
{
	const char *name = record_key_rest(record->key, RECORD_MEMBER);
	struct image_member taken = {.mod_revision = record->mod_revision};
	bool found;
	size_t at;
	arena_init(&taken.arena, 0);
	int result = record_member_parse(record->value, record->value_length, &taken.arena,
					 &taken.member, err);
	if (result == -FL_EUNSUPPORTED)
		result = unread_member(name, &taken);
	if (result < 0)
		goto fail;
	if (strcmp(taken.member->name, name) != 0) {
		result = error_set(err, -FL_ECORRUPT, "the store's key %s names another node",
				   record->key);
		goto fail;
	}
	image->members_revision = 0;
	at = image_member_place(image, name, &found);
	if (found) {
		note_ceased(image, image->members[at].member, taken.member->roles);
		arena_done(&image->members[at].arena);
		image->members[at] = taken;
		return taken.is_unread ? -FL_EUNSUPPORTED : 0;
	}
	struct image_member *members =
	    realloc(image->members, (image->member_count + 1) * sizeof(*members));
	if (!members) {
		result = -ENOMEM;
		goto fail;
	}
	image->members = members;
	memmove(members + at + 1, members + at, (image->member_count - at) * sizeof(*members));
	members[at] = taken;
	image->member_count++;
	return taken.is_unread ? -FL_EUNSUPPORTED : 0;
fail:
	arena_done(&taken.arena);
	return result;
}

static void drop_member(struct image *image, const char *node)
{
	bool found;
	size_t at = image_member_place(image, node, &found);
	if (!found)
		return;
	image->members_revision = 0;
	note_ceased(image, image->members[at].member, 0);
	arena_done(&image->members[at].arena);
	image->member_count--;
	memmove(image->members + at, image->members + at + 1,
		(image->member_count - at) * sizeof(*image->members));
}

/* Until it is fenced, an edge that was removed may send new flows by an old meaning. */
static int take_removed(struct image *image, const struct store_record *record, struct error *err)
{
	const uint64_t sequence = strtoull(record_key_rest(record->key, RECORD_REMOVED), NULL, 10);
	const struct removed_member *known = removed_list_find(&image->removed, sequence);
	bool was_unfenced = known && !removed_is_fenced(known);
	int result = removed_list_take(&image->removed, record, image->now_ms, err);
	if (result < 0)
		return result;
	image->members_revision = 0;
	if (was_unfenced && removed_is_fenced(removed_list_find(&image->removed, sequence)))
		image->ceased_ms = image->now_ms;
	return 0;
}

static void drop_removed(struct image *image, const char *key)
{
	image->members_revision = 0;
	removed_list_drop(&image->removed, key);
}

/* --- the chain --- */

static void note_position(struct image *image, const struct ledger_position *position)
{
	image->chain[position->sequence % IMAGE_CHAIN_ENTRIES] = *position;
}

static int take_head(struct image *image, const struct store_record *record, struct error *err)
{
	int result = ledger_head_parse(record, &image->head, err);
	if (result == 0)
		note_position(image, &(struct ledger_position){.sequence = image->head.sequence,
							       .digest = image->head.digest});
	return result;
}

/* What cannot be read may be an order. */
static void take_entry(struct image *image, const struct store_record *record)
{
	struct ledger_entry entry;
	if (ledger_entry_parse(record->value, record->value_length, &entry, NULL) < 0) {
		image->ordered = strtoull(record->key + strlen(LEDGER_PREFIX), NULL, 10);
		return;
	}
	if (ledger_kind_is_order(entry.kind) && entry.sequence > image->ordered)
		image->ordered = entry.sequence;
	ledger_entry_done(&entry);
}

/* --- forgotten backends --- */

static struct image_forgotten *find_forgotten(const struct image *image,
					      const struct image_forgotten *like)
{
	for (size_t i = 0; i < image->forgotten_count; i++) {
		struct image_forgotten *forgotten = &image->forgotten[i];
		if (strcmp(forgotten->backend, like->backend) == 0 &&
		    ip_address_equal(&forgotten->address, &like->address))
			return forgotten;
	}
	return NULL;
}

static int take_forgotten(struct image *image, const struct store_record *record, struct error *err)
{
	struct image_forgotten said = {0};
	int result = record_forgotten_parse(record->key, said.backend, &said.address);
	if (result < 0)
		return error_set(err, result, "%s names no backend", record->key);
	result = record_sequence_parse(RECORD_FORGOTTEN, record->value, record->value_length,
				       &said.sequence, err);
	if (result < 0)
		return result;
	struct image_forgotten *known = find_forgotten(image, &said);
	if (known) {
		*known = said;
		return 0;
	}
	struct image_forgotten *list =
	    realloc(image->forgotten, (image->forgotten_count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	image->forgotten = list;
	list[image->forgotten_count++] = said;
	return 0;
}

static void drop_forgotten(struct image *image, const char *key)
{
	struct image_forgotten said = {0};
	struct image_forgotten *known =
	    record_forgotten_parse(key, said.backend, &said.address) == 0
		? find_forgotten(image, &said)
		: NULL;
	if (known)
		*known = image->forgotten[--image->forgotten_count];
}

/* --- what is unread --- */

/* Which part of a service a record is, and whose; 0 for any other. */
static unsigned part_of(enum record_type type)
{
	return type == RECORD_SERVICE          ? IMAGE_UNREAD_STATE
	       : type == RECORD_CONFIG_SERVICE ? IMAGE_UNREAD_CONFIG
					       : 0;
}

static void mark_unread(struct image *image, const char *key, bool is_unread)
{
	enum record_type type = record_type_of(key);
	unsigned part = part_of(type);
	struct image_service *service =
	    part ? image_service(image, record_key_rest(key, type)) : NULL;
	char name[MODEL_NAME_BYTES];
	uint32_t number;
	if (type == RECORD_VERSION && split_key(record_key_rest(key, type), name, &number) == 0 &&
	    image_service(image, name))
		image_service(image, name)->touched = true;
	if (service)
		service->unread = is_unread ? service->unread | part : service->unread & ~part;
}

static void drop_unread(struct image *image, const char *key)
{
	bool found = false;
	size_t place = image_unread_place(image, key, &found);
	if (!found)
		return;
	mark_unread(image, key, false);
	free(image->unread[place].key);
	image->unread_count--;
	memmove(image->unread + place, image->unread + place + 1,
		(image->unread_count - place) * sizeof(*image->unread));
}

static int add_unread(struct image *image, const struct store_record *record, enum record_type type)
{
	uint32_t level = record_level(record->value, record->value_length);
	uint32_t reads = type < RECORD_UNKNOWN ? record_rows[type].level : 0;
	bool found = false;
	size_t place = image_unread_place(image, record->key, &found);
	struct image_unread *list =
	    realloc(image->unread, (image->unread_count + 1) * sizeof(*list));
	char *key = strdup(record->key);
	if (list)
		image->unread = list;
	if (!list || !key) {
		free(key);
		return -ENOMEM;
	}
	ASSERT(!found);
	memmove(list + place + 1, list + place, (image->unread_count - place) * sizeof(*list));
	image->unread_count++;
	/* A setting that has no name here is of an unknown kind, too. */
	list[place] =
	    (struct image_unread){.key = key, .level = level, .reads = level > reads ? reads : 0};
	return 0;
}

/* --- all of it --- */

static int take_known(struct image *image, enum record_type type, const struct store_record *record,
		      struct error *err)
{
	switch (type) {
	case RECORD_LEDGER:
		if (strcmp(record->key, LEDGER_HEAD_KEY) == 0)
			return take_head(image, record, err);
		take_entry(image, record);
		return 0;
	case RECORD_NODE:
	case RECORD_OLD_ACK:
	case RECORD_PROBE:
		return 0;
	case RECORD_MEMBER:
		return take_member(image, record, err);
	case RECORD_VERSION:
		return take_version(image, record, err);
	case RECORD_SERVICE:
		return take_service(image, record, err);
	case RECORD_CONFIG_SERVICE:
		return take_service_config(image, record, err);
	case RECORD_ENDED:
		return take_ended(image, record, err);
	case RECORD_FORGOTTEN:
		return take_forgotten(image, record, err);
	case RECORD_REMOVED:
		return take_removed(image, record, err);
	case RECORD_PASSING:
		image->passing_revision = record->mod_revision;
		return passing_secret_parse(record, &image->passing, err);
	case RECORD_TOKEN:
		return token_list_take(&image->tokens, record, err);
	case RECORD_OLD_CONFIG:
	case RECORD_CONFIG_FABRIC:
	case RECORD_CONFIG_POOL:
	case RECORD_CONFIG_SETTING:
	case RECORD_CONFIG_SITE:
	case RECORD_OLD_PLACEMENT:
	case RECORD_PLACED_POOL:
	case RECORD_PLACED_SITE:
	case RECORD_RECOVERED:
	case RECORD_FREED_SLOT:
		return image_pieces_take(image, type, record, err);
	case RECORD_UNKNOWN:
		break;
	}
	return -FL_EUNSUPPORTED;
}

static int drop_known(struct image *image, enum record_type type, const char *key)
{
	const char *rest = type < RECORD_UNKNOWN ? record_key_rest(key, type) : "";
	switch (type) {
	case RECORD_VERSION:
		drop_version(image, rest);
		break;
	case RECORD_SERVICE:
		drop_service(image, rest);
		break;
	case RECORD_CONFIG_SERVICE:
		return drop_service_config(image, rest);
	case RECORD_MEMBER:
		drop_member(image, rest);
		break;
	case RECORD_ENDED:
		drop_ended(image, rest);
		break;
	case RECORD_FORGOTTEN:
		drop_forgotten(image, key);
		break;
	case RECORD_REMOVED:
		drop_removed(image, key);
		break;
	case RECORD_PASSING:
		image->passing = (struct passing_secret){0};
		image->passing_revision = 0;
		break;
	case RECORD_TOKEN:
		token_list_drop(&image->tokens, key);
		break;
	case RECORD_OLD_CONFIG:
	case RECORD_CONFIG_FABRIC:
	case RECORD_CONFIG_POOL:
	case RECORD_CONFIG_SETTING:
	case RECORD_CONFIG_SITE:
	case RECORD_OLD_PLACEMENT:
	case RECORD_PLACED_POOL:
	case RECORD_PLACED_SITE:
	case RECORD_RECOVERED:
	case RECORD_FREED_SLOT:
		image_pieces_drop(image, type, key);
		break;
	case RECORD_LEDGER:
	case RECORD_NODE:
	case RECORD_OLD_ACK:
	case RECORD_PROBE:
	case RECORD_UNKNOWN:
		break;
	}
	return 0;
}

/* What was known by an unread record's key before does not hold any more: what an image shows is a
 * matter of the store alone, not of when this process came to read it. */
static int take(struct image *image, const struct store_record *record, struct error *err)
{
	enum record_type type = record_type_of(record->key);
	struct error own = {0};
	drop_unread(image, record->key);
	int result = take_known(image, type, record, &own);
	if (result == -FL_EUNSUPPORTED) {
		result = type == RECORD_MEMBER ? 0 : drop_known(image, type, record->key);
		/* A service of which nothing else is known yet has a place as well. */
		if (result == 0 && part_of(type) &&
		    !service_get(image, record_key_rest(record->key, type)))
			result = -ENOMEM;
		if (result == 0)
			result = add_unread(image, record, type);
		if (result == 0)
			mark_unread(image, record->key, true);
		return result;
	}
	if (result < 0 && err) {
		*err = own;
		if (own.code && type != RECORD_VERSION && type != RECORD_LEDGER)
			error_prefix(err, "%s", record->key);
	}
	return result;
}

static int drop(struct image *image, const char *key)
{
	drop_unread(image, key);
	return drop_known(image, record_type_of(key), key);
}

/* Invariant 2 at the door: each version that is in use is there, and is the one committed. */
static int check_versions(const struct image *image, struct image_service *service,
			  struct error *err)
{
	const struct service_state *state = service->state;
	char key[RECORD_KEY_BYTES];
	service->unread &= ~(unsigned)IMAGE_UNREAD_VERSION;
	for (size_t i = 0; i < state->version_count; i++) {
		const struct version_status *status = &state->versions[i];
		const struct version *version = image_version(service, status->number);
		if (status->state == VERSION_RETIRED)
			continue;
		if (!version &&
		    image_unread(image, record_version_key(service->name, status->number, key))) {
			service->unread |= IMAGE_UNREAD_VERSION;
			continue;
		}
		if (!version)
			return error_set(err, -FL_ECORRUPT,
					 "version %s/%u is in use, but its record is missing",
					 service->name, status->number);
		if (memcmp(version->digest.bytes, status->digest.bytes, DIGEST_BYTES) != 0)
			return error_set(err, -FL_ECORRUPT,
					 "version %s/%u does not have the digest it was committed "
					 "with: its record was changed by another hand",
					 service->name, status->number);
	}
	return 0;
}

/* After a revision: what is assembled, and the list of states that the model's functions take, all
 * of them sound. */
static int settle(struct image *image, uint64_t revision, struct error *err)
{
	const struct service_state **states =
	    realloc(image->states, (image->service_count + 1) * sizeof(*states));
	if (!states)
		return -ENOMEM;
	image->states = states;
	image->state_count = 0;
	for (size_t i = 0; i < image->service_count; i++) {
		struct image_service *service = image->services[i];
		if (!service->state)
			continue;
		int result = service->touched ? check_versions(image, service, err) : 0;
		if (result < 0)
			return result;
		service->touched = false;
		states[image->state_count++] = service->state;
	}
	if (!image->members_revision)
		image->members_revision = revision;
	image->revision = revision;
	return image_pieces_settle(image, revision, err);
}

struct load {
	struct image *image;
	struct error *err;
	int result;
	bool done;
	bool more;
	bool only_unknown; /* take nothing else */
	uint64_t revision;
	char last_key[STORE_KEY_BYTES + 1];
};

static void load_page(void *context, int result, const struct error *err,
		      const struct store_page *page)
{
	struct load *load = context;
	load->done = true;
	load->result = result;
	if (result < 0) {
		if (err && load->err)
			*load->err = *err;
		return;
	}
	load->revision = page->revision;
	load->more = page->more;
	for (size_t i = 0; i < page->count && load->result == 0; i++) {
		if (!load->only_unknown || record_type_of(page->records[i].key) == RECORD_UNKNOWN)
			load->result = take(load->image, &page->records[i], load->err);
	}
	if (page->count)
		snprintf(load->last_key, sizeof(load->last_key), "%s",
			 page->records[page->count - 1].key);
}

static int load_range(struct load *load, struct store *store, const struct store_range *range)
{
	load->done = false;
	int result = store_range(store, range, load_page, load, load->err);
	if (result == 0)
		result = store_wait(store, &load->done, LOAD_TIMEOUT_MS, load->err);
	return result < 0 ? result : load->result;
}

static int load_prefix(struct load *load, struct store *store, const char *prefix, bool is_prefix)
{
	load->more = true;
	load->last_key[0] = '\0';
	while (load->more && load->result == 0) {
		char after[STORE_KEY_BYTES + 1];
		memcpy(after, load->last_key, sizeof(after));
		struct store_range range = {.key = prefix,
					    .prefix = is_prefix,
					    .after = after[0] ? after : NULL,
					    .revision = load->revision};
		int result = load_range(load, store, &range);
		if (result < 0)
			return result;
	}
	return 0;
}

/* Keys that no row describes: from each key that is there on to what follows its row. */
static int load_unknown(struct load *load, struct store *store)
{
	char after[STORE_KEY_BYTES + 2] = "";
	for (;;) {
		load->last_key[0] = '\0';
		struct store_range range = {.key = "",
					    .prefix = true,
					    .after = after[0] ? after : NULL,
					    .limit = 1,
					    .revision = load->revision};
		load->only_unknown = true;
		int result = load_range(load, store, &range);
		if (result < 0 || !load->last_key[0])
			return result;
		enum record_type type = record_type_of(load->last_key);
		bool skips = type < RECORD_UNKNOWN && record_rows[type].is_prefix;
		/* No key of ours goes on with what sorts behind all that ours may have. */
		snprintf(after, sizeof(after), "%s%s",
			 skips ? record_rows[type].key : load->last_key, skips ? "~" : "");
	}
}

/* All at the revision of the first page. Of the ledger, which is the largest part, its head. */
static int load_all(struct load *load, struct store *store)
{
	for (enum record_type type = 0; type < RECORD_UNKNOWN; type++) {
		const struct record_row *row = &record_rows[type];
		bool is_ledger = type == RECORD_LEDGER;
		if (type == RECORD_NODE || type == RECORD_OLD_ACK || type == RECORD_PROBE)
			continue;
		int result = load_prefix(load, store, is_ledger ? LEDGER_HEAD_KEY : row->key,
					 !is_ledger && row->is_prefix);
		if (result < 0)
			return result;
	}
	return load_unknown(load, store);
}

static void load_entry(void *context, int result, const struct error *err,
		       const struct store_page *page)
{
	struct load *load = context;
	load->done = true;
	load->result = result;
	if (err && load->err)
		*load->err = *err;
	for (size_t i = 0; result == 0 && i < page->count; i++) {
		const struct store_record *record = &page->records[i];
		struct ledger_position position = {
		    .sequence = strtoull(record->key + strlen(LEDGER_PREFIX), NULL, 10)};
		digest_of(record->value, record->value_length, &position.digest);
		if (position.sequence && position.sequence < load->image->head.sequence)
			note_position(load->image, &position);
	}
}

/* The hashes of the last entries: others name them. */
static int load_chain(struct load *load, struct store *store)
{
	struct image *image = load->image;
	char first[LEDGER_KEY_BYTES];
	uint64_t sequence = image->head.sequence;
	if (sequence < 2)
		return 0;
	ledger_key_format(sequence > IMAGE_CHAIN_ENTRIES ? sequence - IMAGE_CHAIN_ENTRIES : 0,
			  first);
	const struct store_range range = {.key = LEDGER_PREFIX,
					  .prefix = true,
					  .after = first,
					  .limit = IMAGE_CHAIN_ENTRIES,
					  .revision = load->revision};
	load->done = false;
	int result = store_range(store, &range, load_entry, load, load->err);
	if (result == 0)
		result = store_wait(store, &load->done, LOAD_TIMEOUT_MS, load->err);
	return result == 0 ? load->result : result;
}

int image_load(struct image *image, struct store *store, uint64_t now_ms, struct error *err)
{
	*image = (struct image){.now_ms = now_ms};
	struct load load = {.image = image, .err = err};
	int result = image_pieces_new(&image->pieces);
	if (result == 0)
		result = load_all(&load, store);
	if (result == 0)
		result = load_chain(&load, store);
	image->authority = store_id(store);
	return result < 0 ? result : settle(image, load.revision, err);
}

void image_done(struct image *image)
{
	for (size_t i = 0; i < image->service_count; i++) {
		struct image_service *service = image->services[i];
		for (size_t v = 0; v < service->version_count; v++)
			version_free(service->versions[v]);
		free(service->versions);
		arena_done(&service->arena);
		arena_done(&service->config_arena);
		free(service);
	}
	free(image->services);
	for (size_t i = 0; i < image->member_count; i++)
		arena_done(&image->members[i].arena);
	free(image->members);
	free(image->forgotten);
	token_list_done(&image->tokens);
	removed_list_done(&image->removed);
	free(image->states);
	for (size_t i = 0; i < image->unread_count; i++)
		free(image->unread[i].key);
	free(image->unread);
	image_pieces_free(image->pieces);
	*image = (struct image){0};
}

int image_update(struct image *image, uint64_t revision, const struct store_event *events,
		 size_t count, uint64_t now_ms, struct error *err)
{
	image->now_ms = now_ms;
	for (size_t i = 0; i < count; i++) {
		int result = events[i].kind == STORE_DELETE ? drop(image, events[i].record.key)
							    : take(image, &events[i].record, err);
		if (result < 0)
			return result;
	}
	return settle(image, revision, err);
}

uint64_t image_record_revision(const struct image *image, const char *key)
{
	enum record_type type = record_type_of(key);
	const struct image_service *service;
	bool found;
	size_t at;
	const struct removed_member *removed;
	switch (type) {
	case RECORD_REMOVED:
		removed = removed_list_find(&image->removed,
					    strtoull(record_key_rest(key, type), NULL, 10));
		return removed ? removed->mod_revision : 0;
	case RECORD_SERVICE:
		service = image_service(image, record_key_rest(key, type));
		return service ? service->mod_revision : 0;
	case RECORD_MEMBER:
		at = image_member_place(image, record_key_rest(key, type), &found);
		return found ? image->members[at].mod_revision : 0;
	case RECORD_CONFIG_SERVICE:
		service = image_service(image, record_key_rest(key, type));
		return service ? service->config_revision : 0;
	case RECORD_ENDED:
		service = image_service(image, record_key_rest(key, type));
		return service ? service->ended_revision : 0;
	case RECORD_PASSING:
		return image->passing_revision;
	case RECORD_OLD_CONFIG:
	case RECORD_CONFIG_FABRIC:
	case RECORD_CONFIG_POOL:
	case RECORD_CONFIG_SETTING:
	case RECORD_CONFIG_SITE:
	case RECORD_OLD_PLACEMENT:
	case RECORD_PLACED_POOL:
	case RECORD_PLACED_SITE:
	case RECORD_RECOVERED:
	case RECORD_FREED_SLOT:
		return image_pieces_revision(image, type, key);
	case RECORD_OLD_ACK:
	case RECORD_FORGOTTEN:
	case RECORD_LEDGER:
	case RECORD_NODE:
	case RECORD_PROBE:
	case RECORD_TOKEN:
	case RECORD_VERSION:
	case RECORD_UNKNOWN:
		break;
	}
	return 0;
}
