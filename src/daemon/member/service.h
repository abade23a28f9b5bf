/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The systemd unit, which runs `fairlead run` with the state folder that is the default. Where
 * systemd does not run, or the state lies elsewhere, there is none, and the operator starts the
 * daemon himself.
 */
#ifndef FAIRLEAD_DAEMON_MEMBER_SERVICE_H
#define FAIRLEAD_DAEMON_MEMBER_SERVICE_H

#include "base/error.h"

#include <stdbool.h>

/*
 * Enable the unit and start it, if there is one to start; `ret_runs` says whether there was. It may
 * be enabled and running already. What systemctl prints goes to standard error;
 * -FL_EUNAVAILABLE with a sentence when it fails. Waits until the daemon is ready.
 */
must_check int service_start(const char *state_folder, bool *ret_runs, struct error *err);

/* Say on standard output that it runs, or how it is started. */
void service_tell(const char *state_folder, bool runs);

#endif
