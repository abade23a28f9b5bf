/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `/metrics` exports: one row per metric, in the order in which a page has them.
 * docs/design/metrics.md is rendered from the table, and the dashboards of packaging/grafana are
 * checked against it. A name keeps its meaning; sentences may change.
 *
 * X(id, name, type, unit, labels, help)
 * CHANNEL(id, member of struct channel_counters, name, type, unit, help)
 *
 * Names have base units and end with _total when they only grow. `labels` is a list of labels, each
 * a row of METRIC_LABELS, which says what bounds it.
 */
#ifndef FAIRLEAD_DAEMON_METRICS_METRIC_TABLE_H
#define FAIRLEAD_DAEMON_METRICS_METRIC_TABLE_H

/* X(name, what bounds it) */
#define METRIC_LABELS(X)                                                                           \
	X("address",                                                                               \
	  "service addresses of this node's site that mean a version: the pools' slots")           \
	X("backend", "landings that report: the backends, and who else joined to land")            \
	X("code", "docs/design/alarms.md, and `other` for one that only a newer release knows")    \
	X("edge_program", "one, of this build; empty without the role")                            \
	X("interface", "the --interface of this node")                                             \
	X("mode", "native, generic, detached: one at a time for each interface")                   \
	X("node", "the members that the ledger names")                                             \
	X("reason", "the drop reasons of this build, used or not")                                 \
	X("result", "how DNS answers: the list of this build")                                     \
	X("roles", "one mix of roles, this node's")                                                \
	X("service", "services that have a live version")                                          \
	X("severity", "alarm, repaired or note: one for each code")                                \
	X("site", "one, this node's")                                                              \
	X("state", "one at a time for each version: staged, ready, serving, draining, closing; "   \
		   "of next hops: known, asked, none")                                             \
	X("transport", "udp, tcp")                                                                 \
	X("type", "the record types that are told apart, and `other`")                             \
	X("version", "of a service: versions that are not retired; of the build: one")

/* The channel's counters, in the order of struct channel_counters; none has labels. */
#define CHANNEL_METRICS(X)                                                                         \
	X(CHANNEL_SESSIONS, sessions, "fairlead_channel_sessions", GAUGE, "sessions",              \
	  "Sessions with other members that are up.")                                              \
	X(CHANNEL_STRANGERS, strangers, "fairlead_channel_strangers", GAUGE, "connections",        \
	  "Connections that are not sessions yet.")                                                \
	X(CHANNEL_ACCEPTED, accepted, "fairlead_channel_accepted_connections_total", COUNTER,      \
	  "connections", "Connections that came.")                                                 \
	X(CHANNEL_GARBAGE, garbage, "fairlead_channel_garbage_handshakes_total", COUNTER,          \
	  "handshakes", "Handshakes that were no TLS, or none of this release.")                   \
	X(CHANNEL_OTHER_FABRIC, other_fabric, "fairlead_channel_other_fabric_handshakes_total",    \
	  COUNTER, "handshakes", "Handshakes by a certificate of another fabric or CA.")           \
	X(CHANNEL_EXPIRED, expired, "fairlead_channel_expired_handshakes_total", COUNTER,          \
	  "handshakes", "Handshakes by a certificate that had expired.")                           \
	X(CHANNEL_NOT_YET, not_yet, "fairlead_channel_not_yet_valid_handshakes_total", COUNTER,    \
	  "handshakes", "Handshakes by a certificate that was not valid yet.")                     \
	X(CHANNEL_REFUSED, refused, "fairlead_channel_refused_handshakes_total", COUNTER,          \
	  "handshakes", "Times that others refused this node's certificate.")                      \
	X(CHANNEL_LATE, late, "fairlead_channel_late_handshakes_total", COUNTER, "handshakes",     \
	  "Handshakes that took too long.")                                                        \
	X(CHANNEL_REMOVED, removed, "fairlead_channel_removed_handshakes_total", COUNTER,          \
	  "handshakes", "Handshakes of removed nodes.")                                            \
	X(CHANNEL_COPIED, copied, "fairlead_channel_copied_handshakes_total", COUNTER,             \
	  "handshakes", "Handshakes by a key that another process uses.")                          \
	X(CHANNEL_NAMES, names, "fairlead_channel_name_handshakes_total", COUNTER, "handshakes",   \
	  "Handshakes by a name that another key has.")                                            \
	X(CHANNEL_LIMITED, limited, "fairlead_channel_limited_connections_total", COUNTER,         \
	  "connections", "Connections that were closed unread: too many, too often.")              \
	X(CHANNEL_JOINS, joins, "fairlead_channel_joins_total", COUNTER, "joins",                  \
	  "Joins that were asked for.")                                                            \
	X(CHANNEL_JOINS_LIMITED, joins_limited, "fairlead_channel_limited_joins_total", COUNTER,   \
	  "joins", "Joins from where there were too many.")                                        \
	X(CHANNEL_SILENT, silent, "fairlead_channel_silent_sessions_total", COUNTER, "sessions",   \
	  "Sessions that ended since nothing was heard.")                                          \
	X(CHANNEL_SLOW, slow, "fairlead_channel_slow_sessions_total", COUNTER, "sessions",         \
	  "Sessions that ended since the other side did not read.")                                \
	X(CHANNEL_NONSENSE, nonsense, "fairlead_channel_nonsense_sessions_total", COUNTER,         \
	  "sessions", "Sessions that ended since what came makes no sense.")                       \
	X(CHANNEL_HELD, held, "fairlead_channel_held_reads_total", COUNTER, "times",               \
	  "Times that reading paused, since the daemon was slow.")                                 \
	X(CHANNEL_FRAMES_IN, frames_in, "fairlead_channel_received_frames_total", COUNTER,         \
	  "frames", "Frames that came.")                                                           \
	X(CHANNEL_FRAMES_OUT, frames_out, "fairlead_channel_sent_frames_total", COUNTER, "frames", \
	  "Frames that were queued.")                                                              \
	X(CHANNEL_BYTES_IN, bytes_in, "fairlead_channel_received_bytes_total", COUNTER, "bytes",   \
	  "Bytes of the frames that came.")                                                        \
	X(CHANNEL_BYTES_OUT, bytes_out, "fairlead_channel_sent_bytes_total", COUNTER, "bytes",     \
	  "Bytes of the frames that were queued.")                                                 \
	X(CHANNEL_SKIPPED, skipped, "fairlead_channel_skipped_messages_total", COUNTER,            \
	  "messages", "Messages of later releases, passed over.")

