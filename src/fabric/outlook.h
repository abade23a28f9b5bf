/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outlook: what a version waits for, until when, and who has its connections. What it waits for is
 * what the model says of the same observations that the driver acts by; whom it waits for is found
 * beside that, in what the nodes told.
 *
 * One thread, that of the image.
 */
#ifndef FAIRLEAD_FABRIC_OUTLOOK_H
#define FAIRLEAD_FABRIC_OUTLOOK_H

#include "fabric/driver.h"
#include "model/lifecycle_wait.h"

/* Who has connections of a version: each of its backends, and whoever else counts some. */
struct connection_holder {
	const char *backend; /* borrowed from the version or the report */
	const struct backend *of; /* borrowed from the version; NULL: it is no backend of it */
	enum report_doubt doubt; /* why its count is not believed, or not yet proof of anything */
	bool known; /* `connections` says what it has; otherwise it may have more */
	bool is_forgotten; /* it was declared gone: what it had is none */
	uint64_t connections;
	const struct report *report; /* that says so; NULL: there is none of its machine */
};

#define OUTLOOK_TEXT 640u

struct outlook_wait {
	enum version_wait reason;
	uint64_t left_ms; /* as struct version_waits has it; 0: nobody knows */
	char text[OUTLOOK_TEXT]; /* goes on after "it waits until" */
};

struct outlook {
	/* Those without a known end first, then those that last longest. */
	struct outlook_wait *waits;
	size_t wait_count;
	uint64_t limit_ms; /* as struct version_waits has it */
	struct connection_holder *holders; /* of a retired version, who had */
	size_t holder_count;
	bool has_udp; /* the service has; then: */
	bool packets_known;
	uint64_t packet_ago_ms; /* at least so long none came to any of its addresses */
};

/* Of state->versions[index]; lives in `arena`, and what it borrows until the next message. -ENOMEM.
 */
must_check int outlook_find(struct driver *driver, const struct service_state *state, size_t index,
			    struct arena *arena, struct outlook *ret_outlook);

#endif
