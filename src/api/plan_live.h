/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan wants to know of the fabric as it is: from the image, and from what all nodes saw. */
#ifndef FAIRLEAD_API_PLAN_LIVE_H
#define FAIRLEAD_API_PLAN_LIVE_H

#include "api/host.h"
#include "plan/plan.h"
#include "state/apply.h"

/*
 * The configuration, and what is left of a file that a daemon of the first release did not carry
 * out to its end: services that live and are not in it. Of those only the name matters. NULL:
 * nothing was ever applied.
 */
const struct fabric *plan_present(const struct image *image, const struct fabric *fabric,
				  struct arena *arena);

/* What is known of the services that the file changes, by rising names; lives in `arena`, and
 * borrows the versions that `apply` has built. */
struct plan_live_service *plan_live_services(const struct api_host *host, const struct apply *apply,
					     struct arena *arena, size_t *ret_count);

#endif
