/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `store recover`: by the operator's word the node goes on from the newest state that is there,
 * though it did more than that state says. A copy beside the store that has what the store lacks
 * takes its place; where none has, a ledger entry gives up what is lost (state/recovery.h).
 * `store resume`: by the operator's word a voter decides that has not heard enough of the edges.
 */
#include "api/order.h"
#include "api/show.h"
#include "api/verbs.h"
#include "base/buffer.h"
#include "base/memory.h"
#include "fabric/reports.h"
#include "state/recovery.h"
#include "state/replica.h"

#include <stdlib.h>
#include <string.h>

/* A copy that is better than what the node goes by now. */
struct better_copy {
	const char *name; /* NULL: there is none */
	struct copy_verdict verdict;
};

static struct better_copy find_copy(const struct api_host *host)
{
	const struct replica *replica = host->replica;
	const struct ledger_position head = {.sequence = host->image->head.sequence,
					     .digest = host->image->head.digest};
	bool lost = replica->kind != REPLICA_STORE;
	struct better_copy best = {0};
	for (size_t i = 0; copy_names[i]; i++) {
		struct copy_verdict found;
		/* One that is missing or damaged is no way on. */
		if (must_succeed(copy_judge(host->state_folder, copy_names[i],
					    &replica->acknowledged, &head, &found, NULL)) < 0)
			continue;
		/* Of a damaged mark nobody knows what it named. */
		found.has_mark &= replica->acknowledged.sequence != 0;
		bool is_newer = found.has_state && found.head.sequence > head.sequence;
		bool is_whole = found.has_mark && replica->standing != REPLICA_CURRENT;
		if (!lost && !is_newer && !is_whole)
			continue;
		if (best.name && (found.has_mark < best.verdict.has_mark ||
				  (found.has_mark == best.verdict.has_mark &&
				   found.head.sequence <= best.verdict.head.sequence)))
			continue;
		best = (struct better_copy){.name = copy_names[i], .verdict = found};
	}
	return best;
}

/* May the node go on from what it has at all? */
static int check_kind(const struct api_host *host, struct error *err)
{
	const struct replica *replica = host->replica;
	struct ledger_position there;
	if (replica->kind == REPLICA_STORE && replica->standing == REPLICA_CURRENT &&
	    host->ahead(host->context, &there))
		return 0;
	if (*replica->awaits && !*replica->why && !*replica->behind)
		return error_set(err, -FL_ESTATE, "nothing is to be given up: %.900s",
				 replica->awaits);
	if (replica->kind == REPLICA_STORE && replica->standing == REPLICA_CURRENT)
		return error_set(
		    err, -FL_ESTATE,
		    "nothing is to be recovered: the state here is as new as what this "
		    "node does");
	if (replica->crashed)
		return error_set(err, -FL_ESTATE,
				 "nothing is known to be wrong with the store, so it is not given "
				 "up: %.1500s",
				 replica->why);
	if (replica->kind == REPLICA_READ)
		return error_set(err, -FL_ESTATE, "the store cannot be written: %.1500s",
				 replica->why);
	return 0;
}

static uint64_t connections_at(const struct api_host *host, const struct ip_address *address)
{
	uint64_t sum = 0;
	const struct report *report;
	for (size_t i = 0; (report = reports_at(host->reports, i)); i++)
		sum += report_connections(report, address);
	return sum;
}

static json_t *withdrawn_json(const struct api_host *host, const struct recovery *recovery)
{
	json_t *list = json_array();
	for (size_t i = 0; i < recovery->withdrawn_count; i++) {
		const struct ip_address *address = &recovery->withdrawn[i];
		json_array_append_new(list, json_pack("{s:o, s:I}", "address",
						      show_address(address), "connections",
						      (json_int_t)connections_at(host, address)));
	}
	return list;
}

static json_t *again_json(const struct recovery *recovery)
{
	json_t *list = json_array();
	for (size_t i = 0; i < recovery->service_count; i++)
		json_array_append_new(list, json_string(recovery->services[i].known->name));
	return list;
}

/* --- from a copy --- */

