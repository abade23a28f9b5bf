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
#include "state/passing_secret.h"
#include "state/records.h"
#include "state/removed.h"
#include "state/tokens.h"
#include "store/store.h"

#include <stdbool.h>

struct image_version {
	struct arena arena;
	struct version *version;
	uint64_t learned_ms; /* when this image learned of it */
};

/* Records of a service that this program cannot read: see struct image_unread. */
enum image_unread_part {
	IMAGE_UNREAD_CONFIG = 1, /* config/service/NAME: `configured` is NULL, and means nothing */
	IMAGE_UNREAD_STATE = 2, /* service/NAME: `state` is NULL, and means nothing */
	IMAGE_UNREAD_VERSION = 4, /* a version that is in use */
};

struct image_service {
	struct arena arena;
	struct service_state *state; /* NULL: none is known */
	struct arena config_arena;
	struct service *config; /* of config/service/NAME; NULL: there is none */
	const struct service *configured; /* what the configuration says; NULL: it is not in it */
	uint64_t mod_revision; /* of service/NAME */
	uint64_t config_revision; /* of config/service/NAME */
	struct ended_service ended; /* of ended/NAME, which stays when the service is back */
	uint64_t ended_revision;
	unsigned unread; /* enum image_unread_part */
	bool touched; /* by the revision that is being taken in */
	char name[MODEL_NAME_BYTES];
	struct image_version **versions; /* rising numbers */
	size_t version_count;
};

struct image_member {
	struct arena arena;
	struct member *member;
	bool is_unread; /* only the name is known */
	uint64_t mod_revision; /* of member/NAME */
};

/* How many of the ledger's last entries are known by their hashes. Who names an older one is so far
 * behind that it counts as having said nothing. */
#define IMAGE_CHAIN_ENTRIES 256u

struct image_forgotten {
	char backend[MODEL_NAME_BYTES];
	struct ip_address address; /* IP_NONE: every one, as earlier releases wrote it */
	uint64_t sequence; /* the ledger entry that says so */
};

/* A record that this program cannot read: its level is above what is read of its type, or there is
 * no such type. It is kept as it is: no change may touch it. */
struct image_unread {
	char *key; /* owned */
	uint32_t level;
	uint32_t reads; /* the highest level of its type that is read; 0: the type is unknown */
};

struct image_pieces;

struct image {
	/* Assembled from the records: services and sites by rising names. NULL: nothing was ever
	 * applied. Name and zone are "" while their record is unread. */
	const struct fabric *fabric;
	/* NULL likewise. Less than all of it while one of its records is unread. */
	const struct placement *placement;
	uint64_t
	    placement_revision; /* the last that changed the numbers of pools and sites, or slots */
	bool is_old; /* the store has the first release's form: upgrade.h */
	struct image_pieces *pieces; /* owned; what both are assembled from: image_pieces.c */
	struct image_unread *unread; /* by rising keys */
	size_t unread_count;
	struct image_service **services; /* sorted by name */
	size_t service_count;
	struct image_member *members; /* sorted by name */
	size_t member_count;
	/* The last in which a member came, changed or went, or one that went was fenced. */
	uint64_t members_revision;
	/* When a node last ceased to be an edge or a name server, by the caller's clock: until then
	 * it acted as one. 0: none did since image_load(). */
	uint64_t ceased_ms;
	struct image_forgotten *forgotten;
	size_t forgotten_count;
	struct token_list tokens;
	struct removed_list removed;
	struct passing_secret passing;
	uint64_t passing_revision; /* of its record; 0: there is none */
	struct ledger_head head;
	/* The newest entry that tells of an order, of those that came since image_load(); 0: none
	 * did. */
	uint64_t ordered;
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

/* The mod_revision of a record of configuration or placement, a service's state or a member; 0:
 * absent. */
uint64_t image_record_revision(const struct image *image, const char *key);

/* The newest record of the first release's form; 0: there is none. */
uint64_t image_old_revision(const struct image *image);
/* Every record of configuration and placement in the present form, until one call is negative,
 * which is returned. */
typedef int image_record_fn(void *context, const char *key, uint64_t revision);
must_check int image_each_record(const struct image *image, image_record_fn *each, void *context);

/* The ledger entry that gave the numbered pool its shape; 0: there is no such pool. */
uint64_t image_pool_since(const struct image *image, size_t number);

/* NULL when the record is read, or absent. */
const struct image_unread *image_unread(const struct image *image, const char *key);
/* The first unread record of what must be known whole: `prefix` is "config/", "placement/" or
 * "service/" for instance. NULL: all are read. */
const struct image_unread *image_unread_under(const struct image *image, const char *prefix);
/* The first of those without which it is not known which addresses mean what: numbers of pools and
 * sites, states, versions that are in use. While there is one, what is forwarded stays as it is. */
const struct image_unread *image_unread_meaning(const struct image *image);
/* "config/service/web has level 2, and this program reads up to level 1" into `text`. */
#define IMAGE_UNREAD_TEXT 512u
const char *image_unread_text(const struct image_unread *unread, char *text);

/* The first that says so of this backend from place `*at` on, which becomes the place after it;
 * NULL at the end. */
const struct image_forgotten *image_forgotten(const struct image *image, const char *backend,
					      const struct ip_address *address, size_t *at);

/* Was the backend declared gone after ledger entry `published`? That is said of the connections of
 * its time: a version that names the backend later expects its reports again. */
bool image_is_forgotten(const struct image *image, const struct backend *backend,
			uint64_t published);

#endif
