/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports: what each backend's landing last said about its connections.
 *
 * A backend of a version is a name and an address, and a name alone is no proof: another machine
 * may use it, by mistake or because the backend moved. So a report counts for a version only if its
 * machine owned, when it counted, the address that the version names (PROTOCOL.md, rule 13). What a
 * machine without that address counts is kept, and told of, and proves nothing.
 *
 * A name and address have one reporter: the process whose report is fresh. Another one that owns
 * the address too is refused until the first has gone silent, since of two counts the smaller must
 * never win; while it tries, what the first one says is *disputed*, and proves nothing either.
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
	struct peer_report said; /* counts and owned are sorted by address, each once */
	uint64_t closing; /* the entry that it knew before it counted; 0: none of ours */
	uint64_t behind_ms; /* since when it has not carried out what it was told; 0: it has */
	/* It has carried out a fence of the members as they were in this revision of the image, at
	 * `fence_ms` or before; 0: none is known. */
	uint64_t fence_revision, fence_ms;
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
 * failure nothing changes: -FL_EINVALID for counts or addresses that are not in order,
 * -FL_ECONFLICT while the report of another process with this name and address is fresh, -FL_ELIMIT
 * when there are too many backends, -ENOMEM.
 */
must_check int reports_take(struct reports *reports, const struct peer_hello *who,
			    const struct peer_report *said, struct arena *arena,
			    const struct report_moment *moment, struct error *err);

/* Did this landing's last report show that it lands as it is told to? `fence_revision`: of the
 * members whose tunnels it is told to take (landings_fence_revision()). */
void reports_set_lands(struct reports *reports, const struct peer_hello *who, bool lands,
		       uint64_t fence_revision, uint64_t now_ms);

/* The last report of this process; NULL when none was taken in. */
const struct report *reports_find(const struct reports *reports, const struct peer_hello *who);

/* Forget whoever reported by this name; it must be in no version. */
void reports_drop(struct reports *reports, const char *backend);

/* The last report from the machine that owned `address`; NULL when none by this name came to this
 * process. */
const struct report *reports_owner(const struct reports *reports, const char *backend,
				   const struct ip_address *address);

bool report_owns(const struct report *report, const struct ip_address *address);

bool report_is_fresh(const struct report *report, uint64_t interval_ms, uint64_t now_ms);

/* Connections of `address` in this report. */
uint64_t report_connections(const struct report *report, const struct ip_address *address);

/* Has another process with the same address tried to report as this backend lately? */
bool report_is_disputed(const struct report *report, uint64_t interval_ms, uint64_t now_ms);

/* X(id, name, sentence): why a backend's count is not believed. */
#define REPORT_DOUBTS(X)                                                                           \
	X(SILENT, "silent", "it does not report")                                                  \
	X(ELSEWHERE, "elsewhere", "who reports by its name is another machine")                    \
	X(DISPUTED, "disputed", "two processes report as it")                                      \
	X(NO_LANDING, "no-landing", "it has no landing that could count")                          \
	X(COOKIES, "cookies", "it sent SYN cookies within the last two minutes")

enum report_doubt {
	REPORT_BELIEVED,
#define X(id, name, sentence) REPORT_##id,
	REPORT_DOUBTS(X)
#undef X
};

const char *report_doubt_name(enum report_doubt doubt);
const char *report_doubt_sentence(enum report_doubt doubt);

/*
 * May the count of this backend be believed? `ret_report` (NULL is fine) gets the one that would
 * be, of the machine with the address, whatever is wrong with it; NULL: there is none.
 */
enum report_doubt reports_doubt(const struct reports *reports, const struct backend *backend,
				uint64_t interval_ms, uint64_t now_ms,
				const struct report **ret_report);

struct connection_sum {
	/* Every backend concerned has a fresh report of its own machine, or was forgotten since. */
	bool known;
	uint64_t count; /* sum over all fresh reports */
	uint64_t oldest_ms; /* age of the oldest report of the version's backends */
	bool names_closing; /* each count was begun after its landing knew the closing */
	const char *silent; /* a backend that is not known of; borrowed from the version */
	enum report_doubt doubt; /* why not */
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

/* Connections that anybody else reports for the addresses count as well: they are there,
 * whosesoever they are. Not const: looking up by address brings an index up to date first. */
struct connection_sum reports_sum(struct reports *reports, const struct image *image,
				  const struct connection_query *query);

/* Iteration in order of name, then of process; NULL at the end. */
const struct report *reports_at(const struct reports *reports, size_t index);

#endif