static void tell_copy(const struct api_host *host, const struct better_copy *copy,
		      struct buffer *text)
{
	const struct ledger_position *mark = &host->replica->acknowledged;
	unsigned long long head = copy->verdict.head.sequence;
	buffer_printf(text,
		      "%s holds the state up to ledger entry %llu and takes the store's place; "
		      "the store is kept beside it as store.db.aside-…\n",
		      copy->name, head);
	if (copy->verdict.has_mark)
		buffer_puts(text, "nothing that this node acknowledged is lost\n");
	else
		buffer_printf(
		    text,
		    "entry %llu, by which this node forwards, is not in it either: recover "
		    "once more then, to go on from it\n",
		    (unsigned long long)mark->sequence);
}

static json_t *copy_answer(const struct better_copy *copy, const struct buffer *text)
{
	return json_pack("{s:s, s:s, s:I, s:b, s:[], s:[], s:s}", "way", "copy", "from", copy->name,
			 "entry", (json_int_t)copy->verdict.head.sequence, "lossless",
			 (int)copy->verdict.has_mark, "withdrawn", "published_again", "text",
			 text->data ? text->data : "");
}

/* --- from what the node goes by --- */

static void tell_addresses(const struct api_host *host, const struct recovery *recovery,
			   struct buffer *text)
{
	uint64_t connections = 0;
	for (size_t i = 0; i < recovery->withdrawn_count; i++)
		connections += connections_at(host, &recovery->withdrawn[i]);
	if (recovery->all_rest)
		buffer_puts(text,
			    "which addresses those entries gave out is not known, since nothing "
			    "forwards by them any more: every free slot rests for `quarantine`\n");
	if (recovery->withdrawn_count)
		buffer_printf(text,
			      "%zu %s that only those entries gave %s meaning %s withdrawn; %llu "
			      "connections are counted there, which break. An address is given to "
			      "nobody before all backends count none\n",
			      recovery->withdrawn_count,
			      recovery->withdrawn_count == 1 ? "address" : "addresses",
			      recovery->withdrawn_count == 1 ? "its" : "their",
			      recovery->withdrawn_count == 1 ? "is" : "are",
			      (unsigned long long)connections);
	for (size_t i = 0; i < recovery->service_count; i++)
		buffer_printf(text,
			      "service %s: an address of its own is among them: what the state "
			      "says of it is published again as a new version\n",
			      recovery->services[i].known->name);
}

static void tell_burn(const struct api_host *host, const struct recovery *recovery,
		      struct buffer *text)
{
	const struct image *image = host->image;
	unsigned long long head = image->head.sequence;
	struct ledger_position there;
	unsigned long long mark = host->replica->acknowledged.sequence;
	buffer_printf(text, "no copy here is newer: the node goes on from ledger entry %llu\n",
		      head);
	if (host->replica->standing == REPLICA_CURRENT && host->ahead(host->context, &there))
		buffer_printf(text,
			      "what others have that is not in it, up to entry %llu, is given up: "
			      "who has that entry goes on with this node, and who has others is to "
			      "be removed, and to join again\n",
			      (unsigned long long)there.sequence);
	else if (host->replica->standing == REPLICA_FORKED)
		buffer_printf(
		    text, "what it did by another history, up to entry %llu, is given up\n", mark);
	else if (mark)
		buffer_printf(text, "what was decided by entries %llu to %llu is given up\n",
			      head + 1, mark);
	else
		buffer_puts(text, "what was decided since is given up\n");
	buffer_printf(
	    text,
	    "the ledger goes on with entry %llu, and numbers of versions %u higher, so that "
	    "none is given a second time\n",
	    (unsigned long long)recovery->sequence, recovery->numbers);
	tell_addresses(host, recovery, text);
}

static json_t *burn_answer(const struct api_host *host, const struct recovery *recovery,
			   const struct buffer *text)
{
	return json_pack("{s:s, s:s, s:I, s:b, s:o, s:o, s:s}", "way", "give up", "from",
			 "store.db", "entry", (json_int_t)host->image->head.sequence, "lossless", 0,
			 "withdrawn", withdrawn_json(host, recovery), "published_again",
			 again_json(recovery), "text", text->data ? text->data : "");
}

static int build_recovery(struct change *change, struct change_draft *draft, struct error *err)
{
	struct order *order = (struct order *)change;
	return recovery_build(draft, order->recovery, err);
}

