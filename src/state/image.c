/* SPDX-License-Identifier: Apache-2.0 */
#include "state/image.h"

#include "base/search.h"
#include "config/config.h"
#include "state/records.h"
#include "yaml/findings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOAD_TIMEOUT_MS 60000
#define DEFAULT_REPORT_INTERVAL_MS 1000

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

static int compare_name(const void *services, size_t place, const void *name)
{
	struct image_service *const *list = services;
	return strcmp(list[place]->name, name);
}

struct image_service *image_service(const struct image *image, const char *name)
{
	bool found;
	size_t place =
	    search_place(image->services, image->service_count, name, compare_name, &found);
	return found ? image->services[place] : NULL;
}

static struct image_service *service_get(struct image *image, const char *name)
{
	struct image_service *service = image_service(image, name);
	return service ? service : service_add(image, name);
}

static struct image_version *find_version(const struct image_service *service, uint32_t number)
{
	for (size_t i = service->version_count; i-- > 0;) {
		if (service->versions[i]->version->number == number)
			return service->versions[i];
	}
	return NULL;
}

const struct image_version *image_version_entry(const struct image_service *service,
						uint32_t number)
{
	return service ? find_version(service, number) : NULL;
}

const struct version *image_version(const struct image_service *service, uint32_t number)
{
	const struct image_version *entry = image_version_entry(service, number);
	return entry ? entry->version : NULL;
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
	int result = split_key(record->key + strlen(RECORD_VERSION_PREFIX), name, &number);
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
	if (result == 0 && find_version(service, number))
		result = error_set(err, -FL_ECORRUPT,
				   "version %s/%u was written twice: a version never changes", name,
				   number);
	if (result < 0) {
		version_free(entry);
		return result;
	}
	entry->learned_ms = image->now_ms;
	versions[service->version_count++] = entry;
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
	const char *name = record->key + strlen(RECORD_SERVICE_PREFIX);
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
		return error_prefix(err, "%s", record->key);
	}
	arena_done(&service->arena);
	service->arena = arena;
	service->state = state;
	service->mod_revision = record->mod_revision;
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
}

/* --- single records --- */

static int take_config(struct image *image, const struct store_record *record, struct error *err)
{
	struct arena arena;
	struct fabric *fabric;
	struct findings *findings = calloc(1, sizeof(*findings));
	if (!findings)
		return -ENOMEM;
	arena_init(&arena, 0);
	int result = config_parse(record->value, record->value_length, "the stored configuration",
				  &arena, &fabric, findings);
	if (result < 0) {
		findings_error(findings, err);
		arena_done(&arena);
	} else {
		arena_done(&image->config_arena);
		image->config_arena = arena;
		image->fabric = fabric;
		image->config_revision = record->mod_revision;
		digest_of(record->value, record->value_length, &image->config_digest);
	}
	free(findings);
	return result;
}

static int take_placement(struct image *image, const struct store_record *record, struct error *err)
{
	struct arena arena;
	struct placement *placement;
	arena_init(&arena, 0);
	int result =
	    record_placement_parse(record->value, record->value_length, &arena, &placement, err);
	if (result < 0) {
		arena_done(&arena);
		return result;
	}
	arena_done(&image->placement_arena);
	image->placement_arena = arena;
	image->placement = placement;
	image->placement_revision = record->mod_revision;
	return 0;
}

static int parse_sequence(const struct store_record *record, uint64_t *ret_sequence,
			  struct error *err)
{
	char *end;
	errno = 0;
	unsigned long long sequence = strtoull(record->value, &end, 10);
	if (errno || end == record->value || end != record->value + record->value_length)
		return error_set(err, -FL_ECORRUPT, "the store's key %s holds no sequence",
				 record->key);
	*ret_sequence = sequence;
	return 0;
}

/* --- members --- */

static int compare_member(const void *members, size_t place, const void *name)
{
	const struct image_member *list = members;
	return strcmp(list[place].member->name, name);
}

static size_t find_member(const struct image *image, const char *node, bool *ret_found)
{
	return search_place(image->members, image->member_count, node, compare_member, ret_found);
}

const struct member *image_member(const struct image *image, const char *node)
{
	bool found;
	size_t at = find_member(image, node, &found);
	return found ? image->members[at].member : NULL;
}

