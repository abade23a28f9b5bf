/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alarms: what is not as it should be and may need somebody, and notes, which are as they may be
 * and yet worth knowing. One table holds all of them. A row has a code that programs may rely on, a
 * severity, the kind of thing that it is about, the sentence, and what to do about it.
 *
 * `status` shows those that stand; the log and `fairlead events` tell of one when it begins, under
 * the same code. An alarm travels between nodes as its code and its words (alarm_json()), so that a
 * node shows what a newer one sent, though its own table does not have the code.
 *
 * docs/design/alarms.md is rendered from the table.
 */
#ifndef FAIRLEAD_BASE_ALARMS_H
#define FAIRLEAD_BASE_ALARMS_H

#include "base/clock.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* X(id, name, meaning) */
#define ALARM_SEVERITIES(X)                                                                        \
	X(ALARM, "alarm", "needs somebody while it stands")                                        \
	X(REPAIRED, "repaired",                                                                    \
	  "was set back already, and is told for a minute, so that somebody looks for the cause")  \
	X(RISK, "risk", "is as it may be until one machine fails: a single point of failure")      \
	X(NOTE, "note", "is as it may be, and worth knowing")

/* X(id, name): kinds of things that alarms are about. */
#define ALARM_SUBJECTS(X)                                                                          \
	X(NODE, "node")                                                                            \
	X(STORE, "store")                                                                          \
	X(RECORD, "record")                                                                        \
	X(COPY, "copy")                                                                            \
	X(DNS, "dns")                                                                              \
	X(INTERFACE, "interface")                                                                  \
	X(ADDRESS, "address")                                                                      \
	X(BACKEND, "backend")                                                                      \
	X(SYSCTL, "sysctl")                                                                        \
	X(ROUTE, "route")                                                                          \
	X(RULE, "rule")                                                                            \
	X(LISTENER, "listener")                                                                    \
	X(SERVICE, "service")                                                                      \
	X(POOL, "pool")

/*
 * X(id, code, severity, subject, sentence, advice)
 *
 * The sentence is a printf format. In the advice {} stands for the subject's name.
 */
