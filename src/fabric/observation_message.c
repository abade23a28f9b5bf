/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/observation_message.h"

/* Words may come from anywhere, a kernel's or another program's too. */
static const char *clean(const json_t *alarm, const char *key, struct arena *arena)
{
	const char *text = json_string_value(json_object_get(alarm, key));
	return wire_clean_text(text ? text : "", PEER_SENTENCE_MAX, arena);
}

static struct peer_node_alarm *put_alarms(const json_t *alarms, size_t count, struct arena *arena)
{
	struct peer_node_alarm *rows = arena_array(arena, count + 1, sizeof(*rows));
	for (size_t i = 0; rows && i < count; i++) {
		const json_t *alarm = json_array_get(alarms, i);
		rows[i] = (struct peer_node_alarm){
		    .code = json_string_value(json_object_get(alarm, "code")),
		    .severity = json_string_value(json_object_get(alarm, "severity")),
		    .subject = clean(alarm, "subject", arena),
		    .text = clean(alarm, "text", arena),
		    .advice = clean(alarm, "advice", arena)};
		if (!rows[i].subject || !rows[i].text || !rows[i].advice)
			return NULL;
	}
	return rows;
}

static json_t *take_alarms(const struct peer_observation *message)
{
	json_t *alarms = json_array();
	for (size_t i = 0; i < message->alarms.count; i++) {
		const struct peer_node_alarm *row = &message->alarms.items[i];
		const char *advice = *row->advice ? row->advice : NULL;
		json_array_append_new(alarms,
				      json_pack("{s:s, s:s, s:s, s:s, s:s*}", "code", row->code,
						"severity", row->severity, "subject", row->subject,
						"text", row->text, "advice", advice));
	}
	return alarms;
}

int observation_to_message(const struct observation *observation, struct arena *arena,
			   struct peer_message *ret_message)
{
	struct peer_activity *activity =
	    arena_array(arena, observation->activity_count + 1, sizeof(*activity));
	struct peer_end *unreached =
	    arena_array(arena, observation->unreached_count + 1, sizeof(*unreached));
	size_t alarm_count = json_array_size(observation->alarms);
	alarm_count = alarm_count < PEER_ALARMS_MAX ? alarm_count : PEER_ALARMS_MAX;
	struct peer_node_alarm *alarms = put_alarms(observation->alarms, alarm_count, arena);
	if (!activity || !unreached || !alarms)
		return -ENOMEM;
	for (size_t i = 0; i < observation->activity_count; i++)
		activity[i] = (struct peer_activity){
		    .address = observation->activity[i].address,
		    .new_flow_ago_ms = observation->activity[i].new_flow_ago_ms,
		    .packet_ago_ms = observation->activity[i].packet_ago_ms};
	for (size_t i = 0; i < observation->unreached_count; i++)
		unreached[i].address = observation->unreached[i];
	*ret_message = (struct peer_message){
	    .number = PEER_OBSERVATION,
	    .observation = {
		.is_edge = observation->is_edge,
		.edge_sequence = observation->edge_applied.sequence,
		.edge_hash = observation->edge_applied.digest,
		.activity_known = observation->activity != NULL,
		.activity = {.items = activity, .count = observation->activity_count},
		.is_names = observation->is_names,
		.names_sequence = observation->names_applied.sequence,
		.names_hash = observation->names_applied.digest,
		.unreached = {.items = unreached, .count = observation->unreached_count},
		.alarms_known = observation->alarms != NULL,
		.alarms = {.items = alarms, .count = alarm_count}}};
	return 0;
}

static bool is_in_order(const struct ip_address *before, const struct ip_address *after)
{
	return !before || ip_address_compare(before, after) < 0;
}

int observation_from_message(const struct peer_observation *message, const char *node,
			     const char *instance, struct arena *arena,
			     struct observation *ret_observation)
{
	struct activity *activity =
	    arena_array(arena, message->activity.count + 1, sizeof(*activity));
	struct ip_address *unreached =
	    arena_array(arena, message->unreached.count + 1, sizeof(*unreached));
	if (!activity || !unreached)
		return -ENOMEM;
	for (size_t i = 0; i < message->activity.count; i++) {
		const struct peer_activity *row = &message->activity.items[i];
		if (!is_in_order(i ? &activity[i - 1].address : NULL, &row->address))
			return -FL_EINVALID;
		activity[i] = (struct activity){.address = row->address,
						.new_flow_ago_ms = row->new_flow_ago_ms,
						.packet_ago_ms = row->packet_ago_ms};
	}
	for (size_t i = 0; i < message->unreached.count; i++) {
		const struct ip_address *address = &message->unreached.items[i].address;
		if (!is_in_order(i ? &unreached[i - 1] : NULL, address))
			return -FL_EINVALID;
		unreached[i] = *address;
	}
	*ret_observation = (struct observation){
	    .node = node,
	    .instance = instance,
	    .is_edge = message->is_edge,
	    .edge_applied = {.sequence = message->edge_sequence, .digest = message->edge_hash},
	    .activity = message->activity_known ? activity : NULL,
	    .activity_count = message->activity_known ? message->activity.count : 0,
	    .unreached = unreached,
	    .unreached_count = message->unreached.count,
	    .is_names = message->is_names,
	    .names_applied = {.sequence = message->names_sequence, .digest = message->names_hash},
	    .alarms = message->alarms_known ? take_alarms(message) : NULL};
	return 0;
}
