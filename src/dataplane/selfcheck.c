/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The check: that the program on each interface is ours, and that what the next process, or the
 * kernel after this one has ended, holds on to is pinned. What is missing is set back and told.
 */
#include "dataplane/internal.h"
#include "kernel/load.h"

#include <bpf/bpf.h>
#include <net/if.h>

/* Count one, and say of the first what it was. */
static void note(unsigned *count, struct edge_selfcheck *result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void note(unsigned *count, struct edge_selfcheck *result, const char *format, ...)
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
static bool is_there(const struct attachment *attachment)
{
	return attachment->ifindex != 0 && if_nametoindex(attachment->name) == attachment->ifindex;
}

/* If it fails, `problem` says why, and the next check tries again. */
static bool attach_again(struct edge *edge, const struct attachment *attachment)
{
	attach_reconcile(&edge->attachments, maps_program(&edge->maps));
	edge->routes_changed = true;
	return attachment->link >= 0;
}

static void check_program(struct edge *edge, const struct attachment *attachment,
			  uint32_t program_id, struct edge_selfcheck *result)
{
	uint32_t ifindex;
	uint32_t present_id;
	if (!is_there(attachment))
		return;
	if (attachment->link < 0) {
		(void)attach_again(edge, attachment);
		return;
	}
	if (!xdp_link_read(attachment->link, &ifindex, &present_id))
		return;
	if (ifindex != attachment->ifindex) {
		if (attach_again(edge, attachment))
			note(&result->repaired, result,
			     "the edge program had been taken off interface %s", attachment->name);
	} else if (present_id != program_id &&
		   bpf_link_update(attachment->link, maps_program(&edge->maps), NULL) == 0) {
		note(&result->repaired, result,
		     "another program (id %u) had been put in the edge's place on interface %s",
		     present_id, attachment->name);
	} else if (present_id != program_id) {
		note(&result->standing, result,
		     "another program (id %u) is in the edge's place on interface %s and cannot "
		     "be replaced: %s",
		     present_id, attachment->name, error_text(-errno));
	}
}

static int check_programs(struct edge *edge, struct edge_selfcheck *result, struct error *err)
{
	uint32_t id;
	int code = load_program_id(maps_program(&edge->maps), &id);
	if (code < 0)
		return error_set(err, code, "the edge program cannot be examined: %s",
				 error_text(code));
	for (size_t i = 0; i < edge->attachments.count; i++)
		check_program(edge, &edge->attachments.items[i], id, result);
	return 0;
}

/* Forwarding does not need them, but the next process does; and what is not pinned ends with us. */
static void check_pins(struct edge *edge, struct edge_selfcheck *result)
{
	char name[PINS_PATH_BYTES] = "";
	struct error err;
	int code = maps_repin(&edge->maps, &edge->pins, name, &err);
	for (size_t i = 0; i < edge->attachments.count && code == 0; i++) {
		const struct attachment *attachment = &edge->attachments.items[i];
		if (attachment->link >= 0)
			code = maps_repin_one(&edge->pins, attachment->link, "links",
					      attachment->name, name, &err);
	}
	if (code < 0)
		note(&result->standing, result,
		     "pin %s is gone and cannot be made again, so forwarding ends with this "
		     "daemon: %s",
		     name, err.text);
	else if (*name)
		note(&result->repaired, result, "pin %s had been removed", name);
}

int edge_selfcheck(struct edge *edge, struct edge_selfcheck *ret_result, struct error *err)
{
	struct edge_selfcheck result = {0};
	if (edge->attachments.wanted) {
		check_pins(edge, &result);
		int code = check_programs(edge, &result, err);
		char text[96];
		if (calls_take_repaired(edge, text, sizeof(text)))
			note(&result.repaired, &result, "%s", text);
		if (code < 0)
			return code;
	}
	*ret_result = result;
	return 0;
}
