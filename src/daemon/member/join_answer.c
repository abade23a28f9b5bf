/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine asks to join, and the voter answers. Its channel key is proven by its handshake;
 * all else that it says is checked here, cheapest first, so that what is refused costs nothing and
 * changes nothing. It is a member when the ledger says so (PROTOCOL.md, rule 10); then it gets its
 * certificate. Whoever asks again by the same token and key is answered again: the answer may have
 * been lost.
 */
#include "base/log.h"
#include "base/memory.h"
#include "daemon/member/credentials.h"
#include "daemon/member/peers_internal.h"
#include "peer/ca.h"
#include "peer/token.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_OFF_MS 60000u /* certificates count from ten minutes ago */

struct asking {
	struct change change;
	struct asking *next;
	struct peers *peers;
	struct peer_remote *remote; /* NULL: the asker went */
	struct digest secret; /* its hash */
	uint8_t key[KEY_BYTES];
	struct member member; /* whose texts are the next */
	char node[PEER_NAME_MAX + 1];
	char site[PEER_NAME_MAX + 1];
	char ledger_key[MEMBER_KEY_BYTES];
};

/* --- answers ---------------------------------------------------------------------------------- */

static bool say(struct peer_remote *remote, const struct peer_message *message)
{
	struct buffer frame;
	struct error err = {0};
	buffer_init(&frame, PEER_FRAME_MAX);
	must_succeed(peer_encode(message, &frame, &err));
	bool sent = peer_channel_send(remote, frame.data, frame.length);
	buffer_done(&frame);
	return sent;
}

static size_t add_door(const struct member *voter, struct peer_door *doors, size_t count)
{
	if (!voter->channel_port || count == PEER_DOORS_MAX)
		return count;
	doors[count] = (struct peer_door){
	    .node = voter->name, .address = voter->channel_address, .port = voter->channel_port};
	return count + 1;
}

/* This node is one before its record says so: who joins it right after its start would otherwise
 * be told of none, and never find it again. */
static size_t list_doors(const struct peers *peers, struct peer_door doors[PEER_DOORS_MAX])
{
	const struct daemon *daemon = peers->daemon;
	const struct image *image = &daemon->image;
	size_t count = daemon->decides ? add_door(&daemon->self, doors, 0) : 0;
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *member = image->members[i].member;
		const bool is_told =
		    daemon->decides && strcmp(member->name, daemon->self.name) == 0;
		if (member_has(member, MEMBER_VOTER) && !is_told)
			count = add_door(member, doors, count);
	}
	return count;
}

static void refuse_with(struct peers *peers, struct peer_remote *remote, const char *node,
			enum peer_join_refusal reason, const char *sentence, const char *command,
			const struct wire_bytes *proof)
{
	struct peer_door doors[PEER_DOORS_MAX];
	const size_t count = list_doors(peers, doors);
	log_event(LOG_LEVEL_WARNING, "join.refused", "node", node, "why", sentence, NULL);
	(void)say(remote, &(struct peer_message){
			      .number = PEER_JOIN_REFUSE,
			      .join_refuse = {.reason = reason,
					      .sentence = sentence,
					      .command = command,
					      .proof = *proof,
					      .voters = {.items = doors, .count = count}}});
}

static void refuse(struct peers *peers, struct peer_remote *remote, const char *node,
		   enum peer_join_refusal reason, const char *sentence, const char *command)
{
	refuse_with(peers, remote, node, reason, sentence, command, &(struct wire_bytes){0});
}

/* The certificate, to a member whose key this is. */
static void welcome(struct peers *peers, struct peer_remote *remote, const char *node,
		    const uint8_t key[KEY_BYTES])
{
	const struct credentials *own = peers->daemon->options->channel;
	struct peer_authority authorities[2];
	struct peer_door doors[PEER_DOORS_MAX];
	struct buffer certificate;
	struct error err = {0};
	const size_t door_count = list_doors(peers, doors);
	buffer_init(&certificate, PEER_DER_MAX);
	for (size_t i = 0; i < own->ca_count; i++)
		authorities[i].certificate = wire_bytes_of(&own->cas[i]);
	int result = peer_ca_issue(own->ca_key, &authorities[own->ca_count - 1].certificate, node,
				   key, &peers->daemon->random,
				   clock_wall_ms(peers->daemon->clock) / 1000, &certificate, &err);
	if (result < 0)
		refuse(peers, remote, node, PEER_JOIN_LATER, err.text, "");
	else
		(void)say(
		    remote,
		    &(struct peer_message){
			.number = PEER_JOIN_TAKE,
			.join_take = {
			    .node = node,
			    .certificate = {.data = certificate.data, .length = certificate.length},
			    .authorities = {.items = authorities, .count = own->ca_count},
			    .voters = {.items = doors, .count = door_count}}});
	buffer_done(&certificate);
}

