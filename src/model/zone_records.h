/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the file says of the zone itself: its SOA, how it is answered, and records that an operator
 * writes by hand. Their data stays the text that he wrote; wire/dns_data.h makes bytes of it, for
 * the file's check and for the name server alike. In the file's order.
 */
#ifndef FAIRLEAD_MODEL_ZONE_RECORDS_H
#define FAIRLEAD_MODEL_ZONE_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ZONE_MAX_RECORD_NAMES 1024
#define ZONE_MAX_RECORD_VALUES 64 /* of one name and type */
#define ZONE_MAX_RECORD_BYTES                                                                      \
	(256u << 10) /* all texts together: they are one record of the store */

#define ZONE_DEFAULT_TTL_S 300u
#define ZONE_DEFAULT_NEGATIVE_TTL_S 5u /* a name that is added should be found soon */
#define ZONE_DEFAULT_RATE 1000u
#define ZONE_RATE_NONE UINT32_MAX

/* X(id, key in the file, number of the type) */
#define ZONE_RECORD_TYPES(X)                                                                       \
	X(A, "a", 1)                                                                               \
	X(AAAA, "aaaa", 28)                                                                        \
	X(CAA, "caa", 257)                                                                         \
	X(CNAME, "cname", 5)                                                                       \
	X(HTTPS, "https", 65)                                                                      \
	X(MX, "mx", 15)                                                                            \
	X(SVCB, "svcb", 64)                                                                        \
	X(TXT, "txt", 16)

enum zone_record_type {
#define ZONE_RECORD_ID(id, key, number) ZONE_RECORD_##id,
	ZONE_RECORD_TYPES(ZONE_RECORD_ID)
#undef ZONE_RECORD_ID
	    ZONE_RECORD_TYPE_COUNT
};

/* By enum zone_record_type. */
struct zone_record_row {
	const char *key;
	uint16_t number; /* in messages */
};
extern const struct zone_record_row zone_record_rows[ZONE_RECORD_TYPE_COUNT];

/* The records of one name and type. */
struct zone_set {
	enum zone_record_type type;
	const char **values;
	size_t value_count; /* at least one */
};

/* The records of one name. */
struct zone_name {
	const char *name; /* labels below the zone, "@" for the zone; the first may be "*" */
	uint32_t ttl_s; /* 0: the zone's */
	struct zone_set *sets; /* each type once */
	size_t set_count;
};

/* What the file leaves out is 0 or NULL, and means the default. */
struct zone_settings {
	const char *contact; /* a domain name, or user@domain; NULL: ZONE_CONTACT at the zone */
	uint32_t ttl_s; /* of SOA, NS, name servers, and records without their own */
	uint32_t negative_ttl_s;
	uint32_t rate; /* answers a second to one network; ZONE_RATE_NONE: as many as it asks for */
	struct zone_name *names;
	size_t name_count;
};

/* Do both say the same, in the same order? */
bool zone_settings_equal(const struct zone_settings *a, const struct zone_settings *b);
bool zone_set_equal(const struct zone_set *a, const struct zone_set *b);
/* Does it say nothing but defaults? */
bool zone_settings_are_default(const struct zone_settings *zone);

/* Borrowed; NULL when there is none. */
const struct zone_set *zone_find_set(const struct zone_settings *zone, const char *name,
				     enum zone_record_type type, uint32_t *ret_ttl_s);

#endif
