/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/routing_plane.h"

#include "base/log.h"
#include "base/memory.h"
#include "daemon/daemon.h"
#include "daemon/edge_plane.h"
#include "daemon/member/removal.h"
#include "fabric/announcing.h"
#include "routing/bird.h"
#include "routing/routing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOST_TOLD_MS 60000u
#define PRESENT_MOST 16u /* that `routing status` lists */

struct routing_plane {
	struct daemon *daemon;
	struct routing *routing;
	uv_poll_t poll;
	uv_timer_t wait;
	bool started;
	bool leaving;
	enum announcing judged;
	char why[400]; /* it announces nothing new */
	struct alarm alarm; /* the table cannot be kept */
	struct alarm withheld;
	uint64_t lost_ms;
	struct alarm lost;
};

static uint64_t now_of(const struct routing_plane *plane)
{
	return clock_now_ms(plane->daemon->clock);
}

/* --- what is announced --- */

/* Only while a change could not be carried out: it looks at every version. */
static const char *find_lack(const struct daemon *daemon, struct error *err)
{
	if (!daemon->acting.has_published ||
	    daemon->acting.published_revision == daemon->image.revision)
		return NULL;
	return edge_plane_lacks(daemon->edge, &daemon->image, err) ? err->text : NULL;
}

static enum announcing judge(struct routing_plane *plane)
{
	struct daemon *daemon = plane->daemon;
	struct error lack = {0};
	char detached[64];
	const char *why;
	const char *interface = edge_plane_detached(daemon->edge);
	snprintf(detached, sizeof(detached), "interface %s does not carry the edge's program",
		 interface ? interface : "");
	const struct announcing_facts facts = {.image = &daemon->image,
					       .acting = &daemon->acting,
					       .node = daemon->options->node,
					       .asked = daemon->acting.has_asked,
					       .detached = interface ? detached : NULL,
					       .lacks = find_lack(daemon, &lack),
					       .removed = removal_withdraws(daemon),
					       .leaving = plane->leaving};
	enum announcing judged = announcing_judge(&facts, &why);
	snprintf(plane->why, sizeof(plane->why), "%s", why);
	return judged;
}

static const char *list_prefixes(const struct ip_prefix *prefixes, size_t count, char *text,
				 size_t size)
{
	size_t length = 0;
	char prefix[IP_TEXT_BYTES];
	text[0] = '\0';
	for (size_t i = 0; i < count && length < size; i++)
		length += (size_t)snprintf(text + length, size - length, "%s%s", i ? ", " : "",
					   ip_prefix_format(&prefixes[i], prefix));
	return text;
}

static void carry_out(struct routing_plane *plane, enum announcing judged)
{
	struct daemon *daemon = plane->daemon;
	struct error err = {0};
	struct ip_prefix prefixes[MODEL_MAX_POOLS];
	char text[MODEL_MAX_POOLS * IP_TEXT_BYTES];
	size_t count = judged == ANNOUNCING_ANNOUNCE
			   ? announcing_prefixes(&daemon->image, daemon->options->site, prefixes)
			   : 0;
	if (judged != plane->judged)
		daemon_event(
		    daemon,
		    judged == ANNOUNCING_ANNOUNCE ? "routing.announced" : "routing.withdrawn",
		    json_pack("{s:s, s:s}", judged == ANNOUNCING_ANNOUNCE ? "prefixes" : "because",
			      judged == ANNOUNCING_ANNOUNCE
				  ? list_prefixes(prefixes, count, text, sizeof(text))
				  : plane->why,
			      "node", daemon->options->node));
	plane->judged = judged;
	if (routing_announce(plane->routing, prefixes, count, &err) == 0)
		alarm_end(&plane->alarm);
	else if (ALARM_SET(&plane->alarm, now_of(plane), ROUTING_FAILED, daemon->options->node,
			   err.text))
		daemon_tell_alarm(daemon, &plane->alarm);
}

