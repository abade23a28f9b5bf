/* SPDX-License-Identifier: Apache-2.0 */
/* What counters of the kernel and of landing's programs say that no change of the network does. */
#ifndef FAIRLEAD_LANDING_WATCHES_H
#define FAIRLEAD_LANDING_WATCHES_H

#include "base/growth.h"
#include "landing/landing_alarms.h"
#include "landing/programs.h"

struct watches { /* all zero at first */
	struct growth wrong_checksums;
	struct growth wrong_sources;
};

must_check int watches_look(struct watches *watches, const struct programs *programs,
			    struct landing_alarms *alarms, struct error *err);

#endif
