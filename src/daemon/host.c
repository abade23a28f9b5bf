/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon tells the local API: how its planes are, and what is wrong with them. */
#include "api/order.h"
#include "api/show.h"
#include "api/verbs.h"
#include "base/growth.h"
#include "base/memory.h"
#include "daemon/daemon.h"
#include "daemon/edge_plane.h"
#include "daemon/good_copy.h"
#include "daemon/member/authority.h"
#include "daemon/member/credentials.h"
#include "daemon/member/first_token.h"
#include "daemon/member/passing_on.h"
#include "daemon/member/peers.h"
#include "daemon/member/return_path.h"
#include "daemon/names_plane.h"
#include "daemon/routing_plane.h"
#include "fabric/fence.h"
#include "fabric/membership.h"
#include "state/recovery.h"

#include <stdlib.h>
#include <string.h>

static const char *mode_name(enum edge_mode mode)
{
	switch (mode) {
	case EDGE_NATIVE:
		return "native";
	case EDGE_GENERIC:
		return "generic";
	case EDGE_DETACHED:
		break;
	}
	return "detached";
}

/* What is slower than it need be. */
static void edge_notes(const struct edge_status *edge, json_t *notes)
{
	for (size_t i = 0; i < edge->interface_count; i++) {
		const struct edge_interface_status *interface = &edge->interfaces[i];
		if (interface->refused)
			ALARM_PUT(notes, NULL, 0, INTERFACE_GENERIC, interface->name,
				  interface->name, error_text(interface->refused));
	}
}

static void status_edge(const struct daemon *daemon, json_t *status)
{
	struct edge_status edge;
	if (!daemon->edge || must_succeed(edge_plane_status(daemon->edge, &edge)) < 0)
		return;
	json_t *interfaces = json_array();
	for (size_t i = 0; i < edge.interface_count; i++)
		json_array_append_new(
		    interfaces, json_pack("{s:s, s:s, s:i, s:i}", "name", edge.interfaces[i].name,
					  "mode", mode_name(edge.interfaces[i].mode), "ifindex",
					  (int)edge.interfaces[i].ifindex, "program_id",
					  (int)edge.interfaces[i].program_id));
	json_t *hops = json_array();
	for (size_t i = 0; i < edge.backend_count; i++)
		json_array_append_new(hops, json_pack("{s:o, s:b, s:s, s:i}", "address",
						      show_address(&edge.backends[i].address),
						      "resolved", (int)edge.backends[i].resolved,
						      "interface", edge.backends[i].interface,
						      "mtu", (int)edge.backends[i].mtu));
	json_object_set_new(status, "build_id", json_string(edge.build_id));
	json_object_set_new(status, "layout", json_string(edge.layout));
	json_object_set_new(status, "addresses", json_integer((json_int_t)edge.addresses));
	json_object_set_new(status, "rings", json_integer((json_int_t)edge.rings));
	json_object_set_new(status, "interfaces", interfaces);
	json_object_set_new(status, "next_hops", hops);
	edge_notes(&edge, json_object_get(status, "notes"));

	uint64_t drops[DROP_REASONS];
	json_t *reasons = json_object();
	if (edge_plane_drops(daemon->edge, drops) == 0) {
		for (unsigned i = 0; i < DROP_REASONS; i++) {
			const char *label = drop_label(i);
			if (label && drops[i])
				json_object_set_new(reasons, label,
						    json_integer((json_int_t)drops[i]));
		}
	}
	json_object_set_new(status, "drops", reasons);
	passing_on_status(daemon, status);
}

/* What was asked for, and of each how it was answered; without zeros. */
static json_t *count_types(const struct naming_counters *counters)
{
	json_t *types = json_object();
	for (int q = 0; q < NAMING_QTYPE_COUNT; q++) {
		json_t *results = json_object();
		for (int r = 0; r < NAMING_RESULT_COUNT; r++) {
			uint64_t sum = 0;
			for (int t = 0; t < NAMING_TRANSPORTS; t++)
				sum += counters->answers[q][r][t];
			if (sum)
				json_object_set_new(results,
						    naming_result_text((enum naming_result)r),
						    json_integer((json_int_t)sum));
		}
		if (json_object_size(results) > 0)
			json_object_set(types, naming_qtype_text((enum naming_qtype)q), results);
		json_decref(results);
	}
	return types;
}

