/* SPDX-License-Identifier: Apache-2.0 */
/* The things of a node, and those of their columns that take more than one field to fill; those of
 * a lab are in thing_lab.c. */
#include "control/render_parts.h"
#include "control/thing_fields.h"

#include <string.h>

/* --- cells --- */

static void state_cell(struct table *table, const json_t *version)
{
	static const struct {
		const char *state;
		enum paint paint;
	} paints[] = {{"serving", PAINT_GOOD},
		      {"draining", PAINT_WARN},
		      {"closing", PAINT_WARN},
		      {"retired", PAINT_FAINT}};
	const char *state = part_text(version, "state", "?");
	table_cell(table, state);
	for (size_t i = 0; i < sizeof(paints) / sizeof(paints[0]); i++) {
		if (strcmp(paints[i].state, state) == 0)
			table_paint(table, paints[i].paint);
	}
}

static void connections_cell(struct table *table, const json_t *version)
{
	if (strcmp(part_text(version, "state", ""), "retired") == 0 &&
	    !json_is_integer(json_object_get(version, "connections")))
		table_cell(table, "-"); /* its addresses mean another version by now */
	else
		part_count_cell(table, version, "connections");
}

/* Addresses that mean this version by their own right, then how many of older versions do. */
static void addresses_cell(struct table *table, const json_t *version)
{
	const json_t *late = json_object_get(version, "late_addresses");
	struct buffer list;
	buffer_init(&list, 0);
	part_join(json_object_get(version, "addresses"), &list);
	if (json_array_size(late)) {
		buffer_printf(&list, "; %zu late", json_array_size(late));
	}
	table_buffer(table, &list);
}

static void report_cell(struct table *table, const json_t *backend)
{
	char ago[PART_BYTES];
	const json_t *last = json_object_get(backend, "last_report_ms");
	bool silent = part_true(backend, "silent");
	bool elsewhere = part_true(backend, "elsewhere");
	bool no_landing = part_true(backend, "no_landing");
	bool forgotten = part_true(backend, "forgotten");
	bool awaited = part_true(backend, "awaited");
	if (forgotten)
		table_cell(table, "forgotten");
	else if (no_landing)
		table_cell(table, "no landing");
	else if (awaited)
		table_cell(table, "awaited");
	else if (elsewhere)
		table_cell(table, "from elsewhere");
	else if (!json_is_integer(last))
		table_cell(table, "never");
	else
		table_cellf(table, silent ? "silent for %s" : "%s ago",
			    part_duration(json_integer_value(last), ago));
	table_paint(table, forgotten || no_landing ? PAINT_FAINT
			   : awaited               ? PAINT_WARN
			   : silent                ? PAINT_BAD
						   : PAINT_NONE);
}

static void heard_cell(struct table *table, const json_t *node)
{
	char ago[PART_BYTES];
	const json_t *heard = json_object_get(node, "heard_ms");
	if (json_is_integer(heard)) {
		table_cellf(table, "%s ago", part_duration(json_integer_value(heard), ago));
	} else {
		table_cell(table, "never");
		table_paint(table, PAINT_WARN);
	}
}

/* Of a node that is only a backend nothing is waited for but its reports. */
static void acknowledged_cell(struct table *table, const json_t *node, const char *key)
{
	if (json_object_get(node, key))
		part_count_cell(table, node, key);
	else
		table_cell(table, "-");
}

static void applied_cell(struct table *table, const json_t *node)
{
	acknowledged_cell(table, node, "applied");
}

static void behind_cell(struct table *table, const json_t *node)
{
	acknowledged_cell(table, node, "behind");
	if (part_number(node, "behind"))
		table_paint(table, PAINT_WARN);
}

static void removed_cell(struct table *table, const json_t *node)
{
	table_cell(table, part_text(node, "removed", ""));
	table_paint(table, PAINT_WARN);
}

static void target_cell(struct table *table, const json_t *service)
{
	part_count_cell(table, json_object_get(service, "rollout"), "target");
}

static void rollout_cell(struct table *table, const json_t *service)
{
	char share[PART_BYTES];
	const json_t *rollout = json_object_get(service, "rollout");
	bool paused = part_true(rollout, "paused");
	if (part_true(service, "removed")) {
		table_cell(table, "removed");
	} else if (!part_true(rollout, "under_way")) {
		table_cell(table, "complete");
	} else {
		table_cellf(
		    table, "%s at %s", paused ? "paused" : "under way",
		    part_share(json_number_value(json_object_get(rollout, "share")), share));
		table_paint(table, paused ? PAINT_WARN : PAINT_NONE);
	}
}

/* "1 draining, 2 serving" */
static void states_cell(struct table *table, const json_t *service)
{
	const json_t *versions = json_object_get(service, "versions");
	struct buffer list;
	buffer_init(&list, 0);
	for (size_t i = 0; i < json_array_size(versions); i++) {
		const json_t *version = json_array_get(versions, i);
		buffer_printf(&list, "%s%lld %s", i ? ", " : "",
			      (long long)part_number(version, "number"),
			      part_text(version, "state", "?"));
	}
	if (!list.length)
		buffer_putc(&list, '-');
	table_buffer(table, &list);
}

static void use_cell(struct table *table, const json_t *binding)
{
	table_cell(table, part_true(binding, "reclaiming") ? "refusing, to be freed"
			  : part_true(binding, "refusing") ? "refusing new flows"
			  : part_true(binding, "is_late")  ? "late"
							   : "own");
}

