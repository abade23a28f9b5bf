/* SPDX-License-Identifier: Apache-2.0 */
#include "state/image_find.h"

#include "base/search.h"
#include "state/records.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_REPORT_INTERVAL_MS 1000

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

struct image_version *image_version_find(const struct image_service *service, uint32_t number)
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
	return service ? image_version_find(service, number) : NULL;
}

const struct version *image_version(const struct image_service *service, uint32_t number)
{
	const struct image_version *entry = image_version_entry(service, number);
	return entry ? entry->version : NULL;
}

static int compare_member(const void *members, size_t place, const void *name)
{
	const struct image_member *list = members;
	return strcmp(list[place].member->name, name);
}

size_t image_member_place(const struct image *image, const char *node, bool *ret_found)
{
	return search_place(image->members, image->member_count, node, compare_member, ret_found);
}

const struct member *image_member(const struct image *image, const char *node)
{
	bool found;
	size_t at = image_member_place(image, node, &found);
	return found ? image->members[at].member : NULL;
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

const struct image_forgotten *image_forgotten(const struct image *image, const char *backend,
					      const struct ip_address *address, size_t *at)
{
	while (*at < image->forgotten_count) {
		const struct image_forgotten *forgotten = &image->forgotten[(*at)++];
		if (strcmp(forgotten->backend, backend) == 0 &&
		    (forgotten->address.family == IP_NONE ||
		     ip_address_equal(&forgotten->address, address)))
			return forgotten;
	}
	return NULL;
}

bool image_is_forgotten(const struct image *image, const struct backend *backend,
			uint64_t published)
{
	const struct image_forgotten *forgotten;
	size_t at = 0;
	while ((forgotten = image_forgotten(image, backend->name, &backend->address, &at))) {
		if (forgotten->sequence > published)
			return true;
	}
	return false;
}

static int compare_unread(const void *unread, size_t place, const void *key)
{
	const struct image_unread *list = unread;
	return strcmp(list[place].key, key);
}

/* The place of the first key that is not below `key`. */
size_t image_unread_place(const struct image *image, const char *key, bool *ret_found)
{
	return search_place(image->unread, image->unread_count, key, compare_unread, ret_found);
}

const struct image_unread *image_unread(const struct image *image, const char *key)
{
	bool found = false;
	size_t place = image_unread_place(image, key, &found);
	return found ? &image->unread[place] : NULL;
}

const struct image_unread *image_unread_under(const struct image *image, const char *prefix)
{
	bool found = false;
	size_t place = image_unread_place(image, prefix, &found);
	return place < image->unread_count &&
		       strncmp(image->unread[place].key, prefix, strlen(prefix)) == 0
		   ? &image->unread[place]
		   : NULL;
}

const struct image_unread *image_unread_meaning(const struct image *image)
{
	static const char *const PREFIXES[] = {"placement/pool/", "placement/site/", "service/"};
	char prefix[RECORD_KEY_BYTES];
	const struct image_unread *unread = NULL;
	if (!image->unread_count)
		return NULL;
	for (size_t i = 0; !unread && i < sizeof(PREFIXES) / sizeof(PREFIXES[0]); i++)
		unread = image_unread_under(image, PREFIXES[i]);
	for (size_t i = 0; !unread && i < image->service_count; i++) {
		snprintf(prefix, sizeof(prefix), "version/%s/", image->services[i]->name);
		if (image->services[i]->unread & IMAGE_UNREAD_VERSION)
			unread = image_unread_under(image, prefix);
	}
	return unread;
}

const char *image_unread_text(const struct image_unread *unread, char *text)
{
	if (unread->reads)
		snprintf(text, IMAGE_UNREAD_TEXT,
			 "%s has level %u, and this program reads up to level %u", unread->key,
			 unread->level, unread->reads);
	else
		snprintf(text, IMAGE_UNREAD_TEXT, "%s is of a kind that this program does not know",
			 unread->key);
	return text;
}

uint64_t image_report_interval_ms(const struct image *image)
{
	return image->fabric ? image->fabric->settings.report_interval_ms
			     : DEFAULT_REPORT_INTERVAL_MS;
}
