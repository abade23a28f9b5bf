/* SPDX-License-Identifier: Apache-2.0 */
#include "state/passing_secret.h"

#include "base/siphash.h"
#include "state/record_json.h"

#include <endian.h>
#include <string.h>

int passing_secret_put(const struct passing_secret *secret, struct buffer *value)
{
	json_t *object = json_pack("{s:I, s:I, s:o}", "sequence", (json_int_t)secret->sequence,
				   "made_ms", (json_int_t)secret->made_ms, "secret",
				   record_json_hex(secret->secret, sizeof(secret->secret)));
	if (object && secret->has_former &&
	    json_object_set_new(object, "former",
				record_json_hex(secret->former, sizeof(secret->former))) < 0) {
		json_decref(object);
		object = NULL;
	}
	return record_json_put(RECORD_PASSING, object, value);
}

int passing_secret_parse(const struct store_record *record, struct passing_secret *ret_secret,
			 struct error *err)
{
	struct record_reading reading = {.type = RECORD_PASSING, .err = err};
	json_t *json = record_json_open(&reading, record->value, record->value_length);
	if (!json)
		return reading.status;
	struct passing_secret secret = {
	    .sequence = record_json_number(&reading, json, "sequence", INT64_MAX),
	    .made_ms = record_json_number(&reading, json, "made_ms", INT64_MAX),
	    .has_former = json_object_get(json, "former") != NULL};
	record_json_bytes(&reading, json, "secret", secret.secret, sizeof(secret.secret));
	if (secret.has_former)
		record_json_bytes(&reading, json, "former", secret.former, sizeof(secret.former));
	if (!secret.sequence)
		record_json_fault(&reading, "sequence");
	json_decref(json);
	if (reading.status == 0)
		*ret_secret = secret;
	return reading.status;
}

uint64_t passing_secret_token(const uint8_t secret[PASSING_SECRET_BYTES], const char *node)
{
	const uint64_t token = siphash24(secret, node, strlen(node));
	return token ? htole64(token) : 1;
}
