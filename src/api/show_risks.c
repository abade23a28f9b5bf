/* SPDX-License-Identifier: Apache-2.0 */
/* Members that are silent, what members say is wrong with them, and machines whose failure would be
 * felt. Backends have alarms of their own. */
#include "api/show.h"
#include "base/alarms.h"
#include "fabric/driver.h"

#include <string.h>

/* --- members ---------------------------------------------------------------------------------- */

static void silence(const struct api_host *host, const struct member *member,
		    const struct observed_node *seen, uint64_t now_ms, json_t *alarms)
{
	uint64_t patience_ms = OBSERVATION_HEARD_INTERVALS * image_report_interval_ms(host->image);
	if (patience_ms < OBSERVATION_EDGE_HEARD_MS)
		patience_ms = OBSERVATION_EDGE_HEARD_MS;
	if (!(member->roles & (MEMBER_EDGE | MEMBER_NAMES)))
		return; /* of a backend, its report says it */
	if (!seen && now_ms - host->start_ms > patience_ms)
		ALARM_PUT(alarms, NULL, 0, MEMBER_NEVER_HEARD, member->name, member->name);
	else if (seen && now_ms - seen->heard_ms > patience_ms)
		ALARM_PUT(alarms, host->clock, seen->heard_ms, MEMBER_SILENT, member->name,
			  member->name, (double)(now_ms - seen->heard_ms) / 1000.0);
}

void show_member_alarms(const struct api_host *host, json_t *alarms)
{
	const struct image *image = host->image;
	const struct sights sights = driver_sights(host->driver);
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *member = image->members[i].member;
		const struct observed_node *seen =
		    observations_find(sights.observations, member->name);
		size_t at;
		json_t *sent;
		if (strcmp(member->name, host->node) == 0)
			continue;
		silence(host, member, seen, sights.now_ms, alarms);
		json_array_foreach (seen ? seen->alarms : NULL, at, sent)
			alarm_put_sent(alarms, ALARM_ABOUT_NODE, member->name, sent);
	}
}

/* --- single machines -------------------------------------------------------------------------- */

/* The only member with the role; NULL: there are more, or none. */
static const char *only_one(const struct image *image, enum member_role role)
{
	const char *found = NULL;
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *member = image->members[i].member;
		if (!member_has(member, role))
			continue;
		if (found)
			return NULL;
		found = member->name;
	}
	return found;
}

/* A name is one machine, and so is an address. The one that all of them are; NULL: there are more.
 */
static const char *only_machine(const struct version *version)
{
	const struct backend *first = version->backend_count ? &version->backends[0] : NULL;
	for (size_t i = 1; i < version->backend_count; i++) {
		const struct backend *backend = &version->backends[i];
		if (strcmp(backend->name, first->name) != 0 &&
		    !ip_address_equal(&backend->address, &first->address))
			return NULL;
	}
	return first ? first->name : NULL;
}

static void service_risks(const struct image *image, json_t *risks)
{
	for (size_t s = 0; s < image->state_count; s++) {
		const struct service_state *state = image->states[s];
		const struct image_version *entry =
		    image_version_entry(image_service(image, state->name), state->rollout.target);
		const char *machine = entry ? only_machine(entry->version) : NULL;
		if (machine && !state->removed)
			ALARM_PUT(risks, NULL, 0, SINGLE_BACKEND, state->name, state->name,
				  machine);
	}
}

void show_risks(const struct api_host *host, json_t *risks)
{
	const struct image *image = host->image;
	const char *voter = only_one(image, MEMBER_VOTER);
	const char *edge = only_one(image, MEMBER_EDGE);
	const char *names = only_one(image, MEMBER_NAMES);
	const struct member *self = voter ? image_member(image, voter) : NULL;
	if (!self || !*self->channel_key)
		return; /* it is alone, as its operator wanted it */
	ALARM_PUT(risks, NULL, 0, SINGLE_VOTER, voter, voter);
	if (edge)
		ALARM_PUT(risks, NULL, 0, SINGLE_EDGE, edge, edge);
	if (names)
		ALARM_PUT(risks, NULL, 0, SINGLE_NAMES, names, names);
	else if (image->fabric && image->fabric->nameserver_count == 1)
		ALARM_PUT(risks, NULL, 0, SINGLE_NAMESERVER, "",
			  image->fabric->nameservers[0].name);
	if (image->fabric)
		service_risks(image, risks);
}
