/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/metrics/metrics.h"

#include "api/http.h"
#include "base/arena.h"
#include "base/memory.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "daemon/edge_plane.h"
#include "daemon/landing/own_landing.h"
#include "daemon/member/peers.h"
#include "daemon/metrics/metric_text.h"
#include "daemon/names_plane.h"
#include "fabric/driver.h"
#include "model/lifecycle.h"
#include "wire/channel.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define NUMBER_BYTES 24u
#define RETRY_MS 1000u

static void number_text(uint64_t number, char text[NUMBER_BYTES])
{
	snprintf(text, NUMBER_BYTES, "%llu", (unsigned long long)number);
}

static double seconds(uint64_t ms)
{
	return (double)ms / 1000.0;
}

/* --- the node --------------------------------------------------------------------------------- */

static void put_node(const struct daemon *daemon, struct metric_page *page)
{
	char roles[MEMBER_ROLES_BYTES];
	struct edge_status edge = {0};
	const struct daemon_options *options = daemon->options;
	if (daemon->edge)
		(void)must_succeed(edge_plane_status(daemon->edge, &edge));
	metric_put(page, METRIC_BUILD_INFO, METRIC_VALUES(FAIRLEAD_VERSION, edge.build_id), 1);
	metric_put(page, METRIC_NODE_INFO,
		   METRIC_VALUES(options->node, options->site ? options->site : "",
				 member_roles_format(daemon_options_roles(options) |
							 (daemon->decides ? MEMBER_VOTER : 0u),
						     roles)),
		   1);
}

/* One that stands of each code is enough: how many there are, and about what, `status` says. */
static void put_alarms(struct daemon *daemon, struct metric_page *page)
{
	bool stands[ALARM_CODES] = {false};
	bool other = false;
	json_t *alarms = json_array();
	size_t at;
	json_t *alarm;
	daemon_put_alarms(daemon, alarms);
	json_array_foreach (alarms, at, alarm) {
		const char *code = json_string_value(json_object_get(alarm, "code"));
		size_t i = 0;
		while (i < ALARM_CODES && code && strcmp(alarm_rows[i].code, code) != 0)
			i++;
		if (i < ALARM_CODES)
			stands[i] = true;
		else
			other = true;
	}
	json_decref(alarms);
	for (size_t i = 0; i < ALARM_CODES; i++)
		metric_put(
		    page, METRIC_ALARM,
		    METRIC_VALUES(alarm_rows[i].code, alarm_severity_name(alarm_rows[i].severity)),
		    stands[i]);
	metric_put(page, METRIC_ALARM, METRIC_VALUES("other", alarm_severity_name(ALARM_IS_ALARM)),
		   other);
}

/* Of the entries in the replica, those by which this process forwards and answers. */
static uint64_t applied_here(const struct daemon *daemon)
{
	const struct acting *acting = &daemon->acting;
	uint64_t least = daemon->image.head.sequence;
	if (daemon->edge && acting->forwarded.sequence < least)
		least = acting->forwarded.sequence;
	if (daemon->names && acting->answered.sequence < least)
		least = acting->answered.sequence;
	return least;
}

static void put_staleness(const struct daemon *daemon, struct metric_page *page, uint64_t now_ms)
{
	const uint64_t head = daemon->image.head.sequence;
	const uint64_t applied = applied_here(daemon);
	uint64_t silent_ms = daemon->decides  ? 0
			     : !daemon->peers ? now_ms - daemon->start_ms
					      : peers_voter_silent_ms(daemon->peers);
	metric_put(page, METRIC_LEDGER_SEQUENCE, NULL, head);
	metric_put(page, METRIC_LEDGER_APPLIED, NULL, applied);
	metric_put(page, METRIC_LEDGER_BEHIND, NULL, head - applied);
	metric_put_real(page, METRIC_VOTER_SILENCE, NULL, seconds(silent_ms));
}

/* --- what everyone observed: the node that decides -------------------------------------------- */

