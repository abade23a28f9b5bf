/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/member/first_token.h"

#include "base/disk.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "daemon/daemon.h"
#include "daemon/member/credentials.h"
#include "peer/ca.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char FILE_NAME[] = "first-token";

void token_draw(const struct wire_bytes *ca, const char *fabric, struct random *random,
		struct join_token *ret_token, char text[PEER_TOKEN_TEXT_BYTES])
{
	struct peer_token token = {.roles = ret_token->roles,
				   .expires_s = ret_token->expires_ms / 1000};
	peer_ca_hash(ca, &token.ca);
	random_fill(random, token.secret, sizeof(token.secret));
	snprintf(token.fabric, sizeof(token.fabric), "%s", fabric);
	snprintf(token.site, sizeof(token.site), "%s", ret_token->site);
	peer_token_secret_hash(token.secret, &ret_token->secret);
	peer_token_format(&token, text);
}

/* The record as it will be in the state, behind the line of its key. */
int first_token_write(const char *state_folder, const struct join_token *token, struct error *err)
{
	char path[PATH_MAX];
	char key[RECORD_KEY_BYTES];
	struct buffer text;
	buffer_init(&text, 0);
	buffer_printf(&text, "%s\n", join_token_key(&token->secret, key));
	must_succeed(join_token_put(token, &text));
	int result = disk_write_durably(credentials_path(state_folder, FILE_NAME, path), text.data,
					text.length, 0600, err);
	buffer_done(&text);
	return result;
}

struct waiting {
	struct change change;
	struct daemon *daemon;
	struct join_token token;
};

static int build(struct change *change, struct change_draft *draft, struct error *err)
{
	const struct waiting *waiting = (const struct waiting *)change;
	const struct join_token *token = &waiting->token;
	char key[RECORD_KEY_BYTES];
	char roles[MEMBER_ROLES_BYTES];
	struct buffer value;
	(void)err;
	if (token_list_find(&draft->image->tokens, &token->secret))
		return CHANGE_NOTHING;
	buffer_init(&value, STORE_VALUE_BYTES);
	int result = join_token_put(token, &value);
	if (result == 0)
		result = draft_put_new(draft, join_token_key(&token->secret, key), &value);
	buffer_done(&value);
	draft->what = json_pack("{s:s, s:I}", "roles", member_roles_format(token->roles, roles),
				"expires_ms", (json_int_t)token->expires_ms);
	return result < 0 ? result : CHANGE_COMMIT;
}

static void done(struct change *change, int result, const struct error *err, uint64_t sequence)
{
	struct waiting *waiting = (struct waiting *)change;
	char path[PATH_MAX];
	(void)err;
	(void)sequence;
	if (result == 0)
		(void)unlink(
		    credentials_path(waiting->daemon->options->state_folder, FILE_NAME, path));
	free(waiting);
}

static int read_token(const char *path, struct join_token *ret_token, struct error *err)
{
	struct buffer text;
	struct token_list list = {0};
	buffer_init(&text, STORE_VALUE_BYTES);
	int result = file_read(path, &text, err);
	char *end = result == 0 ? memchr(text.data, '\n', text.length) : NULL;
	if (result == 0 && !end)
		result = error_set(err, -FL_ECORRUPT, "it holds no token");
	if (end) {
		*end = '\0';
		const size_t head = (size_t)(end + 1 - text.data);
		const struct store_record record = {
		    .key = text.data, .value = end + 1, .value_length = text.length - head};
		result = token_list_take(&list, &record, err);
	}
	if (list.items)
		*ret_token = list.items[0];
	token_list_done(&list);
	buffer_done(&text);
	return result;
}

void first_token_submit(struct daemon *daemon)
{
	char path[PATH_MAX];
	struct error err = {0};
	credentials_path(daemon->options->state_folder, FILE_NAME, path);
	if (access(path, F_OK) < 0)
		return;
	struct waiting *waiting = must_alloc(1, sizeof(*waiting));
	*waiting = (struct waiting){.change = {.kind = LEDGER_KIND_TOKEN,
					       .who = "fairlead",
					       .why = "made when the fabric was",
					       .build = build,
					       .done = done},
				    .daemon = daemon};
	if (read_token(path, &waiting->token, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "token.unread", "file", path, "error", err.text, NULL);
		free(waiting);
		return;
	}
	changes_submit(daemon->changes, &waiting->change);
}
