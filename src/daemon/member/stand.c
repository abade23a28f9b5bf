/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where this node and the others stand in the ledger, and from whom it takes what it lacks
 * (fabric/standing.h). Each tells each with whom it has a session; each serves its store. The
 * replica follows one of them: a voter that decides, or, while none is reached, whoever has more. A
 * voter that starts listens first, and takes what it lacks likewise.
 */
#include "base/log.h"
#include "base/memory.h"
#include "daemon/member/authority.h"
#include "daemon/member/peers_internal.h"
#include "store/peer/client.h"
#include "store/peer/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMED 5u /* edges that a sentence names */

/* --- the store, to whoever is a member -------------------------------------------------------- */

static bool line_send(void *context, const void *frame, size_t length)
{
	struct fellow *fellow = context;
	return fellow->remote && peer_channel_send(fellow->remote, frame, length);
}

static size_t line_queued(void *context)
{
	const struct fellow *fellow = context;
	return fellow->remote ? peer_channel_queued(fellow->remote) : 0;
}

static void line_cut(void *context)
{
	struct fellow *fellow = context;
	if (fellow->remote)
		peer_channel_cut(fellow->remote, PEER_PARTING_OTHER,
				 "what was said about the store makes no sense", NULL);
}

static struct peer_line line_of(struct fellow *fellow)
{
	return (struct peer_line){
	    .send = line_send, .queued = line_queued, .cut = line_cut, .context = fellow};
}

static void serve(struct fellow *fellow)
{
	struct error err = {0};
	struct daemon *daemon = fellow->peers->daemon;
	const struct peer_line line = line_of(fellow);
	const char *refusal = daemon->decides ? daemon->replica.refusal : fellow->peers->refusal;
	if (must_succeed(store_session_up(daemon->store, &line, refusal, &fellow->serving, &err)) <
		0 &&
	    fellow->remote)
		peer_channel_cut(fellow->remote, PEER_PARTING_OTHER, err.text, NULL);
}

void stand_serve_anew(struct peers *peers)
{
	for (struct fellow *fellow = peers->fellows; fellow; fellow = fellow->next) {
		if (!fellow->serving)
			continue;
		store_session_down(fellow->serving);
		fellow->serving = NULL;
		if (fellow->is_up && fellow->remote)
			serve(fellow);
	}
}

void stand_say_who_decides(struct peers *peers)
{
	const struct image *image = &peers->daemon->image;
	const char *voter = NULL;
	for (size_t i = 0; i < image->member_count; i++) {
		if (member_has(image->members[i].member, MEMBER_VOTER))
			voter = image->members[i].member->name;
	}
	snprintf(peers->refusal, sizeof(peers->refusal), "node %s decides nothing: %s%s does",
		 peers->daemon->options->node, voter ? "voter " : "a voter", voter ? voter : "");
}

/* --- who is followed -------------------------------------------------------------------------- */

static struct fellow *followed(const struct peers *peers)
{
	for (struct fellow *fellow = peers->fellows; fellow; fellow = fellow->next) {
		if (fellow->is_followed)
			return fellow;
	}
	return NULL;
}

const char *peers_source(const struct peers *peers)
{
	const struct fellow *fellow = followed(peers);
	return fellow ? fellow->node : "";
}

static void leave(struct fellow *fellow)
{
	fellow->is_followed = false;
	authority_leave(fellow->peers->daemon->authority);
}

static void follow(struct fellow *fellow)
{
	struct authority *authority = fellow->peers->daemon->authority;
	const struct peer_line line = line_of(fellow);
	fellow->is_followed = true;
	authority_join(authority, &line);
	store_peer_take(authority_store(authority), fellow->serves.data, fellow->serves.length);
	authority_wake(authority);
}

static struct fellow *find_serving(const struct peers *peers, const char *node)
{
	for (struct fellow *fellow = peers->fellows; fellow; fellow = fellow->next) {
		if (fellow->is_up && fellow->remote && fellow->serves.length &&
		    strcmp(fellow->node, node) == 0)
			return fellow;
	}
	return NULL;
}

/* NULL: nobody. One that has not said yet whose store it serves is followed when it has. */
static void follow_node(struct peers *peers, const char *node)
{
	struct fellow *now = followed(peers);
	struct fellow *next = node ? find_serving(peers, node) : NULL;
	if (now == next)
		return;
	if (now)
		leave(now);
	if (!next)
		return;
	log_event(LOG_LEVEL_INFO, "store.followed", "node", next->node, NULL);
	follow(next);
}

