/* SPDX-License-Identifier: Apache-2.0 */
/* Who may become a member. */
#include "api/order.h"
#include "api/verbs.h"
#include "base/memory.h"
#include "base/text.h"
#include "ledger/ledger.h"
#include "state/records.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_HOURS 24
#define MOST_HOURS 720ll
#define HOUR_MS 3600000u

static int drop_expired(struct change_draft *draft)
{
	const struct token_list *tokens = &draft->image->tokens;
	char key[RECORD_KEY_BYTES];
	int result = 0;
	for (size_t i = 0; i < tokens->count && result == 0; i++) {
		const struct join_token *token = &tokens->items[i];
		if (token->expires_ms < draft->wall_ms && draft->op_count < CHANGE_MAX_OPS / 2)
			result = draft_delete(draft, join_token_key(&token->secret, key));
	}
	return result;
}

static int build_token(struct change *change, struct change_draft *draft, struct error *err)
{
	const struct order *order = (const struct order *)change;
	const struct join_token *token = order->token;
	char key[RECORD_KEY_BYTES];
	char roles[MEMBER_ROLES_BYTES];
	struct buffer value;
	if (draft->image->tokens.count >= TOKENS_MAX)
		return error_set(err, -FL_ELIMIT,
				 "%u tokens are good already; wait until one has "
				 "expired",
				 TOKENS_MAX);
	int result = drop_expired(draft);
	buffer_init(&value, STORE_VALUE_BYTES);
	if (result == 0)
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