#define ALARMS(X)                                                                                  \
	X(STATE_READ_ONLY, "state.read-only", ALARM, STORE, "%s", "")                              \
	X(STATE_BEHIND, "state.behind", ALARM, STORE, "%s", "")                                    \
	X(VOTER_UNREACHED, "voter.unreached", ALARM, STORE,                                        \
	  "no voter is reached (%s); this node goes on by ledger entry %llu",                      \
	  "what is forwarded and answered stays as it is, and orders are refused here; look "      \
	  "whether the voter runs, and whether its channel's TCP port is let through")             \
	X(VOTER_BY_PEER, "voter.by-peer", ALARM, STORE,                                            \
	  "no voter is reached (%s); this node goes on by ledger entry %llu, and takes what is "   \
	  "newer from %s",                                                                         \
	  "what is forwarded and answered stays as it is, and orders are refused here; look "      \
	  "whether the voter runs, and whether its channel's TCP port is let through")             \
	X(VOTER_WAITS, "voter.waits", ALARM, STORE, "%s", "")                                      \
	X(CHANNEL_CLOSED, "channel.closed", ALARM, NODE, "the node channel does not listen: %s",   \
	  "other nodes do not reach this one, and what it forwards stays as it is; free the "      \
	  "port, or give the node another one")                                                    \
	X(METRICS_CLOSED, "metrics.closed", ALARM, NODE, "metrics cannot be read: %s",             \
	  "free the port, or give this node another place by --metrics; it is tried again every "  \
	  "second")                                                                                \
	X(VOTER_NOT_FOLLOWED, "voter.not-followed", ALARM, STORE,                                  \
	  "this node does not follow the voter that it reaches: %s", "")                           \
	X(MEMBER_SILENT, "member.silent", ALARM, NODE,                                             \
	  "node %s is silent for %.0f s: it may forward and answer still, so every closing waits " \
	  "for it",                                                                                \
	  "bring it back, or `fairlead node remove {}` if the machine is gone")                    \
	X(MEMBER_NEVER_HEARD, "member.never-heard", ALARM, NODE,                                   \
	  "node %s was not heard since the voter's daemon started: it may forward and answer, so " \
	  "every closing waits for it",                                                            \
	  "start `fairlead run` there, or `fairlead node remove {}` if the machine is gone")       \
	X(SINGLE_VOTER, "single.voter", RISK, NODE,                                                \
	  "node %s is the only voter: while it is away all goes on, but nothing can be changed, "  \
	  "and nobody can join",                                                                   \
	  "keep copies of its state folder elsewhere; there is one voter in this release")         \
	X(SINGLE_EDGE, "single.edge", RISK, NODE,                                                  \
	  "node %s is the only edge: without it nothing is forwarded",                             \
	  "let a machine join as another one (`fairlead token --role edge,names,backend`), and "   \
	  "route the pools to both")                                                               \
	X(SINGLE_NAMES, "single.names", RISK, NODE,                                                \
	  "node %s is the only one that answers names: without it no client finds a service",      \
	  "let a machine join as another one (`fairlead token --role edge,names,backend`), and "   \
	  "name it under `nameservers` and in the zone above")                                     \
	X(SINGLE_NAMESERVER, "single.nameserver", RISK, DNS,                                       \
	  "the file has one name server, %s: resolvers ask no other one",                          \
	  "name the other nodes that answer names under `nameservers`, and in the zone above")     \
	X(SINGLE_BACKEND, "single.backend", RISK, SERVICE,                                         \
	  "service %s has one machine, %s: without it the service is gone",                        \
	  "add a backend on another machine to the file, and apply it")                            \
	X(MARK_FAILED, "mark.failed", ALARM, STORE,                                                \
	  "it cannot be noted which change was carried out last: %s",                              \
	  "nothing newer is acknowledged until it can be, so no version becomes ready; look "      \
	  "after the disk")                                                                        \
	X(STORE_FAILED, "store.failed", ALARM, STORE, "the store takes no changes: %s",            \
	  "what is forwarded and answered stays as it is; it is tried again every second")         \
	X(STATE_OLD, "state.old", ALARM, STORE,                                                    \
	  "the state has the form of an earlier release and cannot be taken over: %s",             \
	  "orders are refused until it is; it is tried again every second")                        \
	X(RECORD_UNREAD, "record.unread", ALARM, RECORD, "record %s",                              \
	  "it is kept as it is, and what would need it is not done here; upgrade this node")       \
	X(RECORDS_UNREAD, "record.unread-more", ALARM, NODE,                                       \
	  "%zu more records are not understood here", "upgrade this node")                         \
	X(COPY_FAILED, "copy.failed", ALARM, COPY, "no copy of the state can be kept: %s",         \
	  "it is tried again; until then a store that is lost would leave this node with an "      \
	  "older one")                                                                             \
	X(COPY_DAMAGED, "copy.damaged", ALARM, COPY,                                               \
	  "%s: a store that is lost now would leave this node without it",                         \
	  "the store is sound, and a new one is written; look after the disk")                     \
	X(MEMBER_OTHER_KEY, "member.other-key", ALARM, NODE,                                       \
	  "the ledger knows node %s by another key than the one in this state folder, so its "     \
	  "record is left as it is",                                                               \
	  "put the folder's node.key back, or start this machine under a name of its own")         \
	X(MEMBER_ROLE_LEFT, "member.role-left", ALARM, NODE,                                       \
	  "this node was started without %s, but its maps still forward: every closing waits for " \
	  "it",                                                                                    \
	  "start it with that role, or run `fairlead detach`")                                     \
	X(MEMBER_FENCING, "member.fencing", ALARM, NODE,                                           \
	  "%s; until all of them took it off their lists, no address gets another meaning, since " \
	  "it may still forward",                                                                  \
	  "bring that backend's landing back, or `fairlead backend forget` it if the machine is "  \
	  "gone")                                                                                  \
	X(NODE_REMOVED, "node.removed", ALARM, NODE,                                               \
	  "this node was removed from the fabric by ledger entry %llu: it forwards and answers "   \
	  "nothing, and does not come back by itself",                                             \
	  "`fairlead join` makes the machine a member again, also under this name; stop the "      \
	  "daemon first")                                                                          \
	X(REMOVAL_NOT_BELIEVED, "removal.not-believed", ALARM, NODE,                               \
	  "%s refuses this node as one that was removed, and what it shows for that is not "       \
	  "sound: %s; this node goes on",                                                          \
	  "find out what runs there; if the node was removed, run `fairlead detach` here")         \
	X(CHANNEL_COPIED, "channel.copied", ALARM, NODE,                                           \
	  "a second machine speaks by the channel key of node %s, from %s, and is refused; the "   \
	  "first one is not affected",                                                             \
	  "if a disk was copied, stop fairlead on the copy, remove its state folder, and let it "  \
	  "join under a name of its own; if that was nobody of yours, `fairlead node remove {}` "  \
	  "and let the machine join anew")                                                         \
	X(CHANNEL_NAME, "channel.name-taken", ALARM, NODE,                                         \
	  "somebody with another channel key says that it is node %s, from %s, and is refused",    \
	  "a machine that takes the node's place joins after `fairlead node remove {}`; two "      \
	  "machines need two names")                                                               \
	X(EDGE_BEHIND, "edge.behind", ALARM, NODE, "the edge cannot take the latest change: %s",   \
	  "what is forwarded and answered stays as it is; it is tried again all the time")         \
	X(DNS_BEHIND, "dns.behind", ALARM, DNS, "DNS cannot take the latest change: %s",           \
	  "what is answered stays as it is; it is tried again all the time")                       \
	X(EDGE_INTERFERENCE, "edge.interference", ALARM, NODE,                                     \
	  "somebody else changed this edge: %s",                                                   \
	  "find out who: 'bpftool' can, and so can another program that manages XDP")              \
	X(EDGE_SET_BACK, "edge.set-back", REPAIRED, NODE,                                          \
	  "somebody else changed this edge: %s; it was set back",                                  \
	  "find out who: 'bpftool' can, and so can another program that manages XDP")              \
	X(EDGE_NEXT_HOPS, "edge.next-hops", ALARM, NODE,                                           \
	  "next hops are not followed, the kernel's routes are asked instead: %s",                 \
	  "it is tried again all the time")                                                        \
	X(PASSING_ON, "edge.passing-on", ALARM, NODE,                                              \
	  "this edge is behind: it passed %llu packets, for addresses that it knows nothing of, "  \
	  "on to other edges within %u s",                                                         \
	  "it catches up as soon as it reaches a voter, or an operator repairs its state")         \
	X(OWN_CALLS, "edge.own-calls", ALARM, NODE,                                                \
	  "what this machine itself calls of the fabric's services does not go through its edge: " \
	  "%s",                                                                                    \
	  "it is tried again all the time; other machines' calls are not concerned")               \
	X(PASSING_FAILED, "edge.passing-failed", ALARM, NODE,                                      \
	  "it cannot be set what this edge passes on to others, and takes from them: %s",          \
	  "it is tried again all the time")                                                        \
	X(INTERFACE_GONE, "interface.gone", ALARM, INTERFACE, "interface %s is gone",              \
	  "it is taken back when it appears again")                                                \
	X(INTERFACE_DETACHED, "interface.detached", ALARM, INTERFACE,                              \
	  "interface %s does not carry the edge program: %s", "it is tried again all the time")    \
	X(INTERFACE_TROUBLE, "interface.trouble", ALARM, INTERFACE, "interface %s: %s", "")        \
	X(INTERFACE_GENERIC, "interface.generic", NOTE, INTERFACE,                                 \
	  "the driver of interface %s does not take the edge program (%s), so that all of this "   \
	  "edge's interfaces run it outside their drivers, at a fraction of the speed",            \
	  "a smaller MTU ('ip link set {} mtu N'), fewer offloads or another driver may help; it " \
	  "is tried again at the next start")                                                      \
	X(INTERFACE_MERGING, "interface.merging", ALARM, INTERFACE,                                \
	  "interface %s gets packets that the device %s below it has merged, and large uploads "   \
	  "are dropped as too_big: turn that off with 'ethtool -K %s gro off'",                    \
	  "")                                                                                      \
	X(DROPS_TOO_BIG, "drops.too-big", ALARM, NODE,                                             \
	  "%llu packets were too big for the way to their backend within %u s: clients that do "   \
	  "not send smaller ones hang",                                                            \
	  "let the links between edge and backends carry 40 bytes more than the clients' do, "     \
	  "1540 for 1500; `fairlead status -o json` says each backend's MTU")                      \
	X(DROPS_ICMP_TOO_BIG, "drops.icmp-too-big", ALARM, NODE,                                   \
	  "%llu times within %u s a router told a service address that a packet of a backend was " \
	  "too big: no backend hears of it in this release",                                       \
	  "TCP finds the size by itself, with a delay of seconds; a server of UDP must send "      \
	  "smaller datagrams")                                                                     \
	X(INTERFACE_DOWN, "interface.down", ALARM, INTERFACE, "interface %s is down",              \
	  "bring it up with 'ip link set {} up'")                                                  \
	X(INTERFACE_NO_CARRIER, "interface.no-carrier", ALARM, INTERFACE,                          \
	  "interface %s has no carrier", "look at the cable and its far end")                      \
	X(SOURCE_GONE, "source.gone", ALARM, ADDRESS,                                              \
	  "source %s is not on this machine any more: packets of IPv%d tunnels are lost or go "    \
	  "unanswered",                                                                            \
	  "add it back, or start with another --source")                                           \
	X(BACKEND_NO_ROUTE, "backend.no-route", ALARM, ADDRESS,                                    \
	  "there is no route to backend %s, and its packets are lost",                             \
	  "see 'ip route get {}', and add one")                                                    \
	X(NEIGHBOURS_FULL, "neighbours.full", ALARM, SYSCTL,                                       \
	  "the kernel holds no more IPv%d neighbours, so that backends have no next hop: raise "   \
	  "net.ipv%d.neigh.default.gc_thresh3",                                                    \
	  "'sysctl -w net.ipv{}.neigh.default.gc_thresh3=N', with N above the machines that this " \
	  "one speaks to directly")                                                                \
	X(BACKEND_NO_NEXT_HOP, "backend.no-next-hop", ALARM, ADDRESS,                              \
	  "backend %s has no next hop: each packet asks the kernel's routes",                      \
	  "is it up, and does the route to it leave by an --interface?")                           \
	X(BACKENDS_NO_NEXT_HOP, "backend.no-next-hop-more", ALARM, NODE,                           \
	  "%zu more backends have no next hop", "`fairlead status -o json` lists them")            \
	X(DNS_FAILED, "dns.failed", ALARM, DNS, "no name is answered here: %s",                    \
	  "it is tried again every second")                                                        \
	X(DNS_ADDRESS_GONE, "dns.address-gone", ALARM, ADDRESS,                                    \
	  "%s is not on this machine any more, so no name is answered there",                      \
	  "add it back, or start with another --dns")                                              \
	X(DNS_IN_PART, "dns.in-part", ALARM, DNS, "DNS leaves out what it cannot build: %s",       \
	  "correct the name in the file, and apply it; all else is answered")                      \
	X(DNS_NO_NAMESERVER, "dns.no-nameserver", ALARM, DNS,                                      \
	  "the file has no `nameservers`, and --dns is a wildcard: the zone's name server has no " \
	  "address that could be published",                                                       \
	  "name it under `nameservers`")                                                           \
	X(CLOCK_JUMPED, "clock.jumped", ALARM, NODE,                                               \
	  "this machine's clock was set %s by %lld s: states and pauses are paced without it, "    \
	  "but ledger and log are stamped with it",                                                \
	  "see 'timedatectl' whether it is right now")                                             \
	X(FILES_FEW, "files.few", ALARM, NODE,                                                     \
	  "this process may have only %zu files open of the %zu that it wants: the local API "     \
	  "takes %u clients, and DNS %u connections over TCP per thread",                          \
	  "raise LimitNOFILE (ulimit -n)")                                                         \
	X(POOL_LOW, "pool.low", ALARM, POOL,                                                       \
	  "pool %s has slots for %u more rollout%s of a service: %u free, %u idle and freed when " \
	  "they are needed; %u are in use by versions that drain, %u rest in quarantine",          \
	  "put a further pool into the file; `fairlead get versions` shows what drains")           \
	X(BACKEND_SILENT, "backend.silent", ALARM, BACKEND,                                        \
	  "backend %s is silent for %.1f s: its connections count as in use",                      \
	  "bring its landing back, or `fairlead backend forget {}` if the machine is gone")        \
	X(BACKEND_NEVER_REPORTED, "backend.never-reported", ALARM, BACKEND,                        \
	  "backend %s has not reported since this daemon started: its connections count as in "    \
	  "use",                                                                                   \
	  "start `fairlead run --role backend --node {}` there, or `fairlead backend forget {}`")  \
	X(BACKEND_ELSEWHERE, "backend.elsewhere", ALARM, BACKEND,                                  \
	  "who reports as %s is a machine without its address, %s: what it counts is not that "    \
	  "backend's, whose connections count as in use",                                          \
	  "give each landing the --node of its own machine, or correct the address in the "        \
	  "fabric's file")                                                                         \
	X(BACKEND_DISPUTED, "backend.disputed", ALARM, BACKEND,                                    \
	  "two processes report as %s, and the newer one is not heard: its connections count as "  \
	  "in use",                                                                                \
	  "give each backend a --node of its own")                                                 \
	X(BACKEND_LATE, "backend.late", ALARM, BACKEND,                                            \
	  "backend %s has not carried out its configuration for %.1f s: new flows to it may be "   \
	  "lost",                                                                                  \
	  "see what `fairlead describe backend/{}` says of its landing")                           \
	X(BACKEND_SPARE, "backend.spare", NOTE, BACKEND,                                           \
	  "%s reports, but is no backend of any service", "a spare, or is its --node wrong?")      \
	X(BACKENDS_AWAITED, "backend.awaited", NOTE, NODE,                                         \
	  "the first report of %zu %s is awaited", "")                                             \
	X(LANDING_NOT_CONFIGURED, "landing.not-configured", ALARM, NODE,                           \
	  "the landing cannot take its configuration: %s", "it is tried again with each report")   \
	X(LANDING_NOT_CUT, "landing.not-cut", ALARM, NODE, "connections cannot be cut: %s", "")    \
	X(LANDING_NOT_COUNTED, "landing.not-counted", ALARM, NODE,                                 \
	  "connections cannot be counted: %s", "")                                                 \
	X(LANDING_NOT_CHECKED, "landing.not-checked", ALARM, NODE,                                 \
	  "the landing cannot be checked: %s", "")                                                 \
	X(LANDING_MORE, "landing.more", ALARM, NODE, "%u more than are told here", "")             \
	X(UNDERLAY_GONE, "underlay.gone", ALARM, INTERFACE,                                        \
	  "interface %s has vanished: no tunnel can land through it",                              \
	  "it is taken up again when it comes back")                                               \
	X(UNDERLAY_DOWN, "underlay.down", ALARM, INTERFACE,                                        \
	  "interface %s is down: no tunnel can land through it",                                   \
	  "bring it up with 'ip link set {} up'")                                                  \
	X(UNDERLAY_NO_CARRIER, "underlay.no-carrier", ALARM, INTERFACE,                            \
	  "interface %s has no carrier: no tunnel can land through it",                            \
	  "look at the cable and its far end")                                                     \
	X(UNDERLAY_DETACHED, "underlay.detached", ALARM, INTERFACE,                                \
	  "no tunnel can land through interface %s: %s", "it is tried again with each check")      \
	X(UNDERLAY_BACK, "underlay.back", REPAIRED, INTERFACE,                                     \
	  "%s has come back; landing's program is attached (%s)", "")                              \
	X(UNDERLAY_LOST, "underlay.lost", REPAIRED, INTERFACE,                                     \
	  "%s had lost landing's program; it is attached (%s)", "")                                \
	X(LOOKUP_LOST, "lookup.lost", REPAIRED, NODE,                                              \
	  "the sk_lookup program was gone; attached again", "")                                    \
	X(CLAMP_MISSING, "clamp.missing", ALARM, INTERFACE,                                        \
	  "answers that leave by %s offer segments that do not fit the tunnel: the clamp of the "  \
	  "MSS cannot be attached: %s",                                                            \
	  "see 'tc qdisc show dev {}' for what is in its way; it needs clsact, and the kernel's "  \
	  "modules sch_ingress and cls_bpf")                                                       \
	X(CLAMP_LOST, "clamp.lost", REPAIRED, INTERFACE,                                           \
	  "%s had lost the clamp of the MSS; attached again", "")                                  \
	X(TUNNEL_END_GONE, "tunnel-end.gone", ALARM, ADDRESS,                                      \
	  "%s, where edges send this backend's packets, is no address of this machine: they will " \
	  "soon find no way here",                                                                 \
	  "add it again, or correct the backend's address in the fabric's file")                   \
	X(SYSCTL_CHANGED, "sysctl.changed", REPAIRED, SYSCTL,                                      \
	  "%s had been changed to %d; set back to %d", "")                                         \
	X(ROUTE_LOST, "route.lost", REPAIRED, ROUTE,                                               \
	  "%s deleted the local route of pool %s; added again",                                    \
	  "see 'systemd-networkd' in the README if it was that, else find out why")                \
	X(ROUTE_NONE, "route.none", ALARM, NODE,                                                   \
	  "no %s route leads beyond this machine's own links: clients elsewhere get no answer",    \
	  "give the main table a default route")                                                   \
	X(ROUTING_LOST, "routing.lost", REPAIRED, ROUTE,                                           \
	  "%s deleted the route by which %s is announced from table %u; added again",              \
	  "routers sent its packets elsewhere for a moment; see 'systemd-networkd' in the README " \
	  "if it was that, else find out why")                                                     \
	X(ROUTING_FAILED, "routing.failed", ALARM, NODE,                                           \
	  "this edge cannot keep the table that its addresses are announced from: %s",             \
	  "it is tried again every second")                                                        \
	X(ROUTING_WITHHELD, "routing.withheld", ALARM, NODE,                                       \
	  "this edge announces nothing new: %s",                                                   \
	  "traffic goes to the other edges meanwhile; `fairlead routing status` there and here "   \
	  "shows who announces what")                                                              \
	X(RULE_LOST, "rule.lost", REPAIRED, RULE,                                                  \
	  "%s deleted the %s rule with preference %u; added again",                                \
	  "see 'systemd-networkd' in the README if it was that, else find out why")                \
	X(RULE_BACK, "rule.back", REPAIRED, RULE,                                                  \
	  "the %s rule with preference 0 was back and would lead calls to other services to this " \
	  "machine's own; deleted",                                                                \
	  "")                                                                                      \
	X(RULE_IN_THE_WAY, "rule.in-the-way", ALARM, RULE,                                         \
	  "the %s rule with preference %u comes before the local table, which landing moved to "   \
	  "%d",                                                                                    \
	  "give the rule a higher one")                                                            \
	X(CHECKSUMS_WRONG, "checksums.wrong", ALARM, NODE,                                         \
	  "%llu TCP segments came in with a wrong checksum within %u s, and were lost",            \
	  "where a virtual link leads here, the sender's end must fill checksums in: 'ethtool -K " \
	  "IF tx off' there")                                                                      \
	X(UDP_WRONG_SOURCE, "udp.wrong-source", ALARM, LISTENER,                                   \
	  "a server that was asked at %s udp/%u answers from %s udp/%u: its clients drop that",    \
	  "let it bind the addresses that it serves, or answer by IP_PKTINFO; see 'A UDP server' " \
	  "in docs/design/landing.md")                                                             \
	X(LISTENER_NONE, "listener.none", ALARM, LISTENER,                                         \
	  "%s %s/%u: nothing listens on %s %s/%u; new flows take the kernel's own way", "")        \
	X(LISTENER_ELSEWHERE, "listener.elsewhere", ALARM, LISTENER,                               \
	  "%s %s/%u: what listens on %s/%u does so on all addresses, and not on %s; new flows "    \
	  "take "                                                                                  \
	  "the kernel's own way",                                                                  \
	  "write `listen` with the port alone for it in the file, or have it listen on that "      \
	  "address")                                                                               \
	X(LISTENER_CLOSED, "listener.closed", ALARM, LISTENER,                                     \
	  "%s %s/%u: cannot get hold of the process's socket on %s %s/%u; new flows take the "     \
	  "kernel's own way",                                                                      \
	  "is CAP_SYS_PTRACE there?")

