/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `fairlead join`: this machine asks a voter to become a member. Whose fabric it is, the token
 * says; the channel's process compares that before the secret leaves this machine. Every step can
 * be done again: keys stay, and the voter answers who asks again by the same token and key.
 */
#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/sockaddr.h"
#include "daemon/daemon.h"
#include "daemon/member/credentials.h"
#include "daemon/member/node_file.h"
#include "daemon/member/removal.h"
#include "daemon/member/service.h"
#include "kernel/boot.h"
#include "peer/channel.h"
#include "peer/token.h"

#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MS 10000u
#define DEFAULT_SITE "main"

struct joining {
	uv_loop_t loop;
	struct peer_channel *channel;
	uv_timer_t timer;
	struct peer_token token;
	struct daemon_options options;
	json_t *node;
	struct ip_address voter;
	uint16_t voter_port;
	struct evp_pkey_st *key;
	char ledger_key[MEMBER_KEY_BYTES];
	char boot_id[BOOT_ID_BYTES];
	char instance[33];
	bool answered;
	bool stopping;
	int result;
	struct error err;
};

static void finish(struct joining *joining, int result)
{
	joining->result = result;
	joining->answered = true;
	if (!joining->stopping)
		peer_channel_stop(joining->channel);
	joining->stopping = true;
}

/* --- what is said ----------------------------------------------------------------------------- */

static void put_question(const struct joining *joining, struct buffer *frame)
{
	const struct daemon_options *options = &joining->options;
	struct peer_source sources[MEMBER_SOURCES];
	size_t count = 0;
	struct error err = {0};
	if (options->source_v4.family)
		sources[count++].address = options->source_v4;
	if (options->source_v6.family)
		sources[count++].address = options->source_v6;
	const struct peer_message message = {
	    .number = PEER_JOIN_ASK,
	    .join_ask = {
		.secret = {.data = joining->token.secret, .length = sizeof(joining->token.secret)},
		.fabric = joining->token.fabric,
		.node = options->node,
		.roles = daemon_options_roles(options),
		.site = options->site ? options->site : "",
		.features = MEMBER_FEATURES,
		.ledger_key = joining->ledger_key,
		.sources = {.items = sources, .count = count},
		.address = options->channel_address,
		.port = options->channel_port,
		.boot_id = joining->boot_id,
		.clock_ms = clock_wall_ms(&clock_system)}};
	must_succeed(peer_encode(&message, frame, &err));
	ASSERT(frame->length);
}

static void on_ready(void *context)
{
	struct joining *joining = context;
	struct buffer frame;
	buffer_init(&frame, 0);
	put_question(joining, &frame);
	const struct wire_bytes question = {.data = frame.data, .length = frame.length};
	(void)peer_channel_connect(joining->channel, &joining->voter, joining->voter_port, NULL,
				   &question, joining);
	buffer_done(&frame);
}

/* --- what is answered ------------------------------------------------------------------------- */

static int take(struct joining *joining, const struct peer_join_take *answer)
{
	struct door doors[CREDENTIALS_DOORS];
	struct wire_bytes cas[2];
	size_t door_count = 0;
	for (size_t i = 0; i < answer->authorities.count && i < 2; i++)
		cas[i] = answer->authorities.items[i].certificate;
	for (size_t i = 0; i < answer->voters.count && door_count < CREDENTIALS_DOORS; i++) {
		struct door *door = &doors[door_count++];
		const struct peer_door *said = &answer->voters.items[i];
		snprintf(door->node, sizeof(door->node), "%s", said->node);
		door->address = said->address;
		door->port = (uint16_t)said->port;
	}
	int result = node_file_write(joining->options.state_folder, joining->node, &joining->err);
	if (result == 0)
		result =
		    credentials_write(joining->options.state_folder, &answer->certificate, cas,
				      answer->authorities.count, doors, door_count, &joining->err);
	return result;
}

static int refused(struct joining *joining, const struct peer_join_refuse *answer)
{
	char text[IP_TEXT_BYTES];
	if (answer->reason == PEER_JOIN_NO_VOTER && answer->voters.count)
		return error_set(&joining->err, -FL_ESTATE, "%s; ask %s, by `fairlead join %s`",
				 answer->sentence, answer->voters.items[0].node,
				 ip_address_format(&answer->voters.items[0].address, text));
	if (*answer->command)
		return error_set(&joining->err, -FL_ESTATE, "%s; what helps: `%s`%s",
				 answer->sentence, answer->command,
				 answer->reason == PEER_JOIN_CLOCK ? "" : " on a voter");
	return error_set(&joining->err, -FL_ESTATE, "%s", answer->sentence);
}

