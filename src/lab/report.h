/* SPDX-License-Identifier: Apache-2.0 */
/* What `fairlead lab status` shows of a lab, as JSON; docs/design/lab.md lists the keys. */
#ifndef FAIRLEAD_LAB_REPORT_H
#define FAIRLEAD_LAB_REPORT_H

#include "lab/holder.h"
#include "lab/network.h"
#include "lab/processes.h"

#include <jansson.h>
#include <stdint.h>

/* A new reference. */
json_t *report_lab(const struct holder_order *order, const struct network *network,
		   const struct processes *processes, uint64_t up_ms);

#endif
