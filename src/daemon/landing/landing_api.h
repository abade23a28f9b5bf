/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hears the landings of this machine: a Unix stream socket that only root may open, beside the
 * local API's, with messages of wire/peer.h. A landing reports every interval, and each report is
 * answered with what the landing shall be, as far as that changed in this session, and with the
 * closing that its next count shall name.
 */
#ifndef FAIRLEAD_DAEMON_LANDING_LANDING_API_H
#define FAIRLEAD_DAEMON_LANDING_LANDING_API_H

#include "base/error.h"

struct daemon;
struct landing_api;

/* At most `most` landings at once. After api_open(): the local API's socket keeps others away. */
must_check int landing_api_open(struct daemon *daemon, const char *path, unsigned most,
				struct landing_api **ret_api, struct error *err);
/* From now on nothing is taken in. NULL is fine. */
void landing_api_stop(struct landing_api *api);
/* Ends all sessions. Runs the loop until its handles are closed. NULL is fine. */
void landing_api_close(struct landing_api *api);

#endif