static void on_frame(void *context, struct peer_remote *remote, const struct wire_bytes *frame,
		     const struct peer_message *message, struct arena *arena)
{
	struct joining *joining = context;
	(void)remote;
	(void)frame;
	(void)arena;
	if (joining->answered)
		return;
	if (message->number == PEER_JOIN_TAKE)
		finish(joining, take(joining, &message->join_take));
	else if (message->number == PEER_JOIN_REFUSE)
		finish(joining, refused(joining, &message->join_refuse));
	else
		finish(joining, error_set(&joining->err, -FL_EINVALID,
					  "what is there answers a join by something else"));
}

static void on_down(void *context, struct peer_remote *remote, const struct channel_down *down)
{
	struct joining *joining = context;
	char text[IP_TEXT_BYTES];
	(void)remote;
	if (!joining->answered)
		finish(joining, error_set(&joining->err, -FL_EUNAVAILABLE, "%s port %u: %.1500s",
					  ip_address_format(&joining->voter, text),
					  joining->voter_port, down->sentence));
}

static void on_end(void *context, const char *why)
{
	struct joining *joining = context;
	joining->stopping = true;
	if (!joining->answered) {
		joining->answered = true;
		joining->result = error_set(&joining->err, -FL_EUNAVAILABLE, "%s", why);
	}
	uv_close((uv_handle_t *)&joining->timer, NULL);
}

static void on_late(uv_timer_t *timer)
{
	struct joining *joining = timer->data;
	char text[IP_TEXT_BYTES];
	if (!joining->answered)
		finish(joining, error_set(&joining->err, -ETIMEDOUT,
					  "%s port %u did not answer within %u s; try again: the "
					  "token stays good",
					  ip_address_format(&joining->voter, text),
					  joining->voter_port, ANSWER_MS / 1000));
}

static int show_identity(struct joining *joining)
{
	uint8_t key[KEY_BYTES];
	key_pair_private(joining->key, key);
	const struct channel_identity identity = {.fabric = joining->token.fabric,
						  .node = joining->options.node,
						  .boot_id = joining->boot_id,
						  .instance = joining->instance,
						  .key = {.data = key, .length = sizeof(key)},
						  .token_ca = joining->token.ca};
	int result = peer_channel_identity(joining->channel, &identity, &joining->err);
	explicit_bzero(key, sizeof(key));
	return result;
}

static int ask(struct joining *joining)
{
	static const struct peer_channel_calls calls = {
	    .on_ready = on_ready, .on_frame = on_frame, .on_down = on_down, .on_end = on_end};
	const struct peer_channel_options options = {.loop = &joining->loop,
						     .user = "fairlead",
						     .files = 64,
						     .calls = &calls,
						     .context = joining};
	uv_loop_init(&joining->loop);
	int result = peer_channel_new(&options, &joining->channel, &joining->err);
	if (result == 0)
		result = show_identity(joining);
	if (result == 0) {
		uv_timer_init(&joining->loop, &joining->timer);
		joining->timer.data = joining;
		uv_timer_start(&joining->timer, on_late, ANSWER_MS, 0);
		result = peer_channel_start(joining->channel, &joining->err);
		uv_run(&joining->loop, UV_RUN_DEFAULT);
		if (result == 0)
			result = joining->result;
	}
	peer_channel_free(joining->channel);
	uv_run(&joining->loop, UV_RUN_DEFAULT);
	uv_loop_close(&joining->loop);
	return result;
}

/* --- what is asked for ------------------------------------------------------------------------ */

static int parse_token(struct joining *joining, const char *text)
{
	uint64_t now_s = clock_wall_ms(&clock_system) / 1000;
	int result = peer_token_parse(text, &joining->token, &joining->err);
	if (result < 0) {
		error_prefix(&joining->err, "--token");
		return result;
	}
	if (joining->token.expires_s < now_s)
		return error_set(&joining->err, -FL_ESTATE,
				 "the token expired %llu minutes ago, by this machine's clock; "
				 "`fairlead token` on a voter makes a new one",
				 (unsigned long long)((now_s - joining->token.expires_s) / 60));
	return 0;
}

