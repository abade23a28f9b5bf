/* SPDX-License-Identifier: Apache-2.0 */
/* `doctor`: what must be true on this machine, for the command that looks whether it is. What all
 * backends are asked, the host does (api/host.h). */
#include "api/verbs.h"

void verb_doctor(struct api_host *host, struct api_call *call)
{
	if (api_text(call, "what")) {
		host->return_path(host->context, call);
		return;
	}
	json_t *facts = json_pack("{s:s, s:s}", "node", host->node, "site", host->site);
	host->put_doctor(host->context, facts);
	api_succeed(call, facts);
}