static void follow(struct routing_plane *plane)
{
	struct error err = {0};
	struct routing_loss loss;
	char text[IP_TEXT_BYTES];
	if (routing_follow(plane->routing, &loss, &err) < 0) {
		if (ALARM_SET(&plane->alarm, now_of(plane), ROUTING_FAILED,
			      plane->daemon->options->node, err.text))
			daemon_tell_alarm(plane->daemon, &plane->alarm);
		return;
	}
	if (!loss.count)
		return;
	ip_prefix_format(&loss.prefix, text);
	plane->lost_ms = now_of(plane);
	alarm_end(&plane->lost);
	(void)ALARM_SET(&plane->lost, plane->lost_ms, ROUTING_LOST, text, loss.deleter, text,
			plane->daemon->options->announce_table);
	daemon_tell_alarm(plane->daemon, &plane->lost);
}

void routing_plane_run(struct routing_plane *plane)
{
	struct daemon *daemon = plane->daemon;
	enum announcing judged = judge(plane);
	if (judged != ANNOUNCING_KEEP)
		carry_out(plane, judged);
	follow(plane);
	if (!*plane->why || plane->leaving)
		alarm_end(&plane->withheld);
	else if (daemon->image.fabric && daemon->acting.has_asked &&
		 ALARM_SET(&plane->withheld, now_of(plane), ROUTING_WITHHELD, daemon->options->node,
			   plane->why))
		daemon_tell_alarm(daemon, &plane->withheld);
}

/* --- the end --- */

static void on_waited(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

/* systemd waits for as long as this takes, and as the rest of the end may take. */
static void tell_waiting(unsigned wait_s)
{
	char state[80];
	snprintf(state, sizeof(state), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu",
		 (wait_s + 30ull) * 1000000);
	daemon_notify(state);
}

bool routing_plane_leave(struct routing_plane *plane)
{
	struct ip_prefix present[1];
	struct error err = {0};
	const unsigned wait_s = plane->daemon->options->announce_wait_s;
	if (plane->leaving || !wait_s || routing_read(plane->routing, present, 1, &err) <= 0)
		return false;
	plane->leaving = true;
	if (judge(plane) != ANNOUNCING_WITHDRAW) {
		log_event(LOG_LEVEL_INFO, "routing.kept", "because",
			  "no other edge is known to take over", NULL);
		return false;
	}
	carry_out(plane, ANNOUNCING_WITHDRAW);
	tell_waiting(wait_s);
	uv_timer_start(&plane->wait, on_waited, wait_s * 1000ull, 0);
	return true;
}

int routing_plane_detach(unsigned table, unsigned wait_s, struct error *err)
{
	struct routing *routing;
	struct ip_prefix present[1];
	int result = routing_open(table, &routing, err);
	if (result < 0)
		return result;
	int found = routing_read(routing, present, 1, err);
	result = found < 0 ? found : routing_announce(routing, NULL, 0, err);
	routing_close(routing);
	if (result == 0 && found > 0 && wait_s)
		sleep(wait_s);
	return result;
}

/* --- life --- */

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	follow(poll->data);
}

int routing_plane_open(struct daemon *daemon, struct routing_plane **ret_plane, struct error *err)
{
	struct routing_plane *plane = must_alloc(1, sizeof(*plane));
	plane->daemon = daemon;
	int result =
	    must_succeed(routing_open(daemon->options->announce_table, &plane->routing, err));
	if (result < 0) {
		free(plane);
		return result;
	}
	*ret_plane = plane;
	return 0;
}

void routing_plane_start(struct routing_plane *plane)
{
	uv_loop_t *loop = &plane->daemon->loop;
	uv_poll_init(loop, &plane->poll, routing_fd(plane->routing));
	plane->poll.data = plane;
	uv_timer_init(loop, &plane->wait);
	plane->wait.data = plane;
	uv_poll_start(&plane->poll, UV_READABLE, on_readable);
	plane->started = true;
	routing_plane_run(plane);
}

void routing_plane_stop(struct routing_plane *plane)
{
	if (!plane || !plane->started)
		return;
	uv_close((uv_handle_t *)&plane->poll, NULL);
	uv_close((uv_handle_t *)&plane->wait, NULL);
}

void routing_plane_free(struct routing_plane *plane)
{
	if (!plane)
		return;
	routing_close(plane->routing);
	free(plane);
}

/* --- telling --- */

const struct alarm *routing_plane_alarm(const struct routing_plane *plane)
{
	return &plane->alarm;
}

const struct alarm *routing_plane_withheld(const struct routing_plane *plane)
{
	return &plane->withheld;
}

const struct alarm *routing_plane_lost(const struct routing_plane *plane)
{
	return plane->lost_ms && now_of(plane) - plane->lost_ms < LOST_TOLD_MS ? &plane->lost
									       : NULL;
}

