/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verbs stand on, and all that they see of the process that they run in: the node's
 * picture of the fabric, the fabric's driver, and what the planes tell. The daemon fills it; a
 * simulator can as well. All pointers are borrowed, and outlive the transports.
 */
#ifndef FAIRLEAD_API_HOST_H
#define FAIRLEAD_API_HOST_H

#include "base/clock.h"
#include "base/netaddr.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct api_call;
struct arena;
struct changes;
struct driver;
struct error;
struct image;
struct join_token;
struct error;
struct ledger_position;
struct ledger_signer;
struct random;
struct recovery_knowledge;
struct replica;
struct reports;
struct store;
struct wants;

/* What the edge counted of one service address. */
struct api_counters {
	uint64_t packets;
	uint64_t bytes;
	uint64_t new_flows;
	uint64_t late_flows;
	uint64_t refused;
	uint64_t wrong_port;
	uint64_t asked_fib;
	uint64_t to_kernel;
};

struct api_host {
	const char *node;
	const char *site;
	const struct clock *clock; /* for ages */
	const struct clock *steady; /* what states are stamped with */
	uint64_t start_ms;
	bool decides; /* what everyone observed is told here; otherwise only what this node did */
	const struct image *image;
	struct changes *changes;
	struct driver *driver;
	struct reports *reports;
	struct store *store; /* of the ledger */
	const struct replica *replica; /* that the image and the store show */
	const struct ledger_signer *signer;
	struct random *random; /* of seeds */
	struct wants *wants; /* of slots, by orders given here */
	const char *state_folder;

	void *context; /* of the functions below */
	/* False: nothing is counted of this address. */
	bool (*count)(void *context, const struct ip_address *address,
		      struct api_counters *ret_counters);
	/* Add what the node stands on and what its planes do to a status. */
	void (*put_status)(void *context, json_t *status);
	/* What is known of how the maps forward, which an earlier process published: all of it but
	 * `lost`, in `arena`. */
	void (*put_held)(void *context, struct arena *arena, struct recovery_knowledge *knowledge);
	/* By the operator's word a voter decides that has not heard enough edges: whom, for the
	 * ledger; a new reference. -FL_ESTATE, with a sentence, where that is not what it lacks. */
	int (*resume)(void *context, json_t **ret_what, struct error *err);
	/* Do others have what no node can give this one, which a recovery would give up? */
	bool (*ahead)(void *context, struct ledger_position *ret_there);
	/* Start anew in a moment, when answers are out; with `copy`, after the copy of that name
	 * took the store's place. */
	void (*renew)(void *context, const char *copy);
	/* Draw the secret of a token whose other members are set: what the order answers, with the
	 * word itself; NULL: this node is of no fabric that others could join. */
	json_t *(*make_token)(void *context, struct join_token *token);
	/* What this node announces by routes; a new object. */
	json_t *(*routing_status)(void *context);
	/* The configuration of a routing daemon that reads them; a new object, or an error. */
	int (*routing_config)(void *context, const json_t *parameters, json_t **ret_answer,
			      struct error *err);
	/* Have another node answer the call, which is then not the caller's any more; false: it is
	 * this one's to answer. */
	bool (*pass_on)(void *context, struct api_call *call);
	/* Add the alarms of the node itself; those of backends are the verb's. */
	void (*put_alarms)(void *context, json_t *alarms);
	/* Add what must be true on this machine, for who looks whether it is. */
	void (*put_doctor)(void *context, json_t *facts);
	/* Have every backend's machine send to the address that the call names, and end the call
	 * with what came back. */
	void (*return_path)(void *context, struct api_call *call);
};

#endif
