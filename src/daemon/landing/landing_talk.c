/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/landing/landing_talk.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define FIRST_INTERVAL_MS 1000u

void landing_talk_init(struct landing_talk *talk, struct landing_plane *plane)
{
	*talk = (struct landing_talk){.plane = plane, .interval_ms = FIRST_INTERVAL_MS};
}

void landing_talk_lost(struct landing_talk *talk)
{
	talk->awaiting = false;
	talk->closing = (struct ledger_position){0};
}

bool landing_talk_report(struct landing_talk *talk, struct arena *arena,
			 struct peer_message *ret_message)
{
	*ret_message = (struct peer_message){.number = PEER_REPORT};
	if (landing_plane_report(talk->plane, &talk->closing, arena, &ret_message->report) < 0)
		return false;
	talk->awaiting = true;
	talk->reported_lands = landing_plane_lands(talk->plane);
	return true;
}

static int take_configuration(struct landing_talk *talk, const struct peer_configure *message,
			      struct error *err)
{
	struct landing_set *set = NULL;
	int result = landing_set_apply(landing_plane_wanted(talk->plane), message, &set, err);
	/* What is not understood is asked for anew, as a whole. */
	landing_plane_want(talk->plane, set);
	landing_set_unref(set);
	return result;
}

static void take_cuts(struct landing_talk *talk, const struct peer_cut *message)
{
	struct wire_list list;
	memcpy(&list, &message->addresses, sizeof(list));
	landing_plane_cut(talk->plane, &list);
}

static uint64_t take_heard(struct landing_talk *talk, const struct peer_heard *heard)
{
	bool landed = talk->reported_lands;
	talk->awaiting = false;
	talk->interval_ms = heard->interval_ms;
	landing_plane_path_mtu(talk->plane, (uint32_t)heard->path_mtu);
	landing_plane_carry_out(talk->plane);
	/* The next count begins after this moment, so it may name the closing. */
	talk->closing = (struct ledger_position){.sequence = heard->closing_sequence,
						 .digest = heard->closing_hash};
	talk->refusal[0] = '\0';
	/* That it lands at all is worth saying at once. */
	return !landed && landing_plane_lands(talk->plane) ? 0 : talk->interval_ms;
}

static uint64_t take_refusal(struct landing_talk *talk, const struct peer_refused *refused)
{
	char text[sizeof(talk->refusal)];
	talk->awaiting = false;
	snprintf(text, sizeof(text), "%.1000s", refused->sentence);
	if (strcmp(talk->refusal, text) != 0)
		log_event(LOG_LEVEL_ERROR, "report.refused", "error", text, NULL);
	memcpy(talk->refusal, text, sizeof(text));
	talk->closing = (struct ledger_position){0};
	return talk->interval_ms;
}

int landing_talk_take(struct landing_talk *talk, const struct peer_message *message,
		      uint64_t *ret_next_ms, struct error *err)
{
	*ret_next_ms = LANDING_TALK_LATER;
	switch ((int)message->number) {
	case PEER_CONFIGURE:
		return take_configuration(talk, &message->configure, err);
	case PEER_CUT:
		take_cuts(talk, &message->cut);
		return 0;
	case PEER_HEARD:
		*ret_next_ms = take_heard(talk, &message->heard);
		return 0;
	case PEER_REFUSED:
		*ret_next_ms = take_refusal(talk, &message->refused);
		return 0;
	default:
		return error_set(err, -FL_EINVALID, "it says what no node says to a landing");
	}
}