enum alarm_severity {
#define X(id, name, meaning) ALARM_IS_##id,
	ALARM_SEVERITIES(X)
#undef X
};

enum alarm_subject {
#define X(id, name) ALARM_ABOUT_##id,
	ALARM_SUBJECTS(X)
#undef X
};

enum alarm_code {
#define X(id, code, severity, subject, sentence, advice) ALARM_##id,
	ALARMS(X)
#undef X
	    ALARM_CODES
};

/* The sentences as constants, so that the compiler compares them with what they are given. */
#define X(id, code, severity, subject, sentence, advice)                                           \
	static const char alarm_sentence_##id[] = sentence;
ALARMS(X)
#undef X

struct alarm_row {
	const char *code;
	enum alarm_severity severity;
	enum alarm_subject subject;
	const char *sentence;
	const char *advice; /* "" where the sentence says it, or nothing is to be done */
};

extern const struct alarm_row alarm_rows[ALARM_CODES];

const char *alarm_severity_name(enum alarm_severity severity);
const char *alarm_subject_name(enum alarm_subject subject);
bool alarm_is_repaired(enum alarm_code code);

#define ALARM_SUBJECT_BYTES 128u
#define ALARM_TEXT_BYTES 2048u

struct alarm {
	enum alarm_code code;
	uint64_t since_ms; /* of a clock that only goes forward; 0: not known */
	char subject[ALARM_SUBJECT_BYTES]; /* its name; "" for what there is one of */
	char text[ALARM_TEXT_BYTES]; /* the sentence; "" while nothing is wrong */
};

