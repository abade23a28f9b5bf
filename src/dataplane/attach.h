/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge's interfaces, and the program on each: one pinned bpf_link per interface,
 * <root>/links/<interface>. A link whose interface has gone, or whose name belongs to another
 * interface now, is replaced.
 */
#ifndef FAIRLEAD_DATAPLANE_ATTACH_H
#define FAIRLEAD_DATAPLANE_ATTACH_H

#include "dataplane/edge.h"
#include "kernel/pins.h"
#include "kernel/xdp.h"

struct attachment {
	char name[16];
	uint32_t ifindex; /* 0: absent */
	bool is_calls; /* for calls of the machine itself: no outage without it */
	bool shared; /* the next stage takes what is not ours */
	int link; /* owned; -1: not attached */
	enum xdp_mode mode;
	int refused; /* why the driver did not take the program; 0 if it did, or was not asked */
	char problem[160]; /* why it is not attached; "" if it is or if it is absent */
	char merging[16]; /* as struct edge_interface_status has it */
};

struct attachments {
	char root[PINS_ROOT_BYTES]; /* of the pins */
	struct attachment items[EDGE_INTERFACES];
	size_t count;
	int (*yield)(void *context, const char *interface, struct error *err);
	void *yield_context;
	bool generic_only;
	bool wanted; /* interfaces that appear are attached */
};

/* Begin: nothing is wanted yet. */
void attach_init(struct attachments *attachments, const struct edge_options *options);

/* Attach what is there and is not attached, if that is wanted; detach nothing. Failures stay in
 * `problem`. */
void attach_reconcile(struct attachments *attachments, int program);

/* That one interface is there, and that those which are have the program: -FL_EUNAVAILABLE. */
must_check int attach_require_one(const struct attachments *attachments, struct error *err);

/* Put `program` in the place of `before` on every interface that this process has attached; on all
 * of them, or none. */
must_check int attach_switch(struct attachments *attachments, int program, int before,
			     struct error *err);

/* What is on the interface now: XDP_MODE_NONE unless that is an edge's, this process's or, until
 * attaching is wanted, an earlier one's. */
enum xdp_mode attach_query(const struct attachments *attachments,
			   const struct attachment *attachment, uint32_t *ret_program_id);

/* Whether a link is pinned for one of the interfaces, whosoever's process made it. */
bool attach_is_pinned(const struct attachments *attachments);

/* Let go of the links, which stay. */
void attach_close(struct attachments *attachments);

/* Detach and unpin every link below `root` but those of `keep` (NULL: none); with none to keep,
 * their folder goes, too. */
must_check int attach_sweep(const char *root, const struct attachments *keep, struct error *err);

/* Set the kernel settings that the slow path needs for the interface, as slow_path.c lists them. */
must_check int slow_path_prepare(const char *root, const char *interface, struct error *err);

#endif
