/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Apply: how a file becomes the fabric's configuration. All of it is worked out once, from one
 * image: which services get a next version, that version, its slots, and what else differs. The
 * parts that are then committed, an entry of the ledger each, only stamp this with their sequence.
 *
 * A part holds as much as one txn takes, and each of them leaves the store in order: a service's
 * version, state and configuration are written together; sites come before the services that name
 * them, and go after those that did. So a daemon that ends between two parts leaves a configuration
 * that says what is published, and applying the same file again does the rest.
 *
 * The image moves between the parts. What the driver does to a service does not matter; when
 * somebody published meanwhile, apply_part() says -FL_ECONFLICT, and all that is left is worked out
 * anew.
 */
#ifndef FAIRLEAD_STATE_APPLY_H
#define FAIRLEAD_STATE_APPLY_H

#include "base/buffer.h"
#include "state/changes.h"

struct publication_moment;

/* What becomes of one service. */
struct apply_item {
	const char *name;
	const struct service *service; /* of the file; NULL: it is removed */
	uint32_t number; /* of its next version; 0: it gets none */
	struct digest digest;
	size_t note_bytes; /* what the caller will say of it in the entry; his to set */
	void *note; /* the caller's */
	/* ours */
	struct arena arena; /* of `version` */
	struct version *version; /* until apply_planned() */
	struct buffer record; /* of the version */
	struct buffer config; /* its configuration; empty when that is stored already */
	struct binding bindings[PLACEMENT_FAMILIES];
	size_t binding_count;
};

/* How far a part goes: a step, and the place within it. */
struct apply_place {
	unsigned step;
	size_t index;
};

struct apply {
	const struct fabric *fabric; /* borrowed */
	struct apply_item *items; /* in the file's order, then those that go */
	size_t item_count;
	/* Parallel to the fabric's services, until apply_planned(): the version each gets, or NULL.
	 */
	const struct version **next;
	/* The part that was built last. */
	struct apply_item **part;
	size_t part_count;
	bool more; /* something is left after it */
	/* ours */
	struct arena arena;
	struct placement *placement;
	struct apply_place at; /* up to here all parts are committed */
	struct apply_place after; /* up to here when `part` is committed as well */
};

/*
 * Work out what applying `fabric` does. Refused, and nothing is done, when it cannot all be done:
 * -FL_EEXHAUSTED (no slot), -FL_ESTATE (a pool is in use), -FL_ELIMIT (a record would be too
 * large), -FL_EUNSUPPORTED (something that the file speaks of is unread), -FL_EINVALID, -ENOMEM.
 */
must_check int apply_new(const struct image *image, const struct fabric *fabric,
			 const struct publication_moment *moment, struct apply **ret_apply,
			 struct error *err);
void apply_free(struct apply *apply); /* NULL is fine */

/* The services to which `fabric` gives a next version: their names, borrowed from it, for which
 * `ret_names` has room for all. Also when apply_new() finds no slot for some of them. */
size_t apply_wants(const struct image *image, const struct fabric *fabric, const char **ret_names);

/* The rings are not looked at any more: their memory goes. */
void apply_planned(struct apply *apply);

/* Put the next part into the draft: a change_verdict or a negative code. */
must_check int apply_part(struct apply *apply, struct change_draft *draft, struct error *err);
void apply_part_committed(struct apply *apply);

#endif
