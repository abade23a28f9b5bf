/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports: what each backend's landing last said about its connections.
 *
 * A report that is missing, or older than three of its intervals, means "in use", never zero. What
 * is not known is said by name, so that an operator can go and look, or declare the backend gone
 * (`backend forget`, a ledger entry): then its silence counts as zero until it reports again.
 * Reports are not kept on disk: after a restart nothing is known until the backends spoke.
 */
#ifndef FAIRLEAD_DAEMON_REPORTS_H
#define FAIRLEAD_DAEMON_REPORTS_H

#include "base/error.h"
#include "base/netaddr.h"
#include "daemon/image.h"

#include <jansson.h>

#define REPORT_STALE_INTERVALS 3u

struct report_count {
	struct ip_address address;
	uint64_t connections;
};

struct report {
	char backend[MODEL_NAME_BYTES];
	char boot_id[64];
	uint64_t received_ms;
	uint64_t settled; /* ledger sequence that the landing was told before it counted */
	struct report_count *counts; /* sorted by address */
	size_t count;
	uint64_t cut; /* sockets it destroyed by order, over its life */
	json_t *landing; /* its own state and alarms, as it sent them */
};

struct reports;

must_check int reports_new(struct reports **ret_reports);
void reports_free(struct reports *reports);

/* Take in the parameters of a `landing report` request. */
must_check int reports_take(struct reports *reports, const json_t *parameters, uint64_t now_ms,
			    struct error *err);

/* NULL when this backend never reported to this process. */
const struct report *reports_find(const struct reports *reports, const char *backend);

bool report_is_fresh(const struct report *report, uint64_t interval_ms, uint64_t now_ms);

/* Connections of `address` in this report. */
uint64_t report_connections(const struct report *report, const struct ip_address *address);

struct connection_sum {
	bool known; /* every backend concerned has a fresh report, or was forgotten */
	uint64_t count; /* sum over all fresh reports */
	bool settled; /* and each report was begun after `settled` */
	const char *silent; /* a backend that is not known of; borrowed */
};

/*
 * Sum over `version`'s backends at one address. `settled` is the closing's ledger sequence, 0 for
 * none. Connections that other backends report for the address count as well.
 */
struct connection_sum reports_sum(const struct reports *reports, const struct image *image,
				  const struct version *version, const struct ip_address *address,
				  uint64_t settled, uint64_t interval_ms, uint64_t now_ms);

/* Iteration in order of name; NULL at the end. */
const struct report *reports_at(const struct reports *reports, size_t index);

#endif
