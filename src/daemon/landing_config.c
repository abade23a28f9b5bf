/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/landing_config.h"

#include <stdint.h>

/* The array's memory in `arena`, one element of `size` for each of its values. */
static int make_room(const json_t *array, const char *what, size_t most, size_t size,
		     struct arena *arena, void *ret_memory, struct error *err)
{
	if (!json_is_array(array))
		return error_set(err, -FL_EINVALID, "the node sent no list of %s", what);
	size_t count = json_array_size(array);
	if (count > most)
		return error_set(err, -FL_ELIMIT,
				 "the node sent %zu %s, but a landing takes at most %zu", count,
				 what, most);
	void *memory = arena_array(arena, count ? count : 1, size);
	if (!memory)
		return error_set(err, -ENOMEM, "out of memory");
	*(void **)ret_memory = memory;
	return 0;
}

int landing_addresses_parse(const json_t *array, size_t most, struct arena *arena,
			    struct ip_address **ret_addresses, size_t *ret_count, struct error *err)
{
	struct ip_address *addresses = NULL;
	int result =
	    make_room(array, "addresses", most, sizeof(*addresses), arena, &addresses, err);
	if (result < 0)
		return result;
	size_t count = json_array_size(array);
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(array, i));
		if (!text || ip_address_parse(text, &addresses[i]) < 0)
			return error_set(err, -FL_EINVALID,
					 "the node sent \"%.64s\", which is no address",
					 text ? text : "something");
	}
	*ret_addresses = addresses;
	*ret_count = count;
	return 0;
}

static int parse_pools(const json_t *array, struct arena *arena, struct landing_desired *desired,
		       struct error *err)
{
	struct ip_prefix *pools = NULL;
	int result =
	    make_room(array, "pools", LANDING_POOLS_MAX, sizeof(*pools), arena, &pools, err);
	if (result < 0)
		return result;
	size_t count = json_array_size(array);
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(array, i));
		if (!text || ip_prefix_parse(text, &pools[i]) < 0)
			return error_set(err, -FL_EINVALID,
					 "the node sent \"%.64s\", which is no pool",
					 text ? text : "something");
	}
	desired->pools = pools;
	desired->pool_count = (unsigned)count;
	return 0;
}

static bool read_number(const json_t *object, const char *key, json_int_t most, uint16_t *ret_value)
{
	const json_t *value = json_object_get(object, key);
	json_int_t number = json_integer_value(value);
	if (!json_is_integer(value) || number < 1 || number > most)
		return false;
	*ret_value = (uint16_t)number;
	return true;
}

/* An empty listen_address means any. */
static bool read_handing(const json_t *value, struct landing_handing *handing)
{
	const char *destination = json_string_value(json_object_get(value, "destination"));
	const char *address = json_string_value(json_object_get(value, "listen_address"));
	uint16_t protocol;
	if (!destination || !address ||
	    ip_address_parse(destination, &handing->destination.address) < 0 ||
	    (*address && ip_address_parse(address, &handing->listener.address) < 0) ||
	    !read_number(value, "protocol", UINT8_MAX, &protocol) ||
	    !read_number(value, "port", UINT16_MAX, &handing->port) ||
	    !read_number(value, "listen_port", UINT16_MAX, &handing->listener.port))
		return false;
	handing->destination.length = (uint8_t)ip_family_bits(handing->destination.address.family);
	handing->protocol = (uint8_t)protocol;
	return true;
}

static int parse_handings(const json_t *array, struct arena *arena, struct landing_desired *desired,
			  struct error *err)
{
	struct landing_handing *handings = NULL;
	int result = make_room(array, "handings", LANDING_HANDINGS_MAX, sizeof(*handings), arena,
			       &handings, err);
	if (result < 0)
		return result;
	size_t count = json_array_size(array);
	ASSERT(handings || !count);
	for (size_t i = 0; i < count; i++) {
		handings[i] = (struct landing_handing){0};
		if (!read_handing(json_array_get(array, i), &handings[i]))
			return error_set(err, -FL_EINVALID, "the node sent handing %zu malformed",
					 i + 1);
	}
	desired->handings = handings;
	desired->handing_count = (unsigned)count;
	return 0;
}

int landing_config_parse(const json_t *json, struct arena *arena,
			 struct landing_desired *ret_desired, struct error *err)
{
	struct landing_desired desired = {0};
	struct ip_address *addresses = NULL;
	struct ip_address *edges = NULL;
	size_t address_count = 0;
	size_t edge_count = 0;
	int result =
	    landing_addresses_parse(json_object_get(json, "addresses"), LANDING_ADDRESSES_MAX,
				    arena, &addresses, &address_count, err);
	if (result == 0)
		result = landing_addresses_parse(json_object_get(json, "edges"), LANDING_EDGES_MAX,
						 arena, &edges, &edge_count, err);
	if (result == 0)
		result = parse_pools(json_object_get(json, "pools"), arena, &desired, err);
	if (result == 0)
		result = parse_handings(json_object_get(json, "handings"), arena, &desired, err);
	if (result < 0)
		return result;
	desired.addresses = addresses;
	desired.address_count = (unsigned)address_count;
	desired.edges = edges;
	desired.edge_count = (unsigned)edge_count;
	*ret_desired = desired;
	return 0;
}
