/* SPDX-License-Identifier: Apache-2.0 */
#include "model/member.h"

#include <stdio.h>
#include <string.h>

static const struct {
	enum member_role role;
	const char *name;
} ROLES[] = {
#define X(id, name, bit, meaning) {MEMBER_##id, name},
    MEMBER_ROLES(X)
#undef X
};

#define ROLE_COUNT (sizeof(ROLES) / sizeof(ROLES[0]))

const char *member_role_name(enum member_role role)
{
	for (size_t i = 0; i < ROLE_COUNT; i++) {
		if (ROLES[i].role == role)
			return ROLES[i].name;
	}
	return NULL;
}

unsigned member_role_parse(const char *name)
{
	for (size_t i = 0; i < ROLE_COUNT; i++) {
		if (strcmp(ROLES[i].name, name) == 0)
			return (unsigned)ROLES[i].role;
	}
	return 0;
}

bool member_roles_parse(char *text, unsigned *ret_roles, const char **ret_wrong)
{
	*ret_roles = 0;
	while ((*ret_wrong = strsep(&text, ","))) {
		unsigned role = member_role_parse(*ret_wrong);
		if (!role)
			return false;
		*ret_roles |= role;
	}
	return true;
}

const char *member_roles_format(unsigned roles, char *text)
{
	size_t length = 0;
	text[0] = '\0';
	for (size_t i = 0; i < ROLE_COUNT; i++) {
		if (!(roles & (unsigned)ROLES[i].role))
			continue;
		int more = snprintf(text + length, MEMBER_ROLES_BYTES - length, "%s%s",
				    length ? "," : "", ROLES[i].name);
		length += (size_t)more;
	}
	return text;
}

bool member_equal(const struct member *a, const struct member *b)
{
	if (strcmp(a->name, b->name) != 0 || strcmp(a->site, b->site) != 0 ||
	    strcmp(a->key, b->key) != 0 || a->roles != b->roles || a->features != b->features ||
	    a->source_count != b->source_count || strcmp(a->channel_key, b->channel_key) != 0 ||
	    !ip_address_equal(&a->channel_address, &b->channel_address) ||
	    a->channel_port != b->channel_port)
		return false;
	for (size_t i = 0; i < a->source_count; i++) {
		if (!ip_address_equal(&a->sources[i], &b->sources[i]))
			return false;
	}
	return true;
}