/*
 * ALARM_SET(alarm, now_ms, STORE_FAILED, subject, the sentence's arguments): it stands, since
 * `now_ms` unless it stood already. True when these words are new, so that they should be told.
 */
#define ALARM_SET(alarm, now_ms, id, ...)                                                          \
	alarm_set(alarm, now_ms, ALARM_##id, alarm_sentence_##id, __VA_ARGS__)
bool alarm_set(struct alarm *alarm, uint64_t now_ms, enum alarm_code code, const char *sentence,
	       const char *subject, ...) __attribute__((format(printf, 4, 6)));

void alarm_end(struct alarm *alarm);
bool alarm_stands(const struct alarm *alarm);

/* The row's advice for this subject, cut to `size` bytes. */
void alarm_advice(enum alarm_code code, const char *subject, char *text, size_t size);

/*
 * {code, severity, subject, since?, text, advice?}, a new reference: `subject` is "backend/web1",
 * or only "store" where there is one, and `since` a time of the wall clock. The text begins with
 * `prefix`. `clock` may be NULL: then `since` is left out.
 */
json_t *alarm_json(const struct alarm *alarm, const char *prefix, const struct clock *clock);

/* ALARM_PUT(list, clock, since_ms, id, subject, arguments): one more in the array `list`. */
#define ALARM_PUT(list, clock, since_ms, id, ...)                                                  \
	alarm_put(list, clock, since_ms, ALARM_##id, alarm_sentence_##id, __VA_ARGS__)
void alarm_put(json_t *list, const struct clock *clock, uint64_t since_ms, enum alarm_code code,
	       const char *sentence, const char *subject, ...)
    __attribute__((format(printf, 5, 7)));

/*
 * One that another node sent about itself, as alarm_json() there made it: kept word for word, but
 * its subject is that node. What has no text is left out; the other members may be missing.
 */
void alarm_put_sent(json_t *list, enum alarm_subject kind, const char *sender, const json_t *sent);

#endif
