/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landing's BPF programs: loaded, filled, attached and pinned, so that packets land while the
 * daemon does not run.
 *
 *	PIN_ROOT/LAYOUT/NAME	the maps; LAYOUT is a digest of their shapes
 *	PIN_ROOT/link_ifN	the XDP program on the interface with index N
 *	PIN_ROOT/link_lookup	the sk_lookup program on the namespace
 *	PIN_ROOT/sysctls	the journal of changed kernel settings
 * On an interface that an edge of this machine is on, too, there is no link: ours is in the array
 * that the edge's program calls for what is not its own.
 *
 * A start loads new programs over the pinned maps of its own layout, or over new ones, fills
 * them, and only then switches each link; up- and downgrade are the same path. Then what other
 * layouts left is removed.
 */
#ifndef FAIRLEAD_LANDING_PROGRAMS_H
#define FAIRLEAD_LANDING_PROGRAMS_H

#include "kernel/layout.h"
#include "kernel/link.h"
#include "kernel/pins.h"
#include "landing/landing_alarms.h"

struct landing_bpf;
struct lookup_bpf;

struct program_interface {
	char name[16];
	unsigned ifindex; /* 0: it is not there */
	int link; /* owned descriptor, or -1 */
	bool native;
	bool shared; /* an edge's program is on it, and ours is that one's next stage */
};

struct programs {
	char pin_root[PINS_ROOT_BYTES];
	char layout[LAYOUT_HEX];
	char tag[17]; /* hex */
	bool generic_only;
	struct landing_bpf *landing; /* owned */
	struct lookup_bpf *lookup; /* owned */
	struct program_interface interfaces[LANDING_INTERFACES_MAX];
	unsigned interface_count;
	int stages; /* the edge's array; owned descriptor, or -1 */
	int lookup_link; /* owned descriptor, or -1 */
	int lock; /* of pin_root; owned descriptor, or -1 */
};

/* Check privileges and pin folder, then load; attaches nothing. programs_done after a failure
 * too. */
must_check int programs_open(struct programs *programs, const struct landing_options *options,
			     struct error *err);
void programs_done(struct programs *programs);
/* Let go of the descriptor, and no more: what is pinned goes on. */
void programs_close_link(int *link);

/* Fill edges, own addresses and pools, adding before deleting. */
must_check int programs_fill(struct programs *programs, const struct landing_desired *desired,
			     struct error *err);

/* Which frames are for this machine: by the link addresses in the chain of each interface. */
must_check int programs_set_own(struct programs *programs, const struct link_chain *chains,
				struct error *err);

/* The last answer over UDP that left from another address than was asked. */
struct landing_wrong;
must_check int programs_wrong(const struct programs *programs, struct landing_wrong *ret_wrong);

/* Segments from the pools are to be offered at most this long, in bytes. */
must_check int programs_set_mss(struct programs *programs, uint32_t v4, uint32_t v6,
				struct error *err);

/* The program of src/landing/clamp.c, borrowed. */
int programs_clamp(const struct programs *programs);

/* The edge's program is about to come on an interface that it shares: what lands there by a link of
 * ours lands as the next stage from now on. */
must_check int programs_yield(struct programs *programs, const char *interface, struct error *err);

/* Have our program on every interface that is there; see which are not. */
must_check int programs_attach(struct programs *programs, struct landing_alarms *alarms,
			       struct error *err);

/* Have the look-up program on this namespace, or not. */
must_check int programs_attach_lookup(struct programs *programs, bool wanted,
				      struct landing_alarms *alarms, struct error *err);

/* The maps of src/landing/listeners.c, borrowed. */
int programs_places_map(const struct programs *programs);
int programs_sockets_map(const struct programs *programs);

/* Remove a landing's pins of other layouts and of interfaces that are not ours any more. */
must_check int programs_sweep(struct programs *programs, struct error *err);

must_check int programs_counters(const struct programs *programs,
				 struct landing_counters *ret_counters, struct error *err);

/* Detach everything, also an earlier run's, and remove all pins of programs and maps. */
must_check int programs_undo(struct programs *programs, struct error *err);

#endif