static void rollouts_cell(struct table *table, const json_t *pool)
{
	const json_t *rollouts = json_object_get(pool, "rollouts_per_day");
	if (!rollouts || json_is_null(rollouts))
		table_cell(table, rollouts ? "any number" : "-");
	else
		part_count_cell(table, pool, "rollouts_per_day");
}

/* "3, the first until 2026-11-22 07:31:04" */
static void quarantine_cell(struct table *table, const json_t *pool)
{
	char time[PART_BYTES];
	const char *until = part_text(pool, "quarantined_until", NULL);
	if (until)
		table_cellf(table, "%lld, until %s", (long long)part_number(pool, "quarantined"),
			    part_time(until, time));
	else
		part_count_cell(table, pool, "quarantined");
}

static void leaving_cell(struct table *table, const json_t *pool)
{
	table_cell(table, part_text(pool, "leaving", ""));
	table_paint(table, PAINT_WARN);
}

static void own_cell(struct table *table, const json_t *site)
{
	table_cell(table, part_true(site, "own") ? "stands here" : "");
}

static void base_cell(struct table *table, const json_t *rollout)
{
	json_int_t base = part_number(rollout, "base");
	if (base && part_true(rollout, "under_way"))
		table_cellf(table, "%lld", (long long)base);
	else
		table_cell(table, "-");
}

static void step_cell(struct table *table, const json_t *rollout)
{
	if (part_true(rollout, "under_way"))
		table_cellf(table, "%lld of %lld", (long long)part_number(rollout, "step"),
			    (long long)part_number(rollout, "steps"));
	else
		table_cell(table, "-");
}

static void next_step_cell(struct table *table, const json_t *rollout)
{
	char due[PART_BYTES];
	const json_t *next = json_object_get(rollout, "next_step_in_ms");
	if (!part_true(rollout, "under_way")) {
		table_cell(table, "complete");
	} else if (part_true(rollout, "paused")) {
		table_cell(table, "paused; `fairlead rollout resume` lets it go on");
		table_paint(table, PAINT_WARN);
	} else if (next) {
		table_cell(table, part_due(json_integer_value(next), due));
	} else if (json_array_size(json_object_get(rollout, "waits"))) {
		struct buffer words;
		buffer_init(&words, 0);
		part_waits(rollout, &words);
		table_buffer(table, &words);
		table_paint(table, PAINT_WARN);
	} else {
		table_cellf(table, "when %s",
			    part_text(json_object_get(rollout, "wait"), "text", "it is due"));
	}
}

static void what_cell(struct table *table, const json_t *entry)
{
	struct buffer words;
	buffer_init(&words, 0);
	render_entry_words(part_text(entry, "kind", ""), json_object_get(entry, "what"), &words);
	table_buffer(table, &words);
}

static void why_cell(struct table *table, const json_t *entry)
{
	table_cell(table, part_text(entry, "why", ""));
}

/* --- parts of things --- */

#define PACKET_FIELDS                                                                              \
	FIELD("packets", COUNTER, "forwarded"), FIELD("bytes", COUNTER, "in them"),                \
	    FIELD("refused", COUNTER, "first packets of flows, while it was closing"),             \
	    FIELD("wrong_port", COUNTER, "packets to a port that the service does not have"),      \
	    FIELD("asked_fib", COUNTER, "packets whose next hop the kernel was asked for"),        \
	    FIELD("to_kernel", COUNTER, "packets that were left to the kernel to send")

static const struct thing thing_alarm = {
    .name = "alarm",
    .help = "What needs somebody, or is worth knowing; docs/design/alarms.md lists all codes.",
    .none = "none",
    .fields = (const struct field[]){
	COLUMN("CODE", "code", TEXT, "which it is; keeps its meaning"),
	COLUMN("SEVERITY", "severity", TEXT, "alarm, repaired or note"),
	COLUMN("SUBJECT", "subject", TEXT, "what it is about: kind/name"),
	COLUMN("SINCE", "since", TIME, "when it began, where that is known"),
	COLUMN("TEXT", "text", TEXT, "what is wrong"),
	COLUMN("ADVICE", "advice", TEXT, "what to do about it"),
	END,
    }};

static const struct thing thing_interface = {
    .name = "interface",
    .help = "An interface that carries a program of ours.",
    .none = "none",
    .fields = (const struct field[]){
	COLUMN("NAME", "name", TEXT, "of the interface"),
	COLUMN("MODE", "mode", TEXT, "native, generic, or detached: not carried"),
	COLUMN("IFINDEX", "ifindex", NUMBER, "of the interface; 0: it is gone"),
	COLUMN("PROGRAM ID", "program_id", NUMBER, "of the XDP program on it; 0: none"),
	END,
    }};

static const struct thing thing_next_hop = {
    .name = "next hop",
    .help = "How the edge reaches a backend.",
    .none = "none",
    .fields = (const struct field[]){
	COLUMN("ADDRESS", "address", TEXT, "of the backend"),
	COLUMN("RESOLVED", "resolved", FLAG, "packets need not ask the kernel"),
	COLUMN("INTERFACE", "interface", TEXT, "by which packets leave"),
	COLUMN("MTU", "mtu", NUMBER, "of the way there, in bytes"),
	END,
    }};

static const struct thing thing_wait = {
    .name = "wait",
    .help = "A backend that a version waits for.",
    .none = "none",
    .fields = (const struct field[]){
	COLUMN("NAME", "name", TEXT, "of the backend"),
	COLUMN("ADDRESS", "address", TEXT, "where tunnels to it end"),
	COLUMN("REASON", "reason", TEXT, "which it is; keeps its meaning"),
	COLUMN("WHY", "text", TEXT, "what is in the way"),
	END,
    }};

