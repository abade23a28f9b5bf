/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An order: a change that a client of the local API waits for. It belongs to itself: submitted to
 * the changes, it answers its call when the image shows the outcome, and frees itself.
 */
#ifndef FAIRLEAD_API_ORDER_H
#define FAIRLEAD_API_ORDER_H

#include "api/call.h"
#include "base/buffer.h"
#include "state/changes.h"

struct apply;
struct recovery_knowledge;
struct api_host;

/* A change that a client waits for. */
struct order {
	struct change change;
	struct api_host *host;
	struct api_call *call;
	json_t *answer; /* what to tell when it is committed */
	char service[MODEL_NAME_BYTES]; /* node remove: the node */
	uint32_t version; /* rollout cut */
	struct ip_address address; /* backend forget */
	/* apply only: */
	const char *file;
	const char *text;
	size_t text_length;
	struct arena arena; /* of the fabric */
	struct fabric *fabric; /* that the file means */
	struct apply *apply; /* owned; what the file does */
	json_t *plan; /* the same for people; `apply` notes parts of it */
	bool only_planned; /* nothing is to be done, so nothing is wanted either */
	bool confirmed; /* somebody said yes to what clients lose */
	struct buffer asks; /* what that is; empty: nothing that wants a yes */
	bool expects; /* no order may have come after the entry `expected` */
	bool has_moved; /* but one has */
	uint64_t expected;
	uint64_t looked_up_to; /* no order is known to have come after `expected` up to here */
	const struct recovery_knowledge *recovery; /* store recover */
	uint64_t undoes; /* the entry that is undone; `service`, where only that comes back */
	struct join_token *token; /* token */
	unsigned parts; /* entries that are committed */
	uint64_t sequence; /* of the last of them */
};

/* NULL when it could not be made: then the call is answered already. */
struct order *order_new(struct api_host *host, struct api_call *call, const char *kind,
			change_build_fn *build);
void order_free(struct order *order);

/* The change_done_fn of an order: answers its call and frees it. */
void order_done(struct change *change, int result, const struct error *err, uint64_t sequence);

/*
 * An order found no slot for all of these services: whoever drives is told that they want one, and
 * the sentence is what the order can wait for. `err` holds why it failed; returns its code.
 */
int order_lacks_slots(struct api_host *host, const char *const *services, size_t count,
		      struct error *err);
/* The same of what is only planned: nobody is told. */
int order_explain_slots(const struct api_host *host, const char *const *services, size_t count,
			struct error *err);
/* The service has what it wanted. */
void order_has_slots(struct api_host *host, const char *service);

/* A text that is to become the configuration. */
struct order_text {
	const char *file; /* what it is called; borrowed for as long as the order lives */
	const char *text; /* borrowed for the call */
	size_t length;
	uint64_t undoes; /* the entry that it undoes; 0: it is a file */
};

/* The order that applies it, worked out, with the plan as its answer; NULL: the call is answered.
 */
struct order *order_of_text(struct api_host *host, struct api_call *call,
			    const struct order_text *text, bool only_planned);
/* Commit it, or answer what it would do. */
void order_carry_out(struct order *order);
/* True, and the call is answered: another configuration is being committed. */
bool order_must_wait(struct api_host *host, struct api_call *call);

/* Answer `call` with an error that needs no order. */
void order_refuse(struct api_call *call, int code, const char *text);

#endif