static json_t *count_drops(const struct naming_counters *counters)
{
	json_t *drops = json_object();
	for (int d = 0; d < NAMING_DROP_COUNT; d++)
		if (counters->drops[d])
			json_object_set_new(drops, naming_drop_text((enum naming_drop)d),
					    json_integer((json_int_t)counters->drops[d]));
	return drops;
}

static void status_names(const struct daemon *daemon, json_t *status)
{
	if (!daemon->names)
		return;
	struct naming_counters counters;
	names_plane_counters(daemon->names, &counters);
	uint64_t answered = 0;
	json_t *results = json_object();
	for (int r = 0; r < NAMING_RESULT_COUNT; r++) {
		uint64_t sum = 0;
		for (int q = 0; q < NAMING_QTYPE_COUNT; q++) {
			for (int t = 0; t < NAMING_TRANSPORTS; t++)
				sum += counters.answers[q][r][t];
		}
		answered += sum;
		if (sum)
			json_object_set_new(results, naming_result_text((enum naming_result)r),
					    json_integer((json_int_t)sum));
	}
	json_object_set_new(status, "dns",
			    json_pack("{s:b, s:I, s:I, s:o, s:o, s:o, s:I, s:I, s:I}", "answering",
				      (int)names_plane_answers(daemon->names), "serial",
				      (json_int_t)names_plane_serial(daemon->names), "queries",
				      (json_int_t)answered, "results", results, "types",
				      count_types(&counters), "drops", count_drops(&counters),
				      "known", (json_int_t)counters.known, "tcp_open",
				      (json_int_t)counters.tcp_open, "swaps",
				      (json_int_t)counters.swaps));
}

/* What the state is, the newest ledger entry that this node acknowledged, and that of the copy
 * which could stand in. */
static void status_state(const struct daemon *daemon, json_t *status)
{
	const struct replica *replica = &daemon->replica;
	uint64_t good = daemon->good_copy ? good_copy_sequence(daemon->good_copy) : 0;
	json_object_set_new(
	    status, "state",
	    json_pack("{s:s, s:b, s:I, s:I}", "origin", replica_kind_name(replica->kind),
		      "writable", (int)replica_is_writable(replica), "acknowledged",
		      (json_int_t)replica->acknowledged.sequence, "good_copy", (json_int_t)good));
}

#define NEXT_HOP_ALARMS 4 /* of single backends */

static void put_standing(const struct daemon *daemon, const struct alarm *alarm, json_t *list)
{
	if (alarm && alarm_stands(alarm))
		json_array_append_new(list, alarm_json(alarm, "", daemon->clock));
}

static void interface_alarm(const struct edge_interface_status *interface, json_t *alarms)
{
	const char *name = interface->name;
	if (!interface->ifindex)
		ALARM_PUT(alarms, NULL, 0, INTERFACE_GONE, name, name);
	else if (interface->mode == EDGE_DETACHED)
		ALARM_PUT(alarms, NULL, 0, INTERFACE_DETACHED, name, name,
			  *interface->problem ? interface->problem : "it is not attached");
	else if (*interface->problem)
		ALARM_PUT(alarms, NULL, 0, INTERFACE_TROUBLE, name, name, interface->problem);
	else if (interface->link == EDGE_LINK_DOWN)
		ALARM_PUT(alarms, NULL, 0, INTERFACE_DOWN, name, name);
	else if (interface->link == EDGE_LINK_NO_CARRIER)
		ALARM_PUT(alarms, NULL, 0, INTERFACE_NO_CARRIER, name, name);
	if (*interface->merging)
		ALARM_PUT(alarms, NULL, 0, INTERFACE_MERGING, name, name, interface->merging,
			  interface->merging);
}