static const struct thing thing_version_wait = {
    .name = "version wait",
    .help = "What a version waits for before its next change of state.",
    .none = "nothing",
    .fields = (const struct field[]){
	COLUMN("REASON", "reason", TEXT, "which it is; keeps its meaning"),
	COLUMN("UNTIL", "text", TEXT, "it waits so long"),
	COLUMN("AT", "until", TIME, "when that is, where a clock decides"),
	COLUMN("LEFT", "left_ms", NUMBER, "until then", .unit = "ms"),
	END,
    }};

static const struct thing thing_dns = {
    .name = "dns",
    .help = "The name server of this node.",
    .fields = (const struct field[]){
	FIELD("answering", FLAG, "there is a zone to answer from"),
	FIELD("serial", NUMBER, "of the zone"),
	FIELD("queries", COUNTER, "that were answered"),
	FIELD("results", THING, "queries by what they were answered with"),
	FIELD("types", THING, "queries by type, each by its results"),
	FIELD("drops", THING, "unanswered queries and ended connections, by reason"),
	FIELD("known", COUNTER, "queries with a cookie of this node"),
	FIELD("tcp_open", NUMBER, "connections now"),
	FIELD("swaps", COUNTER, "of the zone for a newer one"),
	END,
    }};

static const struct thing thing_state = {
    .name = "state",
    .help = "What the node stands on.",
    .fields = (const struct field[]){
	FIELD("origin", TEXT, "store, read-only store, last good copy or nothing"),
	FIELD("writable", FLAG, "it takes orders"),
	FIELD("acknowledged", NUMBER, "newest ledger entry acknowledged here; 0: none"),
	FIELD("good_copy", NUMBER, "ledger entry of the last good copy; 0: none"),
	END,
    }};

static const struct thing thing_landing = {
    .name = "landing",
    .help = "What a backend's landing tells of itself.",
    .fields = (const struct field[]){
	FIELD("alarms", THINGS, "what is wrong there", .thing = &thing_alarm),
	FIELD("interfaces", THINGS, "where tunnels come in", .thing = &thing_interface),
	FIELD("program", TEXT, "the kernel's digest of the program"),
	FIELD("layout", TEXT, "digest of its maps' layout"),
	FIELD("listeners", NUMBER, "that take flows of a service elsewhere"),
	FIELD("listeners_bound", NUMBER, "of these, whose socket is there"),
	FIELD("accepted", COUNTER, "packets taken out of tunnels"),
	END,
    }};

static const struct thing thing_version_backend = {
    .name = "backend of a version",
    .help = "Who has connections of a version: its backends, and whoever else counts some.",
    .none = "none",
    .fields = (const struct field[]){
	COLUMN("NAME", "name", TEXT, "of the backend"),
	COLUMN("SITE", "site", TEXT, "where it stands"),
	COLUMN("ADDRESS", "address", TEXT, "where tunnels to it end; null: it is no backend of it"),
	COLUMN("WEIGHT", "weight", NUMBER, "its part of the flows, against the others' weights"),
	COLUMN("CONNECTIONS", "connections", NUMBER, "to this version there; null: not known"),
	COLUMN("REPORT", "report_ms", NUMBER, "since its machine reported; else it did not",
	       .unit = "ms"),
	COLUMN("DOUBT", "doubt", TEXT, "which doubt there is of its count"),
	COLUMN("WHY", "why", TEXT, "the same as people read it"),
	FIELD("forgotten", FLAG, "it was declared gone: it has none"),
	END,
    }};

static const struct thing thing_ring = {.name = "ring",
					.help = "In which the hash of a flow finds its backend.",
					.none = "none",
					.fields = (const struct field[]){
					    COLUMN("SITE", "site", TEXT, "whose edges use it"),
					    COLUMN("ENTRIES", "entries", NUMBER, "of the ring"),
					    END,
					}};

/* --- things --- */

const struct thing thing_version = {
    .name = "version",
    .plural = "versions",
    .help = "The versions of all services, with what is measured of them.",
    .none = "no version yet",
    .fields = (const struct field[]){
	COLUMN("SERVICE", "service", TEXT, "whose version it is"),
	COLUMN("VERSION", "number", NUMBER, "within the service"),
	COLUMN("STATE", "state", TEXT, "docs/design/lifecycle.md explains the states",
	       .cell = state_cell),
	COLUMN("SINCE", "since", TIME, "when it came into this state", .wide = true),
	COLUMN("SHARE", "share", SHARE, "of the clients that DNS names it to"),
	COLUMN("CONNECTIONS", "connections", NUMBER, "to its addresses; null: not known",
	       .cell = connections_cell),
	COLUMN("NEW FLOWS", "new_flows", COUNTER, "that began"),
	COLUMN("LATE", "late", COUNTER, "flows that began by an older version's address"),
	COLUMN("ADDRESSES", "addresses", TEXTS, "that mean it by their own right, at this site",
	       .cell = addresses_cell),
	FIELD("late_addresses", TEXTS, "of older versions that mean it now"),
	FIELD("held", FLAG, "every edge that is waited for holds it"),
	FIELD("cut", FLAG, "what is left of its flows is ended by order"),
	FIELD("digest", TEXT, "of all that decides where its packets go"),
	FIELD("sequence", NUMBER, "ledger entry that published it"),
	FIELD("silent_backend", TEXT, "whose silence makes the connections unknown"),
	FIELD("cookie_backend", TEXT, "that sent SYN cookies a moment ago"),
	FIELD("waits", THINGS, "before its state changes, the first of all decides",
	      .thing = &thing_version_wait),
	FIELD("cut_at", TIME, "when its flows are cut, by drain_limit"),
	FIELD("cut_in_ms", NUMBER, "until then", .unit = "ms"),
	FIELD("reopens_at", TIME, "when its closing is given up, if it is not proven"),
	FIELD("reopens_in_ms", NUMBER, "until then", .unit = "ms"),
	FIELD("last_packet_ms", NUMBER, "of a service with UDP: at least so long none came",
	      .unit = "ms"),
	FIELD("backends", THINGS, "to which its flows go", .thing = &thing_version_backend),
	PACKET_FIELDS,
	FIELD("ports", TEXTS, "that are served (only of `describe`)"),
	FIELD("rings", THINGS, "one for each site (only of `describe`)", .thing = &thing_ring),
	END,
    }};

