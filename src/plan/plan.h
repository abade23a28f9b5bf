/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plan: what applying a fabric would change, and what that does to live flows. Pure: the caller
 * passes in what is known of the live versions, so the same plan can be computed by any node, and
 * by tests. Nothing here is applied.
 *
 * A change of a service that alters what decides a packet's candidates (ports, backends, weights,
 * sites) makes its next version; a change of TTL, rollout, health or drain limit does not. Which
 * is which is the model's business: plan asks version_matches().
 */
#ifndef FAIRLEAD_PLAN_PLAN_H
#define FAIRLEAD_PLAN_PLAN_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fabric;
struct ip_address;
struct json_t;
struct version;

/* --- what the caller knows of the live fabric --- */

struct plan_live_version {
	uint32_t number;
	const char *state; /* "serving", … */
	bool connections_known; /* false: some backend is silent */
	uint64_t connections;
	const struct ip_address *addresses; /* of its own */
	size_t address_count;
	bool drains; /* DNS no longer names it */
	bool cut; /* what is left of its flows is being ended already */
	uint64_t drained_ms; /* for so long */
};

/* A backend that a next version waits for, as things are now, before it gets clients. */
struct plan_wait {
	const char *backend;
	const struct ip_address *address;
	const char *reason; /* for programs: "never-reported" */
	const char *text; /* "it has not reported since this daemon started" */
};

struct plan_live_service {
	const char *name;
	const struct version *current; /* the one that is, or is becoming, the newest; NULL: none */
	uint32_t next_version; /* the number that a next version would get */
	/* The version that it gets, where the caller has built it, be it only because its address
	 * is of a pool that leaves; NULL: the plan builds one to look at, if there is to be any. */
	const struct version *next;
	const struct plan_live_version *versions; /* all that are not retired */
	size_t version_count;
	const struct plan_wait *waits; /* the first of those that `next` waits for */
	size_t wait_count;
	size_t waits_for; /* how many there are in all */
};

/* --- the result --- */

enum plan_sign { PLAN_ADD, PLAN_REMOVE, PLAN_CHANGE };

/* One difference: `+ backend web4`, `~ backend web2: weight 10 → 20`, `~ ttl 30s → 10s`. */
struct plan_detail {
	enum plan_sign sign;
	const char *kind; /* "backend", "port", "ttl", "pool", "site", … */
	const char *name; /* which one; NULL where there is only one */
	const char *attribute; /* what of it differs; NULL: the thing itself */
	const char *before; /* NULL when added */
	const char *after; /* NULL when removed */
};

/* How far the ring of one site moves. */
struct plan_move {
	const char *site;
	uint32_t moved; /* entries whose backend is another one */
	uint32_t entries;
};

struct plan_service {
	enum plan_sign sign;
	const char *name;
	bool new_version; /* false: the change makes no new version, or the service goes */
	uint32_t from_version; /* 0: none */
	uint32_t to_version; /* 0: none */
	const struct plan_detail *details;
	size_t detail_count;
	const struct plan_move *moves; /* by site; empty for a first version */
	size_t move_count;
	bool keeps_clients; /* those of entries that do not move keep their backends */
	const struct plan_live_version *versions; /* as passed in */
	size_t version_count;
	const struct plan_wait *waits; /* likewise */
	size_t wait_count;
	size_t waits_for;
	uint64_t drain_limit_ms; /* of the file; 0: none */
};

/* What clients have now and will not have then. */
struct plan_loss {
	const char *kind; /* "service", "port", "zone", "record" */
	const char *name; /* which one: "web", "web tcp/443", "svc.example.net", "mail mx" */
	const char *text; /* the sentence */
	bool asks; /* it is not done unless somebody says yes */
};

struct plan {
	const struct plan_detail *details; /* of the fabric itself, its pools, sites, … */
	size_t detail_count;
	const struct plan_service *services; /* those that change, in the new file's order, then
						those that go */
	size_t service_count;
	const struct plan_loss *losses; /* in that order */
	size_t loss_count;
};

/*
 * Compare `previous` (NULL: nothing was ever applied) with `fabric`. `live` is sorted by name and
 * may leave services out. Strings and arrays live in `arena` or are borrowed from the arguments.
 * -ENOMEM, or what version_build() refuses.
 */
must_check int plan_build(const struct fabric *previous, const struct fabric *fabric,
			  const struct plan_live_service *live, size_t live_count,
			  struct arena *arena, struct plan **ret_plan, struct error *err);

bool plan_is_empty(const struct plan *plan);

/* The losses that somebody must say yes to, as many of their sentences as `room` bytes hold, a line
 * each; how many there are. */
size_t plan_asks(const struct plan *plan, size_t room, struct buffer *ret_text);

/* What `fairlead plan` prints. */
void plan_render(const struct plan *plan, struct buffer *ret_text);

/* For the API; a new reference, NULL when out of memory. */
struct json_t *plan_json(const struct plan *plan);

#endif