/* Of thousands without a next hop, the first few say what is wrong. */
static void next_hop_alarms(const struct edge_status *edge, const char *node, json_t *alarms)
{
	char text[IP_TEXT_BYTES];
	size_t found = 0;
	for (size_t i = 0; i < edge->backend_count; i++) {
		const struct edge_backend_status *backend = &edge->backends[i];
		if (!backend->no_route && backend->unresolved_ms < EDGE_UNRESOLVED_MS)
			continue;
		if (found++ >= NEXT_HOP_ALARMS)
			continue;
		ip_address_format(&backend->address, text);
		if (backend->no_route)
			ALARM_PUT(alarms, NULL, 0, BACKEND_NO_ROUTE, text, text);
		else
			ALARM_PUT(alarms, NULL, 0, BACKEND_NO_NEXT_HOP, text, text);
	}
	if (found > NEXT_HOP_ALARMS)
		ALARM_PUT(alarms, NULL, 0, BACKENDS_NO_NEXT_HOP, node, found - NEXT_HOP_ALARMS);
}

#define TOO_BIG_MANY 16u /* in a window: one that probes for a path's MTU is lost now and then */

static void size_alarms(const struct daemon *daemon, json_t *alarms)
{
	const char *node = daemon->options->node;
	const struct edge_plane_growth grown = edge_plane_growth(daemon->edge);
	if (grown.too_big >= TOO_BIG_MANY)
		ALARM_PUT(alarms, NULL, 0, DROPS_TOO_BIG, node, (unsigned long long)grown.too_big,
			  GROWTH_WINDOW_MS / 1000);
	if (grown.icmp_too_big > 0)
		ALARM_PUT(alarms, NULL, 0, DROPS_ICMP_TOO_BIG, node,
			  (unsigned long long)grown.icmp_too_big, GROWTH_WINDOW_MS / 1000);
}

static void edge_alarms(const struct daemon *daemon, json_t *alarms)
{
	char text[IP_TEXT_BYTES];
	struct edge_status edge;
	put_standing(daemon, edge_plane_alarm(daemon->edge), alarms);
	put_standing(daemon, edge_plane_interference(daemon->edge, clock_now_ms(daemon->clock)),
		     alarms);
	if (must_succeed(edge_plane_status(daemon->edge, &edge)) < 0)
		return;
	for (size_t i = 0; i < edge.interface_count; i++)
		interface_alarm(&edge.interfaces[i], alarms);
	for (size_t i = 0; i < edge.missing_source_count; i++) {
		ip_address_format(&edge.missing_sources[i], text);
		ALARM_PUT(alarms, NULL, 0, SOURCE_GONE, text, text,
			  edge.missing_sources[i].family == IP_V4 ? 4 : 6);
	}
	for (size_t i = 0; i < 2; i++) {
		if (edge.neighbours_full[i])
			ALARM_PUT(alarms, NULL, 0, NEIGHBOURS_FULL, i ? "6" : "4", i ? 6 : 4,
				  i ? 6 : 4);
	}
	next_hop_alarms(&edge, daemon->options->node, alarms);
	passing_on_alarms(daemon, alarms);
	const char *own_calls = edge_plane_own_calls_problem(daemon->edge);
	if (*own_calls)
		ALARM_PUT(alarms, NULL, 0, OWN_CALLS, daemon->options->node, own_calls);
	size_alarms(daemon, alarms);
}

static void names_alarms(const struct daemon *daemon, json_t *alarms)
{
	char text[IP_TEXT_BYTES];
	put_standing(daemon, names_plane_alarm(daemon->names), alarms);
	const struct ip_address *missing = names_plane_missing(daemon->names);
	if (missing) {
		ip_address_format(missing, text);
		ALARM_PUT(alarms, NULL, 0, DNS_ADDRESS_GONE, text, text);
	}
	if (names_plane_refused(daemon->names)[0])
		ALARM_PUT(alarms, NULL, 0, DNS_IN_PART, "", names_plane_refused(daemon->names));
	if (!names_plane_has_address(daemon->names) && daemon->image.fabric &&
	    !daemon->image.fabric->nameserver_count)
		ALARM_PUT(alarms, NULL, 0, DNS_NO_NAMESERVER, "");
}

#define UNREAD_ALARMS 4 /* of single records */

