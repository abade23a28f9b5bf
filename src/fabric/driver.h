/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver: asks the model what is due for each service, and commits it. It reads the replica and
 * what all nodes observed, and nothing of its own process, so that any voter can drive, also one
 * that is neither edge nor name server. It decides nothing itself: lifecycle_next() does, and what
 * a transition stands on goes into its ledger entry as evidence.
 *
 * One thread, that of the image.
 */
#ifndef FAIRLEAD_FABRIC_DRIVER_H
#define FAIRLEAD_FABRIC_DRIVER_H

#include "base/clock.h"
#include "fabric/gate.h"
#include "fabric/landings.h"
#include "fabric/merge.h"
#include "state/changes.h"

/*
 * A switch of the lab, for the proof that its tests can see a broken flow: versions are retired
 * without the closing barrier. Never set it where traffic matters.
 */
#define DRIVER_UNSAFE_VARIABLE "FAIRLEAD_LAB_UNSAFE"
#define DRIVER_UNSAFE_VALUE "skip-closing-barrier"

struct driver;

struct driver_options {
	const struct image *image; /* all pointers are borrowed until driver_free() */
	struct changes *changes;
	const struct observations *observations;
	struct reports *reports;
	struct landings *landings;
	const struct clock *clock; /* for ages */
	const struct clock *steady; /* what states are stamped with */
	bool unsafe; /* see DRIVER_UNSAFE_VARIABLE */
	/* Should it leave the store alone for now? */
	bool (*rests)(void *context);
	/* Something happened; `fields` is moved. */
	void (*tell)(void *context, const char *event, json_t *fields);
	void *context;
};

must_check int driver_new(const struct driver_options *options, struct driver **ret_driver);
void driver_free(struct driver *driver);

/* Look at every service; call it every tick and whenever the image moved. */
void driver_run(struct driver *driver);

/* The entry that landings are to name in their next report: everyone has refused, for long enough,
 * all that closings up to it want refused. All zero: no count is due. */
struct ledger_position driver_closing(const struct driver *driver);

/* What all nodes saw, as it is now. */
struct sights driver_sights(const struct driver *driver);

/* Everything observed about one binding, for status and for the model. */
struct binding_observation driver_observe(const struct driver *driver,
					  const struct service_state *state,
					  const struct binding *binding);

/* Does anybody use the binding's addresses, as far as is known? For UDP, as far as `quiet` tells.
 */
enum driver_usage { DRIVER_IDLE, DRIVER_USED, DRIVER_UNKNOWN };
enum driver_usage driver_usage(const struct driver *driver, const struct service_state *state,
			       const struct binding *binding);

/* When a slot is chosen now. */
struct placement_moment driver_moment(const struct driver *driver, const struct sights *sights);

/* A version's connections, over all its bindings: `known`, `count`, `silent` and `cookies`. */
struct connection_sum driver_connections(const struct driver *driver,
					 const struct service_state *state, uint32_t version);

/* What the rollout's target waits for before its first share, as gate_find() says it; 0 when it has
 * clients already. */
size_t driver_waits(const struct driver *driver, const struct service_state *state,
		    struct gate_wait *ret_waits, size_t room);

#endif
