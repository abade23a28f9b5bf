/* SPDX-License-Identifier: Apache-2.0 */
/* Who may become a member, who is none any more, and what one announces. */
#include "api/order.h"
#include "api/verbs.h"
#include "base/memory.h"
#include "base/text.h"
#include "fabric/driver.h"
#include "fabric/reports.h"
#include "ledger/ledger.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_HOURS 24
#define MOST_HOURS 720ll
#define HOUR_MS 3600000u

/* Tokens that have expired, and, where there are many, those that were used: whoever used one is
 * known by his key. How many are left, or a negative code. */
static int drop_ended(struct change_draft *draft)
{
	const struct token_list *tokens = &draft->image->tokens;
	bool crowded = tokens->count >= TOKENS_MAX / 2;
	char key[RECORD_KEY_BYTES];
	int left = (int)tokens->count;
	for (size_t i = 0; i < tokens->count && draft->op_count < CHANGE_MAX_OPS / 2; i++) {
		const struct join_token *token = &tokens->items[i];
		if (token->expires_ms >= draft->wall_ms && !(crowded && *token->node))
			continue;
		int result = draft_delete(draft, join_token_key(&token->secret, key));
		if (result < 0)
			return result;
		left--;
	}
	return left;
}

static int build_token(struct change *change, struct change_draft *draft, struct error *err)
{
	const struct order *order = (const struct order *)change;
	const struct join_token *token = order->token;
	char key[RECORD_KEY_BYTES];
	char roles[MEMBER_ROLES_BYTES];
	struct buffer value;
	int result = drop_ended(draft);
	if (result >= (int)TOKENS_MAX)
		return error_set(err, -FL_ELIMIT,
				 "%u tokens are good already; wait until one was used, or has "
				 "expired",
				 TOKENS_MAX);
	buffer_init(&value, STORE_VALUE_BYTES);
	if (result >= 0)
		result = join_token_put(token, &value);
	if (result == 0)
		result = draft_put_new(draft, join_token_key(&token->secret, key), &value);
	buffer_done(&value);
	draft->what =
	    json_pack("{s:s, s:s, s:I}", "roles", member_roles_format(token->roles, roles), "site",
		      token->site, "expires_ms", (json_int_t)token->expires_ms);
	return result < 0 ? result : CHANGE_COMMIT;
}

static int parse_roles(const char *text, unsigned *ret_roles, struct error *err)
{
	char copy[MEMBER_ROLES_BYTES];
	const char *wrong;
	snprintf(copy, sizeof(copy), "%s", text);
	if (!member_roles_parse(copy, ret_roles, &wrong) || *ret_roles & MEMBER_VOTER)
		return error_set(err, -FL_EUSAGE,
				 "--role %s: \"%s\" is no role that a machine joins in; "
				 "there are edge, names and backend",
				 text, wrong ? wrong : member_role_name(MEMBER_VOTER));
	return 0;
}

static int read_token(const struct api_host *host, const struct api_call *call,
		      struct join_token *token, struct error *err)
{
	const char *roles = api_text(call, "role");
	const char *site = api_text(call, "site");
	const json_t *typed = json_object_get(api_parameters(call), "hours");
	const json_int_t hours = typed ? json_integer_value(typed) : DEFAULT_HOURS;
	if (hours < 1 || hours > MOST_HOURS)
		return error_set(err, -FL_EUSAGE, "--hours %lld: it takes 1 to %lld",
				 (long long)hours, MOST_HOURS);
	if (site && !text_is_node_name(site))
		return error_set(err, -FL_EUSAGE, "--site %s: this is no site's name", site);
	snprintf(token->site, sizeof(token->site), "%s", site ? site : "");
	token->expires_ms = clock_wall_ms(host->clock) + (uint64_t)hours * HOUR_MS;
	return parse_roles(roles ? roles : "edge,names,backend", &token->roles, err);
}

/* Of this node alone, whoever decides. */
void verb_routing_status(struct api_host *host, struct api_call *call)
{
	api_succeed(call, host->routing_status ? host->routing_status(host->context) : NULL);
}

void verb_routing_config(struct api_host *host, struct api_call *call)
{
	struct error err = {0};
	json_t *answer = NULL;
	if (host->routing_config &&
	    host->routing_config(host->context, api_parameters(call), &answer, &err) < 0)
		api_fail(call, &err);
	else
		api_succeed(call, answer);
}

