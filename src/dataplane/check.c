/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The check: that the program on each interface is ours, and that what the next process, or the
 * kernel after this one has ended, holds on to is pinned. What is missing is set back and told.
 */
#include "dataplane/internal.h"

#include <bpf/bpf.h>
#include <net/if.h>

/* Count one, and say of the first what it was. */
static void note(unsigned *count, struct edge_check *result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void note(unsigned *count, struct edge_check *result, const char *format, ...)
{
	if (result->repaired + result->standing == 0) {
		va_list arguments;
		va_start(arguments, format);
		vsnprintf(result->text, sizeof(result->text), format, arguments);
		va_end(arguments);
	}
	(*count)++;
}

/* An interface that has gone, or another one of its name, is for the news to tell, not for us. */
static bool is_there(const struct interface *interface)
{
	return interface->ifindex != 0 && if_nametoindex(interface->name) == interface->ifindex;
}

/* If it fails, `problem` says why, and the next check tries again. */
static bool attach_again(struct edge *edge, const struct interface *interface)
{
	attach_reconcile(edge);
	edge->routes_changed = true;
	return interface->link_fd >= 0;
}

static void check_program(struct edge *edge, struct interface *interface, uint32_t program_id,
			  struct edge_check *result)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	if (!is_there(interface))
		return;
	if (interface->link_fd < 0) {
		(void)attach_again(edge, interface);
		return;
	}
	if (bpf_obj_get_info_by_fd(interface->link_fd, &info, &size) < 0)
		return;
	if (info.xdp.ifindex != interface->ifindex) {
		if (attach_again(edge, interface))
			note(&result->repaired, result,
			     "the edge program had been taken off interface %s", interface->name);
	} else if (info.prog_id != program_id &&
		   bpf_link_update(interface->link_fd, edge_program_fd(edge), NULL) == 0) {
		note(&result->repaired, result,
		     "another program (id %u) had been put in the edge's place on interface %s",
		     info.prog_id, interface->name);
	} else if (info.prog_id != program_id) {
		note(&result->standing, result,
		     "another program (id %u) is in the edge's place on interface %s and cannot "
		     "be replaced: %s",
		     info.prog_id, interface->name, error_text(-errno));
	}
}

static int check_programs(struct edge *edge, struct edge_check *result, struct error *err)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);
	if (bpf_obj_get_info_by_fd(edge_program_fd(edge), &info, &size) < 0)
		return error_set(err, -errno, "the edge program cannot be examined: %s",
				 error_text(-errno));
	for (size_t i = 0; i < edge->interface_count; i++)
		check_program(edge, &edge->interfaces[i], info.id, result);
	return 0;
}

/* Forwarding does not need them, but the next process does; and what is not pinned ends with us. */
static void check_pins(struct edge *edge, struct edge_check *result)
{
	char name[EDGE_PATH];
	struct error err;
	if (maps_repin(edge, name, &err) < 0)
		note(&result->standing, result,
		     "pin %s is gone and cannot be made again, so forwarding ends with this "
		     "daemon: %s",
		     name, err.text);
	else if (*name)
		note(&result->repaired, result, "pin %s had been removed", name);
}

int edge_check(struct edge *edge, struct edge_check *ret_result, struct error *err)
{
	struct edge_check result = {0};
	if (edge->attached) {
		check_pins(edge, &result);
		int code = check_programs(edge, &result, err);
		if (code < 0)
			return code;
	}
	*ret_result = result;
	return 0;
}
