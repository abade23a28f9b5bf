/* SPDX-License-Identifier: Apache-2.0 */
/* What the pools of a fabric allow: slots, services, rollouts a day. */
#include "config/config.h"
#include "model/fabric.h"
#include "model/placement.h"

#include <jansson.h>

static uint32_t rollouts_per_day(const struct fabric *fabric, const struct pool *pool)
{
	return pool_rollouts_per_day(pool, fabric->service_count, fabric->settings.stale_ms,
				     fabric->settings.quiet_ms);
}

static void render_pool(const struct fabric *fabric, const struct pool *pool,
			struct buffer *ret_text)
{
	char prefix[IP_TEXT_BYTES];
	uint32_t slots = pool_usable_slots(pool);
	uint32_t rollouts = rollouts_per_day(fabric, pool);
	buffer_printf(ret_text, "pool %s: %u slots at each site, %zu service%s: ",
		      ip_prefix_format(&pool->prefix, prefix), slots, fabric->service_count,
		      fabric->service_count == 1 ? "" : "s");
	if (rollouts == UINT32_MAX)
		buffer_puts(ret_text, "any number of rollouts a day\n");
	else
		buffer_printf(ret_text, "%u rollout%s a day of each\n", rollouts,
			      rollouts == 1 ? "" : "s");
}

void config_capacity_render(const struct fabric *fabric, struct buffer *ret_text)
{
	for (size_t i = 0; i < fabric->pool_count; i++)
		render_pool(fabric, &fabric->pools[i], ret_text);
}

static json_t *pool_json(const struct fabric *fabric, const struct pool *pool)
{
	char prefix[IP_TEXT_BYTES];
	uint32_t rollouts = rollouts_per_day(fabric, pool);
	json_t *bound = rollouts == UINT32_MAX ? json_null() : json_integer((json_int_t)rollouts);
	return json_pack("{s:s, s:I, s:I, s:o}", "prefix", ip_prefix_format(&pool->prefix, prefix),
			 "slots_per_site", (json_int_t)pool_usable_slots(pool), "services",
			 (json_int_t)fabric->service_count, "rollouts_per_day", bound);
}

struct json_t *config_capacity_json(const struct fabric *fabric)
{
	json_t *array = json_array();
	for (size_t i = 0; array && i < fabric->pool_count; i++) {
		if (json_array_append_new(array, pool_json(fabric, &fabric->pools[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}