#define METRICS(X, CHANNEL)                                                                        \
	X(BUILD_INFO, "fairlead_build_info", GAUGE, "", "version,edge_program",                    \
	  "1; the labels say which build runs.")                                                   \
	X(NODE_INFO, "fairlead_node_info", GAUGE, "", "node,site,roles",                           \
	  "1; the labels say what this node is.")                                                  \
	X(ALARM, "fairlead_alarm", GAUGE, "", "code,severity",                                     \
	  "1 while an alarm or a note of this code stands, otherwise 0. Those of backends are "    \
	  "told by the node that decides.")                                                        \
	X(LEDGER_SEQUENCE, "fairlead_ledger_sequence", GAUGE, "entries", "",                       \
	  "Number of the newest ledger entry in this node's replica.")                             \
	X(LEDGER_APPLIED, "fairlead_ledger_applied_sequence", GAUGE, "entries", "",                \
	  "Number of the newest ledger entry that this node forwards and answers by.")             \
	X(LEDGER_BEHIND, "fairlead_ledger_behind_entries", GAUGE, "entries", "",                   \
	  "Entries of its replica that this node does not forward and answer by yet.")             \
	X(VOTER_SILENCE, "fairlead_voter_silence_seconds", GAUGE, "seconds", "",                   \
	  "Since a voter was heard last, or since the start; 0 while one is reached, and on a "    \
	  "node that decides.")                                                                    \
	X(MEMBER_SILENCE, "fairlead_member_silence_seconds", GAUGE, "seconds", "node",             \
	  "Since the member was heard; only from the node that decides, and missing when it was "  \
	  "not heard since that one's start.")                                                     \
	X(MEMBER_BEHIND, "fairlead_member_behind_entries", GAUGE, "entries", "node",               \
	  "Ledger entries that the edge or names node has not acknowledged; only from the node "   \
	  "that decides.")                                                                         \
	X(VERSION_STATE, "fairlead_version_state", GAUGE, "", "service,version,state",             \
	  "1 for the state that the version is in.")                                               \
	X(VERSION_SHARE, "fairlead_version_share_ratio", GAUGE, "ratio", "service,version",        \
	  "Share of the clients to whom DNS names the version.")                                   \
	X(VERSION_CONNECTIONS, "fairlead_version_connections", GAUGE, "connections",               \
	  "service,version",                                                                       \
	  "Connections of the version that all backends count; only from the node that decides, "  \
	  "and missing while that is not known.")                                                  \
	X(VERSION_PACKETS, "fairlead_version_packets_total", COUNTER, "packets",                   \
	  "service,version,address", "Packets that this edge forwarded.")                          \
	X(VERSION_BYTES, "fairlead_version_bytes_total", COUNTER, "bytes",                         \
	  "service,version,address", "Bytes of these packets, before encapsulation.")              \
	X(VERSION_NEW_FLOWS, "fairlead_version_new_flows_total", COUNTER, "flows",                 \
	  "service,version,address",                                                               \
	  "Flows that began at this edge: TCP SYNs, and Initials on QUIC ports.")                  \
	X(VERSION_LATE_FLOWS, "fairlead_version_late_flows_total", COUNTER, "flows",               \
	  "service,version,address", "Of these, those to an address that DNS no longer answers.")  \
	X(BACKEND_SILENCE, "fairlead_backend_silence_seconds", GAUGE, "seconds", "backend",        \
	  "Since the backend's landing reported; only from the node that decides, and missing "    \
	  "when it did not since that one's start.")                                               \
	X(BACKEND_CONNECTIONS, "fairlead_backend_connections", GAUGE, "connections", "backend",    \
	  "Connections that the backend's landing counted last; only from the node that decides.") \
	X(EDGE_DROPPED, "fairlead_edge_dropped_packets_total", COUNTER, "packets", "reason",       \
	  "Packets that the edge's program dropped.")                                              \
	X(EDGE_ADDRESSES, "fairlead_edge_addresses", GAUGE, "addresses", "",                       \
	  "Service addresses that are forwarded.")                                                 \
	X(EDGE_RINGS, "fairlead_edge_rings", GAUGE, "rings", "", "Rings in the maps.")             \
	X(EDGE_INTERFACE, "fairlead_edge_interface_mode", GAUGE, "", "interface,mode",             \
	  "1 for the way in which the interface carries the edge's program.")                      \
	X(EDGE_NEXT_HOPS, "fairlead_edge_next_hops", GAUGE, "backends", "state",                   \
	  "Backends by their next hop: known; asked, of the kernel for each packet; none, there "  \
	  "is no route.")                                                                          \
	X(LANDING_ACCEPTED, "fairlead_landing_accepted_packets_total", COUNTER, "packets", "",     \
	  "Packets that this node's landing took out of tunnels.")                                 \
	X(LANDING_DROPPED, "fairlead_landing_dropped_packets_total", COUNTER, "packets", "reason", \
	  "Packets that the landing's program dropped.")                                           \
	X(DNS_ANSWERING, "fairlead_dns_answering", GAUGE, "", "",                                  \
	  "1 while this node answers names, otherwise 0.")                                         \
	X(DNS_SERIAL, "fairlead_dns_serial", GAUGE, "", "",                                        \
	  "Serial of the zone that is answered.")                                                  \
	X(DNS_ANSWERS, "fairlead_dns_answers_total", COUNTER, "queries", "transport,type,result",  \
	  "Queries that were answered.")                                                           \
	X(DNS_TRUNCATED, "fairlead_dns_truncated_answers_total", COUNTER, "answers", "",           \
	  "Answers over UDP that asked the client to come by TCP.")                                \
	X(DNS_KNOWN, "fairlead_dns_cookie_answers_total", COUNTER, "answers", "",                  \
	  "Answers to queries that showed a cookie of this node's.")                               \
	X(DNS_DROPPED, "fairlead_dns_dropped_total", COUNTER, "queries", "reason",                 \
	  "Queries that were not answered, and connections that were ended.")                      \
	X(DNS_TCP_ACCEPTED, "fairlead_dns_tcp_connections_total", COUNTER, "connections", "",      \
	  "Connections that were accepted over TCP.")                                              \
	X(DNS_TCP_OPEN, "fairlead_dns_tcp_open_connections", GAUGE, "connections", "",             \
	  "Of these, those that are open.")                                                        \
	X(DNS_SNAPSHOTS, "fairlead_dns_snapshots_total", COUNTER, "snapshots", "",                 \
	  "Times that what is answered was exchanged.")                                            \
	CHANNEL_METRICS(CHANNEL)                                                                   \
	X(CPU, "process_cpu_seconds_total", COUNTER, "seconds", "",                                \
	  "Processor time of the daemon, in user and kernel mode.")                                \
	X(RESIDENT, "process_resident_memory_bytes", GAUGE, "bytes", "",                           \
	  "Resident memory of the daemon.")                                                        \
	X(START_TIME, "process_start_time_seconds", GAUGE, "seconds", "",                          \
	  "When the daemon started, since 1970.")

#endif