static void unread_alarms(const struct daemon *daemon, json_t *alarms)
{
	const struct image *image = &daemon->image;
	char text[IMAGE_UNREAD_TEXT];
	for (size_t i = 0; i < image->unread_count && i < UNREAD_ALARMS; i++)
		ALARM_PUT(alarms, NULL, 0, RECORD_UNREAD, image->unread[i].key,
			  image_unread_text(&image->unread[i], text));
	if (image->unread_count > UNREAD_ALARMS)
		ALARM_PUT(alarms, NULL, 0, RECORDS_UNREAD, daemon->options->node,
			  image->unread_count - UNREAD_ALARMS);
}

static void voter_alarms(const struct daemon *daemon, json_t *alarms)
{
	const char *node = daemon->options->node;
	put_standing(daemon, &daemon->channel_alarm, alarms);
	put_standing(daemon, &daemon->metrics_alarm, alarms);
	const char *unreached = daemon->peers ? peers_unreached(daemon->peers) : "";
	const char *source = daemon->peers ? peers_source(daemon->peers) : "";
	if (*unreached && *source)
		ALARM_PUT(alarms, NULL, 0, VOTER_BY_PEER, node, unreached,
			  (unsigned long long)daemon->image.head.sequence, source);
	else if (*unreached)
		ALARM_PUT(alarms, NULL, 0, VOTER_UNREACHED, node, unreached,
			  (unsigned long long)daemon->image.head.sequence);
	if (*daemon->replica.awaits)
		ALARM_PUT(alarms, NULL, 0, VOTER_WAITS, node, daemon->replica.awaits);
	if (*source && *follower_alarm(authority_follower(daemon->authority)))
		ALARM_PUT(alarms, NULL, 0, VOTER_NOT_FOLLOWED, node,
			  follower_alarm(authority_follower(daemon->authority)));
}

/* Only who decides hears how far landings have come. */
static void fence_alarms(const struct daemon *daemon, json_t *alarms)
{
	const struct removed_list *list = &daemon->image.removed;
	char text[FENCE_TEXT];
	for (size_t i = 0; daemon->decides && i < list->count; i++) {
		if (removed_is_fenced(&list->items[i]))
			continue;
		must_succeed(fence_text(&daemon->image, daemon->reports, &list->items[i], text));
		ALARM_PUT(alarms, NULL, 0, MEMBER_FENCING, list->items[i].name, text);
	}
}

static void put_alarms(void *context, json_t *alarms)
{
	const struct daemon *daemon = context;
	const char *node = daemon->options->node;
	const struct open_files *files = &daemon->files;
	const struct replica *replica = &daemon->replica;
	const char *kind = replica_kind_name(replica->kind);
	if (*replica->why)
		ALARM_PUT(alarms, daemon->clock, daemon->start_ms, STATE_READ_ONLY, kind,
			  replica->why);
	if (*replica->behind)
		ALARM_PUT(alarms, daemon->clock, daemon->start_ms, STATE_BEHIND, kind,
			  replica->behind);
	put_standing(daemon, &daemon->mark_alarm, alarms);
	put_standing(daemon, &daemon->alarm, alarms);
	put_standing(daemon, &daemon->store_alarm, alarms);
	put_standing(daemon, &daemon->upgrade_alarm, alarms);
	put_standing(daemon, &daemon->removal.alarm, alarms);
	put_standing(daemon, &daemon->removal.doubt, alarms);
	fence_alarms(daemon, alarms);
	if (daemon->peers)
		peers_put_alarms(daemon->peers, alarms);
	voter_alarms(daemon, alarms);
	unread_alarms(daemon, alarms);
	put_standing(daemon, membership_alarm(daemon->membership), alarms);
	if (daemon->good_copy)
		put_standing(daemon, good_copy_alarm(daemon->good_copy), alarms);
	if (daemon->edge)
		edge_alarms(daemon, alarms);
	if (daemon->names)
		names_alarms(daemon, alarms);
	if (daemon->routing) {
		put_standing(daemon, routing_plane_alarm(daemon->routing), alarms);
		put_standing(daemon, routing_plane_withheld(daemon->routing), alarms);
		put_standing(daemon, routing_plane_lost(daemon->routing), alarms);
	}
	if (daemon->wall.jump_ms)
		ALARM_PUT(alarms, daemon->clock, daemon->wall.since_ms, CLOCK_JUMPED, node,
			  daemon->wall.jump_ms < 0 ? "back" : "forward",
			  llabs((long long)daemon->wall.jump_ms) / 1000);
	if (files->limit < files->wanted)
		ALARM_PUT(alarms, NULL, 0, FILES_FEW, node, files->limit, files->wanted,
			  files->api_clients, files->tcp_connections);
}