static void put_members(const struct daemon *daemon, struct metric_page *page, uint64_t now_ms)
{
	const struct image *image = &daemon->image;
	const struct sights sights = driver_sights(daemon->driver);
	for (size_t i = 0; i < image->member_count; i++) {
		const char *name = image->members[i].member->name;
		const struct observed_node *seen = observations_find(daemon->observations, name);
		if (seen)
			metric_put_real(page, METRIC_MEMBER_SILENCE, METRIC_VALUES(name),
					seconds(now_ms - seen->heard_ms));
	}
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *member = image->members[i].member;
		if (member->roles & (MEMBER_EDGE | MEMBER_NAMES))
			metric_put(page, METRIC_MEMBER_BEHIND, METRIC_VALUES(member->name),
				   image->head.sequence - merge_applied_by(&sights, member));
	}
}

/* A name may have two machines; the one that reported last is meant, and both have connections. */
static void put_backends(const struct daemon *daemon, struct metric_page *page, uint64_t now_ms)
{
	const struct report *report;
	const struct report *next;
	uint64_t received_ms = 0;
	for (size_t i = 0; (report = reports_at(daemon->reports, i)); i++) {
		next = reports_at(daemon->reports, i + 1);
		if (report->received_ms > received_ms)
			received_ms = report->received_ms;
		if (next && strcmp(next->backend, report->backend) == 0)
			continue;
		metric_put_real(page, METRIC_BACKEND_SILENCE, METRIC_VALUES(report->backend),
				seconds(now_ms - received_ms));
		received_ms = 0;
	}
	uint64_t connections = 0;
	for (size_t i = 0; (report = reports_at(daemon->reports, i)); i++) {
		next = reports_at(daemon->reports, i + 1);
		for (size_t c = 0; c < report->said.counts.count; c++)
			connections += report->said.counts.items[c].connections;
		if (next && strcmp(next->backend, report->backend) == 0)
			continue;
		metric_put(page, METRIC_BACKEND_CONNECTIONS, METRIC_VALUES(report->backend),
			   connections);
		connections = 0;
	}
}

/* --- versions --------------------------------------------------------------------------------- */

/* Call `put` for each version that is not retired. */
struct version_walk {
	const struct daemon *daemon;
	struct metric_page *page;
	enum metric metric;
	const struct service_state *state;
	const struct version_status *version;
	char number[NUMBER_BYTES];
};

static void each_version(struct version_walk *walk, void (*put)(struct version_walk *walk))
{
	const struct image *image = &walk->daemon->image;
	for (size_t s = 0; s < image->state_count; s++) {
		walk->state = image->states[s];
		for (size_t v = 0; v < walk->state->version_count; v++) {
			walk->version = &walk->state->versions[v];
			number_text(walk->version->number, walk->number);
			if (walk->version->state != VERSION_RETIRED)
				put(walk);
		}
	}
}

static void put_state(struct version_walk *walk)
{
	metric_put(walk->page, METRIC_VERSION_STATE,
		   METRIC_VALUES(walk->state->name, walk->number,
				 version_state_name(walk->version->state)),
		   1);
}

static void put_share(struct version_walk *walk)
{
	uint32_t share = service_share(walk->state, walk->version->number);
	metric_put_real(walk->page, METRIC_VERSION_SHARE,
			METRIC_VALUES(walk->state->name, walk->number), text_share_number(share));
}

static void put_connections(struct version_walk *walk)
{
	struct connection_sum sum =
	    driver_connections(walk->daemon->driver, walk->state, walk->version->number);
	if (sum.known)
		metric_put(walk->page, METRIC_VERSION_CONNECTIONS,
			   METRIC_VALUES(walk->state->name, walk->number), sum.count);
}

static uint64_t counter_of(const struct edge_counters *counters, enum metric metric)
{
	switch ((int)metric) {
	case METRIC_VERSION_PACKETS:
		return counters->packets;
	case METRIC_VERSION_BYTES:
		return counters->bytes;
	case METRIC_VERSION_NEW_FLOWS:
		return counters->new_flows;
	default:
		return counters->late_flows;
	}
}

/* Of each address by itself: the sum over a version's would shrink when a late one is freed, and
 * what shrinks is a counter that began anew. */
