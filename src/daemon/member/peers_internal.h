/* SPDX-License-Identifier: Apache-2.0 */
/* What peers.c and the files beside it share. */
#ifndef FAIRLEAD_DAEMON_MEMBER_PEERS_INTERNAL_H
#define FAIRLEAD_DAEMON_MEMBER_PEERS_INTERNAL_H

#include "base/alarms.h"
#include "daemon/daemon.h"
#include "daemon/landing/landing_session.h"
#include "daemon/member/peers.h"
#include "peer/channel.h"

struct asking;
struct credentials;
struct store_session;
struct relayed;
struct removal_entry;

/* One session with another member. It outlives its remote by a turn of the loop, since a remote may
 * go while something is said to it. */
struct fellow {
	struct peers *peers;
	struct fellow *next;
	struct peer_remote *remote; /* NULL: it is gone, and so will this be */
	char node[PEER_NAME_MAX + 1];
	char boot_id[PEER_ID_MAX + 1];
	char instance[PEER_ID_MAX + 1];
	char address[IP_TEXT_BYTES];
	bool is_up;
	bool outgoing;
	bool asks; /* it is no session, but a voter that is asked for a certificate */
	bool is_voter; /* by the records, or by what the join was told */
	bool is_followed; /* this node's replica follows the store there */
	struct store_session *serving; /* this node's store, to it; NULL: not */
	struct buffer serves; /* what it said of the store that it serves; empty: nothing yet */
	struct peer_standing told; /* what it was told of this node last */
	bool has_told;
	struct landing_session landing; /* its landing's; `daemon` NULL before its first report */
	struct relayed *relayed; /* calls that it is to answer */
	uint64_t last_call;
	uint64_t foremost_ms; /* when it was told how far the foremost edge is; 0: never */
	uint64_t foremost; /* what it was told */
};

struct peers {
	struct daemon *daemon;
	struct peer_channel *channel;
	struct fellow *fellows;
	struct asking *askings; /* machines whose join is being written */
	uint64_t members_revision; /* that the channel was told of */
	bool members_told;
	bool runs; /* the channel's process does */
	bool closing;
	uint64_t start_ms; /* when it is started again; 0: it runs */
	uint64_t renew_ms; /* when it is looked next whether the certificate wants renewing */
	uint64_t connect_ms; /* when voters are tried again */
	uint64_t observe_ms; /* when the voter is told again what this node sees, without news */
	uint64_t lost_ms; /* when the last session with a voter ended */
	struct channel_counters counters;
	uint64_t sought_ms; /* since when no voter that decides is followed; 0: one is */
	uint64_t settled_ms; /* since when one is */
	size_t seek_from; /* the member that is tried next */
	char unreached[512];
	struct removal_entry *removals; /* entries that removed nodes are shown */
	size_t removals_asked; /* of them, those that the store is asked for */
	struct alarm copied, name_taken; /* somebody goes by another's key, or name */
	/* When that was seen last, and since when it has been, without a pause; 0: it was not. */
	uint64_t turned_away_ms, turned_away_since_ms;
	char refusal[512]; /* why nothing can be changed here, to those whom the store is served */
};

/* Queue a message. False: it is not up. A message outside its limits is a bug. */
bool fellow_send(struct fellow *fellow, const struct peer_message *message);

/* Tell edges how far the foremost one is, each second and when that changes; call it every tick. */
void peers_tell_foremost(struct peers *peers, uint64_t now_ms);

/* A voter that is reached; NULL: none. */
struct fellow *peers_voter(const struct peers *peers);

/* --- roll_call.c: who is a member, and who shows up as one --- */

void roll_call_done(struct peers *peers);
/* The ledger entry that removed a node, borrowed; empty while it is not known. */
struct wire_bytes peers_removal(const struct peers *peers, uint64_t sequence);
void peers_note_turned_away(struct peers *peers, const struct channel_turned_away *who);
void peers_take_warning(struct peers *peers, const struct peer_warning *message);
/* Call it every tick. */
void peers_forget_turned_away(struct peers *peers, uint64_t now_ms);

/* --- stand.c: where everyone stands, and who is followed --- */

void stand_up(struct fellow *fellow);
void stand_down(struct fellow *fellow);
void stand_take(struct fellow *fellow, const struct peer_standing *message);
void stand_take_store_frame(struct fellow *fellow, const struct wire_bytes *frame,
			    enum peer_number number);
/* Follow whoever is the right one now. */
void stand_choose(struct peers *peers);
void stand_tick(struct peers *peers);
/* The store that is served has become another one. */
void stand_serve_anew(struct peers *peers);
/* Those who want to change something here are told who does. */
void stand_say_who_decides(struct peers *peers);
/* Are others wanted, besides the voters? */
bool stand_seeks(const struct peers *peers);

/* --- relay.c: calls of the local API that another node answers --- */

/* The voter's side: somebody passes a call on. */
void relay_take_call(struct fellow *fellow, const struct peer_api_call *message);
/* The other side: the answer is here, or will never be. */
void relay_take_answer(struct fellow *fellow, const struct peer_api_answer *message);
void relay_lost(struct fellow *fellow);

/* --- reach.c --- */

struct fellow *fellow_new(struct peers *peers);
/* With each voter that there is no session with. */
void peers_connect_to_voters(struct peers *peers);
/* With members, until there are some sessions; and end those again. */
void peers_seek_others(struct peers *peers);
void peers_leave_others(struct peers *peers);
/* Show these instead. -FL_EINVALID when they do not fit together; all is as before then. */
must_check int peers_show_identity(struct peers *peers, const struct credentials *credentials,
				   struct error *err);
/* Ask a voter this, a frame `join_ask`; renewal_take() gets the answer. */
void peers_ask_voter(struct peers *peers, const struct wire_bytes *question);

/* --- renewal.c: this node's certificate --- */

/* Call it every tick. */
void renewal_run(struct peers *peers, uint64_t now_ms);
void renewal_take(struct peers *peers, const struct peer_message *message);

/* --- join_answer.c: machines that ask to join --- */

void join_answer(struct peers *peers, struct peer_remote *remote, const struct channel_join *join,
		 const struct peer_join_ask *ask);
/* The asker went. */
void join_asker_gone(struct peers *peers, const struct peer_remote *remote);

#endif