static int take_member(struct image *image, const struct store_record *record, struct error *err)
{
	const char *name = record->key + strlen(RECORD_MEMBER_PREFIX);
	struct image_member taken = {.mod_revision = record->mod_revision};
	bool found;
	size_t at;
	arena_init(&taken.arena, 0);
	int result = record_member_parse(record->value, record->value_length, &taken.arena,
					 &taken.member, err);
	if (result < 0)
		goto fail;
	if (strcmp(taken.member->name, name) != 0) {
		result = error_set(err, -FL_ECORRUPT, "the store's key %s names another node",
				   record->key);
		goto fail;
	}
	at = find_member(image, name, &found);
	if (found) {
		arena_done(&image->members[at].arena);
		image->members[at] = taken;
		return 0;
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
	return 0;
fail:
	arena_done(&taken.arena);
	return result;
}

static void drop_member(struct image *image, const char *node)
{
	bool found;
	size_t at = find_member(image, node, &found);
	if (!found)
		return;
	arena_done(&image->members[at].arena);
	image->member_count--;
	memmove(image->members + at, image->members + at + 1,
		(image->member_count - at) * sizeof(*image->members));
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

bool image_position(const struct image *image, uint64_t sequence,
		    struct ledger_position *ret_position)
{
	const struct ledger_position *known = &image->chain[sequence % IMAGE_CHAIN_ENTRIES];
	if (!sequence || known->sequence != sequence || sequence > image->head.sequence)
		return false;
	*ret_position = *known;
	return true;
}

bool image_is_on_chain(const struct image *image, const struct ledger_position *position)
{
	struct ledger_position known;
	return image_position(image, position->sequence, &known) &&
	       memcmp(known.digest.bytes, position->digest.bytes, DIGEST_BYTES) == 0;
}

/* --- forgotten backends --- */

static int take_forgotten(struct image *image, const struct store_record *record, struct error *err)
{
	const char *backend = record->key + strlen(RECORD_FORGOTTEN_PREFIX);
	uint64_t sequence = 0;
	int result = parse_sequence(record, &sequence, err);
	if (result < 0)
		return result;
	struct image_forgotten *list =
	    realloc(image->forgotten, (image->forgotten_count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	image->forgotten = list;
	for (size_t i = 0; i < image->forgotten_count; i++) {
		if (strcmp(list[i].backend, backend) == 0) {
			list[i].sequence = sequence;
			return 0;
		}
	}
	struct image_forgotten *forgotten = &list[image->forgotten_count++];
	*forgotten = (struct image_forgotten){0};
	snprintf(forgotten->backend, sizeof(forgotten->backend), "%s", backend);
	forgotten->sequence = sequence;
	return 0;
}

const struct image_forgotten *image_forgotten(const struct image *image, const char *backend)
{
	for (size_t i = 0; i < image->forgotten_count; i++) {
		if (strcmp(image->forgotten[i].backend, backend) == 0)
			return &image->forgotten[i];
	}
	return NULL;
}

bool image_is_forgotten(const struct image *image, const char *backend, uint64_t published)
{
	const struct image_forgotten *forgotten = image_forgotten(image, backend);
	return forgotten && forgotten->sequence > published;
}

/* --- all of it --- */

static bool has_prefix(const char *key, const char *prefix)
{
	return strncmp(key, prefix, strlen(prefix)) == 0;
}

static int take(struct image *image, const struct store_record *record, struct error *err)
{
	if (strcmp(record->key, RECORD_CONFIG_KEY) == 0)
		return take_config(image, record, err);
	if (strcmp(record->key, RECORD_PLACEMENT_KEY) == 0)
		return take_placement(image, record, err);
	if (strcmp(record->key, LEDGER_HEAD_KEY) == 0)
		return take_head(image, record, err);
	if (has_prefix(record->key, RECORD_VERSION_PREFIX))
		return take_version(image, record, err);
	if (has_prefix(record->key, RECORD_SERVICE_PREFIX))
		return take_service(image, record, err);
	if (has_prefix(record->key, RECORD_MEMBER_PREFIX))
		return take_member(image, record, err);
	if (has_prefix(record->key, RECORD_FORGOTTEN_PREFIX))
		return take_forgotten(image, record, err);
	return 0;
}

static void drop_forgotten(struct image *image, const char *backend)
{
	for (size_t i = 0; i < image->forgotten_count; i++) {
		if (strcmp(image->forgotten[i].backend, backend) == 0)
			image->forgotten[i--] = image->forgotten[--image->forgotten_count];
	}
}

static void drop(struct image *image, const char *key)
{
	if (has_prefix(key, RECORD_SERVICE_PREFIX))
		drop_service(image, key + strlen(RECORD_SERVICE_PREFIX));
	else if (has_prefix(key, RECORD_VERSION_PREFIX))
		drop_version(image, key + strlen(RECORD_VERSION_PREFIX));
	else if (has_prefix(key, RECORD_MEMBER_PREFIX))
		drop_member(image, key + strlen(RECORD_MEMBER_PREFIX));
	else if (has_prefix(key, RECORD_FORGOTTEN_PREFIX))
		drop_forgotten(image, key + strlen(RECORD_FORGOTTEN_PREFIX));
}

/* Invariant 2 at the door: each version that is in use is there, and is the one committed. */
static int check_versions(const struct image_service *service, struct error *err)
{
	const struct service_state *state = service->state;
	for (size_t i = 0; i < state->version_count; i++) {
		const struct version_status *status = &state->versions[i];
		const struct version *version = image_version(service, status->number);
		if (status->state == VERSION_RETIRED)
			continue;
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

/* Which services the file has; looked up for every service at every tick. */
static void link_configured(struct image *image)
{
	for (size_t i = 0; i < image->service_count; i++)
		image->services[i]->configured = NULL;
	for (size_t i = 0; image->fabric && i < image->fabric->service_count; i++) {
		struct image_service *service =
		    image_service(image, image->fabric->services[i].name);
		if (service)
			service->configured = &image->fabric->services[i];
	}
}

/* After a revision: the list of states that the model's functions take, all of them sound. */
static int settle(struct image *image, struct error *err)
{
	const struct service_state **states =
	    realloc(image->states, (image->service_count + 1) * sizeof(*states));
	if (!states)
		return -ENOMEM;
	image->states = states;
	image->state_count = 0;
	link_configured(image);
	for (size_t i = 0; i < image->service_count; i++) {
		const struct image_service *service = image->services[i];
		if (!service->state)
			continue;
		int result = check_versions(service, err);
		if (result < 0)
			return result;
		states[image->state_count++] = service->state;
	}
	return 0;
}

struct load {
	struct image *image;
	struct error *err;
	int result;
	bool done;
	bool more;
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
	for (size_t i = 0; i < page->count && load->result == 0; i++)
		load->result = take(load->image, &page->records[i], load->err);
	if (page->count)
		snprintf(load->last_key, sizeof(load->last_key), "%s",
			 page->records[page->count - 1].key);
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
		load->done = false;
		int result = store_range(store, &range, load_page, load, load->err);
		if (result == 0)
			result = store_wait(store, &load->done, LOAD_TIMEOUT_MS, load->err);
		if (result < 0)
			return result;
	}
	return load->result;
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

/* The hashes of the last entries: others name them. A snapshot has none, and names none. */
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
	if (result == 0)
		result = load->result;
	return result == -FL_ESTATE ? 0 : result;
}

int image_load(struct image *image, struct store *store, uint64_t now_ms, struct error *err)
{
	/* Everything at the revision of the first page. */
	static const struct {
		const char *key;
		bool prefix;
	} parts[] = {
	    {RECORD_CONFIG_KEY, false},    {RECORD_PLACEMENT_KEY, false},
	    {RECORD_VERSION_PREFIX, true}, {RECORD_SERVICE_PREFIX, true},
	    {RECORD_MEMBER_PREFIX, true},  {RECORD_FORGOTTEN_PREFIX, true},
	    {LEDGER_HEAD_KEY, false},
	};
	*image = (struct image){.now_ms = now_ms};
	struct load load = {.image = image, .err = err};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		int result = load_prefix(&load, store, parts[i].key, parts[i].prefix);
		if (result < 0)
			return result;
	}
	image->authority = store_id(store);
	image->revision = load.revision;
	int result = load_chain(&load, store);
	return result < 0 ? result : settle(image, err);
}

void image_done(struct image *image)
{
	for (size_t i = 0; i < image->service_count; i++) {
		struct image_service *service = image->services[i];
		for (size_t v = 0; v < service->version_count; v++)
			version_free(service->versions[v]);
		free(service->versions);
		arena_done(&service->arena);
		free(service);
	}
	free(image->services);
	for (size_t i = 0; i < image->member_count; i++)
		arena_done(&image->members[i].arena);
	free(image->members);
	free(image->forgotten);
	free(image->states);
	arena_done(&image->config_arena);
	arena_done(&image->placement_arena);
	*image = (struct image){0};
}

int image_update(struct image *image, uint64_t revision, const struct store_event *events,
		 size_t count, uint64_t now_ms, struct error *err)
{
	image->now_ms = now_ms;
	for (size_t i = 0; i < count; i++) {
		if (events[i].kind == STORE_DELETE) {
			drop(image, events[i].record.key);
			continue;
		}
		int result = take(image, &events[i].record, err);
		if (result < 0)
			return result;
	}
	image->revision = revision;
	return settle(image, err);
}

uint64_t image_report_interval_ms(const struct image *image)
{
	return image->fabric ? image->fabric->settings.report_interval_ms
			     : DEFAULT_REPORT_INTERVAL_MS;
}
