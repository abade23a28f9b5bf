/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image: this node's picture of the store, in the model's terms. It is loaded once and then kept
 * by one watch over everything, revision by revision, so that it always shows one committed state.
 * Versions never change, so they are parsed once; each changing record has an arena of its own,
 * replaced with it.
 *
 * Pointers into the image are borrowed until the next store_dispatch(). One thread.
 */
#ifndef FAIRLEAD_STATE_IMAGE_H
#define FAIRLEAD_STATE_IMAGE_H

#include "base/arena.h"
#include "base/digest.h"
#include "base/error.h"
#include "ledger/ledger.h"
#include "model/lifecycle.h"
#include "model/member.h"
#include "model/placement.h"
#include "model/version.h"
#include "store/store.h"

#include <stdbool.h>

struct image_version {
	struct arena arena;
	struct version *version;
	uint64_t learned_ms; /* when this image learned of it */
};

struct image_service {
	struct arena arena;
	struct service_state *state; /* NULL: only versions are known */
	const struct service *configured; /* in image->fabric; NULL: not in the file */
	uint64_t mod_revision; /* of service/NAME */
	char name[MODEL_NAME_BYTES];
	struct image_version **versions; /* rising numbers */
	size_t version_count;
};

struct image_member {
	struct arena arena;
	struct member *member;
	uint64_t mod_revision; /* of member/NAME */
};

/* How many of the ledger's last entries are known by their hashes. Who names an older one is so far
 * behind that it counts as having said nothing. */
#define IMAGE_CHAIN_ENTRIES 256u

struct image_forgotten {
	char backend[MODEL_NAME_BYTES];
	uint64_t sequence; /* the ledger entry that says so */
};

struct image {
	struct arena config_arena;
	struct fabric *fabric; /* NULL: nothing was ever applied */
	uint64_t config_revision;
	struct digest config_digest; /* of the record */
	struct arena placement_arena;
	struct placement *placement; /* NULL likewise */
	uint64_t placement_revision;
	struct image_service **services; /* sorted by name */
	size_t service_count;
	struct image_member *members; /* sorted by name */
	size_t member_count;
	struct image_forgotten *forgotten;
	size_t forgotten_count;
	struct ledger_head head;
	struct ledger_position chain[IMAGE_CHAIN_ENTRIES]; /* entry N lies at N modulo the size */
	struct store_id authority; /* whose revisions are counted */
	uint64_t revision; /* of the replica that this shows */
	uint64_t now_ms; /* the caller's clock, for the times of versions */
	const struct service_state **states; /* of all services that have one; for the model */
	size_t state_count;
};

/* Read everything; blocks. -FL_ECORRUPT with a sentence when the store holds what the model
 * cannot be. */
must_check int image_load(struct image *image, struct store *store, uint64_t now_ms,
			  struct error *err);
void image_done(struct image *image);

/* Take in the events of one revision, as a store_watch_fn delivers them. */
must_check int image_update(struct image *image, uint64_t revision,
			    const struct store_event *events, size_t count, uint64_t now_ms,
			    struct error *err);

/* NULL when there is none. */
struct image_service *image_service(const struct image *image, const char *name);
const struct version *image_version(const struct image_service *service, uint32_t number);
/* The same with what the image knows of it. */
const struct image_version *image_version_entry(const struct image_service *service,
						uint32_t number);

/* NULL when the ledger names no such node. */
const struct member *image_member(const struct image *image, const char *node);

/* Is it an entry of this image's ledger, and one of the last IMAGE_CHAIN_ENTRIES? */
bool image_is_on_chain(const struct image *image, const struct ledger_position *position);

/* The entry with its hash; false when it is older than those, or is to come. */
bool image_position(const struct image *image, uint64_t sequence,
		    struct ledger_position *ret_position);

/* How often landings report; the default until a configuration says so. */
uint64_t image_report_interval_ms(const struct image *image);

const struct image_forgotten *image_forgotten(const struct image *image, const char *backend);

/* Was the backend declared gone after ledger entry `published`? That is said of the connections of
 * its time: a version that names the backend later expects its reports again. */
bool image_is_forgotten(const struct image *image, const char *backend, uint64_t published);

#endif