/* --- what is asked ---------------------------------------------------------------------------- */

struct refusal {
	enum peer_join_refusal reason; /* 0: none */
	char sentence[600];
	char command[300];
};

__attribute__((format(printf, 3, 4))) static void
set(struct refusal *refusal, enum peer_join_refusal reason, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(refusal->sentence, sizeof(refusal->sentence), format, arguments);
	va_end(arguments);
	refusal->reason = reason;
	refusal->command[0] = '\0';
}

static void check_asker(const struct peers *peers, const struct peer_join_ask *ask,
			struct refusal *refusal)
{
	const struct daemon *daemon = peers->daemon;
	const struct credentials *own = daemon->options->channel;
	uint64_t now_ms = clock_wall_ms(daemon->clock);
	uint64_t off_ms = ask->clock_ms > now_ms ? ask->clock_ms - now_ms : now_ms - ask->clock_ms;
	if (!daemon->decides) {
		set(refusal, PEER_JOIN_NO_VOTER, "node %s is no voter and cannot let anybody in",
		    daemon->options->node);
	} else if (*daemon->replica.refusal && ask->secret.length) {
		/* A renewal changes nothing here, and who may be what a starting voter waits for
		 * needs one before it can be heard. */
		set(refusal, PEER_JOIN_LATER, "the voter takes no orders now: %.400s",
		    daemon->replica.refusal);
	} else if (strcmp(ask->fabric, own->fabric) != 0) {
		set(refusal, PEER_JOIN_FABRIC, "this is fabric %s, and the token is of %s",
		    own->fabric, ask->fabric);
	} else if (off_ms > CLOCK_OFF_MS) {
		set(refusal, PEER_JOIN_CLOCK,
		    "the joiner's clock is %" PRIu64 " s %s the voter's: certificates would not be "
		    "valid",
		    off_ms / 1000, ask->clock_ms > now_ms ? "ahead of" : "behind");
		snprintf(refusal->command, sizeof(refusal->command), "timedatectl set-ntp true");
	}
}

static bool used_by(const struct join_token *token, const char *node, const char *key)
{
	return strcmp(token->node, node) == 0 && strcmp(token->channel_key, key) == 0;
}

/* Landings cannot take the tunnels of a new edge and refuse those of a removed one that come from
 * the same address. */
static const struct removed_member *find_unfenced(const struct image *image,
						  const struct member *wanted)
{
	for (size_t i = 0; i < image->removed.count; i++) {
		const struct removed_member *removed = &image->removed.items[i];
		for (size_t a = 0; a < removed->source_count; a++) {
			for (size_t b = 0; b < wanted->source_count; b++) {
				if (!removed_is_fenced(removed) &&
				    ip_address_equal(&removed->sources[a], &wanted->sources[b]))
					return removed;
			}
		}
	}
	return NULL;
}

