/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports: what each backend's landing last said about its connections.
 *
 * A backend has one reporter: the process whose report is fresh. Another one that uses the name is
 * refused until the first has gone silent, since of two counts the smaller must never win.
 *
 * A report that is missing, or older than three of its intervals, means "in use", never zero. What
 * is not known is said by name, so that an operator can go and look, or declare the backend gone
 * (`backend forget`, a ledger entry): then its silence counts as zero, in the versions there are,
 * until it reports again.
 * A count made within two minutes of SYN cookies is none either (PROTOCOL.md, rule 14).
 * Reports are not kept on disk: after a restart nothing is known until the backends spoke.
 */
#ifndef FAIRLEAD_FABRIC_REPORTS_H
#define FAIRLEAD_FABRIC_REPORTS_H

#include "base/error.h"
#include "base/netaddr.h"
#include "state/image.h"
#include "wire/peer.h"

#define REPORT_STALE_INTERVALS 3u
/* A SYN cookie's last ACK may come this late; it is no SYN, and makes a connection. */
#define REPORT_COOKIE_MS 120000u

struct report {
	char backend[MODEL_NAME_BYTES];
	char boot_id[PEER_ID_MAX + 1];
	char instance[PEER_ID_MAX + 1]; /* of the landing's process: drawn when it starts */
	struct arena arena; /* of what follows */
	struct peer_report said; /* its counts are sorted by address, each once */
	uint64_t closing; /* the entry that it knew before it counted; 0: none of ours */
	uint64_t behind_ms; /* since when it has not carried out what it was told; 0: it has */
	uint64_t received_ms;
	uint64_t rival_ms; /* when another process was last refused; 0: never */
};

struct reports;

must_check int reports_new(struct reports **ret_reports);
void reports_free(struct reports *reports);

/* When a report came in, and what it may refer to. */
struct report_moment {
	uint64_t now_ms;
	uint64_t interval_ms; /* between two reports */
	const struct image *image; /* whose ledger the closing must be an entry of */
};

/*
 * Take in what the landing `who` said. `arena` holds what `said` points to, and is moved. On
 * failure nothing changes: -FL_EINVALID for counts that are not in order, -FL_ECONFLICT while
 * another process's report for this backend is fresh, -FL_ELIMIT when there are too many backends,
 * -ENOMEM.
 */
must_check int reports_take(struct reports *reports, const struct peer_hello *who,
			    const struct peer_report *said, struct arena *arena,
			    const struct report_moment *moment, struct error *err);

/* Did the backend's last report show that it lands as it is told to? */
void reports_set_lands(struct reports *reports, const char *backend, bool lands, uint64_t now_ms);

/* Forget that this backend ever reported; its name must be in no version. */
void reports_drop(struct reports *reports, const char *backend);

/* NULL when this backend never reported to this process. */
const struct report *reports_find(const struct reports *reports, const char *backend);

bool report_is_fresh(const struct report *report, uint64_t interval_ms, uint64_t now_ms);

/* Connections of `address` in this report. */
uint64_t report_connections(const struct report *report, const struct ip_address *address);

/* Has another process tried to report as this backend lately? */
bool report_is_disputed(const struct report *report, uint64_t interval_ms, uint64_t now_ms);

struct connection_sum {
	bool known; /* every backend concerned has a fresh report, or was forgotten since */
	uint64_t count; /* sum over all fresh reports */
	uint64_t oldest_ms; /* age of the oldest report of the version's backends */
	bool names_closing; /* each count was begun after its landing knew the closing */
	const char *silent; /* a backend that is not known of; borrowed from the version */
	/* A backend whose handshakes may still become connections that nobody counted; borrowed
	 * from the version. NULL: none. */
	const char *cookies;
};

struct connection_query {
	const struct version *version; /* whose backends must have spoken */
	uint64_t published; /* ledger entry that committed it */
	const struct ip_address *addresses; /* whose connections are wanted, each once */
	size_t address_count;
	uint64_t closing; /* its ledger sequence; 0: any report will do */
	uint64_t interval_ms;
	uint64_t now_ms;
};

/* Connections that backends outside the version report for the addresses count as well. Not const:
 * looking up by address brings an index up to date first. */
struct connection_sum reports_sum(struct reports *reports, const struct image *image,
				  const struct connection_query *query);

/* Iteration in order of name; NULL at the end. */
const struct report *reports_at(const struct reports *reports, size_t index);

#endif
