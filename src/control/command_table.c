/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs. What stands here is what `--help` teaches. */
#include "control/command.h"

#include "control/render_parts.h"

#define FILE_ARGUMENT {"file", VALUE_FILE, false, "the configuration; - reads standard input"}
#define SERVICE_ARGUMENT {"service", VALUE_TEXT, false, "name of the service"}
#define LAB_ARGUMENT {"topology", VALUE_TEXT, false, "the topology file, or the lab's name"}
#define LINK_ARGUMENT {"link", VALUE_TEXT, false, "the link's name; `lab status` lists them"}

#define WAIT_OPTIONS                                                                               \
	{"wait", VALUE_NONE, NULL, "wait until the new version has all clients"},                  \
	    {"retired", VALUE_NONE, NULL, "and until no older version drains; implies --wait"},    \
	    {"timeout", VALUE_TEXT, "TIME",                                                        \
	     "wait no longer than this, as 90s or 1h; implies --wait"}

#define ANNOUNCE_OPTIONS                                                                           \
	{"announce", VALUE_TEXT, "bgp", "edge: announce its addresses, by a routing daemon here"}, \
	    {"announce-table", VALUE_NUMBER, "N",                                                  \
	     "of the kernel, for that daemon to read (default: 122)"},                             \
	    {"announce-wait", VALUE_NUMBER, "SECONDS",                                             \
	     "for routers, when it is stopped (default: 3; 0: keep the routes)"}

