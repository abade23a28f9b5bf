/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/translated.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IPVS_PATH "/proc/thread-self/net/ip_vs_conn"

static int add_in_pool(const struct ip_address *address, const struct ip_prefix *pools,
		       unsigned pool_count, struct connection_table *table)
{
	for (unsigned i = 0; i < pool_count; i++) {
		if (ip_prefix_contains(&pools[i], address))
			return connection_table_add(table, address);
	}
	return 0;
}

struct count_visit {
	const struct ip_prefix *pools;
	unsigned pool_count;
	struct connection_table table;
};

static int count_flow(const struct conntrack_flow *flow, void *context)
{
	struct count_visit *visit = context;
	if (!flow) {
		connection_table_done(&visit->table);
		return 0;
	}
	return add_in_pool(&flow->came.destination, visit->pools, visit->pool_count, &visit->table);
}

/* "TCP C0A80001 0BB8 C6336402 0050 AC110002 0050 ESTABLISHED 899": client, service, server, in
 * hexadecimal digits for IPv4 and with colons for IPv6. */
bool translated_parse_ipvs(const char *line, struct ip_address *ret_address)
{
	char protocol[8], text[48], state[16];
	struct ip_address address = {.family = IP_V4};
	if (sscanf(line, "%7s %*s %*s %47s %*s %*s %*s %15s", protocol, text, state) != 3 ||
	    strcmp(protocol, "TCP") != 0 || strcmp(state, "TIME_WAIT") == 0)
		return false;
	if (strchr(text, ':')) {
		address.family = IP_V6;
		if (inet_pton(AF_INET6, text, address.bytes) != 1)
			return false;
	} else {
		char *end;
		const uint32_t number = htonl((uint32_t)strtoul(text, &end, 16));
		if (end != text + 8 || *end)
			return false;
		memcpy(address.bytes, &number, sizeof(number));
	}
	*ret_address = address;
	return true;
}

static int count_ipvs(const struct ip_prefix *pools, unsigned pool_count,
		      struct connection_table *table, struct error *err)
{
	char line[256];
	struct ip_address address;
	int result = 0;
	FILE *connections = fopen(IPVS_PATH, "re");
	if (!connections && errno == ENOENT)
		return 0; /* the kernel has no IPVS, or does not use it */
	if (!connections)
		return error_set(err, -errno, "%s: cannot open: %s", IPVS_PATH, strerror(errno));
	while (result == 0 && fgets(line, sizeof(line), connections)) {
		if (translated_parse_ipvs(line, &address))
			result = add_in_pool(&address, pools, pool_count, table);
	}
	if (result == 0 && ferror(connections))
		result = -EIO;
	(void)fclose(connections);
	return result < 0
		   ? error_set(err, result, "%s: cannot read: %s", IPVS_PATH, error_text(result))
		   : 0;
}

int translated_count(struct netlink *tracked, const struct ip_prefix *pools, unsigned pool_count,
		     struct connection_table *table, struct error *err)
{
	struct count_visit visit = {.pools = pools, .pool_count = pool_count};
	int result = conntrack_walk(tracked, count_flow, &visit, err);
	if (result == 0)
		result = count_ipvs(pools, pool_count, &visit.table, err);
	if (result == 0 && connection_table_join(table, &visit.table) < 0)
		result = error_set(err, -ENOMEM, "out of memory");
	connection_table_done(&visit.table);
	return result;
}

struct flow_list {
	const struct ip_address *addresses;
	size_t address_count;
	struct conntrack_flow *items; /* owned */
	size_t count;
	size_t capacity;
};

static int list_flow(const struct conntrack_flow *flow, void *context)
{
	struct flow_list *list = context;
	bool wanted = false;
	if (!flow)
		list->count = 0;
	for (size_t i = 0; flow && i < list->address_count && !wanted; i++)
		wanted = ip_address_equal(&flow->came.destination, &list->addresses[i]);
	if (!wanted)
		return 0;
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? 2 * list->capacity : 64;
		struct conntrack_flow *items =
		    reallocarray(list->items, capacity, sizeof(*list->items));
		if (!items)
			return -ENOMEM;
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->count++] = *flow;
	return 0;
}

int translated_end(struct netlink *tracked, const struct ip_address *addresses,
		   size_t address_count, uint64_t *ret_ended, struct error *err)
{
	struct flow_list list = {.addresses = addresses, .address_count = address_count};
	int result = address_count > 0 ? conntrack_walk(tracked, list_flow, &list, err) : 0;
	for (size_t i = 0; result == 0 && i < list.count; i++) {
		int ended = conntrack_forget(tracked, &list.items[i], err);
		if (ended < 0)
			result = ended;
		else
			*ret_ended += (unsigned)ended;
	}
	free(list.items);
	return result;
}