const struct thing thing_rollout = {
    .name = "rollout",
    .help = "How a service passes from one version to the next.",
    .none = "no service yet",
    .fields = (const struct field[]){
	COLUMN("SERVICE", "service", TEXT, "that is rolled out"),
	COLUMN("FROM", "base", NUMBER, "version that the clients come from; 0: none",
	       .cell = base_cell),
	COLUMN("TO", "target", NUMBER, "version that they go to"),
	COLUMN("SHARE", "share", SHARE, "of the clients that have it"),
	COLUMN("STEP", "step", NUMBER, "in which the rollout is, from 1", .cell = step_cell),
	FIELD("steps", NUMBER, "that it takes"),
	FIELD("paused", FLAG, "it waits for `rollout resume`"),
	FIELD("under_way", FLAG, "not all clients have the target yet"),
	FIELD("waits", THINGS, "backends in the way of its first share, the first few",
	      .thing = &thing_wait),
	FIELD("waits_for", NUMBER, "backends that do"),
	FIELD("wait", THING, "what its next step waits for", .thing = &thing_version_wait),
	FIELD("older", THINGS, "that drain or close (only of `rollout status`)",
	      .thing = &thing_version),
	COLUMN("NEXT STEP", "next_step_in_ms", NUMBER, "until the next step, where it has a date",
	       .unit = "ms", .cell = next_step_cell),
	END,
    }};

const struct thing thing_service = {
    .name = "service",
    .plural = "services",
    .help = "The services, each with its rollout and its live versions.",
    .none = "no service yet",
    .fields = (const struct field[]){
	COLUMN("SERVICE", "name", TEXT, "of the service"),
	COLUMN("VERSION", "rollout", THING, "to its newest version", .thing = &thing_rollout,
	       .cell = target_cell),
	COLUMN("ROLLOUT", "rollout", THING, NULL, .cell = rollout_cell),
	COLUMN("TTL", "ttl_s", NUMBER, "for which clients keep an answer of DNS", .unit = "s"),
	COLUMN("LIVE VERSIONS", "versions", THINGS, "that live, as `get versions` lists them",
	       .thing = &thing_version, .cell = states_cell),
	FIELD("removed", FLAG, "it is in no file any more; its flows go on"),
	END,
    }};

const struct thing thing_backend = {
    .name = "backend",
    .plural = "backends",
    .help = "The backends of live versions, and whoever else reports.",
    .none = "no backend yet",
    .fields = (const struct field[]){
	COLUMN("BACKEND", "name", TEXT, "of the backend"),
	COLUMN("ADDRESS", "address", TEXT, "where tunnels to it end; null: it is no backend"),
	COLUMN("REPORT", "last_report_ms", NUMBER, "since its landing reported; null: it never did",
	       .unit = "ms", .cell = report_cell),
	COLUMN("CONNECTIONS", "connections", NUMBER, "that its landing counts; null: not known"),
	COLUMN("CUT", "cut", COUNTER, "connections that it ended by order"),
	FIELD("silent", FLAG, "its last report is too old to be believed"),
	FIELD("awaited", FLAG, "its first report may still be on the way"),
	FIELD("no_landing", FLAG, "the file says `landing: none`"),
	FIELD("elsewhere", FLAG, "who reports by its name has another address"),
	FIELD("forgotten", FLAG, "it was declared gone by `backend forget`"),
	FIELD("boot_id", TEXT, "of its kernel"),
	FIELD("landed", FLAG, "it carried out its configuration"),
	FIELD("late_ms", NUMBER, "since when it has not", .unit = "ms"),
	FIELD("disputed", FLAG, "another process reports by its name"),
	FIELD("landing", THING, "what its landing tells of itself", .thing = &thing_landing),
	END,
    }};

const struct thing thing_binding = {
    .name = "address",
    .plural = "bindings",
    .help = "The service addresses at this node's site, and what each of them means.",
    .none = "no service address is bound yet",
    .fields = (const struct field[]){
	COLUMN("ADDRESS", "address", TEXT, "at this node's site"),
	COLUMN("SERVICE", "service", TEXT, "that has it"),
	COLUMN("VERSION", "version", NUMBER, "that it means"),
	COLUMN("BINDING", "number", NUMBER,
	       "of the binding; grows with each change of its meaning"),
	COLUMN("USE", "is_late", FLAG, "it was an older version's", .cell = use_cell),
	COLUMN("CONNECTIONS", "connections", NUMBER, "to it; null: not known"),
	COLUMN("NEW FLOWS", "new_flows", COUNTER, "that began"),
	COLUMN("LATE", "late", COUNTER, "of them, after DNS named it no longer"),
	FIELD("pool", NUMBER, "that it comes from"),
	FIELD("slot", NUMBER, "of the pool"),
	FIELD("refusing", FLAG, "edges refuse new flows to it"),
	FIELD("reclaiming", FLAG, "it is to be freed for another service"),
	PACKET_FIELDS,
	END,
    }};