void stand_take_store_frame(struct fellow *fellow, const struct wire_bytes *frame,
			    enum peer_number number)
{
	struct authority *authority = fellow->peers->daemon->authority;
	switch ((int)number) {
	case PEER_STORE_RANGE:
	case PEER_STORE_TXN:
	case PEER_STORE_LEASE:
	case PEER_STORE_WATCH:
	case PEER_STORE_UNWATCH:
		if (fellow->serving)
			store_session_take(fellow->serving, frame->data, frame->length);
		return;
	default:
		break;
	}
	if (number == PEER_STORE_SERVES) {
		/* Another history may be served from now on: what is followed begins anew. */
		bool again = fellow->is_followed;
		if (again)
			leave(fellow);
		buffer_done(&fellow->serves);
		buffer_init(&fellow->serves, 0);
		buffer_append(&fellow->serves, frame->data, frame->length);
		must_succeed(fellow->serves.status);
		if (again)
			follow(fellow);
	} else if (fellow->is_followed) {
		store_peer_take(authority_store(authority), frame->data, frame->length);
		authority_wake(authority);
	}
}

/* --- what is said ----------------------------------------------------------------------------- */

static struct ledger_position head_of(const struct daemon *daemon)
{
	return (struct ledger_position){.sequence = daemon->image.head.sequence,
					.digest = daemon->image.head.digest};
}

/* Only what is new to it; in each session, where it stands at first. */
static void tell(struct fellow *fellow)
{
	const struct daemon *daemon = fellow->peers->daemon;
	const struct standing own = {.decides =
					 daemon->decides && replica_is_writable(&daemon->replica),
				     .head = head_of(daemon),
				     .mark = daemon->replica.acknowledged};
	const struct ledger_position yours =
	    standings_mark(&daemon->standings, &daemon->image, fellow->node);
	const struct peer_message message = standing_message(&own, &yours);
	if (fellow->has_told && standing_message_equal(&fellow->told, &message.standing))
		return;
	fellow->has_told = fellow_send(fellow, &message);
	fellow->told = message.standing;
}

static void tell_all(struct peers *peers)
{
	for (struct fellow *fellow = peers->fellows; fellow; fellow = fellow->next) {
		if (fellow->is_up && fellow->remote)
			tell(fellow);
	}
}

void stand_up(struct fellow *fellow)
{
	buffer_init(&fellow->serves, 0);
	serve(fellow);
	if (fellow->remote)
		tell(fellow);
}

void stand_down(struct fellow *fellow)
{
	struct daemon *daemon = fellow->peers->daemon;
	if (fellow->is_followed)
		leave(fellow);
	store_session_down(fellow->serving);
	fellow->serving = NULL;
	buffer_done(&fellow->serves);
	/* Another session of the same node may have begun. */
	for (struct fellow *other = fellow->peers->fellows; other; other = other->next) {
		if (other != fellow && other->is_up && strcmp(other->node, fellow->node) == 0)
			return;
	}
	standings_lost(&daemon->standings, fellow->node);
}

/* This node acknowledged more, at some time, than anything here knew. */
static void learn(struct daemon *daemon, const struct fellow *fellow,
		  const struct ledger_position *mine)
{
	struct error err = {0};
	bool was = daemon->replica.standing == REPLICA_CURRENT;
	int result = replica_learn(&daemon->replica, &daemon->image, mine, &err);
	if (result < 0)
		log_event(LOG_LEVEL_ERROR, "mark.failed", "error", err.text, NULL);
	if (was && *daemon->replica.behind)
		daemon_event(daemon, "mark.learned",
			     json_pack("{s:s, s:s}", "from", fellow->node, "warning",
				       daemon->replica.behind));
}

void stand_take(struct fellow *fellow, const struct peer_standing *message)
{
	struct peers *peers = fellow->peers;
	struct daemon *daemon = peers->daemon;
	struct ledger_position mine;
	const struct standing standing = standing_of_message(message, &mine);
	must_succeed(standings_take(&daemon->standings, fellow->node, fellow->is_voter, &standing));
	acting_answered(&daemon->acting, &standing.head, standing.decides);
	learn(daemon, fellow, &mine);
	/* With a thousand members that say so at each commit, what changes nothing costs nothing.
	 */
	if (daemon->decides && !*daemon->replica.awaits &&
	    standing.head.sequence <= daemon->image.head.sequence &&
	    standing.mark.sequence <= daemon->image.head.sequence)
		return;
	if (daemon->decides)
		daemon_listen(daemon);
	stand_choose(peers);
}

/* --- whom to follow --------------------------------------------------------------------------- */

/* The one that is followed has another history, or lacks what it said that it has. */
static void judge_source(struct peers *peers)
{
	struct daemon *daemon = peers->daemon;
	const struct fellow *source = followed(peers);
	if (!source)
		return;
	enum follower_state state = follower_state(authority_follower(daemon->authority));
	if (state == FOLLOWER_FORKED || state == FOLLOWER_BEHIND)
		standings_off_chain(&daemon->standings, source->node);
}

