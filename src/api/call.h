/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call: one request of a client, whoever brought it. A transport makes it and gives it to
 * api_begin() of verbs.h; the command's handler ends it, now or later, with exactly one of
 * api_succeed(), api_fail() and api_follow().
 */
#ifndef FAIRLEAD_API_CALL_H
#define FAIRLEAD_API_CALL_H

#include "api/host.h"
#include "base/error.h"
#include "control/command.h"

#include <jansson.h>

#define API_WHO_BYTES 128

/* What a client is told whose answer cannot be put into words. */
#define API_NO_ANSWER                                                                              \
	"the answer holds bytes that are no text; what was ordered is done, if `fairlead log` "    \
	"says so"

struct api_call;

/* What is asked of whoever brought the call. */
struct api_transport {
	/* Who asks, for the ledger: into `who`. */
	void (*who)(const struct api_call *call, char who[API_WHO_BYTES]);
	/* The answer: one of `data` and `error` (borrowed), the other is NULL. The call is over. */
	void (*end)(struct api_call *call, const json_t *data, const struct error *error);
	/* The client follows the stream of events from now on. The call is over. */
	void (*follow)(struct api_call *call);
};

/* The first member of what a transport keeps of a call, and frees when it is over. */
struct api_call {
	const struct api_transport *transport;
	const struct command *command;
	json_t *parameters; /* owned by the transport */
};

typedef void api_handler_fn(struct api_host *host, struct api_call *call);

const json_t *api_parameters(const struct api_call *call);
/* A text parameter, or NULL. */
const char *api_text(const struct api_call *call, const char *key);
/* The service that the call is about, also where it is named as a thing, "service/web"; or NULL. */
const char *api_service(const struct api_call *call);
/* The version likewise, "web/1", also where it is named as "version/web/1". */
const char *api_version(const struct api_call *call);
/* Is everything asked for, by --all? */
bool api_all(const struct api_call *call);
/* Who asks: the user's login name, for the ledger; into `who`, which it returns. */
const char *api_who(const struct api_call *call, char who[API_WHO_BYTES]);

/* End the call. `data` is moved; NULL, or what lacks a part for want of memory, is an error. */
void api_succeed(struct api_call *call, json_t *data);
void api_fail(struct api_call *call, const struct error *error);
/* This call follows the events from now on. */
void api_follow(struct api_call *call);

#endif
