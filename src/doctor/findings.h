/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Findings: what `fairlead doctor` finds on a machine that is not as Fairlead needs it. One table
 * holds all of them. A row has a code that programs may rely on, a severity, the sentence (what,
 * and where), and the command that mends it.
 *
 * An alarm (base/alarms.h) is what the daemon notices by itself, all the time; a finding is what
 * somebody asked for, also where no daemon runs, and also of what is nobody's plane: a firewall, a
 * clock, a disk. Each alarm of this node that stands is a finding as well, by the alarm's own code.
 *
 * docs/design/doctor.md is rendered from the table.
 */
#ifndef FAIRLEAD_DOCTOR_FINDINGS_H
#define FAIRLEAD_DOCTOR_FINDINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* X(id, name, meaning) */
#define FINDING_SEVERITIES(X)                                                                      \
	X(ERROR, "error",                                                                          \
	  "flows, names or changes are lost by it, or will be; `doctor` exits "                    \
	  "with 1")                                                                                \
	X(WARNING, "warning",                                                                      \
	  "nothing is lost yet, but something is slower or nearer to its "                         \
	  "end than it need be")                                                                   \
	X(NOTE, "note", "worth knowing")

/*
 * X(id, code, severity, sentence, mend)
 *
 * The sentence is a printf format. In what mends it {} stands for the subject and {=} for a value,
 * both of the call's.
 */