static void recovered(struct change *change, int result, const struct error *err, uint64_t sequence)
{
	struct api_host *host = ((struct order *)change)->host;
	order_done(change, result, err, sequence);
	if (result == 0)
		host->renew(host->context, NULL);
}

/* --- */

static bool is_asked(const struct api_call *call, const char *option)
{
	return json_is_true(json_object_get(api_parameters(call), option));
}

/* Ends the call unless the order is to be carried out; `answer` is moved. */
static bool only_tells(struct api_call *call, json_t *answer, const struct buffer *text)
{
	if (is_asked(call, "dry_run")) {
		json_object_set_new(answer, "dry_run", json_true());
		api_succeed(call, answer);
		return true;
	}
	if (is_asked(call, "yes"))
		return false;
	json_decref(answer);
	order_refuse(call, -FL_ECONFIRM, text->data ? text->data : "");
	return true;
}

static void recover_from_copy(struct api_host *host, struct api_call *call,
			      const struct better_copy *copy)
{
	struct buffer text;
	buffer_init(&text, 0);
	tell_copy(host, copy, &text);
	json_t *answer = copy_answer(copy, &text);
	if (!only_tells(call, answer, &text)) {
		json_object_set_new(answer, "changed", json_true());
		json_object_set_new(answer, "sequence", json_integer(0));
		api_succeed(call, answer);
		host->renew(host->context, copy->name);
	}
	buffer_done(&text);
}

static void recover_from_state(struct api_host *host, struct api_call *call)
{
	struct error err = {0};
	struct recovery recovery = {0};
	struct buffer text;
	struct order *order = order_new(host, call, LEDGER_KIND_RECOVER, build_recovery);
	if (!order)
		return;
	buffer_init(&text, 0);
	struct recovery_knowledge *knowledge =
	    must_have(arena_alloc(&order->arena, sizeof(*knowledge)));
	host->put_held(host->context, &order->arena, knowledge);
	struct ledger_position there = {0};
	knowledge->lost = host->replica->acknowledged;
	if (host->ahead(host->context, &there)) {
		knowledge->known = there.sequence;
		if (host->replica->standing == REPLICA_CURRENT) {
			/* What the maps forward is what the state says. */
			knowledge->lost = there;
			knowledge->has_held = false;
			knowledge->held_count = 0;
		}
	}
	order->recovery = knowledge;
	order->change.recovers = true;
	order->change.done = recovered;
	int result =
	    must_succeed(recovery_work_out(host->image, knowledge, &order->arena, &recovery, &err));
	if (result < 0) {
		api_fail(call, &err);
		order_free(order);
		goto out;
	}
	tell_burn(host, &recovery, &text);
	order->answer = burn_answer(host, &recovery, &text);
	if (only_tells(call, json_incref(order->answer), &text)) {
		order_free(order);
		goto out;
	}
	json_decref(order->answer);
	changes_submit(host->changes, &order->change);
out:
	buffer_done(&text);
}

void verb_store_recover(struct api_host *host, struct api_call *call)
{
	struct error err = {0};
	int result = check_kind(host, &err);
	struct better_copy copy = {0};
	if (result == 0)
		copy = find_copy(host);
	if (result == 0 && !copy.name && host->replica->kind != REPLICA_STORE)
		result =
		    error_set(&err, -FL_ESTATE,
			      "there is nothing to go on from: neither the store nor a copy of "
			      "it can be read. %.1500s",
			      host->replica->why);
	if (result < 0)
		api_fail(call, &err);
	else if (copy.name)
		recover_from_copy(host, call, &copy);
	else
		recover_from_state(host, call);
}

/* --- store resume --- */

static int build_resume(struct change *change, struct change_draft *draft, struct error *err)
{
	const struct order *order = (const struct order *)change;
	(void)err;
	draft->what = json_deep_copy(order->answer);
	return draft->what ? CHANGE_COMMIT : -ENOMEM;
}

void verb_store_resume(struct api_host *host, struct api_call *call)
{
	struct error err = {0};
	json_t *what = NULL;
	struct order *order = order_new(host, call, LEDGER_KIND_RESUME, build_resume);
	if (!order)
		return;
	if (host->resume(host->context, &what, &err) < 0) {
		api_fail(call, &err);
		order_free(order);
		return;
	}
	order->answer = what;
	changes_submit(host->changes, &order->change);
}
