/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver: asks the model what is due for each service, and commits it. It gathers what the
 * planes and the backends observed, calls lifecycle_next(), and submits the transitions as one
 * ledger entry. It decides nothing itself.
 */
#ifndef FAIRLEAD_DAEMON_DRIVER_H
#define FAIRLEAD_DAEMON_DRIVER_H

#include "daemon/daemon.h"

/*
 * A switch of the lab, for the proof that its tests can see a broken flow: versions are retired
 * without the closing barrier. Never set it where traffic matters.
 */
#define DRIVER_UNSAFE_VARIABLE "FAIRLEAD_LAB_UNSAFE"
#define DRIVER_UNSAFE_VALUE "skip-closing-barrier"

must_check int driver_new(struct daemon *daemon, struct driver **ret_driver);
void driver_free(struct driver *driver);

/* Look at every service; call it every tick and whenever the image moved. */
void driver_run(struct driver *driver, uint64_t now_ms);

/* The ledger sequence that landings are to name in their next report: every edge has refused, for
 * long enough, all that closings up to it want refused. 0: no count is due. */
uint64_t driver_settled(const struct driver *driver);

/* Everything observed about one binding, for status and for the model. `ret_silent` (NULL is fine)
 * names a backend whose silence makes the count unknown. */
struct binding_observation driver_observe(const struct driver *driver,
					  const struct service_state *state,
					  const struct binding *binding, uint64_t now_ms,
					  const char **ret_silent);

/* Sum of a version's connections over its bindings; false when some are not known. */
bool driver_connections(const struct driver *driver, const struct service_state *state,
			uint32_t version, uint64_t now_ms, uint64_t *ret_connections,
			const char **ret_silent);

#endif
