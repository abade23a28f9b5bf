/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of the configuration: one for what the fabric is called, one for each setting, pool,
 * site and service. The texts in them are the file's own notations (base/text.h, config/port.h),
 * and numbers are the model's. Services and sites are maps in the file: their records are ordered
 * by name, and so is a fabric that is assembled from them.
 *
 * A value is read with the checks that keep the model sound (kinds, ranges, known words); that a
 * fabric makes sense as a whole was checked when it was a file.
 */
#ifndef FAIRLEAD_STATE_CONFIG_RECORDS_H
#define FAIRLEAD_STATE_CONFIG_RECORDS_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "model/fabric.h"

#define CONFIG_SETTINGS 4

/* The settings, by rising keys. */
struct config_setting {
	const char *name;
	uint64_t default_ms; /* what is gone by while the record is unread */
};

extern const struct config_setting config_settings[CONFIG_SETTINGS];

uint64_t *config_setting_of(struct settings *settings, size_t place);

/* Each writes a key into `key` (RECORD_KEY_BYTES) and returns it. */
const char *config_fabric_key(char *key);
const char *config_pool_key(size_t place, char *key);
const char *config_setting_key(size_t place, char *key);
const char *config_site_key(const char *site, char *key);
const char *config_service_key(const char *service, char *key);

/* Name, zone, name servers and the zone's settings of a fabric; nothing else of it is looked at or
 * filled in. */
must_check int config_fabric_put(const struct fabric *fabric, struct buffer *value);
must_check int config_fabric_parse(const char *value, size_t length, struct arena *arena,
				   struct fabric *ret_fabric, struct error *err);

must_check int config_setting_put(uint64_t ms, struct buffer *value);
must_check int config_setting_parse(const char *value, size_t length, uint64_t *ret_ms,
				    struct error *err);

must_check int config_pool_put(const struct pool *pool, struct buffer *value);
must_check int config_pool_parse(const char *value, size_t length, struct pool *ret_pool,
				 struct error *err);

/* `name` is the key's: it is borrowed, and has to live as long as what is filled in. */
must_check int config_site_put(const struct site *site, struct buffer *value);
must_check int config_site_parse(const char *value, size_t length, const char *name,
				 struct arena *arena, struct site *ret_site, struct error *err);

must_check int config_service_put(const struct service *service, struct buffer *value);
must_check int config_service_parse(const char *value, size_t length, const char *name,
				    struct arena *arena, struct service *ret_service,
				    struct error *err);

#endif
