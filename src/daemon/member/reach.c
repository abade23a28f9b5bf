/* SPDX-License-Identifier: Apache-2.0 */
/* Whom to talk to, and who this node says that it is. */
#include "base/memory.h"
#include "daemon/member/credentials.h"
#include "daemon/member/peers_internal.h"
#include "kernel/boot.h"

#include <stdio.h>
#include <string.h>

#define SOUGHT 4u /* sessions, or tries, with members that decide nothing */
#define SOUGHT_BY_VOTER 64u

struct fellow *fellow_new(struct peers *peers)
{
	struct fellow *fellow = must_alloc(1, sizeof(*fellow));
	fellow->peers = peers;
	fellow->next = peers->fellows;
	peers->fellows = fellow;
	return fellow;
}

static bool is_tried(const struct peers *peers, const char *node)
{
	for (const struct fellow *fellow = peers->fellows; fellow; fellow = fellow->next) {
		if (fellow->remote && fellow->outgoing && !fellow->asks &&
		    strcmp(fellow->node, node) == 0)
			return true;
	}
	return false;
}

/* `question` NULL: a session. */
static void connect_to(struct peers *peers, const struct door *door,
		       const struct wire_bytes *question)
{
	if (!door->port || strcmp(door->node, peers->daemon->options->node) == 0 ||
	    (!question && is_tried(peers, door->node)))
		return;
	struct fellow *fellow = fellow_new(peers);
	fellow->outgoing = true;
	fellow->asks = question != NULL;
	snprintf(fellow->node, sizeof(fellow->node), "%s", door->node);
	ip_address_format(&door->address, fellow->address);
	fellow->remote = peer_channel_connect(peers->channel, &door->address, door->port,
					      door->node, question, fellow);
}

/* By the replica, or, before that names any, by what the join was told. */
static size_t list_voters(const struct peers *peers, struct door doors[CREDENTIALS_DOORS])
{
	const struct image *image = &peers->daemon->image;
	const struct credentials *own = peers->daemon->options->channel;
	size_t count = 0;
	for (size_t i = 0; i < image->member_count && count < CREDENTIALS_DOORS; i++) {
		const struct member *member = image->members[i].member;
		if (!member_has(member, MEMBER_VOTER) || !*member->channel_key)
			continue;
		struct door *door = &doors[count++];
		*door =
		    (struct door){.address = member->channel_address, .port = member->channel_port};
		snprintf(door->node, sizeof(door->node), "%s", member->name);
	}
	if (count == 0) {
		count = own->door_count;
		memcpy(doors, own->doors, count * sizeof(*doors));
	}
	return count;
}

void peers_connect_to_voters(struct peers *peers)
{
	struct door doors[CREDENTIALS_DOORS];
	const size_t count = list_voters(peers, doors);
	for (size_t i = 0; i < count; i++)
		connect_to(peers, &doors[i], NULL);
}

static bool is_up(const struct peers *peers, const char *node)
{
	for (const struct fellow *fellow = peers->fellows; fellow; fellow = fellow->next) {
		if (fellow->is_up && fellow->remote && strcmp(fellow->node, node) == 0)
			return true;
	}
	return false;
}

void peers_seek_others(struct peers *peers)
{
	const struct image *image = &peers->daemon->image;
	const size_t most = peers->daemon->decides ? SOUGHT_BY_VOTER : SOUGHT;
	size_t tried = 0;
	for (const struct fellow *fellow = peers->fellows; fellow; fellow = fellow->next)
		tried += fellow->remote && fellow->outgoing && !fellow->asks && !fellow->is_voter;
	for (size_t i = 0; i < image->member_count && tried < most; i++) {
		size_t at = (peers->seek_from + i) % image->member_count;
		const struct member *member = image->members[at].member;
		if (member_has(member, MEMBER_VOTER) || !*member->channel_key ||
		    !member->channel_port || is_tried(peers, member->name) ||
		    is_up(peers, member->name))
			continue;
		struct door door = {.address = member->channel_address,
				    .port = member->channel_port};
		snprintf(door.node, sizeof(door.node), "%s", member->name);
		connect_to(peers, &door, NULL);
		peers->seek_from = at + 1;
		tried++;
	}
}

void peers_leave_others(struct peers *peers)
{
	for (struct fellow *fellow = peers->fellows; fellow; fellow = fellow->next) {
		if (fellow->remote && fellow->outgoing && !fellow->asks && !fellow->is_voter &&
		    !fellow->is_followed && !peers->daemon->decides)
			peer_channel_cut(fellow->remote, PEER_PARTING_OTHER,
					 "a voter is reached again", NULL);
	}
}

void peers_ask_voter(struct peers *peers, const struct wire_bytes *question)
{
	struct door doors[CREDENTIALS_DOORS];
	if (list_voters(peers, doors))
		connect_to(peers, &doors[0], question);
}

int peers_show_identity(struct peers *peers, const struct credentials *own, struct error *err)
{
	const struct daemon *daemon = peers->daemon;
	struct channel_authority authorities[2];
	char boot_id[BOOT_ID_BYTES];
	uint8_t key[KEY_BYTES];
	int result = boot_id_read(boot_id, err);
	if (result < 0)
		return result;
	for (size_t i = 0; i < own->ca_count; i++)
		authorities[i].certificate = wire_bytes_of(&own->cas[i]);
	key_pair_private(own->key, key);
	const struct channel_identity identity = {
	    .fabric = own->fabric,
	    .node = daemon->options->node,
	    .boot_id = boot_id,
	    .instance = daemon->instance,
	    .key = {.data = key, .length = sizeof(key)},
	    .certificate = wire_bytes_of(&own->certificate),
	    .authorities = {.items = authorities, .count = own->ca_count}};
	result = peer_channel_identity(peers->channel, &identity, err);
	explicit_bzero(key, sizeof(key));
	return result;
}
