/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/member/node_file.h"

#include "base/disk.h"
#include "base/netaddr.h"
#include "daemon/member/own_network.h"
#include "daemon/options.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *path_of(const char *state_folder, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/node.json", state_folder);
	return path;
}

int node_file_add(const char *state_folder, const json_t *parameters, json_t **ret_all,
		  struct error *err)
{
	char path[PATH_MAX];
	json_error_t fault;
	json_t *all = json_object();
	if (access(path_of(state_folder, path), F_OK) == 0) {
		json_decref(all);
		all = json_load_file(path, JSON_REJECT_DUPLICATES, &fault);
		if (!json_is_object(all)) {
			json_decref(all);
			return error_set(err, -FL_ECORRUPT,
					 "%s: this is not what `fairlead init` or `join` wrote: "
					 "line %d: %s",
					 path, fault.line, fault.text);
		}
	}
	json_object_update(all, (json_t *)(uintptr_t)parameters);
	*ret_all = all;
	return 0;
}

int node_file_write(const char *state_folder, const json_t *node, struct error *err)
{
	char path[PATH_MAX];
	char *text = json_dumps(node, JSON_INDENT(2) | JSON_SORT_KEYS);
	int result = disk_write_durably(path_of(state_folder, path), text, strlen(text), 0600, err);
	free(text);
	return result;
}

static void set_default(json_t *node, const char *key, json_t *value)
{
	if (json_object_get(node, key))
		json_decref(value);
	else
		json_object_set_new(node, key, value);
}

static void add_address(json_t *list, const struct ip_address *address)
{
	char text[IP_TEXT_BYTES];
	if (address->family)
		json_array_append_new(list, json_string(ip_address_format(address, text)));
}

/* What was typed of --address, or what the machine sends from. */
static json_t *addresses_of(const json_t *parameters, const struct own_network *network)
{
	json_t *list = json_array();
	const char *typed = json_string_value(json_object_get(parameters, "address"));
	if (typed) {
		json_array_append_new(list, json_string(typed));
	} else {
		add_address(list, &network->v4);
		add_address(list, &network->v6);
	}
	return list;
}

static bool has_role(const char *roles, const char *name)
{
	size_t length = strlen(name);
	const char *at = roles ? strstr(roles, name) : NULL;
	return at && (at == roles || at[-1] == ',') && (!at[length] || at[length] == ',');
}

int node_file_complete(const json_t *parameters, const char *roles, const char *site,
		       json_t **ret_node, struct error *err)
{
	static const char *const kept[] = {
	    "node",    "role",     "site",           "interface",     "underlay",
	    "source",  "dns",      "generic",        "pins",          "run_dir",
	    "metrics", "announce", "announce_table", "announce_wait", NULL};
	struct own_network network = {0};
	json_t *node = json_object();
	for (size_t i = 0; kept[i]; i++) {
		json_t *value = json_object_get(parameters, kept[i]);
		if (value)
			json_object_set(node, kept[i], value);
	}
	set_default(node, "role", json_string(roles));
	const char *all = json_string_value(json_object_get(node, "role"));
	const bool needs_interface = has_role(all, "edge") || has_role(all, "backend");
	if (!json_object_get(parameters, "address") ||
	    (needs_interface && !json_object_get(parameters, "interface"))) {
		int result = own_network_find(&network, err);
		if (result < 0) {
			json_decref(node);
			return result;
		}
	}
	json_t *addresses = addresses_of(parameters, &network);
	set_default(node, "site", json_string(site));
	json_t *interface = json_object_get(node, "interface");
	interface = interface ? json_incref(interface) : json_pack("[s]", network.interface);
	if (has_role(all, "edge")) {
		set_default(node, "interface", json_incref(interface));
		set_default(node, "source", json_incref(addresses));
	}
	if (has_role(all, "backend"))
		set_default(node, "underlay", json_incref(interface));
	if (has_role(all, "names"))
		set_default(node, "dns", json_incref(addresses));
	json_decref(interface);
	set_default(node, "channel_address", json_incref(json_array_get(addresses, 0)));
	json_t *port = json_object_get(parameters, "port");
	set_default(node, "channel_port", port ? json_incref(port) : json_integer(CHANNEL_PORT));
	json_decref(addresses);
	*ret_node = node;
	return 0;
}