static void put_traffic(struct version_walk *walk)
{
	const struct daemon *daemon = walk->daemon;
	char address[IP_TEXT_BYTES];
	for (size_t i = 0; i < walk->state->binding_count; i++) {
		const struct binding *binding = &walk->state->bindings[i];
		struct edge_counters counters;
		if (binding->version != walk->version->number)
			continue;
		struct ip_address own =
		    placement_address(daemon->image.placement, binding, daemon->options->site);
		if (edge_plane_counters(daemon->edge, &own, &counters) < 0)
			continue;
		ip_address_format(&own, address);
		metric_put(walk->page, walk->metric,
			   METRIC_VALUES(walk->state->name, walk->number, address),
			   counter_of(&counters, walk->metric));
	}
}

static void put_versions(const struct daemon *daemon, struct metric_page *page)
{
	struct version_walk walk = {.daemon = daemon, .page = page};
	each_version(&walk, put_state);
	each_version(&walk, put_share);
	if (daemon->decides)
		each_version(&walk, put_connections);
	if (!daemon->edge)
		return;
	for (walk.metric = METRIC_VERSION_PACKETS; walk.metric <= METRIC_VERSION_LATE_FLOWS;
	     walk.metric++)
		each_version(&walk, put_traffic);
}

/* --- the planes ------------------------------------------------------------------------------- */

static const char *mode_name(enum edge_mode mode)
{
	return mode == EDGE_NATIVE ? "native" : mode == EDGE_GENERIC ? "generic" : "detached";
}

static void put_edge(const struct daemon *daemon, struct metric_page *page)
{
	struct edge_status edge;
	uint64_t drops[DROP_REASONS];
	size_t known = 0;
	size_t none = 0;
	if (!daemon->edge || must_succeed(edge_plane_status(daemon->edge, &edge)) < 0)
		return;
	if (must_succeed(edge_plane_drops(daemon->edge, drops)) == 0) {
#define X(name, number, label, text)                                                               \
	metric_put(page, METRIC_EDGE_DROPPED, METRIC_VALUES(label), drops[number]);
		EDGE_DROPS(X)
#undef X
	}
	metric_put(page, METRIC_EDGE_ADDRESSES, NULL, edge.addresses);
	metric_put(page, METRIC_EDGE_RINGS, NULL, edge.rings);
	for (size_t i = 0; i < edge.interface_count; i++)
		metric_put(
		    page, METRIC_EDGE_INTERFACE,
		    METRIC_VALUES(edge.interfaces[i].name, mode_name(edge.interfaces[i].mode)), 1);
	for (size_t i = 0; i < edge.backend_count; i++) {
		known += edge.backends[i].resolved || edge.backends[i].here;
		none += edge.backends[i].no_route;
	}
	metric_put(page, METRIC_EDGE_NEXT_HOPS, METRIC_VALUES("known"), known);
	metric_put(page, METRIC_EDGE_NEXT_HOPS, METRIC_VALUES("asked"),
		   edge.backend_count - known - none);
	metric_put(page, METRIC_EDGE_NEXT_HOPS, METRIC_VALUES("none"), none);
}

static void put_landing(const struct daemon *daemon, struct metric_page *page)
{
	struct landing_counters counters;
	if (!daemon->own_landing || !own_landing_counters(daemon->own_landing, &counters))
		return;
	metric_put(page, METRIC_LANDING_ACCEPTED, NULL,
		   counters.accepted_4in4 + counters.accepted_6in4 + counters.accepted_4in6 +
		       counters.accepted_6in6);
#define X(name, number, label, text)                                                               \
	metric_put(page, METRIC_LANDING_DROPPED, METRIC_VALUES(label), counters.drops[number]);
	LANDING_DROPS(X)
#undef X
}

static void put_answers(const struct naming_counters *counters, struct metric_page *page)
{
	static const char *const transports[NAMING_TRANSPORTS] = {"udp", "tcp"};
	for (int t = 0; t < NAMING_TRANSPORTS; t++)
		for (int q = 0; q < NAMING_QTYPE_COUNT; q++)
			for (int r = 0; r < NAMING_RESULT_COUNT; r++)
				metric_put(page, METRIC_DNS_ANSWERS,
					   METRIC_VALUES(transports[t],
							 naming_qtype_text((enum naming_qtype)q),
							 naming_result_text((enum naming_result)r)),
					   counters->answers[q][r][t]);
}

