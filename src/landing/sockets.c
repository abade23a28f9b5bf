/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/sockets.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

void connection_table_done(struct connection_table *table)
{
	free(table->items);
	*table = (struct connection_table){0};
}

static int compare_connections(const void *a, const void *b)
{
	const struct landing_connections *left = a;
	const struct landing_connections *right = b;
	return ip_address_compare(&left->address, &right->address);
}

/* Sort, and make one item of those of the same address. */
static void merge(struct connection_table *table)
{
	size_t kept = 0;
	if (table->count > 0)
		qsort(table->items, table->count, sizeof(*table->items), compare_connections);
	for (size_t i = 0; i < table->count; i++) {
		const struct landing_connections *item = &table->items[i];
		if (kept > 0 && compare_connections(&table->items[kept - 1], item) == 0)
			table->items[kept - 1].count += item->count;
		else
			table->items[kept++] = *item;
	}
	table->count = kept;
}

static int add(struct connection_table *table, const struct landing_connections *item)
{
	bool is_full = table->count == table->capacity;
	if (is_full)
		merge(table);
	if (is_full && 2 * table->count >= table->capacity) {
		size_t capacity = table->capacity ? 2 * table->capacity : 64;
		struct landing_connections *items =
		    reallocarray(table->items, capacity, sizeof(*items));
		if (!items)
			return -ENOMEM;
		table->items = items;
		table->capacity = capacity;
	}
	table->items[table->count++] = *item;
	return 0;
}

int connection_table_add(struct connection_table *table, const struct ip_address *address)
{
	return add(table, &(struct landing_connections){.address = *address, .count = 1});
}

int connection_table_join(struct connection_table *table, const struct connection_table *from)
{
	int result = 0;
	for (size_t i = 0; i < from->count && result == 0; i++)
		result = add(table, &from->items[i]);
	return result;
}

void connection_table_take(struct connection_table *table,
			   struct landing_connections **ret_connections, size_t *ret_count)
{
	merge(table);
	*ret_connections = table->items;
	*ret_count = table->count;
	*table = (struct connection_table){0};
}

struct count_visit {
	const struct ip_prefix *pools;
	unsigned pool_count;
	struct connection_table table;
};

static int count_socket(const struct socket_seen *seen, void *context)
{
	struct count_visit *visit = context;
	if (!seen)
		connection_table_done(&visit->table);
	for (unsigned i = 0; seen && i < visit->pool_count; i++) {
		if (ip_prefix_contains(&visit->pools[i], &seen->local))
			return connection_table_add(&visit->table, &seen->local);
	}
	return 0;
}

int sockets_count(struct netlink *diag, const struct ip_prefix *pools, unsigned pool_count,
		  struct connection_table *table, struct error *err)
{
	struct count_visit visit = {.pools = pools, .pool_count = pool_count};
	int result =
	    sock_diag_walk(diag, IPPROTO_TCP, SOCK_DIAG_CONNECTIONS, count_socket, &visit, err);
	if (result == 0 && connection_table_join(table, &visit.table) < 0)
		result = error_set(err, -ENOMEM, "out of memory");
	connection_table_done(&visit.table);
	return result;
}

struct list_visit {
	const struct ip_address *addresses; /* NULL: any */
	size_t address_count;
	struct socket_seen *items; /* owned */
	size_t count;
	size_t capacity;
};

static bool is_wanted(const struct list_visit *visit, const struct ip_address *local)
{
	for (size_t i = 0; i < visit->address_count; i++) {
		if (ip_address_equal(&visit->addresses[i], local))
			return true;
	}
	return !visit->addresses;
}

static int list_socket(const struct socket_seen *seen, void *context)
{
	struct list_visit *list = context;
	if (!seen)
		list->count = 0;
	if (!seen || !is_wanted(list, &seen->local))
		return 0;
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? 2 * list->capacity : 64;
		struct socket_seen *items =
		    reallocarray(list->items, capacity, sizeof(*list->items));
		if (!items)
			return -ENOMEM;
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->count++] = *seen;
	return 0;
}

int sockets_listening(struct netlink *diag, uint8_t protocol, struct socket_seen **ret_sockets,
		      size_t *ret_count, struct error *err)
{
	/* A UDP socket without a peer is in state CLOSE. */
	uint32_t states = protocol == IPPROTO_TCP ? 1u << TCP_LISTEN : 1u << TCP_CLOSE;
	struct list_visit list = {0};
	int result = sock_diag_walk(diag, protocol, states, list_socket, &list, err);
	if (result < 0) {
		free(list.items);
		return result;
	}
	*ret_sockets = list.items;
	*ret_count = list.count;
	return 0;
}

int sockets_destroy(struct netlink *diag, const struct ip_address *addresses, size_t address_count,
		    uint64_t *ret_destroyed, struct error *err)
{
	struct list_visit list = {.addresses = addresses, .address_count = address_count};
	uint64_t destroyed = 0;
	int result = 0;
	if (address_count > 0)
		result = sock_diag_walk(diag, IPPROTO_TCP, SOCK_DIAG_CONNECTIONS, list_socket,
					&list, err);
	for (size_t i = 0; result == 0 && i < list.count; i++) {
		int ended = sock_diag_destroy(diag, &list.items[i], err);
		if (ended < 0)
			result = ended;
		else
			destroyed += (unsigned)ended;
	}
	free(list.items);
	*ret_destroyed = destroyed;
	return result;
}