void verb_token(struct api_host *host, struct api_call *call)
{
	struct join_token token = {0};
	struct error err = {0};
	if (read_token(host, call, &token, &err) < 0) {
		api_fail(call, &err);
		return;
	}
	json_t *answer = host->make_token ? host->make_token(host->context, &token) : NULL;
	if (!answer) {
		error_set(&err, -FL_ESTATE,
			  "this node is alone and nobody can join it: a fabric begins with "
			  "`fairlead init`, in a state folder of its own");
		api_fail(call, &err);
		return;
	}
	struct order *order = order_new(host, call, LEDGER_KIND_TOKEN, build_token);
	if (!order) {
		json_decref(answer);
		return;
	}
	order->token = must_have(arena_alloc(&order->arena, sizeof(token)));
	*order->token = token;
	order->answer = answer;
	changes_submit(host->changes, &order->change);
}

/* --- removal ---------------------------------------------------------------------------------- */

static size_t others_with(const struct image *image, const struct member *member,
			  enum member_role role)
{
	size_t count = 0;
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *other = image->members[i].member;
		count += other != member && member_has(other, role);
	}
	return count;
}

/* The name under which the zone has the node for a name server; NULL: it has not. */
static const char *nameserver_of(const struct image *image, const struct member *member)
{
	const struct fabric *fabric = image->fabric;
	for (size_t n = 0; fabric && n < fabric->nameserver_count; n++) {
		const struct nameserver *server = &fabric->nameservers[n];
		for (size_t a = 0; a < server->address_count; a++) {
			bool is_it =
			    ip_address_equal(&server->addresses[a], &member->channel_address);
			for (size_t s = 0; s < member->source_count; s++)
				is_it |=
				    ip_address_equal(&server->addresses[a], &member->sources[s]);
			if (is_it)
				return server->name;
		}
	}
	return NULL;
}

static int find_gone(const struct image *image, const char *name, struct error *err)
{
	for (size_t i = image->removed.count; i-- > 0;) {
		const struct removed_member *removed = &image->removed.items[i];
		if (strcmp(removed->name, name) == 0)
			return error_set(err, -FL_ENOTFOUND,
					 "node %s was removed already, by ledger entry %llu", name,
					 (unsigned long long)removed->sequence);
	}
	return error_set(err, -FL_ENOTFOUND,
			 "there is no node \"%s\"; `fairlead get nodes` lists them", name);
}

/* Without whom would there be no fabric? */
static int check_removal(const struct image *image, const struct member *member, struct error *err)
{
	const char *server = nameserver_of(image, member);
	if (member_has(member, MEMBER_VOTER) && !others_with(image, member, MEMBER_VOTER))
		return error_set(err, -FL_ESTATE,
				 "node %s is the fabric's only voter: nothing could be decided "
				 "without it. Another machine takes its place by its state folder, "
				 "under the same name",
				 member->name);
	if (member_has(member, MEMBER_EDGE) && !others_with(image, member, MEMBER_EDGE))
		return error_set(err, -FL_ESTATE,
				 "node %s is the fabric's last edge: no service could be reached "
				 "without it. Let another one join first: `fairlead token --role "
				 "edge`",
				 member->name);
	if (member_has(member, MEMBER_NAMES) && !others_with(image, member, MEMBER_NAMES))
		return error_set(err, -FL_ESTATE,
				 "node %s is the fabric's last name server: no name could be "
				 "resolved without it. Let another one join first: `fairlead token "
				 "--role names`",
				 member->name);
	if (server)
		return error_set(err, -FL_ESTATE,
				 "resolvers are led to node %s by the zone: `nameservers` has its "
				 "address under %s. Apply a file without that first",
				 member->name, server);
	return 0;
}

/* Room for one more: the oldest goes whose fence stands. */
static int make_room(struct change_draft *draft, struct error *err)
{
	const struct removed_list *list = &draft->image->removed;
	char key[RECORD_KEY_BYTES];
	for (size_t i = 0; list->count >= REMOVED_MAX && i < list->count; i++) {
		const struct removed_member *removed = &list->items[i];
		if (removed_is_fenced(removed))
			return draft_remove(draft, removed_member_key(removed->sequence, key),
					    removed->mod_revision);
	}
	return list->count < REMOVED_MAX
		   ? 0
		   : error_set(err, -FL_ELIMIT, "%u removed nodes are not fenced off yet",
			       REMOVED_MAX);
}

