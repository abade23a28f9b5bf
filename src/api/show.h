/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Things as JSON, for every verb that shows them: from the image, the edge's counters and the
 * reports. Each returns a new reference, or NULL without memory.
 */
#ifndef FAIRLEAD_API_SHOW_H
#define FAIRLEAD_API_SHOW_H

#include "api/host.h"
#include "state/image.h"

/* The binding's address at this node's site. */
struct ip_address show_own_address(const struct api_host *host, const struct binding *binding);

json_t *show_version(const struct api_host *host, const struct service_state *state,
		     const struct version_status *status);
json_t *show_binding(const struct api_host *host, const struct service_state *state,
		     const struct binding *binding);
json_t *show_service(const struct api_host *host, const struct service_state *state,
		     bool with_retired);
json_t *show_services(const struct api_host *host, bool with_retired);

/* --- show_rollout.c --- */

json_t *show_rollout(const struct api_host *host, const struct service_state *state);
/* Add to a version what it waits for, until when, and who has its connections. */
void show_outlook(const struct api_host *host, const struct service_state *state,
		  const struct version_status *status, json_t *version);

/* --- show_backends.c --- */

json_t *show_address(const struct ip_address *address);
json_t *show_connections(bool known, uint64_t connections);

/* All backends of live versions, by name and address, and all others that report. */
json_t *show_backends(const struct api_host *host);
/* Append the alarms and notes about `backends`, which show_backends() gave. */
void show_backend_alarms(const struct api_host *host, const json_t *backends, json_t *alarms,
			 json_t *notes);
/* One of them, as NAME, or as NAME/ADDRESS where a name has several. */
json_t *show_backend(const struct api_host *host, const char *name);

struct fabric;
struct plan;

/* Pools of the file, and those that are leaving. */
json_t *show_pools(const struct api_host *host);

/* For `get nodes`: the members, also before anything was applied. */
json_t *show_nodes(const struct api_host *host);
/* What members are wrong, and what they say is: for a node that decides. Those of this node are
 * not among them. */
void show_member_alarms(const struct api_host *host, json_t *alarms);
/* Machines whose failure would be felt, of a fabric that others may join. */
void show_risks(const struct api_host *host, json_t *risks);
void show_pool_alarms(const struct api_host *host, json_t *alarms);
/* What a plan is to say of pools beside what differs: a list of sentences. */
json_t *show_pool_notes(const struct api_host *host, const struct fabric *fabric,
			const struct plan *plan);

#endif