/* The token and the name, by the image as it is now. */
static void check_token(const struct image *image, const struct asking *asking, uint64_t now_ms,
			struct refusal *refusal)
{
	const struct join_token *token = token_list_find(&image->tokens, &asking->secret);
	const struct member *known = image_member(image, asking->node);
	const struct member *wanted = &asking->member;
	const struct removed_member *removed =
	    removed_list_find_key(&image->removed, wanted->channel_key);
	const struct removed_member *unfenced = find_unfenced(image, wanted);
	char roles[MEMBER_ROLES_BYTES];
	if (!token) {
		set(refusal, PEER_JOIN_SECRET,
		    "the token is not one that this fabric gave out, or it was given out before a "
		    "restore");
	} else if (*token->node && !used_by(token, asking->node, wanted->channel_key)) {
		set(refusal, PEER_JOIN_USED,
		    "the token was used by node %s: one token lets one "
		    "machine in",
		    token->node);
	} else if (!*token->node && token->expires_ms < now_ms) {
		set(refusal, PEER_JOIN_EXPIRED, "the token expired %" PRIu64 " minutes ago",
		    (now_ms - token->expires_ms) / 60000);
	} else if (wanted->roles & ~token->roles) {
		set(refusal, PEER_JOIN_ROLES, "the token does not allow the role %s",
		    member_roles_format(wanted->roles & ~token->roles, roles));
	} else if (*token->site && strcmp(token->site, asking->site) != 0) {
		set(refusal, PEER_JOIN_ROLES, "the token is for a machine at site %s, not %s",
		    token->site, asking->site);
	} else if (known && strcmp(known->channel_key, wanted->channel_key) != 0) {
		set(refusal, PEER_JOIN_NAME,
		    "there is a node %s with another key: a machine that takes its place needs it "
		    "removed first, or another --node",
		    asking->node);
	} else if (removed) {
		set(refusal, PEER_JOIN_REMOVED,
		    "this machine's key was removed from the fabric, with node %s, by ledger entry "
		    "%" PRIu64 ": it joins by a new key, in a state folder of its own",
		    removed->name, removed->sequence);
	} else if (unfenced) {
		set(refusal, PEER_JOIN_LATER,
		    "its tunnels would come from where those of node %s came, which was removed "
		    "and "
		    "is not fenced off yet; `fairlead get nodes` on a member says what that waits "
		    "for",
		    unfenced->name);
	}
	if (refusal->reason == PEER_JOIN_SECRET || refusal->reason == PEER_JOIN_USED ||
	    refusal->reason == PEER_JOIN_EXPIRED || refusal->reason == PEER_JOIN_ROLES)
		snprintf(refusal->command, sizeof(refusal->command), "fairlead token");
}

/* --- making it a member ----------------------------------------------------------------------- */

static int put_member(struct change_draft *draft, const struct member *member)
{
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	buffer_init(&value, STORE_VALUE_BYTES);
	record_member_key(member->name, key);
	int result = record_member_put(member, &value);
	if (result == 0)
		result = draft_put(draft, key, image_record_revision(draft->image, key), &value);
	buffer_done(&value);
	return result;
}

static int use_token(struct change_draft *draft, const struct asking *asking)
{
	struct join_token token = *token_list_find(&draft->image->tokens, &asking->secret);
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	buffer_init(&value, STORE_VALUE_BYTES);
	snprintf(token.node, sizeof(token.node), "%s", asking->node);
	snprintf(token.channel_key, sizeof(token.channel_key), "%s", asking->member.channel_key);
	int result = join_token_put(&token, &value);
	if (result == 0)
		result = draft_put(draft, join_token_key(&token.secret, key), token.mod_revision,
				   &value);
	buffer_done(&value);
	return result;
}

static int build(struct change *change, struct change_draft *draft, struct error *err)
{
	struct asking *asking = (struct asking *)change;
	struct refusal refusal = {0};
	char roles[MEMBER_ROLES_BYTES];
	char address[IP_TEXT_BYTES];
	check_token(draft->image, asking, clock_wall_ms(asking->peers->daemon->clock), &refusal);
	if (refusal.reason)
		return error_set(err, -FL_ECONFLICT, "%s", refusal.sentence);
	const struct member *member = &asking->member;
	const struct member *known = image_member(draft->image, asking->node);
	if (known && member_equal(known, member))
		return CHANGE_NOTHING;
	int result = put_member(draft, member);
	if (result == 0)
		result = use_token(draft, asking);
	draft->what = json_pack("{s:s, s:s, s:s, s:s, s:s}", "node", member->name, "site",
				member->site, "roles", member_roles_format(member->roles, roles),
				"address", ip_address_format(&member->channel_address, address),
				"channel_key", member->channel_key);
	return result < 0 ? result : CHANGE_COMMIT;
}

static void done(struct change *change, int result, const struct error *err, uint64_t sequence)
{
	struct asking *asking = (struct asking *)change;
	(void)sequence;
	struct asking **at = &asking->peers->askings;
	while (*at != asking)
		at = &(*at)->next;
	*at = asking->next;
	if (asking->remote) {
		if (result == 0)
			welcome(asking->peers, asking->remote, asking->node, asking->key);
		else
			refuse(asking->peers, asking->remote, asking->node, PEER_JOIN_LATER,
			       err && *err->text ? err->text : error_text(result), "");
	}
	free(asking);
}

