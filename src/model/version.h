/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Version: an immutable, numbered set of backends, weights and flow rules of one service, with its
 * ring for each site. Once committed it never changes (invariant 2): its digest covers all that
 * decides a packet's backend, and whoever reads a version back checks it.
 *
 * Ejection sets and bindings are tables outside the version. Rollout policy, TTL and health
 * settings are the service's: changing them makes no new version.
 */
#ifndef FAIRLEAD_MODEL_VERSION_H
#define FAIRLEAD_MODEL_VERSION_H

#include "base/arena.h"
#include "base/digest.h"
#include "base/random.h"
#include "model/fabric.h"
#include "model/ring.h"

struct buffer;

#define VERSION_SEED_BYTES 16

/* The numbers that abi/pick.h gives them. New versions have the last one. */
enum version_algorithm {
	VERSION_SIPHASH13_5TUPLE = 1,
	VERSION_MULTILINEAR = 2,
};

struct version_ring {
	const char *site;
	struct ring ring;
	/* Of algorithm 1, a second candidate for each entry. Nobody reads them any more, but the
	 * digest covers them. NULL under later algorithms. */
	uint16_t *seconds;
};

struct version {
	const char *service;
	uint32_t number; /* from 1 */
	uint8_t algorithm;
	enum balance_by balance_by;
	uint8_t seed[VERSION_SEED_BYTES];
	struct service_port ports[MODEL_MAX_PORTS]; /* in the file's order */
	size_t port_count;
	struct backend *backends; /* sorted by name: the ordinals that rings use */
	size_t backend_count;
	struct version_ring *rings; /* one per site, sorted by site name */
	size_t ring_count;
	struct digest
	    base; /* digest of the version whose rings these were built from; zero: none */
	struct digest digest; /* of all of the above */
};

/*
 * Build version `number` of `service` for all sites of `fabric`; everything is copied into `arena`.
 * A site's ring holds the backends of that site, or all backends where the site has none of weight.
 * `previous` (NULL for none) is the version that most clients have now: rings are built from its
 * rings. The seed is drawn from `random`; but a version that is balanced by source takes over the
 * one of a previous version that is, so that clients stay with their backends. -FL_EINVALID, with a
 * sentence, when no backend has a weight, two have one name, or there are too many; -ENOMEM.
 */
must_check int version_build(const struct fabric *fabric, const struct service *service,
			     uint32_t number, const struct version *previous, struct random *random,
			     struct arena *arena, struct version **ret_version, struct error *err);

/*
 * The canonical bytes of a version: all of it but the digest. Numbers are big-endian, texts and
 * lists have their length before them, so no two versions share an encoding. Versions of algorithm
 * 1 have the format that they were made in; later ones have the third if a backend is without a
 * landing, which an earlier release would wait for, and the second otherwise. The digest is SHA-256
 * over these bytes, and they are fit for storing.
 */
void version_encode(const struct version *version, struct buffer *buffer);

/* The version that `bytes` encode, in `arena`, with its digest; -FL_ECORRUPT for anything that
 * version_encode() would not have written, -ENOMEM. The caller knows which digest it wants. */
must_check int version_decode(const void *bytes, size_t length, struct arena *arena,
			      struct version **ret_version);

/* Recompute the digest of a version's content; -ENOMEM. */
must_check int version_digest(const struct version *version, struct digest *ret_digest);

/* Does the service, as configured now, still mean this version? Its ports, backends and the
 * fabric's sites must be the same; their order does not matter. */
bool version_matches(const struct version *version, const struct fabric *fabric,
		     const struct service *service);

/*
 * Which ordinal each backend of `previous` has in `version`, RING_NONE if it is gone: as
 * ring_build() and ring_moved() take it. By name, which is what an operator keeps when a backend is
 * the same one. `ret_carried` has room for the backends of `previous`.
 */
void version_carry_ordinals(const struct version *previous, const struct version *version,
			    uint16_t *ret_carried);

/* Borrowed; NULL when the version names no such backend. */
const struct backend *version_backend(const struct version *version, const char *name);

/* Borrowed; NULL when the site has no ring. */
const struct ring *version_ring(const struct version *version, const char *site);

#endif