#define FINDINGS(X)                                                                                \
	X(DAEMON_DOWN, "daemon.down", ERROR,                                                       \
	  "no daemon answers (%s): what is forwarded goes on as it was, nothing new is taken in, " \
	  "and what only the daemon knows is not checked",                                         \
	  "systemctl start fairlead   # without systemd: fairlead run")                            \
	X(DAEMON_ELSEWHERE, "daemon.elsewhere", ERROR,                                             \
	  "the daemon (pid %lld) runs in another network namespace than this command, which "      \
	  "looks at its own",                                                                      \
	  "nsenter -n -t {=} fairlead doctor")                                                     \
	X(BUILD_REPLACED, "build.replaced", WARNING,                                               \
	  "the program on disk, %s, is another one than the daemon (pid %lld) runs",               \
	  "systemctl restart fairlead   # forwarding goes on meanwhile")                           \
	X(BUILD_OTHER, "build.other", WARNING,                                                     \
	  "node %s has feature level %lld, and this one %lld: what only the newer one can do "     \
	  "waits for the other",                                                                   \
	  "install the same release on all nodes, one after the other")                            \
	X(CLOCK_OFFSET, "clock.offset", ERROR,                                                     \
	  "this machine's clock is %lld ms %s the voter's: joins are refused at five minutes, "    \
	  "and "                                                                                   \
	  "certificates are believed by it",                                                       \
	  "chronyc makestep   # or: timedatectl set-ntp true")                                     \
	X(CLOCK_ALONE, "clock.unsynchronised", NOTE,                                               \
	  "nothing keeps this machine's clock: the kernel says that it is not synchronised",       \
	  "timedatectl set-ntp true")                                                              \
	X(DISK_FULL, "disk.space", ERROR,                                                          \
	  "%s, where the state is, has %lld MB free: without room no change is taken in",          \
	  "du -xh {} | sort -h | tail   # and make room")                                          \
	X(KEY_OPEN, "key.permissions", ERROR,                                                      \
	  "%s may be read or changed by others than root (mode %04o, owner %u): who has it can "   \
	  "speak as this node",                                                                    \
	  "chown root {} && chmod 600 {}")                                                         \
	X(CERTIFICATE_END, "certificate.end", ERROR,                                               \
	  "this node's certificate ends in %lld h, and should have been renewed long ago: then "   \
	  "no "                                                                                    \
	  "voter is spoken to until it is",                                                        \
	  "fairlead events   # says why the renewal fails; let TCP {=} through to the voter")      \
	X(PINS_STALE, "pins.stale", WARNING,                                                       \
	  "%s holds maps of another layout than the one in use: they take memory, and nothing "    \
	  "reads them",                                                                            \
	  "rm -r {}")                                                                              \
	X(SYSCTL_RP_FILTER, "sysctl.rp-filter", ERROR,                                             \
	  "%s: rp_filter is 1 in effect (all or the interface): clients whose way back leads "     \
	  "through another interface are dropped",                                                 \
	  "sysctl -w net.ipv4.conf.{}.rp_filter=2")                                                \
	X(SYSCTL_ACCEPT_LOCAL, "sysctl.accept-local", ERROR,                                       \
	  "%s: accept_local is 0: what this machine's own address is the source of is dropped "    \
	  "when it comes back to it",                                                              \
	  "sysctl -w net.ipv4.conf.{}.accept_local=1")                                             \
	X(SYSCTL_ARP_IGNORE, "sysctl.arp-ignore", ERROR,                                           \
	  "%s: arp_ignore is %d in effect: this machine answers ARP for service addresses, and "   \
	  "takes them from the edges",                                                             \
	  "sysctl -w net.ipv4.conf.{}.arp_ignore=1")                                               \
	X(SYSCTL_ARP_ANNOUNCE, "sysctl.arp-announce", ERROR,                                       \
	  "%s: arp_announce is %d in effect: this machine asks ARP from service addresses, and "   \
	  "neighbours learn its link address for them",                                            \
	  "sysctl -w net.ipv4.conf.{}.arp_announce=2")                                             \
	X(SYSCTL_NONLOCAL_BIND, "sysctl.nonlocal-bind", ERROR,                                     \
	  "net.ipv6.ip_nonlocal_bind is 0: servers of UDP cannot answer from IPv6 service "        \
	  "addresses",                                                                             \
	  "sysctl -w net.ipv6.ip_nonlocal_bind=1")                                                 \
	X(SYSCTL_MTU_PROBING, "sysctl.mtu-probing", WARNING,                                       \
	  "net.ipv4.tcp_mtu_probing is 0: answers that are too big for the way to a client hang, " \
	  "since no router's word of it comes back here",                                          \
	  "sysctl -w net.ipv4.tcp_mtu_probing=1")                                                  \
	X(SYSCTL_FORWARDING, "sysctl.forwarding", ERROR,                                           \
	  "%s is 0 on this edge: a packet whose next hop is not known to the program is lost "     \
	  "instead of going by the kernel's routes",                                               \
	  "sysctl -w {}=1")                                                                        \
	X(RULE_LOCAL, "rule.local", ERROR,                                                         \
	  "no %s rule looks up the local table: this machine does not know its own addresses",     \
	  "ip {} rule add pref 100 lookup local protocol kernel")                                  \
	X(RULE_MISSING, "rule.missing", ERROR,                                                     \
	  "the %s rule with preference %u for pool %s is not there",                               \
	  "systemctl restart fairlead   # landing sets its rules again")                           \
	X(RULE_IN_THE_WAY, "rule.in-the-way", ERROR,                                               \
	  "somebody's %s rule with preference %u comes before landing's: what it leads elsewhere " \
	  "does not reach the service",                                                            \
	  "ip {} rule show pref {=}   # whose is it? give it a preference above 100")              \
	X(ROUTE_MISSING, "route.missing", ERROR,                                                   \
	  "the local route of pool %s is not there: what landing takes out of tunnels for it is "  \
	  "nobody's",                                                                              \
	  "ip route add local {} dev lo proto 102   # fairlead run sets it as well")               \
	X(NETWORKD_FOREIGN, "networkd.foreign", ERROR,                                             \
	  "systemd-networkd runs (pid %lld) and is not told to leave others' %s alone: it "        \
	  "deletes "                                                                               \
	  "landing's when it sets up an interface",                                                \
	  "cp fairlead.conf /etc/systemd/networkd.conf.d/ && systemctl restart systemd-networkd"   \
	  "   # the package's packaging/systemd-networkd/fairlead.conf")                           \
	X(NETWORK_MANAGER, "networkmanager.manages", WARNING,                                      \
	  "NetworkManager runs (pid %lld) and nothing tells it to leave %s alone: it may delete "  \
	  "landing's rules and routes when the interface comes up again",                          \
	  "nmcli device set {} managed no")                                                        \
	X(MTU_SMALL, "mtu.small", WARNING,                                                         \
	  "the way to backend %s carries packets of %lld bytes by %s: with the tunnel's header a " \
	  "client's of %lld needs %lld, so larger ones are answered with too-big",                 \
	  "ip link set {} mtu {=}   # and on what lies between")                                   \
	X(MTU_PATH, "mtu.path", ERROR,                                                             \
	  "backend %s answers a packet of 100 bytes and none of %lld, though %s is set for that: " \
	  "something on the way carries less, and says nothing",                                   \
	  "tracepath -n {=}   # then raise that link's MTU, or lower this one: ip link set {} "    \
	  "mtu N")                                                                                 \
	X(OFFLOAD_CHECKSUM, "offload.checksum", ERROR,                                             \
	  "%s is a virtual link that leaves TCP's checksums to a card which is not there: where "  \
	  "the far end runs XDP, what this machine sends arrives wrong",                           \
	  "ethtool -K {} tx off")                                                                  \
	X(XDP_GENERIC, "xdp.generic", WARNING,                                                     \
	  "%s runs the program outside its driver (%s): at a fraction of the speed",               \
	  "fairlead run without --generic; else a smaller MTU (ip link set {} mtu N) or fewer "    \
	  "offloads, then a restart")                                                              \
	X(XDP_DETACHED, "xdp.detached", ERROR,                                                     \
	  "no program of Fairlead's is on %s: what comes in there is not %s",                      \
	  "systemctl restart fairlead   # `ip link show {}` says what is on it")                   \
	X(DNS_TAKEN, "dns.port-taken", ERROR,                                                      \
	  "%s port %lld is taken by %s: no name is answered there",                                \
	  "ss -lunp 'sport = :{=}'   # and stop it, or start with another --dns")                  \
	X(FIREWALL_CHANNEL, "firewall.channel", ERROR,                                             \
	  "the firewall drops the node channel's packets (TCP port %lld from %s): %s",             \
	  "nft insert rule {} tcp dport {=} accept")                                               \
	X(FIREWALL_DNS, "firewall.dns", ERROR, "the firewall drops queries to %s port %lld: %s",   \
	  "nft insert rule {} meta l4proto { tcp, udp } th dport {=} accept")                      \
	X(FIREWALL_SERVICE, "firewall.service", ERROR,                                             \
	  "the firewall drops what clients send to service %s, %s port %lld: %s",                  \
	  "nft insert rule {} {=} accept")                                                         \
	X(FIREWALL_FORWARD, "firewall.forward", WARNING,                                           \
	  "what an edge leaves to the kernel is dropped on its way to a backend: %s (Docker sets " \
	  "that)",                                                                                 \
	  "nft insert rule {} ip protocol { 4, 41 } accept")                                       \
	X(FIREWALL_RPFILTER, "firewall.rpfilter", ERROR,                                           \
	  "a rule drops what does not come in by the way back to its source (%s): of what "        \
	  "landing "                                                                               \
	  "takes out of tunnels that is all, where clients' way back is another interface",        \
	  "nft -a list chain {}   # and delete it; firewalld: IPv6_rpfilter=no")                   \
	X(NAT_POOL, "nat.pool", ERROR,                                                             \
	  "a rule translates what comes for service %s, %s port %lld (%s): the service gets "      \
	  "another destination, and its connections are counted by conntrack alone",               \
	  "nft -a list chain {}   # and leave the pool out: ip daddr != {=}")

