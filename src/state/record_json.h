/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a record's JSON is written and read: one object with sorted keys and no spaces, `level` among
 * them. A reading remembers the first thing that was wrong, so that who reads twenty members looks
 * at `status` once, at the end. Private to src/state.
 */
#ifndef FAIRLEAD_STATE_RECORD_JSON_H
#define FAIRLEAD_STATE_RECORD_JSON_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/netaddr.h"
#include "state/records.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_MAX_ITEMS (1u << 20) /* of one list in a record */

/* --- writing --- */

/* Appends the object, which is moved, with the level of its type. NULL means that an allocation
 * failed while it was built: -ENOMEM. */
must_check int record_json_put(enum record_type type, json_t *object, struct buffer *value);
/* The same with the lowest level whose readers understand it, which the type's own is for a record
 * that uses all of its members: programs up to that level still read it. */
must_check int record_json_put_level(json_t *object, uint32_t level, struct buffer *value);

json_t *record_json_hex(const void *bytes, size_t length);
json_t *record_json_address_text(const struct ip_address *address);
json_t *record_json_prefix_text(const struct ip_prefix *prefix);

/* --- reading --- */

struct record_reading {
	enum record_type type;
	struct arena *arena; /* of all that is read; NULL when that needs none */
	int status;
	struct error *err;
};

/* The object that the record is, to be given back by json_decref(); NULL: it is none. No record
 * begins with a space. */
json_t *record_json_load(const char *value, size_t length);

/* Its level: 1 where it says none; 0 where what it says is none. */
uint32_t record_json_level(const json_t *object);

/* The record's object, to be given back by json_decref(); NULL when `status` says why there is
 * none: -FL_ECORRUPT; -FL_EUNSUPPORTED when its level is above the type's; -ENOMEM. */
json_t *record_json_open(struct record_reading *reading, const char *value, size_t length);

/* Of this member something is wrong. */
void record_json_fault(struct record_reading *reading, const char *key);
void record_json_no_memory(struct record_reading *reading);

/* Each gives something harmless (0, false, "") after a fault; no text is ever NULL. */
uint64_t record_json_number(struct record_reading *reading, const json_t *object, const char *key,
			    uint64_t most);
uint32_t record_json_u32(struct record_reading *reading, const json_t *object, const char *key);
bool record_json_bool(struct record_reading *reading, const json_t *object, const char *key);
const char *record_json_text(struct record_reading *reading, const json_t *object, const char *key);
/* A text that fits into `size` bytes with its NUL, without the arena. */
void record_json_name(struct record_reading *reading, const json_t *object, const char *key,
		      char *text, size_t size);
void record_json_address(struct record_reading *reading, const json_t *object, const char *key,
			 struct ip_address *address);
void record_json_prefix(struct record_reading *reading, const json_t *object, const char *key,
			struct ip_prefix *prefix);
void record_json_bytes(struct record_reading *reading, const json_t *object, const char *key,
		       void *bytes, size_t length);

/* The array `key`, of at most `most` elements, and memory for as many things of `size` bytes. */
json_t *record_json_array(struct record_reading *reading, const json_t *object, const char *key,
			  size_t most, size_t size, void *ret_memory, size_t *ret_count);

#endif