const struct thing thing_pool = {
    .name = "pool",
    .plural = "pools",
    .help = "The pools that service addresses come from, and how much they hold.",
    .none = "no pool",
    .fields = (const struct field[]){
	COLUMN("PREFIX", "prefix", TEXT, "of its addresses"),
	COLUMN("SLOTS PER SITE", "slots_per_site", NUMBER, "addresses at each site"),
	COLUMN("SERVICES", "services", NUMBER, "that take addresses from it"),
	COLUMN("ROLLOUTS A DAY", "rollouts_per_day", NUMBER,
	       "of each service, that it has room for; null: any", .cell = rollouts_cell),
	COLUMN("FREE", "free", NUMBER, "slots that any service may have"),
	COLUMN("USED", "used", NUMBER, "slots of versions that have clients"),
	COLUMN("DRAINING", "draining", NUMBER, "slots of versions that drain"),
	COLUMN("LATE", "late", NUMBER, "slots of retired versions, for late clients"),
	COLUMN("CLOSING", "closing", NUMBER, "slots that refuse new flows until nobody uses them"),
	COLUMN("QUARANTINED", "quarantined", NUMBER, "slots that only who had them may have",
	       .cell = quarantine_cell),
	FIELD("quarantined_until", TIME, "when the first of these is for all"),
	FIELD("idle", NUMBER, "of those that drain or are late: nobody uses them"),
	FIELD("rollouts_left", NUMBER, "for which there are slots: free and idle ones"),
	COLUMN("LEAVES", "leaving", TEXT, "what holds a pool that is in the file no more",
	       .cell = leaving_cell),
	END,
    }};

const struct thing thing_node = {
    .name = "node",
    .plural = "nodes",
    .help = "The machines that the ledger names, and what was last heard of them.",
    .none = "the ledger names no node yet",
    .fields = (const struct field[]){
	COLUMN("NODE", "name", TEXT, "its name"),
	COLUMN("SITE", "site", TEXT, "where it stands"),
	COLUMN("ROLES", "roles", TEXT, "what it is to the others"),
	COLUMN("ADDRESS", "address", TEXT, "of its node channel; missing: it has none"),
	COLUMN("HEARD", "heard_ms", NUMBER, "since it was heard; else it was not yet", .unit = "ms",
	       .cell = heard_cell),
	COLUMN("APPLIED", "applied", NUMBER, "the entry up to which it forwards and answers",
	       .cell = applied_cell),
	COLUMN("BEHIND", "behind", NUMBER, "entries that it lacks; closings wait for it",
	       .cell = behind_cell),
	COLUMN("REMOVED", "removed", TEXT, "it is no member any more, and how far its fence is",
	       .cell = removed_cell),
	FIELD("level", NUMBER, "of what it can forward"),
	FIELD("channel_key", TEXT, "by which it is known on the channel"),
	END,
    }};

const struct thing thing_site = {
    .name = "site",
    .plural = "sites",
    .help = "The sites of the fabric.",
    .none = "no site",
    .fields = (const struct field[]){
	COLUMN("SITE", "name", TEXT, "of the site"),
	COLUMN("NUMBER", "number", NUMBER, "in the site bits of addresses"),
	COLUMN("NODES", "nodes", NUMBER, "members that stand there"),
	COLUMN("EDGES", "edges", NUMBER, "of them, that forward"),
	COLUMN("NAMES", "names", NUMBER, "of them, that answer names"),
	COLUMN("BACKENDS", "backends", NUMBER, "that the file names there"),
	COLUMN("THIS NODE", "own", FLAG, "this node stands there", .cell = own_cell),
	END,
    }};

const struct thing thing_entry = {
    .name = "entry",
    .help = "An entry of the ledger.",
    .none = "no entry",
    .fields = (const struct field[]){
	COLUMN("ENTRY", "sequence", NUMBER, "its number, from 1"),
	COLUMN("TIME (UTC)", "time", TIME, "when it was written"),
	COLUMN("WHO", "who", TEXT, "ordered it; fairlead: it was due"),
	COLUMN("KIND", "kind", TEXT, "of the change"),
	COLUMN("WHAT", "what", THING, "was changed", .cell = what_cell),
	COLUMN("WHY", "why", TEXT, "the --message", .cell = why_cell),
	FIELD("node", TEXT, "that wrote it"),
	FIELD("digest", TEXT, "of the entry and, by that, of all before it"),
	END,
    }};

const struct thing thing_verdict = {.name = "verdict",
				    .help = "Of a check of the ledger.",
				    .fields = (const struct field[]){
					FIELD("sound", FLAG, "chain and signatures hold"),
					FIELD("entries", NUMBER, "that were checked"),
					FIELD("digest", TEXT, "of the newest"),
					END,
				    }};

static const struct thing thing_passing = {
    .name = "passing",
    .help = "What the edge passes on to others, and takes from them.",
    .fields = (const struct field[]){
	FIELD("behind", FLAG, "it may lack versions: unknown ones are passed on"),
	FIELD("peers", NUMBER, "edges that get that"),
	FIELD("passed", COUNTER, "packets, to them"),
	FIELD("taken", COUNTER, "packets, from other edges that are behind"),
	END,
    }};