enum finding_severity {
#define X(id, name, meaning) FINDING_IS_##id,
	FINDING_SEVERITIES(X)
#undef X
};

enum finding_code {
#define X(id, code, severity, sentence, mend) FINDING_##id,
	FINDINGS(X)
#undef X
	    FINDING_CODES
};

/* So that the compiler checks arguments against the sentence. */
#define X(id, code, severity, sentence, mend)                                                      \
	static const char finding_sentence_##id[] __attribute__((unused)) = sentence;
FINDINGS(X)
#undef X

struct finding_row {
	const char *code;
	enum finding_severity severity;
	const char *sentence;
	const char *mend;
};

extern const struct finding_row finding_rows[FINDING_CODES];

const char *finding_severity_name(enum finding_severity severity);

/* The row's command for this subject and value, cut to `size` bytes. */
void finding_mend(enum finding_code code, const char *subject, const char *value, char *text,
		  size_t size);

/*
 * FINDING_PUT(list, RULE_LOCAL, subject, value, the sentence's arguments): append {code, severity,
 * text, mend} to the array `list`. `subject` and `value` are for what mends it; may be "".
 */
#define FINDING_PUT(list, id, subject, value, ...)                                                 \
	finding_put(list, FINDING_##id, subject, value, finding_sentence_##id, __VA_ARGS__)
/* The same of a sentence that takes none. */
#define FINDING_PUT_PLAIN(list, id, subject, value)                                                \
	finding_put(list, FINDING_##id, subject, value, "%s", finding_sentence_##id)
void finding_put(json_t *list, enum finding_code code, const char *subject, const char *value,
		 const char *sentence, ...) __attribute__((format(printf, 5, 6)));

#endif
