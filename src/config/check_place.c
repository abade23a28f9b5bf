/* SPDX-License-Identifier: Apache-2.0 */
/* What every part of the check asks: where to point, and whose an address is. */
#include "config/check.h"

#include "model/fabric.h"

struct note_span check_place(const struct yaml_node *map, const char *key)
{
	const struct yaml_node *value = yaml_get(map, key);
	if (!value)
		return map->key ? map->key->span : map->span;
	return value->kind == YAML_SCALAR ? value->span : value->key->span;
}

const struct pool *check_pool_around(const struct config_check *check,
				     const struct ip_address *address)
{
	for (size_t i = 0; i < check->fabric->pool_count; i++)
		if (ip_prefix_contains(&check->fabric->pools[i].prefix, address))
			return &check->fabric->pools[i];
	return NULL;
}