const struct thing thing_status = {
    .name = "status",
    .help = "How the node and its services are.",
    .fields = (const struct field[]){
	FIELD("asked", TEXT, "the node that was asked"),
	FIELD("node", TEXT, "that answers: the voter, while it is reached"),
	FIELD("voter_silent_ms", NUMBER, "since a voter was heard; 0 or missing: one is reached",
	      .unit = "ms"),
	FIELD("site", TEXT, "where it stands"),
	FIELD("version", TEXT, "of the program"),
	FIELD("uptime_ms", NUMBER, "since the daemon started", .unit = "ms"),
	FIELD("sequence", NUMBER, "entries of the ledger"),
	FIELD("applied", NUMBER, "of them, that all who are waited for carried out"),
	FIELD("configured", FLAG, "a file was applied"),
	FIELD("clock", TIME, "of the node that answers, as it did"),
	FIELD("alarms", THINGS, "what needs somebody", .thing = &thing_alarm),
	FIELD("risks", THINGS, "single points of failure, with the same fields"),
	FIELD("notes", THINGS, "what is worth knowing, with the same fields"),
	FIELD("next", TEXTS, "what to do next"),
	FIELD("nodes", THINGS, "as `get nodes` lists them", .thing = &thing_node),
	FIELD("state", THING, "what the node stands on", .thing = &thing_state),
	FIELD("build_id", TEXT, "of the BPF program"),
	FIELD("layout", TEXT, "digest of its maps' layout"),
	FIELD("addresses", NUMBER, "that are forwarded"),
	FIELD("rings", NUMBER, "in the maps"),
	FIELD("interfaces", THINGS, "that the edge takes packets from", .thing = &thing_interface),
	FIELD("next_hops", THINGS, "to the backends", .thing = &thing_next_hop),
	FIELD("drops", THING, "packets by the reason for which they were dropped"),
	FIELD("passing", THING, "between edges", .thing = &thing_passing),
	FIELD("dns", THING, "the name server", .thing = &thing_dns),
	FIELD("services", THINGS, "as `get services` lists them", .thing = &thing_service),
	FIELD("backends", THINGS, "as `get backends` lists them", .thing = &thing_backend),
	END,
    }};

const struct thing thing_file = {
    .name = "file",
    .help = "The configuration.",
    .fields = (const struct field[]){
	FIELD("file", TEXT, "the configuration as a file; only without a kind"),
	END,
    }};

/* --- what a file would do, and what orders did --- */

static const struct thing thing_finding = {
    .name = "finding",
    .help = "A fault of a file.",
    .fields = (const struct field[]){
	FIELD("severity", TEXT, "error or warning"),
	FIELD("file", TEXT, "that has it"),
	FIELD("line", NUMBER, "from 1; 0: the file as a whole"),
	FIELD("column", NUMBER, "from 1"),
	FIELD("message", TEXT, "what is wrong"),
	FIELD("advice", TEXT, "what to do about it, where that is known"),
	FIELD("excerpt", TEXT, "the line"),
	END,
    }};

const struct thing thing_validation = {
    .name = "validation",
    .help = "What is to be said of a file.",
    .fields = (const struct field[]){
	FIELD("file", TEXT, "that was read"),
	FIELD("valid", FLAG, "it has no error"),
	FIELD("errors", NUMBER, "in it"),
	FIELD("warnings", NUMBER, "in it"),
	FIELD("findings", THINGS, "errors and warnings", .thing = &thing_finding),
	FIELD("capacity", THINGS, "of its pools, as `get pools` lists them", .thing = &thing_pool),
	FIELD("text", TEXT, "the capacity as people read it"),
	END,
    }};

static const struct thing thing_difference = {
    .name = "difference",
    .help = "Something that differs between what is applied and the file.",
    .fields = (const struct field[]){
	FIELD("change", TEXT, "add, remove or change"),
	FIELD("kind", TEXT, "backend, port, ttl and so on"),
	FIELD("name", TEXT, "which one, where there may be many"),
	FIELD("attribute", TEXT, "what of it differs, if not all"),
	FIELD("before", TEXT, "unless it is added"),
	FIELD("after", TEXT, "unless it is removed"),
	END,
    }};

static const struct thing thing_move = {
    .name = "move",
    .help = "How far a site's ring moves.",
    .fields = (const struct field[]){
	FIELD("site", TEXT, "whose edges use the ring"),
	FIELD("moved", NUMBER, "entries that lead to another backend"),
	FIELD("entries", NUMBER, "of the ring"),
	END,
    }};

static const struct thing thing_live_version = {
    .name = "live version",
    .help = "A version whose flows stay where they are.",
    .fields = (const struct field[]){
	FIELD("version", NUMBER, "within the service"),
	FIELD("state", TEXT, "in which it is"),
	FIELD("connections", NUMBER, "to it; null: not known"),
	FIELD("addresses", TEXTS, "of its own"),
	FIELD("cut_in_ms", NUMBER, "`drain_limit` ends what is left of it"),
	FIELD("cut_after_ms", NUMBER, "the same, from when DNS stops naming it"),
	END,
    }};

