/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the model is written down: the keys of the store and their values, JSON but for versions.
 *
 *   config                       the configuration, canonical YAML (opaque here)
 *   placement                    numbers of pools, sites and services; freed slots
 *   service/NAME                 the state of one service: versions, bindings, rollout
 *   version/NAME/0000000017      one version: the canonical bytes that its digest covers
 *   forgotten/NAME               a backend whose silence the operator declared to be its end
 *   member/NODE                  who the node is: roles, site, tunnel sources, key, features
 *
 * Parsing is strict and bounded; a value that does not parse is -FL_ECORRUPT with a sentence that
 * names the key. Results live in the caller's arena. Pure; any thread.
 */
#ifndef FAIRLEAD_STATE_RECORDS_H
#define FAIRLEAD_STATE_RECORDS_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "model/lifecycle.h"
#include "model/member.h"
#include "model/placement.h"
#include "model/version.h"

#define RECORD_KEY_BYTES 256u

#define RECORD_CONFIG_KEY "config"
#define RECORD_PLACEMENT_KEY "placement"
#define RECORD_SERVICE_PREFIX "service/"
#define RECORD_VERSION_PREFIX "version/"
#define RECORD_FORGOTTEN_PREFIX "forgotten/"
#define RECORD_MEMBER_PREFIX "member/"

/* Written to find out whether a store that failed takes changes again; holds nothing. */
#define RECORD_PROBE_KEY "probe"

/* What programs up to 0.1 wrote of acknowledgements, which are observations now: left alone. */
#define RECORD_OLD_ACK_PREFIX "ack/"

/* Each writes a key into `key` (RECORD_KEY_BYTES) and returns it. */
const char *record_service_key(const char *service, char *key);
const char *record_version_key(const char *service, uint32_t number, char *key);
const char *record_forgotten_key(const char *backend, char *key);
const char *record_member_key(const char *node, char *key);

must_check int record_service_put(const struct service_state *state, struct buffer *value);
must_check int record_service_parse(const char *value, size_t length, struct arena *arena,
				    struct service_state **ret_state, struct error *err);

must_check int record_placement_put(const struct placement *placement, struct buffer *value);
must_check int record_placement_parse(const char *value, size_t length, struct arena *arena,
				      struct placement **ret_placement, struct error *err);

must_check int record_member_put(const struct member *member, struct buffer *value);
must_check int record_member_parse(const char *value, size_t length, struct arena *arena,
				   struct member **ret_member, struct error *err);

/* The canonical bytes of model/version.h. What is parsed has the digest of its bytes; that it is
 * the one that was committed is for who knows the service's state to check. */
must_check int record_version_put(const struct version *version, struct buffer *value);
must_check int record_version_parse(const char *value, size_t length, struct arena *arena,
				    struct version **ret_version, struct error *err);

#endif
