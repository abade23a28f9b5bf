/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker: the channel's process. It listens, connects, speaks TLS and reads what strangers send;
 * so it has no rights (confine.h), and of the fabric's secrets only the channel key. The daemon is
 * its parent (channel.h), starts it as `fairlead channel` and tells it by wire/channel.h what to
 * do. It reads nothing of the network before it has given up its rights, and ends when its parent
 * does.
 *
 * What it decides itself, since it must be decided before frames are believed: who gets in. A
 * certificate of the fabric, no removal on the list of members, the name's own key, and one process
 * for each key: a second one is refused while the first is heard, without harm to it.
 *
 * What it may hold for those who are not in: PEER_STRANGERS connections, of which the oldest gives
 * way to the next; PEER_STRANGERS_OF_ONE of one source; and a source that fails too often is closed
 * unread for a while (source_limits.h).
 */
#ifndef FAIRLEAD_PEER_WORKER_H
#define FAIRLEAD_PEER_WORKER_H

#define PEER_WORKER_VERB "channel"
#define PEER_WORKER_PIPE_FD 3
#define PEER_WORKER_LISTEN_FD 4

#define PEER_STRANGERS 256u
#define PEER_STRANGERS_OF_ONE 64u
#define PEER_HOLD_BYTES (8u << 20) /* that the daemon has not read, before reading pauses */
#define PEER_GO_ON_BYTES (1u << 20)

/*
 * All of the process: main() calls it when its first argument is PEER_WORKER_VERB. The arguments
 * after it are the user to become, the most descriptors, and "listen" or "connect". What it returns
 * is the exit status; it says nothing but, on standard error, why it could not begin.
 */
int peer_worker_main(int argc, char **argv);

#endif
