/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Observation: what one node saw, as it told it last. Every node tells every voter when something
 * changes and at each interval; nothing of it is a ledger entry, and nothing of it outlives the
 * voter's process. So a voter that begins to drive begins its waits anew.
 *
 * What a node did not tell is *not known*: never zero, and never "just now". Times are durations in
 * what a node sends, and the voter's own clock in what is kept, so no two clocks are compared.
 *
 * An acknowledgement is a process's own and ends with it: another instance of the same node begins
 * with none. It names its entry by sequence and hash, and one that is not on this ledger's chain
 * acknowledges nothing.
 *
 * One thread.
 */
#ifndef FAIRLEAD_FABRIC_OBSERVATION_H
#define FAIRLEAD_FABRIC_OBSERVATION_H

#include "base/error.h"
#include "base/netaddr.h"
#include "fabric/wants.h"
#include "ledger/ledger.h"
#include "state/image.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OBSERVATION_INSTANCE_BYTES 64
#define OBSERVATION_APPLIED_POINTS 32

/* An edge that was not heard for so long is not waited for before DNS names a new version. */
#define OBSERVATION_EDGE_HEARD_MS 3000u

/* Who has not been heard for so many report intervals holds up every closing before it begins. */
#define OBSERVATION_HEARD_INTERVALS 3u

/* A node says how quiet its addresses are in each report interval, and so often at least. */
#define OBSERVATION_INTERVAL_MS 1000u

/* How long an address has been quiet at one edge: at least so long, and no longer than this process
 * of it has watched. */
struct activity {
	struct ip_address address;
	uint64_t new_flow_ago_ms;
	uint64_t packet_ago_ms;
};

/* One node's message. The list is sorted by address, each once. */
struct observation {
	const char *node;
	const char *instance; /* of the process: drawn at random when it starts */
	bool is_edge;
	struct ledger_position edge_applied; /* its maps do what the ledger says up to here */
	const struct activity *activity;
	size_t activity_count;
	/* Backends that the edge has no next hop for, sorted, each once. */
	const struct ip_address *unreached;
	size_t unreached_count;
	bool is_names;
	struct ledger_position names_applied; /* it answers what the ledger says up to here */
	const struct slot_want *wants; /* NULL: as told before */
	size_t want_count;
	/* What is wrong there, objects as alarm_json() makes them; NULL: as told before. A
	 * reference of who made the observation. */
	json_t *alarms;
};

/* When a node acknowledged what, oldest first. */
struct applied {
	struct applied_point {
		uint64_t sequence;
		uint64_t at_ms; /* by the voter's clock */
	} points[OBSERVATION_APPLIED_POINTS];
	size_t count;
};

/* What is kept of one node. */
struct observed_node {
	char node[MODEL_NAME_BYTES];
	char instance[OBSERVATION_INSTANCE_BYTES];
	uint64_t heard_ms; /* by the voter's clock */
	bool is_edge;
	struct applied edge_applied;
	struct activity *activity; /* ages as they were at activity_ms */
	size_t activity_count;
	uint64_t activity_ms;
	struct ip_address *unreached; /* as it was told last */
	size_t unreached_count;
	bool is_names;
	struct applied names_applied;
	struct slot_want *wants; /* with the time that each had left at wants_ms */
	size_t want_count;
	uint64_t wants_ms;
	json_t *alarms; /* as they were told last; NULL: they were not */
};

struct observations;

must_check int observations_new(struct observations **ret_observations);
void observations_free(struct observations *observations);

/*
 * Take a node's message in; `image` says which chain is ours. -FL_ENOTFOUND when the ledger names
 * no such member: a stranger is not listened to. -ENOMEM; nothing changed then.
 */
must_check int observations_take(struct observations *observations, const struct image *image,
				 const struct observation *observation, uint64_t now_ms);

/* How often a node that has no news says what it sees. */
uint64_t observation_interval_ms(const struct image *image);

/* Rises when a node acknowledges something else than before, or reaches other backends: the driver
 * may have something to do. */
uint64_t observations_news(const struct observations *observations);

/* NULL when it was never heard by this process. */
const struct observed_node *observations_find(const struct observations *observations,
					      const char *node);

#endif
