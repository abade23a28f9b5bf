/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/observation.h"

#include "base/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct observations {
	struct observed_node **nodes; /* owned; sorted by name */
	size_t count;
	uint64_t news;
};

int observations_new(struct observations **ret_observations)
{
	struct observations *observations = calloc(1, sizeof(*observations));
	if (!observations)
		return -ENOMEM;
	*ret_observations = observations;
	return 0;
}

void observations_free(struct observations *observations)
{
	if (!observations)
		return;
	for (size_t i = 0; i < observations->count; i++) {
		free(observations->nodes[i]->activity);
		free(observations->nodes[i]->wants);
		free(observations->nodes[i]->unreached);
		json_decref(observations->nodes[i]->alarms);
		free(observations->nodes[i]);
	}
	free(observations->nodes);
	free(observations);
}

uint64_t observation_interval_ms(const struct image *image)
{
	uint64_t report_ms = image_report_interval_ms(image);
	return report_ms < OBSERVATION_INTERVAL_MS ? report_ms : OBSERVATION_INTERVAL_MS;
}

uint64_t observations_news(const struct observations *observations)
{
	return observations->news;
}

static int compare_node(const void *nodes, size_t place, const void *name)
{
	struct observed_node *const *list = nodes;
	return strcmp(list[place]->node, name);
}

static size_t find_place(const struct observations *observations, const char *node, bool *ret_found)
{
	return search_place(observations->nodes, observations->count, node, compare_node,
			    ret_found);
}

const struct observed_node *observations_find(const struct observations *observations,
					      const char *node)
{
	bool found;
	size_t at = find_place(observations, node, &found);
	return found ? observations->nodes[at] : NULL;
}

static struct observed_node *get(struct observations *observations, const char *node)
{
	bool found;
	size_t at = find_place(observations, node, &found);
	if (found)
		return observations->nodes[at];
	struct observed_node **nodes = realloc(
	    observations->nodes, (observations->count + 1) * sizeof(struct observed_node *));
	if (!nodes)
		return NULL;
	observations->nodes = nodes;
	struct observed_node *added = calloc(1, sizeof(*added));
	if (!added)
		return NULL;
	snprintf(added->node, sizeof(added->node), "%s", node);
	memmove(nodes + at + 1, nodes + at, (observations->count - at) * sizeof(*nodes));
	nodes[at] = added;
	observations->count++;
	return added;
}

/* Note what is acknowledged now: true when that is news. What is not on our chain is no
 * acknowledgement, and one that went back began anew. */
static bool note_applied(struct applied *applied, const struct image *image,
			 const struct ledger_position *position, uint64_t now_ms)
{
	uint64_t sequence = image_is_on_chain(image, position) ? position->sequence : 0;
	uint64_t before = applied->count ? applied->points[applied->count - 1].sequence : 0;
	if (sequence == before)
		return false;
	if (sequence < before)
		applied->count = 0;
	if (!sequence)
		return true;
	if (applied->count == OBSERVATION_APPLIED_POINTS)
		memmove(applied->points, applied->points + 1,
			--applied->count * sizeof(applied->points[0]));
	applied->points[applied->count++] =
	    (struct applied_point){.sequence = sequence, .at_ms = now_ms};
	return true;
}

static bool same_addresses(const struct ip_address *list, size_t count,
			   const struct ip_address *other, size_t other_count)
{
	if (count != other_count)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!ip_address_equal(&list[i], &other[i]))
			return false;
	}
	return true;
}

/* A copy of a list that may be missing, and then copied as none. */
static int copy_list(const void *list, size_t count, size_t size, void **ret_copy)
{
	*ret_copy = list ? calloc(count ? count : 1, size) : NULL;
	if (list && !*ret_copy)
		return -ENOMEM;
	if (count && list)
		memcpy(*ret_copy, list, count * size);
	return 0;
}

int observations_take(struct observations *observations, const struct image *image,
		      const struct observation *observation, uint64_t now_ms)
{
	if (!image_member(image, observation->node))
		return -FL_ENOTFOUND;
	struct observed_node *node = get(observations, observation->node);
	if (!node)
		return -ENOMEM;
	void *activity = NULL;
	void *wants = NULL;
	size_t lost = observation->unreached_count;
	struct ip_address *unreached = calloc(lost + 1, sizeof(*unreached));
	if (!unreached ||
	    copy_list(observation->activity, observation->activity_count, sizeof(struct activity),
		      &activity) < 0 ||
	    copy_list(observation->wants, observation->want_count, sizeof(struct slot_want),
		      &wants) < 0) {
		free(unreached);
		free(activity);
		return -ENOMEM;
	}
	if (strcmp(node->instance, observation->instance) != 0) {
		node->edge_applied.count = 0;
		node->names_applied.count = 0;
		node->activity_count = 0;
		node->want_count = 0;
		json_decref(node->alarms);
		node->alarms = NULL;
		snprintf(node->instance, sizeof(node->instance), "%s", observation->instance);
	}
	node->heard_ms = now_ms;
	node->is_edge = observation->is_edge;
	node->is_names = observation->is_names;
	if (note_applied(&node->edge_applied, image, &observation->edge_applied, now_ms))
		observations->news++;
	if (note_applied(&node->names_applied, image, &observation->names_applied, now_ms))
		observations->news++;
	if (lost)
		memcpy(unreached, observation->unreached, lost * sizeof(*unreached));
	if (!same_addresses(node->unreached, node->unreached_count, unreached, lost))
		observations->news++;
	free(node->unreached);
	node->unreached = unreached;
	node->unreached_count = lost;
	if (activity) {
		free(node->activity);
		node->activity = activity;
		node->activity_count = observation->activity_count;
		node->activity_ms = now_ms;
	}
	if (wants) {
		free(node->wants);
		node->wants = wants;
		node->want_count = observation->want_count;
		node->wants_ms = now_ms;
	}
	if (observation->alarms) {
		json_decref(node->alarms);
		node->alarms = json_incref(observation->alarms);
	}
	return 0;
}