static int build_removal(struct change *change, struct change_draft *draft, struct error *err)
{
	struct order *order = (struct order *)change;
	const struct member *member = image_member(draft->image, order->service);
	char roles[MEMBER_ROLES_BYTES];
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	if (!member)
		return find_gone(draft->image, order->service, err);
	int result = check_removal(draft->image, member, err);
	if (result == 0)
		result = make_room(draft, err);
	if (result < 0)
		return result;
	const struct removed_member removed =
	    removed_member_of(member, draft->sequence, draft->wall_ms);
	buffer_init(&value, STORE_VALUE_BYTES);
	record_member_key(member->name, key);
	result = draft_remove(draft, key, image_record_revision(draft->image, key));
	if (result == 0)
		result = removed_member_put(&removed, &value);
	if (result == 0)
		result = draft_put(draft, removed_member_key(draft->sequence, key), 0, &value);
	buffer_done(&value);
	/* The node that is shown this entry knows itself by its key. */
	draft->what = json_pack("{s:s, s:s, s:s, s:s}", "node", member->name, "site", member->site,
				"roles", member_roles_format(member->roles, roles), "channel_key",
				member->channel_key);
	return result < 0 ? result : CHANGE_COMMIT;
}

/* The versions that lead clients to the node's own landing, and what it counted. */
static void tell_backend(const struct api_host *host, const struct member *member,
			 struct buffer *text)
{
	const struct image *image = host->image;
	const struct report *report;
	uint64_t connections = 0;
	size_t versions = 0;
	for (size_t s = 0; s < image->state_count; s++) {
		const struct image_service *known = image_service(image, image->states[s]->name);
		for (size_t v = 0; v < image->states[s]->version_count; v++) {
			const struct version_status *status = &image->states[s]->versions[v];
			const struct version *version = image_version(known, status->number);
			size_t b = 0;
			while (version && b < version->backend_count &&
			       strcmp(version->backends[b].name, member->name) != 0)
				b++;
			if (!version || b == version->backend_count ||
			    status->state == VERSION_RETIRED)
				continue;
			buffer_printf(text, "%s %s/%u", versions++ ? "," : "backend of",
				      known->name, status->number);
		}
	}
	if (!versions)
		return;
	for (size_t i = 0; (report = reports_at(host->reports, i)); i++) {
		for (size_t c = 0;
		     strcmp(report->backend, member->name) == 0 && c < report->said.counts.count;
		     c++)
			connections += report->said.counts.items[c].connections;
	}
	buffer_printf(text,
		      ": its %llu connections there break when it hears of its removal, and count "
		      "as in use until `fairlead backend forget %s`; a file without it, and its "
		      "versions retired first, spares them\n",
		      (unsigned long long)connections, member->name);
}

static void tell_removal(const struct api_host *host, const struct member *member,
			 struct buffer *text)
{
	const struct image *image = host->image;
	char roles[MEMBER_ROLES_BYTES];
	buffer_printf(text, "node %s (%s) of site %s is removed\n", member->name,
		      member_roles_format(member->roles, roles), member->site);
	buffer_puts(text, "its sessions end at once, its keys are good for nothing any more, and "
			  "its name is free; a machine of that name joins by a new token\n");
	if (member_has(member, MEMBER_EDGE))
		buffer_printf(
		    text,
		    "edges that stay: %zu. Flows that routers still lead to it find the same "
		    "backends through those; it withdraws when it hears of this. If it cannot, "
		    "landings refuse its tunnels, and no address gets another meaning before all "
		    "of them do\n",
		    others_with(image, member, MEMBER_EDGE));
	if (member_has(member, MEMBER_NAMES))
		buffer_printf(text,
			      "name servers that stay: %zu. What was answered by it rests for "
			      "`quarantine` from now on before another service gets it\n",
			      others_with(image, member, MEMBER_NAMES));
	tell_backend(host, member, text);
}

void verb_node_remove(struct api_host *host, struct api_call *call)
{
	const char *name = api_text(call, "node");
	const struct member *member = image_member(host->image, name);
	char key[RECORD_KEY_BYTES];
	struct error err = {0};
	struct buffer text;
	if (!member) {
		(void)find_gone(host->image, name, &err);
		api_fail(call, &err);
		return;
	}
	int result = image_unread(host->image, record_member_key(name, key))
			 ? error_set(&err, -FL_EUNSUPPORTED,
				     "what node %s is cannot be read by this release: give the "
				     "order after the voter's upgrade",
				     name)
			 : check_removal(host->image, member, &err);
	if (result < 0) {
		api_fail(call, &err);
		return;
	}
	buffer_init(&text, 0);
	tell_removal(host, member, &text);
	if (!json_is_true(json_object_get(api_parameters(call), "yes"))) {
		order_refuse(call, -FL_ECONFIRM, text.data ? text.data : "");
		buffer_done(&text);
		return;
	}
	struct order *order = order_new(host, call, LEDGER_KIND_MEMBER_REMOVE, build_removal);
	if (order) {
		snprintf(order->service, sizeof(order->service), "%s", name);
		order->answer =
		    json_pack("{s:s, s:s}", "node", name, "text", text.data ? text.data : "");
		changes_submit(host->changes, &order->change);
	}
	buffer_done(&text);
}
