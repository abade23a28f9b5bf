/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peers: this node's conversations with the other members, over the node channel (peer/channel.h).
 * A node that decides nothing keeps a session with each voter: its replica follows the store there,
 * and what it observed, what its landing counted and what its local API is asked go there. A voter
 * takes all that in. While no voter that decides is reached, a node keeps sessions with others too,
 * and so does a voter until it has heard enough of them: everyone serves his store, and tells where
 * he stands (stand.c).
 *
 * Who is a member is what the replica says. Where voters are it says too; before it says anything,
 * what the join was told.
 */
#ifndef FAIRLEAD_DAEMON_MEMBER_PEERS_H
#define FAIRLEAD_DAEMON_MEMBER_PEERS_H

#include "api/call.h"
#include "base/error.h"
#include "fabric/observation.h"
#include "wire/peer.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct channel_counters;
struct daemon;
struct peers;

/* Takes the port; starts nothing. What the kernel says, with a sentence. */
must_check int peers_open(struct daemon *daemon, struct peers **ret_peers, struct error *err);

/* On the daemon's loop from now on. */
void peers_start(struct peers *peers);

/* Says goodbye and ends all sessions. Runs the loop until its process is gone. NULL is fine. */
void peers_close(struct peers *peers);
/* After the changes are, which may still end calls that were passed on. NULL is fine. */
void peers_free(struct peers *peers);

/* The replica moved: members may have come or gone. */
void peers_image_moved(struct peers *peers);
/* Call it every tick. */
void peers_tick(struct peers *peers, uint64_t now_ms);

/* To every voter that is reached; without news only when it is time again. */
void peers_observe(struct peers *peers, const struct observation *observation, bool news);
/* To a voter. False: none is reached. */
bool peers_tell_voter(struct peers *peers, const struct peer_message *message);

/* Have a voter answer the call. False: none is reached, and the call is still the caller's. */
bool peers_pass_on(struct peers *peers, struct api_call *call);

/* Add what is wrong with who goes by members' keys and names. */
void peers_put_alarms(const struct peers *peers, json_t *alarms);

/* Since a voter was heard last, or since the start; 0 while one is reached. */
uint64_t peers_voter_silent_ms(const struct peers *peers);

/* What the channel counted, of its present process; borrowed. */
const struct channel_counters *peers_counters(const struct peers *peers);

/* All of the replica was replaced: what was said of it is void. */
void peers_lost_track(struct peers *peers);

/* The member that the replica takes entries from; "": none. */
const char *peers_source(const struct peers *peers);
/* "" or how the last session ended, or was refused. */
const char *peers_last_failure(const struct peers *peers);

/* "" while a voter is reached, or when this node is one; else why none is. */
const char *peers_unreached(const struct peers *peers);

#endif
