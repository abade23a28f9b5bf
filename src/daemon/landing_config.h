/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A landing's configuration as the node sends it: JSON → what landing_apply() takes. Strict: a
 * landing that understood half of it would lose the flows of the other half without a word.
 */
#ifndef FAIRLEAD_DAEMON_LANDING_CONFIG_H
#define FAIRLEAD_DAEMON_LANDING_CONFIG_H

#include "base/arena.h"
#include "base/error.h"
#include "landing/landing.h"

#include <jansson.h>

/* -FL_EINVALID or -FL_ELIMIT with a sentence, -ENOMEM. The result lives in `arena`. */
must_check int landing_config_parse(const json_t *json, struct arena *arena,
				    struct landing_desired *ret_desired, struct error *err);

/* An array of addresses; at most `most`. */
must_check int landing_addresses_parse(const json_t *array, size_t most, struct arena *arena,
				       struct ip_address **ret_addresses, size_t *ret_count,
				       struct error *err);

#endif
