/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the driver sees, shared by those who act by it and those who tell of it: so both ask the
 * model with the same observations. Private to src/fabric.
 */
#ifndef FAIRLEAD_FABRIC_DRIVER_INTERNAL_H
#define FAIRLEAD_FABRIC_DRIVER_INTERNAL_H

#include "fabric/driver.h"

struct driver {
	struct driver_options options;
	struct ledger_position closing;
	uint64_t roomy_revision; /* of the image, that `has_room_for_all` is of */
	bool has_room_for_all; /* no service finds its pools full */
	struct gate_news *news;
};

/* What is the same for all services, found out once for each step. */
struct look {
	struct sights sights;
	struct placement_moment moment;
	struct placement_wants wants;
	struct placement_shortage shortage; /* borrows `wants` */
	uint8_t leaving_pools;
	bool everyone_is_heard;
};

/* `arena` keeps the list of wants. */
must_check int driver_look_around(const struct driver *driver, struct arena *arena,
				  struct look *ret_look);

/* What is seen of one service; lives in the arena that driver_see_settings() was given. */
struct service_sight {
	struct service_observation seen; /* points to the two lists */
	struct version_observation *versions;
	struct binding_observation *bindings;
};

/* What can be said without looking at addresses: all that lifecycle_is_at_rest() reads. -ENOMEM. */
must_check int driver_see_settings(struct driver *driver, const struct look *look,
				   const struct image_service *known, struct arena *arena,
				   struct service_sight *ret_sight);

/* The rest. `waits`: driver_find_waits() found something. */
void driver_see_rest(const struct driver *driver, const struct look *look,
		     const struct image_service *known, bool waits, struct service_sight *sight);

/* What the version that is to get its first share waits for; 0 also when there is none. */
size_t driver_find_waits(const struct driver *driver, const struct sights *sights,
			 const struct image_service *known, struct gate_wait *ret_waits,
			 size_t room);

/* What needs more than this program can read is left alone. */
bool driver_is_driven(const struct image_service *service);

#endif