static const struct thing thing_plan_wait = {
    .name = "planned wait",
    .help = "A backend that the next version waits for, as things are now.",
    .fields = (const struct field[]){
	FIELD("name", TEXT, "of the backend"),
	FIELD("address", TEXT, "of its machine"),
	FIELD("reason", TEXT, "as `rollout status` names it"),
	FIELD("text", TEXT, "the same as people read it"),
	END,
    }};

static const struct thing thing_loss = {.name = "loss",
					.help = "What clients have now and will not have then.",
					.fields = (const struct field[]){
					    FIELD("kind", TEXT, "service, port, zone or record"),
					    FIELD("name", TEXT, "which one"),
					    FIELD("text", TEXT, "what that means to clients"),
					    FIELD("asks", FLAG, "`apply` wants a yes to it"),
					    END,
					}};

static const struct thing thing_service_plan = {
    .name = "plan of a service",
    .help = "What a file changes of a service.",
    .fields = (const struct field[]){
	FIELD("change", TEXT, "add, remove or change"),
	FIELD("service", TEXT, "that changes"),
	FIELD("new_version", FLAG, "a version is published"),
	FIELD("from_version", NUMBER, "that clients have; null: none"),
	FIELD("to_version", NUMBER, "that they get; null: none"),
	FIELD("changes", THINGS, "what differs", .thing = &thing_difference),
	FIELD("moves", THINGS, "of its rings", .thing = &thing_move),
	FIELD("versions", THINGS, "that live", .thing = &thing_live_version),
	FIELD("waits", THINGS, "before it gets clients; the first few", .thing = &thing_plan_wait),
	FIELD("waits_for", NUMBER, "how many backends there are of these"),
	END,
    }};

static const struct thing thing_file_plan = {
    .name = "plan",
    .help = "What a file changes.",
    .fields = (const struct field[]){
	FIELD("empty", FLAG, "the file is what is applied"),
	FIELD("changes", THINGS, "of the fabric itself", .thing = &thing_difference),
	FIELD("services", THINGS, "that change", .thing = &thing_service_plan),
	FIELD("losses", THINGS, "what clients lose", .thing = &thing_loss),
	FIELD("notes", TEXTS, "what is worth knowing beside that"),
	END,
    }};

#define PLAN_FIELDS                                                                                \
	FIELD("plan", THING, "what the file changes", .thing = &thing_file_plan),                  \
	    FIELD("empty", FLAG, "the file is what is applied"),                                   \
	    FIELD("text", TEXT, "the plan as people read it"),                                     \
	    FIELD("warnings", TEXT, "about the file, as people read them"),                        \
	    FIELD("expect", NUMBER, "what `apply --expect` takes")

#define ORDER_FIELDS                                                                               \
	FIELD("changed", FLAG, "false: it was so already"),                                        \
	    FIELD("sequence", NUMBER, "ledger entry that holds it; 0: none")

const struct thing thing_plan = {.name = "plan",
				 .help = "What a file would change.",
				 .fields = (const struct field[]){PLAN_FIELDS, END}};

const struct thing thing_apply = {
    .name = "apply",
    .help = "What a file changed.",
    .fields = (const struct field[]){
	PLAN_FIELDS,
	ORDER_FIELDS,
	FIELD("dry_run", FLAG, "nothing was done; instead of these two"),
	END,
    }};

const struct thing thing_order = {.name = "order",
				  .help = "About a service.",
				  .fields = (const struct field[]){
				      FIELD("service", TEXT, "that it is about"),
				      ORDER_FIELDS,
				      END,
				  }};

const struct thing thing_token = {
    .name = "token",
    .help = "By which one machine joins.",
    .fields = (const struct field[]){
	FIELD("token", TEXT, "the word itself; whoever has it can join"),
	FIELD("address", TEXT, "of the voter to ask, with its port unless that is 7122"),
	FIELD("fabric", TEXT, "that it lets into"),
	FIELD("roles", TEXT, "that the machine may have"),
	FIELD("site", TEXT, "where it must stand; empty: anywhere"),
	FIELD("expires_in_ms", NUMBER, "until it is good for nothing"),
	ORDER_FIELDS,
	END,
    }};

const struct thing thing_routing = {
    .name = "routing",
    .help = "What this node announces by routes.",
    .fields = (const struct field[]){
	FIELD("node", TEXT, "that was asked"),
	FIELD("announce", TEXT, "bgp, or none"),
	FIELD("table", NUMBER, "of the kernel, that a routing daemon reads"),
	FIELD("prefixes", TEXTS, "that are in it now"),
	FIELD("why", TEXT, "they are not, or no new ones; else empty"),
	END,
    }};

const struct thing thing_routing_config = {.name = "routing_config",
					   .help = "For a routing daemon.",
					   .fields = (const struct field[]){
					       FIELD("node", TEXT, "that announces by it"),
					       FIELD("program", TEXT, "that reads it"),
					       FIELD("text", TEXT, "the configuration"),
					       END,
					   }};

static const struct thing thing_drift = {
    .name = "drift",
    .help = "Something on a machine that is not as Fairlead needs it.",
    .none = "none",
    .fields = (const struct field[]){
	COLUMN("CODE", "code", TEXT, "which it is, also an alarm's; keeps its meaning"),
	COLUMN("SEVERITY", "severity", TEXT, "error, warning or note"),
	COLUMN("TEXT", "text", TEXT, "what is wrong, and where"),
	COLUMN("MEND", "mend", TEXT, "the command that mends it"),
	END,
    }};