static void put_names(const struct daemon *daemon, struct metric_page *page)
{
	struct naming_counters counters;
	if (!daemon->names)
		return;
	names_plane_counters(daemon->names, &counters);
	metric_put(page, METRIC_DNS_ANSWERING, NULL, names_plane_answers(daemon->names));
	metric_put(page, METRIC_DNS_SERIAL, NULL, names_plane_serial(daemon->names));
	put_answers(&counters, page);
	metric_put(page, METRIC_DNS_TRUNCATED, NULL, counters.truncated);
	metric_put(page, METRIC_DNS_KNOWN, NULL, counters.known);
	for (int d = NAMING_DROP_NONE + 1; d < NAMING_DROP_COUNT; d++)
		metric_put(page, METRIC_DNS_DROPPED,
			   METRIC_VALUES(naming_drop_text((enum naming_drop)d)), counters.drops[d]);
	metric_put(page, METRIC_DNS_TCP_ACCEPTED, NULL, counters.tcp_accepted);
	metric_put(page, METRIC_DNS_TCP_OPEN, NULL, counters.tcp_open);
	metric_put(page, METRIC_DNS_SNAPSHOTS, NULL, counters.swaps);
}

static void put_channel(const struct daemon *daemon, struct metric_page *page)
{
	if (!daemon->peers)
		return;
	const struct channel_counters *counters = peers_counters(daemon->peers);
#define CHANNEL(id, member, name, type, unit, help)                                                \
	metric_put(page, METRIC_##id, NULL, counters->member);
	CHANNEL_METRICS(CHANNEL)
#undef CHANNEL
}

/* --- the process ------------------------------------------------------------------------------ */

static uint64_t resident_bytes(void)
{
	unsigned long long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	if (!file)
		return 0;
	if (fscanf(file, "%*u %llu", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double of_timeval(const struct timeval *time)
{
	return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static void put_process(const struct daemon *daemon, struct metric_page *page)
{
	struct rusage usage;
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		metric_put_real(page, METRIC_CPU, NULL,
				of_timeval(&usage.ru_utime) + of_timeval(&usage.ru_stime));
	metric_put(page, METRIC_RESIDENT, NULL, resident_bytes());
	metric_put_real(page, METRIC_START_TIME, NULL, seconds(daemon->start_wall_ms));
}

void metrics_put(struct daemon *daemon, struct buffer *text)
{
	struct metric_page page = {.text = text, .newest = METRIC_PAGE_EMPTY};
	uint64_t now_ms = clock_now_ms(daemon->clock);
	put_node(daemon, &page);
	put_alarms(daemon, &page);
	put_staleness(daemon, &page, now_ms);
	if (daemon->decides)
		put_members(daemon, &page, now_ms);
	put_versions(daemon, &page);
	if (daemon->decides)
		put_backends(daemon, &page, now_ms);
	put_edge(daemon, &page);
	put_landing(daemon, &page);
	put_names(daemon, &page);
	put_channel(daemon, &page);
	put_process(daemon, &page);
}

/* --- where it is served ----------------------------------------------------------------------- */

#define FRONT                                                                                      \
	"fairlead " FAIRLEAD_VERSION "\n\n/metrics   for Prometheus\n\n"                           \
	"What is wrong, and what to do: `fairlead status`, on this machine.\n"

static void on_asked(void *context, struct buffer *text)
{
	metrics_put(context, text);
}

void metrics_open(struct daemon *daemon, uint64_t now_ms)
{
	const struct daemon_options *options = daemon->options;
	struct error err;
	if (!options->metrics_port || daemon->metrics || now_ms < daemon->metrics_ms)
		return;
	daemon->metrics_ms = now_ms + RETRY_MS;
	const struct api_http_options http = {.loop = &daemon->loop,
					      .clock = daemon->clock,
					      .address = options->metrics_address,
					      .port = options->metrics_port,
					      .front = FRONT,
					      .metrics = on_asked,
					      .context = daemon};
	if (api_http_open(&http, &daemon->metrics, &err) == 0)
		alarm_end(&daemon->metrics_alarm);
	else if (ALARM_SET(&daemon->metrics_alarm, now_ms, METRICS_CLOSED, options->node, err.text))
		daemon_tell_alarm(daemon, &daemon->metrics_alarm);
}

void metrics_close(struct daemon *daemon)
{
	api_http_close(daemon->metrics);
	daemon->metrics = NULL;
}