/* "ADDRESS", "NAME", "ADDRESS:PORT", "[V6]:PORT". */
static int find_voter(struct joining *joining, const char *where)
{
	char host[256];
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	const char *colon = strrchr(where, ':');
	bool has_port = colon && (strchr(where, ':') == colon || colon[-1] == ']');
	unsigned long port = has_port ? strtoul(colon + 1, NULL, 10) : CHANNEL_PORT;
	snprintf(host, sizeof(host), "%.*s",
		 (int)(has_port ? (size_t)(colon - where) : strlen(where)), where);
	size_t length = strlen(host);
	if (host[0] == '[' && length > 1 && host[length - 1] == ']') {
		memmove(host, host + 1, length - 2);
		host[length - 2] = '\0';
	}
	if (port < 1 || port > UINT16_MAX)
		return error_set(&joining->err, -FL_EUSAGE, "%s: the port is 1 to 65535", where);
	joining->voter_port = (uint16_t)port;
	if (ip_address_parse(host, &joining->voter) == 0)
		return 0;
	int result = getaddrinfo(host, NULL, &hints, &found);
	if (result != 0)
		return error_set(&joining->err, -FL_EUNAVAILABLE, "%s: %s", host,
				 gai_strerror(result));
	joining->voter = sockaddr_address(found->ai_addr);
	freeaddrinfo(found);
	return 0;
}

/* A joiner begins with nothing: no state of another history, and no maps that forward by one. */
static int check_empty(const struct daemon_options *options, struct error *err)
{
	char path[PATH_MAX];
	bool runs;
	if (access(credentials_path(options->state_folder, "certificate", path), F_OK) == 0) {
		/* One that was cut short before its unit was started is completed. */
		int result = service_start(options->state_folder, &runs, err);
		if (result < 0)
			return result;
		return error_set(err, -EEXIST, "this machine is a node already, by %s%s",
				 options->state_folder, runs ? ", and its unit runs" : "");
	}
	snprintf(path, sizeof(path), "%s/store.db", options->state_folder);
	if (access(path, F_OK) == 0)
		return error_set(err, -EEXIST,
				 "%s is the state of a node that was alone: move the folder away, "
				 "or give another --state",
				 path);
	if (access(options->edge_pins, F_OK) == 0 || access(options->landing_pins, F_OK) == 0)
		return error_set(err, -EEXIST,
				 "this machine still forwards or lands by an earlier state: "
				 "`fairlead detach` ends that, then join");
	return 0;
}

static int prepare(struct joining *joining, const json_t *parameters, struct arena *arena)
{
	struct daemon_folders folders;
	struct ledger_signer *signer = NULL;
	struct random random;
	uint8_t bytes[16];
	char roles[MEMBER_ROLES_BYTES];
	char path[PATH_MAX];
	daemon_folders_parse(parameters, arena, &folders);
	member_roles_format(joining->token.roles, roles);
	int result = node_file_complete(parameters, roles,
					*joining->token.site ? joining->token.site : DEFAULT_SITE,
					&joining->node, &joining->err);
	if (result < 0)
		return result;
	json_object_set_new(joining->node, "state", json_string(folders.state));
	result = daemon_options_parse(joining->node, arena, &joining->options, &joining->err);
	if (result == 0)
		result = removal_make_room(&joining->options, &joining->err);
	if (result == 0)
		result = check_empty(&joining->options, &joining->err);
	if (result == 0)
		result = file_make_folders(credentials_path(folders.state, "", path), 0700,
					   &joining->err);
	if (result == 0)
		result = key_pair_open(credentials_path(folders.state, "key.pem", path),
				       &joining->key, &joining->err);
	if (result == 0)
		result = ledger_signer_open(folders.state, joining->options.node, &signer,
					    &joining->err);
	if (result == 0)
		result = boot_id_read(joining->boot_id, &joining->err);
	if (result < 0)
		return result;
	snprintf(joining->ledger_key, sizeof(joining->ledger_key), "%s",
		 ledger_signer_public_key(signer));
	ledger_signer_free(signer);
	random_init_system(&random);
	random_fill(&random, bytes, sizeof(bytes));
	hex_encode(bytes, sizeof(bytes), joining->instance);
	return 0;
}

int daemon_join(const json_t *parameters, struct error *err)
{
	struct arena arena;
	struct joining joining = {0};
	bool runs = false;
	const char *token = json_string_value(json_object_get(parameters, "token"));
	const char *where = json_string_value(json_object_get(parameters, "voter"));
	arena_init(&arena, 0);
	int result = token
			 ? parse_token(&joining, token)
			 : error_set(&joining.err, -FL_EUSAGE,
				     "--token is needed: `fairlead init` or `fairlead token` on a "
				     "voter prints it");
	if (result == 0)
		result = find_voter(&joining, where);
	if (result == 0)
		result = prepare(&joining, parameters, &arena);
	if (result == 0)
		result = ask(&joining);
	if (result == 0) {
		printf("this machine is node %s of fabric %s\n\n", joining.options.node,
		       joining.token.fabric);
		result = service_start(joining.options.state_folder, &runs, &joining.err);
		service_tell(joining.options.state_folder, runs);
	}
	*err = joining.err;
	key_pair_free(joining.key);
	json_decref(joining.node);
	arena_done(&arena);
	return result;
}