static json_t *texts_of(const struct ip_prefix *prefixes, size_t count)
{
	json_t *list = json_array();
	char text[IP_TEXT_BYTES];
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(ip_prefix_format(&prefixes[i], text)));
	return list;
}

json_t *routing_plane_status(const struct daemon *daemon)
{
	const struct daemon_options *options = daemon->options;
	const struct routing_plane *plane = daemon->routing;
	struct ip_prefix present[PRESENT_MOST];
	struct error err = {0};
	if (!plane)
		return json_pack("{s:s, s:s, s:o, s:s}", "node", options->node, "announce", "none",
				 "prefixes", json_array(), "why",
				 "it was not started with --announce bgp");
	int count = routing_read(plane->routing, present, PRESENT_MOST, &err);
	return json_pack("{s:s, s:s, s:i, s:o, s:s}", "node", options->node, "announce", "bgp",
			 "table", (int)options->announce_table, "prefixes",
			 texts_of(present, count < 0 ? 0 : (size_t)count), "why",
			 count < 0 ? err.text : plane->why);
}

/* --- the routing daemon's configuration --- */

static int parse_neighbours(const json_t *parameters, struct ip_address *neighbours,
			    struct error *err)
{
	const json_t *list = json_object_get(parameters, "neighbor");
	size_t index;
	json_t *value;
	json_array_foreach (list, index, value) {
		if (ip_address_parse(json_string_value(value), &neighbours[index]) < 0)
			return error_set(err, -FL_EUSAGE, "--neighbor %s: this is no IP address",
					 json_string_value(value));
	}
	return 0;
}

static int parse_as(const json_t *parameters, const char *key, const char *option, uint32_t *ret_as,
		    struct error *err)
{
	const json_int_t number = json_integer_value(json_object_get(parameters, key));
	const bool wanted = json_array_size(json_object_get(parameters, "neighbor")) > 0;
	if ((number < 1 || number > UINT32_MAX) && (wanted || json_object_get(parameters, key)))
		return error_set(err, -FL_EUSAGE,
				 "--neighbor wants --as, the router's autonomous system, and "
				 "--local-as, this machine's: %s is 1 to %u",
				 option, UINT32_MAX);
	*ret_as = (uint32_t)number;
	return 0;
}

int routing_plane_config(const struct daemon *daemon, const json_t *parameters, json_t **ret_answer,
			 struct error *err)
{
	const struct daemon_options *options = daemon->options;
	const char *program = json_string_value(json_object_get(parameters, "program"));
	struct ip_prefix prefixes[MODEL_MAX_POOLS];
	struct buffer text;
	if (!program || strcmp(program, "bird") != 0)
		return error_set(
		    err, -FL_EUSAGE,
		    "there is no configuration for \"%s\" here: only bird's, version 2",
		    program ? program : "");
	if (!daemon->routing)
		return error_set(err, -FL_ESTATE,
				 "this node announces nothing: start it with --announce bgp, which "
				 "edges take");
	if (!daemon->image.fabric)
		return error_set(err, -FL_ESTATE,
				 "this node knows of no prefixes yet: the fabric has no "
				 "configuration, or it has not come here");
	struct ip_address *neighbours = must_alloc(
	    json_array_size(json_object_get(parameters, "neighbor")) + 1, sizeof(*neighbours));
	struct routing_bird bird = {
	    .node = options->node,
	    .table = options->announce_table,
	    .prefixes = prefixes,
	    .prefix_count = announcing_prefixes(&daemon->image, options->site, prefixes),
	    .neighbours = neighbours,
	    .neighbour_count = json_array_size(json_object_get(parameters, "neighbor"))};
	int result = parse_neighbours(parameters, neighbours, err);
	if (result == 0)
		result = parse_as(parameters, "as", "--as", &bird.neighbour_as, err);
	if (result == 0)
		result = parse_as(parameters, "local_as", "--local-as", &bird.local_as, err);
	if (result == 0) {
		buffer_init(&text, 0);
		routing_bird_write(&bird, &text);
		must_succeed(text.status);
		*ret_answer = json_pack("{s:s, s:s, s:s}", "node", options->node, "program", "bird",
					"text", text.data);
		buffer_done(&text);
	}
	free(neighbours);
	return result;
}