void stand_choose(struct peers *peers)
{
	struct daemon *daemon = peers->daemon;
	const struct ledger_position head = head_of(daemon);
	const char *now = peers_source(peers);
	if (!daemon->authority || (daemon->decides && !*daemon->replica.awaits && !*now))
		return;
	judge_source(peers);
	if (daemon->decides) {
		const struct voter_verdict verdict = daemon_verdict(daemon);
		bool lacks = verdict.standing == VOTER_IS_BEHIND && verdict.can_give;
		follow_node(peers, lacks ? verdict.node : NULL);
		return;
	}
	const struct standing_row *row =
	    standings_source(&daemon->standings, &head, *now ? now : NULL);
	follow_node(peers, row ? row->node : NULL);
}

bool stand_seeks(const struct peers *peers)
{
	const struct daemon *daemon = peers->daemon;
	const struct fellow *source = followed(peers);
	if (daemon->decides)
		return *daemon->replica.awaits != '\0';
	return !source || !source->is_voter;
}

void stand_tick(struct peers *peers)
{
	stand_choose(peers);
	tell_all(peers);
}

/* --- a voter listens (PROTOCOL.md rule 4) ----------------------------------------------------- */

struct voter_verdict daemon_verdict(const struct daemon *daemon)
{
	return standings_judge(&daemon->standings, &daemon->image, daemon->options->node,
			       daemon->is_sure, daemon->replica.has_peers);
}

/* "b, c and 3 more" */
static const char *list_unheard(const struct daemon *daemon, struct buffer *text)
{
	const struct image *image = &daemon->image;
	size_t count = 0;
	buffer_init(text, 0);
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *member = image->members[i].member;
		if (!member_has(member, MEMBER_EDGE) ||
		    standings_hear(&daemon->standings, member, daemon->options->node))
			continue;
		if (count++ < NAMED)
			buffer_printf(text, "%s%s", count > 1 ? ", " : "", member->name);
	}
	if (count > NAMED)
		buffer_printf(text, " and %zu more", count - NAMED);
	must_succeed(text->status);
	return text->length ? text->data : "those that the state here does not name";
}

static void say_listening(const struct daemon *daemon, const struct voter_verdict *verdict,
			  char *why, size_t room)
{
	struct buffer names;
	const char *tried = daemon->peers ? peers_last_failure(daemon->peers) : "";
	snprintf(
	    why, room,
	    "this voter has started and takes no orders yet: it has heard %zu of %zu edges, and "
	    "one that it has not heard may have more than the state here. Not heard: %.300s. "
	    "Start them, or look why they are not reached%s%.300s. If you know that this "
	    "disk holds the newest state, `fairlead store resume` goes on without them",
	    verdict->heard, verdict->edges, list_unheard(daemon, &names),
	    *tried ? "; the last try: " : "", tried);
	buffer_done(&names);
}

static void say_behind(const struct daemon *daemon, const struct voter_verdict *verdict, char *why,
		       size_t room)
{
	unsigned long long head = daemon->image.head.sequence;
	unsigned long long there = verdict->there.sequence;
	if (verdict->standing == VOTER_HAS_FORKED)
		snprintf(why, room,
			 "this voter takes no orders: node %s goes by another history, in which "
			 "ledger entry %llu is not the one that is known here. One of the two was "
			 "put back, or copied. Put the right state back; or run `fairlead store "
			 "recover`, which goes on from the one here and gives up the other one",
			 verdict->node, there);
	else
		snprintf(why, room,
			 "this voter takes no orders: node %s %s ledger entry %llu, and the state "
			 "here ends at entry %llu; %llu %s missing. %s",
			 verdict->node, verdict->can_give ? "has" : "acknowledged", there, head,
			 there - head, there - head == 1 ? "entry is" : "entries are",
			 verdict->can_give
			     ? "They are taken from there"
			     : "No node that is reached has them: bring one that has them back; "
			       "or run `fairlead store recover`, which goes on without them");
}

void daemon_listen(struct daemon *daemon)
{
	char why[sizeof(daemon->replica.awaits)] = "";
	if (!daemon->options->channel)
		return;
	const struct voter_verdict verdict = daemon_verdict(daemon);
	bool waited = *daemon->replica.awaits != '\0';
	if (verdict.standing == VOTER_DECIDES)
		daemon->is_sure = true;
	else if (verdict.standing == VOTER_LISTENS)
		say_listening(daemon, &verdict, why, sizeof(why));
	else
		say_behind(daemon, &verdict, why, sizeof(why));
	if (!replica_await(&daemon->replica, why))
		return;
	if (*why && (!waited || verdict.standing != VOTER_LISTENS))
		daemon_event(daemon, "voter.waits", json_pack("{s:s}", "warning", why));
	else if (!*why)
		daemon_event(
		    daemon, "voter.decides",
		    json_pack("{s:I}", "sequence", (json_int_t)daemon->image.head.sequence));
}
