/* SPDX-License-Identifier: Apache-2.0 */
#include "state/tokens.h"

#include "state/record_json.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *join_token_key(const struct digest *secret, char *key)
{
	char hex[DIGEST_HEX_BYTES];
	hex_encode(secret->bytes, DIGEST_BYTES, hex);
	snprintf(key, RECORD_KEY_BYTES, "%s%s", record_rows[RECORD_TOKEN].key, hex);
	return key;
}

int join_token_put(const struct join_token *token, struct buffer *value)
{
	char roles[MEMBER_ROLES_BYTES];
	return record_json_put(RECORD_TOKEN,
			       json_pack("{s:s, s:I, s:s, s:s, s:s}", "roles",
					 member_roles_format(token->roles, roles), "expires_ms",
					 (json_int_t)token->expires_ms, "site", token->site, "node",
					 token->node, "channel_key", token->channel_key),
			       value);
}

static void read_roles(struct record_reading *reading, const json_t *json, struct join_token *token)
{
	char text[MEMBER_ROLES_BYTES] = "";
	record_json_name(reading, json, "roles", text, sizeof(text));
	const char *wrong;
	if (!member_roles_parse(text, &token->roles, &wrong))
		record_json_fault(reading, "roles");
}

static int parse(const struct store_record *record, struct join_token *ret_token, struct error *err)
{
	struct record_reading reading = {.type = RECORD_TOKEN, .err = err};
	const char *name = record_key_rest(record->key, RECORD_TOKEN);
	json_t *json = record_json_open(&reading, record->value, record->value_length);
	if (!json)
		return reading.status;
	struct join_token token = {.mod_revision = record->mod_revision};
	read_roles(&reading, json, &token);
	token.expires_ms = record_json_number(&reading, json, "expires_ms", INT64_MAX);
	record_json_name(&reading, json, "site", token.site, sizeof(token.site));
	record_json_name(&reading, json, "node", token.node, sizeof(token.node));
	record_json_name(&reading, json, "channel_key", token.channel_key,
			 sizeof(token.channel_key));
	json_decref(json);
	if (reading.status)
		return reading.status;
	if (strlen(name) != DIGEST_HEX_BYTES - 1 ||
	    hex_decode(name, token.secret.bytes, DIGEST_BYTES) < 0)
		return error_set(err, -FL_ECORRUPT, "the store's key %s names no token",
				 record->key);
	*ret_token = token;
	return 0;
}

static struct join_token *find(const struct token_list *list, const struct digest *secret)
{
	for (size_t i = 0; i < list->count; i++) {
		if (memcmp(&list->items[i].secret, secret, sizeof(*secret)) == 0)
			return &list->items[i];
	}
	return NULL;
}

const struct join_token *token_list_find(const struct token_list *list, const struct digest *secret)
{
	return find(list, secret);
}

int token_list_take(struct token_list *list, const struct store_record *record, struct error *err)
{
	struct join_token token;
	int result = parse(record, &token, err);
	if (result < 0)
		return result;
	struct join_token *known = find(list, &token.secret);
	if (known) {
		*known = token;
		return 0;
	}
	struct join_token *items = reallocarray(list->items, list->count + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	list->items = items;
	items[list->count++] = token;
	return 0;
}

void token_list_drop(struct token_list *list, const char *key)
{
	char own[RECORD_KEY_BYTES];
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(join_token_key(&list->items[i].secret, own), key) == 0) {
			list->items[i] = list->items[--list->count];
			return;
		}
	}
}

void token_list_done(struct token_list *list)
{
	free(list->items);
	*list = (struct token_list){0};
}