json_t *daemon_own_alarms(const struct daemon *daemon)
{
	json_t *alarms = json_array();
	put_alarms((void *)(uintptr_t)daemon, alarms);
	return alarms;
}

void daemon_put_alarms(struct daemon *daemon, json_t *alarms)
{
	struct edge_status edge;
	put_alarms(daemon, alarms);
	if (daemon->edge && must_succeed(edge_plane_status(daemon->edge, &edge)) == 0)
		edge_notes(&edge, alarms);
	if (!daemon->decides)
		return;
	json_t *backends = show_backends(&daemon->host);
	show_backend_alarms(&daemon->host, backends, alarms, alarms);
	show_pool_alarms(&daemon->host, alarms);
	show_member_alarms(&daemon->host, alarms);
	show_risks(&daemon->host, alarms);
	json_decref(backends);
}

static void put_status(void *context, json_t *status)
{
	const struct daemon *daemon = context;
	status_state(daemon, status);
	if (!daemon->decides)
		json_object_set_new(
		    status, "voter_silent_ms",
		    json_integer(daemon->peers ? (json_int_t)peers_voter_silent_ms(daemon->peers)
					       : 0));
	status_edge(daemon, status);
	status_names(daemon, status);
}

static bool count(void *context, const struct ip_address *address,
		  struct api_counters *ret_counters)
{
	const struct daemon *daemon = context;
	struct edge_counters edge;
	if (!daemon->edge || edge_plane_counters(daemon->edge, address, &edge) < 0)
		return false;
	*ret_counters = (struct api_counters){.packets = edge.packets,
					      .bytes = edge.bytes,
					      .new_flows = edge.new_flows,
					      .late_flows = edge.late_flows,
					      .refused = edge.refused,
					      .wrong_port = edge.wrong_port,
					      .asked_fib = edge.asked_fib,
					      .to_kernel = edge.to_kernel};
	return true;
}

static void put_held(void *context, struct arena *arena, struct recovery_knowledge *knowledge)
{
	const struct daemon *daemon = context;
	const struct ledger_position *mark = &daemon->replica.acknowledged;
	const struct ledger_position *pinned = &daemon->pinned;
	*knowledge = (struct recovery_knowledge){0};
	if (daemon->edge && mark->sequence && pinned->sequence == mark->sequence &&
	    memcmp(pinned->digest.bytes, mark->digest.bytes, DIGEST_BYTES) == 0)
		edge_plane_held(daemon->edge, arena, knowledge);
}

static int resume(void *context, json_t **ret_what, struct error *err)
{
	struct daemon *daemon = context;
	const struct replica *replica = &daemon->replica;
	const struct voter_verdict verdict = daemon_verdict(daemon);
	if (*replica->why || *replica->behind)
		return error_set(err, -FL_ESTATE, "%.1400s",
				 *replica->why ? replica->why : replica->behind);
	if (!*replica->awaits)
		return error_set(err, -FL_ESTATE, "this voter takes orders: nothing waits");
	if (verdict.standing != VOTER_LISTENS)
		return error_set(err, -FL_ESTATE, "%.900s", replica->awaits);
	json_t *unheard = json_array();
	for (size_t i = 0; i < daemon->image.member_count; i++) {
		const struct member *member = daemon->image.members[i].member;
		if (member_has(member, MEMBER_EDGE) &&
		    !standings_hear(&daemon->standings, member, daemon->options->node))
			json_array_append_new(unheard, json_string(member->name));
	}
	*ret_what = json_pack("{s:I, s:I, s:o}", "edges", (json_int_t)verdict.edges, "heard",
			      (json_int_t)verdict.heard, "unheard", unheard);
	daemon->is_sure = true;
	daemon_listen(daemon);
	return 0;
}