static const struct thing thing_return = {
    .name = "way back",
    .help = "Whether a machine outside hears a backend that speaks from a service address.",
    .none = "none",
    .fields = (const struct field[]){
	COLUMN("NAME", "name", TEXT, "of the backend"),
	COLUMN("STATE", "state", TEXT, "returns, silent, or not_known"),
	COLUMN("TEXT", "text", TEXT, "the same as a sentence"),
	END,
    }};

const struct thing thing_doctor = {
    .name = "examination",
    .help = "What was found on this machine; or, of return-path, at all backends.",
    .fields = (const struct field[]){
	FIELD("node", TEXT, "whose machine it is"),
	FIELD("roles", TEXT, "that it has"),
	FIELD("daemon", FLAG, "whether its daemon answered"),
	FIELD("looked_at", NUMBER, "things that were looked at"),
	FIELD("findings", THINGS, "the worst first", .thing = &thing_drift),
	FIELD("unknown", TEXTS, "what could not be looked at, and why"),
	FIELD("to", TEXT, "return-path: the machine outside"),
	FIELD("port", NUMBER, "its port of TCP"),
	FIELD("service", TEXT, "in whose name was sent"),
	FIELD("address", TEXT, "the service address that was sent from"),
	FIELD("well", FLAG, "an answer to each backend came back"),
	FIELD("backends", THINGS, "each of the service's", .thing = &thing_return),
	END,
    }};

const struct thing thing_cut = {.name = "cut",
				.help = "Of what is left of a version's flows.",
				.fields = (const struct field[]){
				    FIELD("service", TEXT, "whose version it is"),
				    FIELD("version", NUMBER, "within the service"),
				    ORDER_FIELDS,
				    END,
				}};

const struct thing thing_rollback = {
    .name = "rollback",
    .help = "The way back to an earlier version.",
    .fields = (const struct field[]){
	FIELD("service", TEXT, "that goes back"),
	FIELD("from", NUMBER, "version that clients had"),
	FIELD("to", NUMBER, "version whose content they have again"),
	FIELD("published", NUMBER, "new version with that content; 0: the old one serves"),
	FIELD("backends", TEXTS, "that serve again"),
	FIELD("dry_run", FLAG, "nothing was done"),
	ORDER_FIELDS,
	END,
    }};

static const struct thing thing_withdrawn = {
    .name = "withdrawn address",
    .help = "Of which the state knows nothing.",
    .fields = (const struct field[]){
	FIELD("address", TEXT, "that is withdrawn"),
	FIELD("connections", NUMBER, "that backends count there"),
	END,
    }};

const struct thing thing_recovery = {
    .name = "recovery",
    .help = "The way on from an older state.",
    .fields = (const struct field[]){
	FIELD("way", TEXT, "copy takes the store's place, or entries are given up"),
	FIELD("from", TEXT, "file whose state is gone on from"),
	FIELD("entry", NUMBER, "newest ledger entry in it"),
	FIELD("lossless", FLAG, "it has all that this node acknowledged"),
	FIELD("withdrawn", THINGS, "addresses that mean nothing any more",
	      .thing = &thing_withdrawn),
	FIELD("published_again", TEXTS, "services that get a new version"),
	FIELD("text", TEXT, "the same as people read it"),
	FIELD("dry_run", FLAG, "nothing was done"),
	ORDER_FIELDS,
	END,
    }};

const struct thing thing_removal = {.name = "removal",
				    .help = "A node is a member no more.",
				    .fields = (const struct field[]){
					FIELD("node", TEXT, "that was removed"),
					FIELD("text", TEXT, "what that does, for people"),
					ORDER_FIELDS,
					END,
				    }};

const struct thing thing_resumption = {.name = "resumption",
				       .help = "A voter decides by the operator's word.",
				       .fields = (const struct field[]){
					   FIELD("edges", NUMBER, "of the fabric"),
					   FIELD("heard", NUMBER, "of these"),
					   FIELD("unheard", TEXTS, "edges that were not heard"),
					   ORDER_FIELDS,
					   END,
				       }};

const struct thing thing_forget = {.name = "forget",
				   .help = "A backend is declared gone.",
				   .fields = (const struct field[]){
				       FIELD("backend", TEXT, "that was declared gone"),
				       FIELD("address", TEXT, "of the machine"),
				       ORDER_FIELDS,
				       END,
				   }};

const struct thing thing_event = {
    .name = "event",
    .help =
	"Something that happened: an entry of the ledger, the beginning of an alarm, or what the "
	"node saw. Each kind of event has some of the fields.",
    .fields = (const struct field[]){
	FIELD("time", TIME, "when it was told"),
	FIELD("event", TEXT, "an entry's kind, an alarm's code or the event's name"),
	FIELD("sequence", NUMBER, "of the ledger entry"),
	FIELD("who", TEXT, "ordered it, of an entry"),
	FIELD("why", TEXT, "the --message, of an entry"),
	FIELD("what", THING, "was changed, of an entry"),
	FIELD("subject", TEXT, "what an alarm is about: kind/name"),
	FIELD("error", TEXT, "what is wrong"),
	FIELD("warning", TEXT, "what is worth knowing"),
	FIELD("advice", TEXT, "what to do about it"),
	FIELD("service", TEXT, "that it is about"),
	FIELD("backend", TEXT, "that it is about"),
	FIELD("address", TEXT, "of that backend's machine"),
	FIELD("ms", NUMBER, "milliseconds for which the process stood still"),
	END,
    }};

const struct thing *const thing_kinds[] = {
    &thing_service, &thing_version, &thing_backend, &thing_binding,
    &thing_pool,    &thing_site,    &thing_node,    NULL};