static const struct command_option run_options[] = {
    {"node", VALUE_TEXT, "NAME", "this node's name (default: the host name)"},
    {"role", VALUE_TEXT, "ROLES", "edge, names, backend, any mix of them (default: edge,names)"},
    {"site", VALUE_TEXT, "SITE", "the site this node stands at; edge and names need it"},
    {"interface", VALUE_LIST, "IF", "edge: take packets from this interface; may be repeated"},
    {"source", VALUE_LIST, "ADDRESS", "edge: outer source of its tunnels, one per family"},
    {"generic", VALUE_NONE, NULL, "edge: attach XDP in generic mode, for drivers without XDP"},
    ANNOUNCE_OPTIONS,
    {"dns", VALUE_LIST, "ADDR[@PORT]", "names: answer DNS here; may be repeated"},
    {"dns-threads", VALUE_NUMBER, "N", "names: threads per address (default: one per core)"},
    {"underlay", VALUE_LIST, "IF", "backend: accept tunnels on this interface; may be repeated"},
    {"join", VALUE_TEXT, "unix:PATH", "a backend alone: the local socket of the node to report to"},
    {"state", VALUE_TEXT, "DIR", "what must survive (default: /var/lib/fairlead)"},
    {"run-dir", VALUE_TEXT, "DIR", "the local socket (default: /run/fairlead)"},
    {"pins", VALUE_TEXT, "DIR", "BPF objects are pinned below it (default: /sys/fs/bpf/fairlead)"},
    {"metrics", VALUE_TEXT, "ADDR:PORT|none", "metrics for Prometheus (default: 127.0.0.1:7124)"},
    {"verbose", VALUE_NONE, NULL, "log debugging events as well"},
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option plan_options[] = {
    {"exit-code", VALUE_NONE, NULL, "exit 2 if the file would change something"},
    {NULL, VALUE_NONE, NULL, NULL},
};

#define NODE_OPTIONS                                                                               \
	{"node", VALUE_TEXT, "NAME", "this node's name (default: the host name)"},                 \
	    {"site", VALUE_TEXT, "SITE", "where it stands (default: main, or the token's)"},       \
	    {"address", VALUE_TEXT, "ADDRESS",                                                     \
	     "by which others reach it (default: what the default route uses)"},                   \
	    {"port", VALUE_NUMBER, "PORT", "of its node channel (default: 7122)"},                 \
	    {"interface", VALUE_LIST, "IF",                                                        \
	     "packets come in here (default: the default route's)"},                               \
	    {"underlay", VALUE_LIST, "IF", "tunnels come in here (default: the same)"},            \
	    {"source", VALUE_LIST, "ADDRESS", "of its tunnels (default: its addresses)"},          \
	    {"dns", VALUE_LIST, "ADDR[@PORT]", "it answers DNS here (default: its addresses)"},    \
	    {"generic", VALUE_NONE, NULL, "attach XDP in generic mode"}, ANNOUNCE_OPTIONS,         \
	    {"metrics", VALUE_TEXT, "ADDR:PORT|none",                                              \
	     "metrics for Prometheus (default: 127.0.0.1:7124)"},                                  \
	    {"state", VALUE_TEXT, "DIR", "what must survive (default: /var/lib/fairlead)"},        \
	    {"run-dir", VALUE_TEXT, "DIR", "the local socket (default: /run/fairlead)"},           \
	    {"pins", VALUE_TEXT, "DIR", "BPF objects (default: /sys/fs/bpf/fairlead)"}

static const struct command_option init_options[] = {
    {"fabric", VALUE_TEXT, "NAME", "the fabric's name (default: fairlead)"},
    {"role", VALUE_TEXT, "ROLES", "of edge, names, backend (default: all)"},
    NODE_OPTIONS,
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option join_options[] = {
    {"token", VALUE_TEXT, "TOKEN", "that `init` or `token` on a voter printed"},
    {"role", VALUE_TEXT, "ROLES", "of those that the token allows (default: all of them)"},
    NODE_OPTIONS,
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option token_options[] = {
    {"role", VALUE_TEXT, "ROLES", "that the machine may have (default: edge,names,backend)"},
    {"site", VALUE_TEXT, "SITE", "where it must stand (default: anywhere)"},
    {"hours", VALUE_NUMBER, "N", "how long it is good (default: 24)"},
    {"message", VALUE_TEXT, "TEXT", "why; kept in the ledger"},
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option routing_config_options[] = {
    {"neighbor", VALUE_LIST, "ADDRESS", "a router to announce to; may be repeated"},
    {"as", VALUE_NUMBER, "N", "the routers' autonomous system"},
    {"local-as", VALUE_NUMBER, "N", "this machine's"},
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option apply_options[] = {
    {"dry-run", VALUE_NONE, NULL, "show the plan, change nothing"},
    {"expect", VALUE_NUMBER, "N", "be refused if somebody gave an order after ledger entry N"},
    {"yes", VALUE_NONE, NULL, "do not ask before clients lose a name or a port"},
    {"no-wait", VALUE_NONE, NULL,
     "be refused where slots come free in a moment (default: off a terminal)"},
    WAIT_OPTIONS,
    {"message", VALUE_TEXT, "TEXT", "why; kept in the ledger"},
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option all_options[] = {
    {"all", VALUE_NONE, NULL, "also retired versions; each alarm and each backend"},
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option change_options[] = {
    {"message", VALUE_TEXT, "TEXT", "why; kept in the ledger"},
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option rollback_options[] = {
    {"to", VALUE_NUMBER, "N", "to this version, which served once (default: what served before)"},
    {"dry-run", VALUE_NONE, NULL, "say what would come back, change nothing"},
    WAIT_OPTIONS,
    {"message", VALUE_TEXT, "TEXT", "why; kept in the ledger"},
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option undo_options[] = {
    {"dry-run", VALUE_NONE, NULL, "show the plan, change nothing"},
    {"yes", VALUE_NONE, NULL, "do not ask before clients lose a name or a port"},
    {"no-wait", VALUE_NONE, NULL,
     "be refused where slots come free in a moment (default: off a terminal)"},
    WAIT_OPTIONS,
    {"message", VALUE_TEXT, "TEXT", "why; kept in the ledger"},
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option remove_options[] = {
    {"yes", VALUE_NONE, NULL, "do it without asking"},
    {"message", VALUE_TEXT, "TEXT", "why; kept in the ledger"},
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option recover_options[] = {
    {"dry-run", VALUE_NONE, NULL, "say what would be done, change nothing"},
    {"yes", VALUE_NONE, NULL, "do it without asking"},
    {"message", VALUE_TEXT, "TEXT", "why; kept in the ledger"},
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option rollout_status_options[] = {
    WAIT_OPTIONS,
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option resume_options[] = {
    {"force", VALUE_NONE, NULL, "do not wait for backends before the first share"},
    {"message", VALUE_TEXT, "TEXT", "why; kept in the ledger"},
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option log_options[] = {
    {"from", VALUE_NUMBER, "N", "begin at this entry (default: the last 20)"},
    {"limit", VALUE_NUMBER, "N", "at most so many entries (default: 20)"},
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option detach_options[] = {
    {"state", VALUE_TEXT, "DIR", "the state folder that `run` had (default: /var/lib/fairlead)"},
    {"pins", VALUE_TEXT, "DIR", "BPF objects are pinned below it (default: /sys/fs/bpf/fairlead)"},
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option doctor_options[] = {
    {"to", VALUE_TEXT, "ADDRESS", "return-path: a machine outside, at a client's place"},
    {"port", VALUE_NUMBER, "PORT", "return-path: of TCP there, open or refused (default: 443)"},
    {"service", VALUE_TEXT, "NAME", "return-path: send as this service (default: the first)"},
    {"state", VALUE_TEXT, "DIR", "the state folder that `run` had (default: /var/lib/fairlead)"},
    {"run-dir", VALUE_TEXT, "DIR", "the local socket (default: /run/fairlead)"},
    {"pins", VALUE_TEXT, "DIR", "BPF objects are pinned below it (default: /sys/fs/bpf/fairlead)"},
    {NULL, VALUE_NONE, NULL, NULL},
};

static const struct command_option lab_options[] = {
    {"name", VALUE_TEXT, "NAME",
     "call the lab so (default: the file's name without its extension)"},
    {"bare", VALUE_NONE, NULL, "machines and links only: start none of the processes"},
    {"hold", VALUE_NONE, NULL, "stay in the foreground; the lab ends with this command"},
    {NULL, VALUE_NONE, NULL, NULL},
};

const struct command command_table[] = {
    {
	.name = "init",
	.place = COMMAND_HERE,
	.summary = "make this machine the first node of a fabric",
	.description =
	    "Asks nothing: name, interface and addresses are found, and kept in the state folder,\n"
	    "so that `fairlead run` needs no options. Makes the fabric's CA and this node's\n"
	    "certificate, and prints what to type here and on the next machine. This node is the\n"
	    "fabric's voter: it decides on changes.",
	.examples = "fairlead init\n"
		    "fairlead init --fabric shop --site fra --address 10.0.0.2",
	.options = init_options,
    },
    {
	.name = "join",
	.place = COMMAND_HERE,
	.summary = "let this machine join a fabric",
	.description = "Asks the voter at ADDRESS, by a token of its. Whose fabric it is, the "
		       "token says, and\n"
		       "that is checked before the token's secret leaves this machine. What was "
		       "cut short can\n"
		       "be typed again. The keys made here never leave the state folder.",
	.examples = "fairlead join 10.0.0.2 --token fl1…\n"
		    "fairlead join 10.0.0.2 --token fl1… --role backend --site fra",
	.arguments = {{"voter", VALUE_TEXT, false, "address or name of a voter, or ADDRESS:PORT"}},
	.options = join_options,
    },
    {
	.name = "run",
	.place = COMMAND_RUN,
	.summary = "be a node: forward, answer, report",
	.description =
	    "Runs the daemon in the foreground; systemd or another supervisor keeps it running.\n"
	    "Stopping it, or its crash, does not stop forwarding: the programs and maps stay\n"
	    "pinned until `fairlead detach`, and the next start takes them over. A newer program\n"
	    "replaces the running one without losing a packet.",
	.examples = "fairlead run --node edge1 --site fra --interface eth0 --source 10.0.0.2 --dns "
		    "10.0.0.2\n"
		    "fairlead run --role backend --node web1 --underlay eth0 --join "
		    "unix:/run/fairlead/fairlead.sock\n"
		    "fairlead run --role edge,names,backend --site fra --interface eth0 --underlay "
		    "eth0 --source 10.0.0.2 --dns 10.0.0.2",
	.options = run_options,
    },
    {
	.name = "validate",
	.place = COMMAND_HERE,
	.thing = &thing_validation,
	.render = render_validate,
	.summary = "check a file without a daemon",
	.description =
	    "Reports every fault with file, line and column, and what to do about it. Also prints\n"
	    "how many rollouts a day the pools allow.",
	.examples = "fairlead validate fairlead.yaml",
	.arguments = {FILE_ARGUMENT},
    },
    {
	.name = "plan",
	.place = COMMAND_DAEMON,
	.verb = VERB_plan,
	.thing = &thing_plan,
	.render = render_plan,
	.summary = "show what a file would change, and what it would do to live flows",
	.description =
	    "Changes nothing. The connections are those that landing counts now. Ends with the\n"
	    "command that applies the file to what it was planned against: `apply --expect`.\n"
	    "\n"
	    "With --exit-code it exits with 0 if nothing would change, with 2 if something would,\n"
	    "and with 1 if that could not be found out: then a wrong option is 1 as well, which\n"
	    "otherwise is 2.",
	.examples = "fairlead plan fairlead.yaml\n"
		    "fairlead plan --exit-code fairlead.yaml",
	.arguments = {FILE_ARGUMENT},
	.options = plan_options,
    },
    {
	.name = "apply",
	.place = COMMAND_DAEMON,
	.verb = VERB_apply,
	.thing = &thing_apply,
	.render = render_apply,
	.summary = "make a file the fabric's configuration",
	.description =
	    "A changed service becomes its next version; what is unchanged is not touched.\n"
	    "Applying the same file again changes nothing. Where a pool has too few free slots, "
	    "idle\n"
	    "ones are freed for it, which takes some seconds, and it waits for them, or is refused "
	    "and\n"
	    "says how long that takes. With --wait it also waits for the rollouts that it began, "
	    "as\n"
	    "`rollout status --wait` does.\n"
	    "\n"
	    "Where clients lose a name or a port, it asks first: a service, a port, a record's "
	    "name\n"
	    "or the zone's name that the file has no more. Without a terminal it is refused "
	    "unless\n"
	    "--yes is given.\n"
	    "\n"
	    "--expect N, as `plan` prints it, refuses the file if an order was given since: an\n"
	    "apply, a rollback, an order about a rollout or a backend, a recovery. Steps that\n"
	    "versions take by themselves are none. Who answers at a terminal answers about what\n"
	    "was shown, in the same way.",
	.examples = "fairlead apply fairlead.yaml --message 'web4 in, web1 out'\n"
		    "fairlead apply --expect 12 fairlead.yaml\n"
		    "fairlead apply fairlead.yaml --wait --timeout 1h",
	.arguments = {FILE_ARGUMENT},
	.options = apply_options,
    },
    {
	.name = "status",
	.place = COMMAND_DAEMON,
	.verb = VERB_status,
	.thing = &thing_status,
	.render = render_status,
	.repeatable = true,
	.summary = "how the node and its services are, and what needs attention",
	.description =
	    "Versions with their state, share and connections; the XDP program's build and mode;\n"
	    "silent backends; alarms with what to do; drops by reason. --watch repeats it.",
	.examples = "fairlead status\nfairlead status -o json",
	.options = all_options,
    },
    {
	.name = "get",
	.place = COMMAND_DAEMON,
	.verb = VERB_get,
	.thing = &thing_file,
	.render = render_get,
	.repeatable = true,
	.summary = "print the configuration, or list things of one kind",
	.description =
	    "Without a kind: the configuration as a file whose plan is empty. `fairlead get KIND\n"
	    "--help` lists the fields of that kind.",
	.examples = "fairlead get -o yaml > fairlead.yaml\nfairlead get versions",
	.arguments = {{"kind", VALUE_TEXT, true,
		       "services, versions, backends, bindings, pools, sites or nodes"}},
	.options = all_options,
    },
    {
	.name = "describe",
	.place = COMMAND_DAEMON,
	.verb = VERB_describe,
	.render = render_describe,
	.repeatable = true,
	.summary = "all that is known of one thing",
	.description =
	    "Things: service/NAME, version/NAME/NUMBER, backend/NAME, address/ADDRESS. "
	    "`fairlead get\n"
	    "KIND --help` lists their fields; addresses are of the kind bindings. A backend\n"
	    "whose name moved to another machine is also told by backend/NAME/ADDRESS.",
	.examples = "fairlead describe service/web\nfairlead describe version/web/2\n"
		    "fairlead describe address/198.51.100.1",
	.arguments = {{"thing", VALUE_TEXT, false, "kind/name, or a service's name"}},
	.options = all_options,
    },
    {
	.name = "rollout status",
	.place = COMMAND_DAEMON,
	.verb = VERB_rollout_status,
	.thing = &thing_rollout,
	.render = render_rollout_status,
	.repeatable = true,
	.summary = "how far a rollout is",
	.description =
	    "The share of clients that DNS gives each version, when the next step is due, and why\n"
	    "an older version drains still: who has how many of its connections, what is waited\n"
	    "for, and until when.\n"
	    "\n"
	    "With --wait it is shown when the new version has all clients, with --retired when no\n"
	    "older one drains. The exit status is 1 when another order supersedes it, 3 when\n"
	    "--timeout is over and 130 when you interrupt the waiting; the rollout goes on.",
	.examples = "fairlead rollout status web\nfairlead rollout status web --wait --timeout 30m",
	.arguments = {{"service", VALUE_TEXT, true, "name of the service (default: all)"}},
	.options = rollout_status_options,
    },
    {
	.name = "rollout pause",
	.place = COMMAND_DAEMON,
	.verb = VERB_rollout_pause,
	.thing = &thing_order,
	.render = render_rollout_pause,
	.summary = "keep a rollout at its present share",
	.description = "Until `rollout resume`. Clients keep the version they have.",
	.examples = "fairlead rollout pause web",
	.arguments = {SERVICE_ARGUMENT},
	.options = change_options,
    },
    {
	.name = "rollout resume",
	.place = COMMAND_DAEMON,
	.verb = VERB_rollout_resume,
	.thing = &thing_order,
	.render = render_rollout_resume,
	.summary = "let a paused rollout go on",
	.description =
	    "The pause between two shares begins anew.\n"
	    "\n"
	    "A version whose backends are not known to be well gets no client: it waits for one\n"
	    "that has not reported since the daemon started, that is silent, disputed or has an\n"
	    "alarm, or that an edge has no next hop for; `rollout status` says for which. --force\n"
	    "gives it its first share all the same, and the ledger keeps what was not waited for.",
	.examples = "fairlead rollout resume web\n"
		    "fairlead rollout resume web --force --message 'web9 comes tomorrow'",
	.arguments = {SERVICE_ARGUMENT},
	.options = resume_options,
    },
    {
	.name = "rollout cut",
	.place = COMMAND_DAEMON,
	.verb = VERB_rollout_cut,
	.thing = &thing_cut,
	.render = render_rollout_cut,
	.summary = "end what is left of a draining version's flows",
	.description =
	    "Destroys the sockets at landing; the flows are counted as cut. Only a draining\n"
	    "version can be cut.",
	.examples = "fairlead rollout cut web/1",
	.arguments = {{"version", VALUE_TEXT, false, "service/number"}},
	.options = change_options,
    },
    {
	.name = "rollback",
	.place = COMMAND_DAEMON,
	.verb = VERB_rollback,
	.thing = &thing_rollback,
	.render = render_rollback,
	.summary = "go back to what served before",
	.description =
	    "An undo: to the version that had the clients before this one was published, not to\n"
	    "one that was itself rolled back from, nor to one that was given up before it had all\n"
	    "clients; again, it goes one further back. While that version still drains, DNS names\n"
	    "it again within one TTL. Once it is retired, a new version with its content is\n"
	    "published. During a rollout it ends the rollout. The stored configuration follows.\n"
	    "A service that was removed comes back as it was, as its next version. For anything\n"
	    "else of the configuration there is `fairlead undo`.",
	.examples = "fairlead rollback web --dry-run\nfairlead rollback web --to 3",
	.arguments = {SERVICE_ARGUMENT},
	.options = rollback_options,
    },
    {
	.name = "undo",
	.place = COMMAND_DAEMON,
	.verb = VERB_undo,
	.thing = &thing_apply,
	.render = render_apply,
	.summary = "take back what an entry of the ledger changed",
	.description =
	    "Applies the present configuration without what this entry changed of it: pools,\n"
	    "sites, settings, the zone and its records, services with all their options. It is a\n"
	    "change like any other, with an entry, new versions and slots of its own, and can be\n"
	    "undone. Refused where a later entry changed the same thing: undo that one first.\n"
	    "An apply that took several entries is undone from the last of them on. Of entries\n"
	    "that hold no configuration it says what takes them back.",
	.examples = "fairlead undo 17 --dry-run\nfairlead undo 17 --message 'the wrong pool'",
	.arguments = {{"entry", VALUE_NUMBER, false, "its number; `fairlead log` lists them"}},
	.options = undo_options,
    },
    {
	.name = "token",
	.place = COMMAND_DAEMON,
	.verb = VERB_token,
	.thing = &thing_token,
	.render = render_token,
	.summary = "let one more machine join",
	.description =
	    "Prints the word for `fairlead join`. It lets one machine in, once, within its time;\n"
	    "the ledger says by whom it was made, and who used it.",
	.examples = "fairlead token\nfairlead token --role backend --site fra --hours 1",
	.options = token_options,
    },
    {
	.name = "node remove",
	.place = COMMAND_DAEMON,
	.verb = VERB_node_remove,
	.thing = &thing_removal,
	.render = render_node_remove,
	.summary = "end a node's membership, also of one that cannot be reached",
	.description =
	    "Says what that does to live flows, and asks first. The node's sessions end at once, "
	    "its\n"
	    "keys are good for nothing any more, and its name is free. When it hears of its "
	    "removal\n"
	    "it withdraws, waits and takes its maps away. One that cannot hear of it may go on\n"
	    "forwarding: landings refuse its tunnels, and no address gets another meaning before\n"
	    "all of them do; `get nodes` and `status` say how far that is.",
	.examples = "fairlead node remove edge2 --message 'its board is dead'",
	.arguments = {{"node", VALUE_TEXT, false, "name of the node"}},
	.options = remove_options,
    },
    {
	.name = "routing status",
	.place = COMMAND_DAEMON,
	.verb = VERB_routing_status,
	.thing = &thing_routing,
	.render = render_routing_status,
	.repeatable = true,
	.summary = "what this machine announces by routes",
	.description =
	    "Of this machine, whichever node decides. What is announced lies in a table of the\n"
	    "kernel, from where a routing daemon takes it; an edge puts its addresses there while\n"
	    "it holds all that it must, and takes them out when it is stopped.",
	.examples = "fairlead routing status",
    },
    {
	.name = "routing config",
	.place = COMMAND_DAEMON,
	.verb = VERB_routing_config,
	.thing = &thing_routing_config,
	.render = render_routing_config,
	.repeatable = true,
	.summary = "print the configuration for a routing daemon",
	.description =
	    "For BIRD 2, as a file to include. With the routers' addresses it is complete; "
	    "without\n"
	    "them it has an example to fill in. It names this machine's prefixes exactly, and is\n"
	    "the same until the fabric gets other pools.",
	.examples =
	    "fairlead routing config bird > /etc/bird/fairlead.conf\n"
	    "fairlead routing config bird --neighbor 10.0.0.1 --neighbor fd00::1 --as 64512 "
	    "--local-as 64513",
	.arguments = {{"program", VALUE_TEXT, false, "bird"}},
	.options = routing_config_options,
    },
    {
	.name = "backend forget",
	.place = COMMAND_DAEMON,
	.verb = VERB_backend_forget,
	.thing = &thing_forget,
	.render = render_backend_forget,
	.summary = "declare a silent backend's connections gone",
	.description =
	    "A backend that does not report keeps versions from being retired, because silence is\n"
	    "never zero. If the machine is gone for good, say so here; it is kept in the ledger.\n"
	    "If it reports again, its reports count again; so does its silence in versions that\n"
	    "are published later and name it, or that a rollback returns to.",
	.examples = "fairlead backend forget web1 --message 'board replaced'",
	.arguments = {{"backend", VALUE_TEXT, false, "name of the backend"},
		      {"address", VALUE_TEXT, true,
		       "which of its machines, if it moved to another"}},
	.options = change_options,
    },
    {
	.name = "store recover",
	.place = COMMAND_DAEMON,
	.verb = VERB_store_recover,
	.thing = &thing_recovery,
	.render = render_store_recover,
	.summary = "go on from the newest state that is left",
	.description =
	    "For a node whose state is older than what it forwards, or whose store is damaged or\n"
	    "lost; `fairlead status` says so. If a copy beside the store has what is missing, it\n"
	    "takes the store's place, and nothing is lost. Otherwise the node goes on from the\n"
	    "older state: no number and no address that the missing entries may have given out\n"
	    "gets a second meaning; addresses that only they gave a meaning are withdrawn, and\n"
	    "connections there break. Asks first; put the newest state back instead, if there "
	    "is one.",
	.examples = "fairlead store recover --dry-run\n"
		    "fairlead store recover --message 'the disk of yesterday is lost'",
	.options = recover_options,
    },
    {
	.name = "store resume",
	.place = COMMAND_DAEMON,
	.verb = VERB_store_resume,
	.thing = &thing_resumption,
	.render = render_store_resume,
	.summary = "let a voter decide that has not heard the edges",
	.description =
	    "A voter that starts takes orders when it has heard a majority of the edges, and none\n"
	    "has more than its own disk: one that was put back from a backup would otherwise give\n"
	    "addresses a second meaning. If so many edges are gone that this will not be, and you\n"
	    "know that this disk holds the newest state there is, say so here; it is kept in the\n"
	    "ledger. Where an edge that is heard has more, it is refused: `fairlead status` says\n"
	    "what helps.",
	.examples = "fairlead store resume --message 'two of three edges burned'",
	.options = change_options,
    },
    {
	.name = "log",
	.place = COMMAND_DAEMON,
	.verb = VERB_log,
	.thing = &thing_entry,
	.repeatable = true,
	.summary = "who changed what, when and why",
	.description = "Entries of the ledger, oldest first.",
	.examples = "fairlead log\nfairlead log --from 1 --limit 100 -o jsonl",
	.options = log_options,
    },
    {
	.name = "verify",
	.place = COMMAND_DAEMON,
	.verb = VERB_verify,
	.thing = &thing_verdict,
	.render = render_verify,
	.repeatable = true,
	.summary = "check the ledger's hash chain and signatures",
	.description = "Names the first entry that was changed, removed or added by another hand.",
	.examples = "fairlead verify",
    },
    {
	.name = "events",
	.place = COMMAND_DAEMON,
	.verb = VERB_events,
	.thing = &thing_event,
	.render = render_event,
	.streams = true,
	.summary = "follow what happens, as it happens",
	.description =
	    "One line an event, until interrupted. With -o jsonl, one JSON object a line.",
	.examples = "fairlead events --watch",
    },
    {
	.name = "doctor",
	.place = COMMAND_DAEMON,
	.verb = VERB_doctor,
	.thing = &thing_doctor,
	.render = render_doctor,
	.summary = "look over this machine for what breaks flows, and say what mends it",
	.description =
	    "Kernel settings, rules and routes, systemd-networkd, MTU of the way to each backend,\n"
	    "offloads, XDP, firewall, clock, disk, keys, certificate, build, and every alarm of "
	    "this\n"
	    "node. Nothing is changed. Exits with 1 if a finding is an error. Works also while no\n"
	    "daemon runs, with less. What cannot be looked at is told under `not known`.\n"
	    "docs/design/doctor.md lists all findings.\n"
	    "\n"
	    "`doctor return-path --to ADDRESS` has each backend of a service send the first packet "
	    "of\n"
	    "a TCP connection from the service's address to a machine outside, and says whose "
	    "answer\n"
	    "does not come back: a network that drops what it takes for forged (strict reverse "
	    "path,\n"
	    "ARP inspection) breaks clients alone. The machine there needs nothing but an "
	    "address;\n"
	    "a port that is open, or refused, at it.",
	.examples = "fairlead doctor\n"
		    "fairlead doctor -o json\n"
		    "fairlead doctor return-path --to 203.0.113.7",
	.arguments = {{"what", VALUE_TEXT, true, "return-path; otherwise this machine"}},
	.options = doctor_options,
    },
    {
	.name = "detach",
	.place = COMMAND_HERE,
	.summary = "take this machine's programs and maps away; forwarding stops",
	.description =
	    "The counterpart of `run`: removes what it pinned, below DIR/edge or DIR/landing, and\n"
	    "leaves the rest of DIR alone. The state folder is kept. Asks nothing, and is refused\n"
	    "while the daemon runs: stop it first.",
	.examples = "fairlead detach",
	.options = detach_options,
    },
    {
	.name = "lab up",
	.place = COMMAND_LAB,
	.thing = &thing_lab,
	.render = render_lab_up,
	.summary = "make a network on this computer to try things in (root)",
	.description =
	    "A topology file says which machines there are, what runs on them, and which links\n"
	    "join them, with their delay, loss, rate and MTU. A machine is a network namespace;\n"
	    "nothing of the lab has a name outside, and `lab down` leaves nothing behind.\n"
	    "\n"
	    "  machines:\n"
	    "    home:\n"
	    "      routes: [{to: default, via: 192.0.2.1}]\n"
	    "    server:\n"
	    "      run: {web: python3 -m http.server 80}\n"
	    "  links:\n"
	    "    line:\n"
	    "      from: {machine: home, interface: eth0, addresses: [192.0.2.10/24]}\n"
	    "      to: {machine: server, interface: eth0, addresses: [192.0.2.1/24]}\n"
	    "      delay: 20ms           # each way\n"
	    "      rate: 1mbit\n"
	    "      back: {rate: 16mbit}  # what differs on the way from `to` to `from`\n"
	    "\n"
	    "lab/topologies has labs with a whole fabric in them; docs/design/lab.md explains "
	    "each\n"
	    "key. A process runs in the folder of its topology file, finds a folder of its "
	    "machine's\n"
	    "own in $DIR, and leaves what it prints in /run/lab/log/NAME.log, as the lab sees it.",
	.examples = "fairlead lab up lab/topologies/rack.yaml\n"
		    "fairlead lab up lab/topologies/rack.yaml --name second --bare",
	.arguments = {{"topology", VALUE_TEXT, false, "the topology file; - reads standard input"}},
	.options = lab_options,
    },
    {
	.name = "lab exec",
	.place = COMMAND_LAB,
	.summary = "run a command on a machine of a lab",
	.description = "With this terminal, folder and environment. The machine has its own "
		       "network, host name\n"
		       "and process table; the files are those of this computer, but for /run. The "
		       "exit status\n"
		       "is the command's.",
	.examples = "fairlead lab exec rack edge -- fairlead status\n"
		    "fairlead lab exec rack client curl http://web.svc.example.net/\n"
		    "fairlead lab exec rack edge bash",
	.arguments = {LAB_ARGUMENT,
		      {"machine", VALUE_TEXT, false, "name of the machine"},
		      {"command", VALUE_WORDS, false, "the program and its arguments"}},
    },
    {
	.name = "lab status",
	.place = COMMAND_LAB,
	.thing = &thing_lab,
	.render = render_lab_status,
	.repeatable = true,
	.summary = "what a lab consists of, and what its links carried",
	.description =
	    "Without a topology: the labs that are up. `sent` counts what left an end of a link;\n"
	    "`lost` is what the link lost on purpose, `full` what found its queue full, `too big`\n"
	    "what exceeded its MTU. A link without delay, loss or rate counts what its interface\n"
	    "counts.",
	.examples = "fairlead lab status\nfairlead lab status rack --watch\n"
		    "fairlead lab status rack -o json",
	.arguments = {{"topology", VALUE_TEXT, true, "the topology file, or the lab's name"}},
    },
    {
	.name = "lab unplug",
	.place = COMMAND_LAB,
	.thing = &thing_lab_link,
	.render = render_lab_link,
	.summary = "cut a link of a lab",
	.description = "Both of its interfaces vanish, with their addresses and routes.",
	.examples = "fairlead lab unplug rack web1",
	.arguments = {LAB_ARGUMENT, LINK_ARGUMENT},
    },
    {
	.name = "lab plug",
	.place = COMMAND_LAB,
	.thing = &thing_lab_link,
	.render = render_lab_link,
	.summary = "join a link again that was cut",
	.description =
	    "Also after somebody deleted an interface of it. Addresses and routes come back; the\n"
	    "link addresses are new ones.",
	.examples = "fairlead lab plug rack web1",
	.arguments = {LAB_ARGUMENT, LINK_ARGUMENT},
    },
    {
	.name = "lab down",
	.place = COMMAND_LAB,
	.thing = &thing_lab_end,
	.render = render_lab_down,
	.summary = "end a lab; nothing of it remains",
	.description = "Kills all of its processes; its network, files and pinned BPF objects go "
		       "with them. Well\n"
		       "also if the lab is not up; those that are up are named then.",
	.examples = "fairlead lab down rack",
	.arguments = {LAB_ARGUMENT},
    },
    {.name = NULL},
};
