/* SPDX-License-Identifier: Apache-2.0 */
/* `fairlead init`: this machine becomes the first node of a fabric, and its voter. */
#include "base/arena.h"
#include "base/file.h"
#include "base/random.h"
#include "daemon/daemon.h"
#include "daemon/member/credentials.h"
#include "daemon/member/first_token.h"
#include "daemon/member/node_file.h"
#include "daemon/member/service.h"
#include "peer/ca.h"
#include "peer/token.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_FABRIC "fairlead"
#define DEFAULT_SITE "main"
#define ALL_ROLES "edge,names,backend"

/* What is made, one after the other; each step finds what an earlier try left. */
struct making {
	const struct daemon_options *options;
	const char *fabric;
	struct random random;
	struct buffer ca, certificate;
	struct evp_pkey_st *ca_key, *key;
	uint64_t now_ms;
	char token[PEER_TOKEN_TEXT_BYTES];
};

static int make_keys(struct making *making, struct error *err)
{
	const char *state = making->options->state_folder;
	char path[PATH_MAX];
	int result = file_make_folders(credentials_path(state, "", path), 0700, err);
	if (result == 0)
		result = key_pair_open(credentials_path(state, "ca-key.pem", path), &making->ca_key,
				       err);
	if (result == 0)
		result = key_pair_open(credentials_path(state, "key.pem", path), &making->key, err);
	return result;
}

static int make_certificates(struct making *making, struct error *err)
{
	const struct daemon_options *options = making->options;
	struct door self = {.address = options->channel_address, .port = options->channel_port};
	uint8_t key[KEY_BYTES];
	snprintf(self.node, sizeof(self.node), "%s", options->node);
	key_pair_public(making->key, key);
	peer_ca_make(making->ca_key, making->fabric, &making->random, making->now_ms / 1000,
		     &making->ca);
	const struct wire_bytes ca = {.data = making->ca.data, .length = making->ca.length};
	struct join_token token = {.roles = TOKEN_ROLES,
				   .expires_ms = making->now_ms + TOKEN_LIFE_MS};
	token_draw(&ca, making->fabric, &making->random, &token, making->token);
	int result = first_token_write(options->state_folder, &token, err);
	if (result == 0)
		result = peer_ca_issue(making->ca_key, &ca, options->node, key, &making->random,
				       making->now_ms / 1000, &making->certificate, err);
	const struct wire_bytes certificate = {.data = making->certificate.data,
					       .length = making->certificate.length};
	if (result == 0)
		result =
		    credentials_write(options->state_folder, &certificate, &ca, 1, &self, 1, err);
	return result;
}

static void tell(const struct making *making, bool runs)
{
	const struct daemon_options *options = making->options;
	char address[IP_TEXT_BYTES];
	char place[CHANNEL_PLACE_BYTES];
	ip_address_format(&options->channel_address, address);
	daemon_options_channel(options, place);
	printf("this machine is node %s of fabric %s, by %s\n\n", options->node, making->fabric,
	       address);
	service_tell(options->state_folder, runs);
	printf("\nthen let another machine in; on that one, within a day:\n"
	       "    fairlead join %s --token %s\n\n"
	       "one token lets one machine in; `fairlead token` makes more\n",
	       place, making->token);
}

/* By a store that is there, this machine is a node already, though one that is alone. */
static int check_new(const char *state_folder, struct error *err)
{
	char path[PATH_MAX];
	bool runs;
	if (access(credentials_path(state_folder, "certificate", path), F_OK) != 0)
		return 0;
	/* One that was cut short before its unit was started is completed. */
	int result = service_start(state_folder, &runs, err);
	if (result < 0)
		return result;
	return error_set(err, -EEXIST,
			 "this machine is a node already, by %s%s; `fairlead token` lets others in",
			 state_folder, runs ? ", and its unit runs" : "");
}

int daemon_init(const json_t *parameters, struct error *err)
{
	struct arena arena;
	struct daemon_folders folders;
	struct daemon_options options;
	struct making making = {.options = &options};
	json_t *node = NULL;
	bool runs = false;
	const char *fabric = json_string_value(json_object_get(parameters, "fabric"));
	making.fabric = fabric ? fabric : DEFAULT_FABRIC;
	arena_init(&arena, 0);
	buffer_init(&making.ca, 0);
	buffer_init(&making.certificate, 0);
	random_init_system(&making.random);
	making.now_ms = clock_wall_ms(&clock_system);
	daemon_folders_parse(parameters, &arena, &folders);
	int result =
	    text_is_node_name(making.fabric)
		? 0
		: error_set(err, -FL_EUSAGE, "--fabric %s: a name takes a-z, 0-9 and -, at most 63",
			    making.fabric);
	/* What was typed wrongly comes before what the machine lacks. */
	if (result == 0)
		result = daemon_options_announce(parameters, &options, err);
	if (result == 0)
		result = check_new(folders.state, err);
	if (result == 0)
		result = node_file_complete(parameters, ALL_ROLES, DEFAULT_SITE, &node, err);
	if (result == 0)
		json_object_set_new(node, "state", json_string(folders.state));
	if (result == 0)
		result = daemon_options_parse(node, &arena, &options, err);
	if (result == 0)
		result = file_make_folders(folders.state, 0700, err);
	if (result == 0)
		result = node_file_write(folders.state, node, err);
	if (result == 0)
		result = make_keys(&making, err);
	/* The certificate is the last of it: what was cut short begins anew. */
	if (result == 0)
		result = make_certificates(&making, err);
	if (result == 0) {
		/* Whether or not the unit starts, the token is good. */
		result = service_start(options.state_folder, &runs, err);
		tell(&making, runs);
	}
	key_pair_free(making.key);
	key_pair_free(making.ca_key);
	buffer_done(&making.ca);
	buffer_done(&making.certificate);
	json_decref(node);
	arena_done(&arena);
	return result;
}
