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

json_t *show_address(const struct ip_address *address);
json_t *show_version(const struct api_host *host, const struct service_state *state,
		     const struct version_status *status);
json_t *show_binding(const struct api_host *host, const struct service_state *state,
		     const struct binding *binding);
json_t *show_rollout(const struct api_host *host, const struct service_state *state);
json_t *show_service(const struct api_host *host, const struct service_state *state,
		     bool with_retired);
json_t *show_services(const struct api_host *host, bool with_retired);

/* Names of all backends of live versions and of all others that report, each with its address or
 * null, since when its report is awaited, and whether it was declared gone. */
json_t *show_backend_names(const struct api_host *host);
json_t *show_backend(const struct api_host *host, const char *name, const json_t *known);
json_t *show_backends(const struct api_host *host);

#endif