static bool ahead(void *context, struct ledger_position *ret_there)
{
	const struct daemon *daemon = context;
	const struct voter_verdict verdict = daemon_verdict(daemon);
	bool lies_ahead = verdict.standing == VOTER_HAS_FORKED ||
			  (verdict.standing == VOTER_IS_BEHIND && !verdict.can_give);
	if (!daemon->options->channel || !lies_ahead)
		return false;
	*ret_there = verdict.there;
	return true;
}

#define RENEW_TICKS 2u /* in which answers go out */

static void renew(void *context, const char *copy)
{
	struct daemon *daemon = context;
	daemon->renew_ticks = RENEW_TICKS;
	daemon->exchange = copy;
}

static json_t *make_token(void *context, struct join_token *token)
{
	struct daemon *daemon = context;
	const struct daemon_options *options = daemon->options;
	const struct credentials *own = options->channel;
	char text[PEER_TOKEN_TEXT_BYTES];
	char address[CHANNEL_PLACE_BYTES];
	char roles[MEMBER_ROLES_BYTES];
	if (!own || !own->voter)
		return NULL;
	const struct wire_bytes ca = {.data = own->cas[own->ca_count - 1].data,
				      .length = own->cas[own->ca_count - 1].length};
	token_draw(&ca, own->fabric, &daemon->random, token, text);
	daemon_options_channel(options, address);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "token", text, "address", address,
			 "fabric", own->fabric, "roles", member_roles_format(token->roles, roles),
			 "site", token->site, "expires_in_ms",
			 (json_int_t)(token->expires_ms - clock_wall_ms(daemon->clock)));
}

static json_t *routing_status(void *context)
{
	return routing_plane_status(context);
}

static int routing_config(void *context, const json_t *parameters, json_t **ret_answer,
			  struct error *err)
{
	return routing_plane_config(context, parameters, ret_answer, err);
}

/* A voter sees the whole; what only this node can tell stays here, and while no voter is reached,
 * so does what only shows something. */
static bool pass_on(void *context, struct api_call *call)
{
	struct daemon *daemon = context;
	struct error err;
	if (daemon->decides)
		return false;
	switch ((int)call->command->verb) {
	case VERB_events:
	case VERB_routing_status:
	case VERB_routing_config:
		return false;
	case VERB_doctor: /* of this machine; but what all are asked, the voter asks */
		if (!api_text(call, "what"))
			return false;
		break;
	case VERB_store_recover:
		order_refuse(call, -FL_ESTATE,
			     "this node decides nothing, so nothing of it wants recovering: it "
			     "takes what it lacks from a voter");
		return true;
	default:
		break;
	}
	if (daemon->peers && peers_pass_on(daemon->peers, call))
		return true;
	if ((call->command->repeatable && call->command->verb != VERB_doctor) ||
	    call->command->verb == VERB_log || call->command->verb == VERB_verify)
		return false;
	error_set(&err, -FL_EUNAVAILABLE, "this node decides nothing, and no voter is reached: %s",
		  daemon->peers             ? peers_unreached(daemon->peers)
		  : daemon->removal.is_over ? daemon->removal.alarm.text
					    : daemon->channel_alarm.text);
	api_fail(call, &err);
	return true;
}

void daemon_host(struct daemon *daemon, struct api_host *ret_host)
{
	*ret_host = (struct api_host){.node = daemon->options->node,
				      .site = daemon->options->site,
				      .clock = daemon->clock,
				      .steady = &daemon->steady,
				      .start_ms = daemon->start_ms,
				      .decides = daemon->decides,
				      .image = &daemon->image,
				      .changes = daemon->changes,
				      .driver = daemon->driver,
				      .reports = daemon->reports,
				      .store = daemon->store,
				      .replica = &daemon->replica,
				      .signer = daemon->signer,
				      .random = &daemon->random,
				      .wants = &daemon->wants,
				      .state_folder = daemon->options->state_folder,
				      .put_held = put_held,
				      .resume = resume,
				      .ahead = ahead,
				      .renew = renew,
				      .pass_on = pass_on,
				      .make_token = make_token,
				      .routing_status = routing_status,
				      .routing_config = routing_config,
				      .context = daemon,
				      .count = count,
				      .put_status = put_status,
				      .put_alarms = put_alarms,
				      .put_doctor = daemon_put_doctor,
				      .return_path = return_path_call};
}
