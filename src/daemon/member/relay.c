/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relay: the local API's calls on a node that decides nothing are a voter's to answer, whole: it
 * knows what everyone observed, and an order is checked and written where it is decided. What
 * travels is the lines that a client and a daemon say to each other.
 */
#include "api/verbs.h"
#include "base/memory.h"
#include "control/protocol.h"
#include "daemon/member/peers_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- where it is asked ------------------------------------------------------------------------ */

struct relayed {
	struct relayed *next;
	uint64_t number;
	struct api_call *call;
};

bool peers_pass_on(struct peers *peers, struct api_call *call)
{
	struct fellow *voter = peers_voter(peers);
	char who[API_WHO_BYTES];
	char from[API_WHO_BYTES + PEER_NAME_MAX + 2];
	struct buffer line;
	if (!voter)
		return false;
	api_who(call, who);
	snprintf(from, sizeof(from), "%s@%s", who, peers->daemon->options->node);
	buffer_init(&line, PEER_API_LINE_MAX);
	protocol_put_request(&line, call->command->name, api_parameters(call));
	const struct peer_message message = {
	    .number = PEER_API_CALL,
	    .api_call = {.call = voter->last_call + 1,
			 .who = from,
			 .line = {.data = line.data, .length = line.length - 1}}};
	bool sent = fellow_send(voter, &message);
	buffer_done(&line);
	if (!sent)
		return false;
	struct relayed *relayed = must_alloc(1, sizeof(*relayed));
	*relayed =
	    (struct relayed){.next = voter->relayed, .number = ++voter->last_call, .call = call};
	voter->relayed = relayed;
	return true;
}

/* Who reads a status must know whose it is. */
static void note_asked(const struct relayed *relayed, const struct daemon *daemon, json_t *data)
{
	if (relayed->call->command->verb == VERB_status && json_is_object(data))
		json_object_set_new(data, "asked", json_string(daemon->options->node));
}

void relay_take_answer(struct fellow *fellow, const struct peer_api_answer *message)
{
	json_t *data = NULL;
	struct error err = {0};
	struct relayed **at = &fellow->relayed;
	while (*at && (*at)->number != message->call)
		at = &(*at)->next;
	struct relayed *relayed = *at;
	if (!relayed)
		return;
	*at = relayed->next;
	if (protocol_parse_answer(message->line.data, message->line.length, &data, &err) < 0) {
		api_fail(relayed->call, &err);
	} else {
		note_asked(relayed, fellow->peers->daemon, data);
		api_succeed(relayed->call, data);
	}
	free(relayed);
}

void relay_lost(struct fellow *fellow)
{
	struct error err;
	while (fellow->relayed) {
		struct relayed *relayed = fellow->relayed;
		fellow->relayed = relayed->next;
		error_set(&err, -FL_EUNAVAILABLE,
			  "voter %s was lost before it answered: whether it did what was asked is "
			  "not known; `fairlead log` says so when it is back",
			  fellow->node);
		api_fail(relayed->call, &err);
		free(relayed);
	}
}

/* --- where it is answered --------------------------------------------------------------------- */

/* It outlives its session when that ends before the answer is there. */
struct guest_call {
	struct api_call call;
	struct peers *peers;
	char node[PEER_NAME_MAX + 1];
	char instance[PEER_ID_MAX + 1];
	uint64_t number;
	char who[API_WHO_BYTES];
};

static void answer(struct fellow *fellow, uint64_t number, struct buffer *line)
{
	(void)fellow_send(
	    fellow, &(struct peer_message){
			.number = PEER_API_ANSWER,
			.api_answer = {.call = number,
				       .line = {.data = line->data, .length = line->length - 1}}});
}

static struct fellow *find(const struct guest_call *guest)
{
	for (struct fellow *fellow = guest->peers->fellows; fellow; fellow = fellow->next) {
		if (fellow->is_up && strcmp(fellow->node, guest->node) == 0 &&
		    strcmp(fellow->instance, guest->instance) == 0)
			return fellow;
	}
	return NULL;
}

static void guest_who(const struct api_call *call, char who[API_WHO_BYTES])
{
	const struct guest_call *guest = (const struct guest_call *)call;
	memcpy(who, guest->who, API_WHO_BYTES);
}

static void guest_end(struct api_call *call, const json_t *data, const struct error *error)
{
	struct guest_call *guest = (struct guest_call *)call;
	struct fellow *fellow = find(guest);
	struct buffer line;
	buffer_init(&line, PEER_API_LINE_MAX);
	if (data)
		protocol_put_data(&line, data);
	else
		protocol_put_error(&line, error);
	if (line.status < 0) {
		struct error err;
		error_set(&err, -FL_ELIMIT, "the answer is larger than %d bytes: ask for less",
			  PEER_API_LINE_MAX);
		buffer_done(&line);
		buffer_init(&line, PEER_API_LINE_MAX);
		protocol_put_error(&line, &err);
	}
	if (fellow)
		answer(fellow, guest->number, &line);
	buffer_done(&line);
	json_decref(guest->call.parameters);
	free(guest);
}

/* Events are each node's own: they are not passed on. */
static void guest_follow(struct api_call *call)
{
	struct error err;
	error_set(&err, -FL_EUNSUPPORTED, "events are those of the node that is asked");
	guest_end(call, NULL, &err);
}

void relay_take_call(struct fellow *fellow, const struct peer_api_call *message)
{
	static const struct api_transport transport = {
	    .who = guest_who, .end = guest_end, .follow = guest_follow};
	const struct command *command;
	json_t *parameters;
	struct error err = {0};
	if (protocol_parse_request(message->line.data, message->line.length, &command, &parameters,
				   &err) < 0) {
		struct buffer line;
		buffer_init(&line, 0);
		protocol_put_error(&line, &err);
		answer(fellow, message->call, &line);
		buffer_done(&line);
		return;
	}
	struct guest_call *guest = must_alloc(1, sizeof(*guest));
	*guest = (struct guest_call){
	    .call = {.transport = &transport, .command = command, .parameters = parameters},
	    .peers = fellow->peers,
	    .number = message->call};
	snprintf(guest->node, sizeof(guest->node), "%s", fellow->node);
	snprintf(guest->instance, sizeof(guest->instance), "%s", fellow->instance);
	snprintf(guest->who, sizeof(guest->who), "%s", message->who);
	api_begin(&fellow->peers->daemon->host, &guest->call);
}