void join_asker_gone(struct peers *peers, const struct peer_remote *remote)
{
	for (struct asking *asking = peers->askings; asking; asking = asking->next) {
		if (asking->remote == remote)
			asking->remote = NULL;
	}
}

static struct asking *asking_new(struct peers *peers, const struct channel_join *join,
				 const struct peer_join_ask *ask)
{
	struct asking *asking = must_alloc(1, sizeof(*asking));
	struct member *member = &asking->member;
	asking->peers = peers;
	peer_token_secret_hash(ask->secret.data, &asking->secret);
	memcpy(asking->key, join->key.data, KEY_BYTES);
	snprintf(asking->node, sizeof(asking->node), "%s", ask->node);
	snprintf(asking->site, sizeof(asking->site), "%s", ask->site);
	snprintf(asking->ledger_key, sizeof(asking->ledger_key), "%.*s",
		 (int)sizeof(asking->ledger_key) - 1, ask->ledger_key);
	*member =
	    (struct member){.name = asking->node,
			    .site = asking->site,
			    .key = asking->ledger_key,
			    .roles = (unsigned)ask->roles & ~(unsigned)MEMBER_VOTER,
			    .features = (uint32_t)ask->features,
			    .channel_address = ask->address.family ? ask->address : join->address,
			    .channel_port = (uint16_t)ask->port};
	key_text_format(asking->key, member->channel_key);
	for (size_t i = 0; i < ask->sources.count && i < MEMBER_SOURCES; i++)
		member->sources[member->source_count++] = ask->sources.items[i].address;
	return asking;
}

/* A member of this name has the key that the asker proved. */
static bool is_member(const struct peers *peers, const struct channel_join *join,
		      const struct peer_join_ask *ask)
{
	const struct member *member = image_member(&peers->daemon->image, ask->node);
	char key[KEY_TEXT_BYTES];
	key_text_format(join->key.data, key);
	return member && strcmp(member->channel_key, key) == 0;
}

/* Its certificate has ended, or is about to: its key says who it is. */
static void renew(struct peers *peers, struct peer_remote *remote, const struct channel_join *join,
		  const struct peer_join_ask *ask)
{
	char key[KEY_TEXT_BYTES];
	key_text_format(join->key.data, key);
	const struct removed_member *removed =
	    removed_list_find_key(&peers->daemon->image.removed, key);
	const struct wire_bytes proof =
	    removed ? peers_removal(peers, removed->sequence) : (struct wire_bytes){0};
	if (removed)
		refuse_with(peers, remote, ask->node, PEER_JOIN_REMOVED,
			    "the node was removed from the fabric", "fairlead token", &proof);
	else if (!is_member(peers, join, ask))
		refuse(peers, remote, ask->node, PEER_JOIN_UNKNOWN_KEY,
		       "no member of this name has this key: it was removed, or never joined",
		       "fairlead token");
	else
		welcome(peers, remote, ask->node, join->key.data);
}

void join_answer(struct peers *peers, struct peer_remote *remote, const struct channel_join *join,
		 const struct peer_join_ask *ask)
{
	struct refusal refusal = {0};
	check_asker(peers, ask, &refusal);
	if (!refusal.reason && ask->secret.length != PEER_SECRET_BYTES) {
		renew(peers, remote, join, ask);
		return;
	}
	struct asking *asking = refusal.reason ? NULL : asking_new(peers, join, ask);
	if (asking)
		check_token(&peers->daemon->image, asking, clock_wall_ms(peers->daemon->clock),
			    &refusal);
	/* It used a token whose record has gone since, and its answer was lost. */
	if (refusal.reason == PEER_JOIN_SECRET && is_member(peers, join, ask)) {
		welcome(peers, remote, ask->node, join->key.data);
		free(asking);
		return;
	}
	if (refusal.reason) {
		refuse(peers, remote, ask->node, refusal.reason, refusal.sentence, refusal.command);
		free(asking);
		return;
	}
	asking->remote = remote;
	asking->next = peers->askings;
	peers->askings = asking;
	asking->change.kind = LEDGER_KIND_MEMBER_JOIN;
	snprintf(asking->change.who, sizeof(asking->change.who), "%s", asking->node);
	snprintf(asking->change.why, sizeof(asking->change.why), "it joined by a token");
	asking->change.build = build;
	asking->change.done = done;
	changes_submit(peers->daemon->changes, &asking->change);
}
