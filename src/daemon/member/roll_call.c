/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roll call: who is a member, as the channel's process is to know it; and, of those who are none
 * any more, the ledger's entry that says so, which is theirs to see when they come back. Also what
 * is told when somebody shows up by a key or a name that is another's.
 */
#include "base/memory.h"
#include "daemon/member/peers_internal.h"
#include "daemon/member/removal.h"
#include "ledger/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPIED_MS 600000u /* so long after the last time it is told of */
/* A process that was started again may find its last one's session half open for 3 s. Who goes on
 * for longer, without a pause, is another one. */
#define COPIED_SINCE_MS 5000u
#define COPIED_PAUSE_MS 5000u

/* The entry of a removal. It never changes, so it is read once. */
struct removal_entry {
	struct removal_entry *next;
	struct peers *peers;
	uint64_t sequence;
	struct buffer bytes;
	bool is_here; /* otherwise the store is asked for it */
};

static struct removal_entry *find_entry(const struct peers *peers, uint64_t sequence)
{
	struct removal_entry *entry = peers->removals;
	while (entry && entry->sequence != sequence)
		entry = entry->next;
	return entry;
}

static void on_entry(void *context, int result, const struct error *err,
		     const struct store_page *page)
{
	struct removal_entry *entry = context;
	struct peers *peers = entry->peers;
	(void)
	    err; /* without it the node is refused all the same, and told of by the next process */
	if (result == 0 && page->count)
		buffer_append(&entry->bytes, page->records[0].value, page->records[0].value_length);
	must_succeed(entry->bytes.status);
	entry->is_here = true;
	peers->removals_asked--;
	if (peers->removals_asked || peers->closing)
		return;
	peers->members_told = false;
	peers_image_moved(peers);
}

/* Asks the store for what is not known yet; false while something is on its way. */
static bool have_entries(struct peers *peers)
{
	const struct removed_list *list = &peers->daemon->image.removed;
	char key[LEDGER_KEY_BYTES];
	for (size_t i = 0; i < list->count; i++) {
		if (find_entry(peers, list->items[i].sequence))
			continue;
		struct removal_entry *entry = must_alloc(1, sizeof(*entry));
		*entry = (struct removal_entry){
		    .next = peers->removals, .peers = peers, .sequence = list->items[i].sequence};
		buffer_init(&entry->bytes, PEER_PROOF_MAX);
		peers->removals = entry;
		peers->removals_asked++;
		const struct store_range range = {.key = ledger_key_format(entry->sequence, key),
						  .limit = 1};
		int result = store_range(peers->daemon->store, &range, on_entry, entry, NULL);
		if (must_succeed(result) < 0) {
			entry->is_here = true;
			peers->removals_asked--;
		}
	}
	return peers->removals_asked == 0;
}

struct wire_bytes peers_removal(const struct peers *peers, uint64_t sequence)
{
	const struct removal_entry *entry = find_entry(peers, sequence);
	return entry ? wire_bytes_of(&entry->bytes) : (struct wire_bytes){0};
}

static void tell_members(struct peers *peers)
{
	const struct image *image = &peers->daemon->image;
	const size_t most = image->member_count + image->removed.count;
	struct channel_member *rows = must_alloc(most + 1, sizeof(*rows));
	uint8_t(*keys)[KEY_BYTES] = must_alloc(most + 1, sizeof(*keys));
	struct channel_members message = {.members = {.items = rows}};
	for (size_t i = 0; i < most && message.members.count < CHANNEL_MEMBERS_MAX; i++) {
		const struct member *member =
		    i < image->member_count ? image->members[i].member : NULL;
		const struct removed_member *removed =
		    member ? NULL : &image->removed.items[i - image->member_count];
		const char *text = member ? member->channel_key : removed->channel_key;
		if (!*text || key_text_parse(text, strlen(text), keys[i]) < 0)
			continue;
		rows[message.members.count++] = (struct channel_member){
		    .node = member ? member->name : removed->name,
		    .key = {.data = keys[i], .length = KEY_BYTES},
		    .removed = removed != NULL,
		    .proof =
			removed ? peers_removal(peers, removed->sequence) : (struct wire_bytes){0}};
	}
	peer_channel_members(peers->channel, &message);
	free(keys);
	free(rows);
}

/* This node's own replica has its removal. */
static void look_for_own(struct peers *peers)
{
	struct daemon *daemon = peers->daemon;
	const struct removed_member *own =
	    removed_list_find_key(&daemon->image.removed, daemon->self.channel_key);
	const struct removal_entry *entry = own ? find_entry(peers, own->sequence) : NULL;
	if (entry && entry->is_here && !daemon->decides)
		removal_take(daemon, "its own replica", entry->bytes.data, entry->bytes.length);
}

void peers_image_moved(struct peers *peers)
{
	const struct image *image = &peers->daemon->image;
	stand_choose(peers);
	if ((peers->members_told && peers->members_revision == image->members_revision) ||
	    !have_entries(peers))
		return;
	peers->members_told = true;
	peers->members_revision = image->members_revision;
	tell_members(peers);
	stand_say_who_decides(peers);
	look_for_own(peers);
}

void roll_call_done(struct peers *peers)
{
	while (peers->removals) {
		struct removal_entry *entry = peers->removals;
		peers->removals = entry->next;
		buffer_done(&entry->bytes);
		free(entry);
	}
}

/* --- somebody else's key or name -------------------------------------------------------------- */

static struct fellow *find_fellow(const struct peers *peers, const char *node)
{
	struct fellow *fellow = peers->fellows;
	while (fellow && !(fellow->is_up && strcmp(fellow->node, node) == 0))
		fellow = fellow->next;
	return fellow;
}

/* To the node whose key or name it is, if it is here. */
static void warn(const struct peers *peers, const struct alarm *alarm)
{
	struct fellow *fellow = find_fellow(peers, alarm->subject);
	char advice[ALARM_TEXT_BYTES];
	const struct alarm_row *row = &alarm_rows[alarm->code];
	if (!fellow || !peers->daemon->decides)
		return;
	alarm_advice(alarm->code, alarm->subject, advice, sizeof(advice));
	const struct peer_message message = {
	    .number = PEER_WARNING,
	    .warning = {.code = row->code, .text = alarm->text, .advice = advice}};
	(void)fellow_send(fellow, &message);
}

void peers_note_turned_away(struct peers *peers, const struct channel_turned_away *who)
{
	const uint64_t now_ms = clock_now_ms(peers->daemon->clock);
	char address[IP_TEXT_BYTES];
	bool is_new;
	struct alarm *alarm;
	if (who->reason != PEER_PARTING_COPIED && who->reason != PEER_PARTING_NAME)
		return;
	if (!peers->turned_away_since_ms || now_ms - peers->turned_away_ms > COPIED_PAUSE_MS)
		peers->turned_away_since_ms = now_ms;
	peers->turned_away_ms = now_ms;
	if (now_ms - peers->turned_away_since_ms < COPIED_SINCE_MS)
		return;
	ip_address_format(&who->address, address);
	if (who->reason == PEER_PARTING_COPIED) {
		alarm = &peers->copied;
		is_new = ALARM_SET(alarm, now_ms, CHANNEL_COPIED, who->node, who->node, address);
	} else {
		alarm = &peers->name_taken;
		is_new = ALARM_SET(alarm, now_ms, CHANNEL_NAME, who->node, who->node, address);
	}
	if (!is_new)
		return;
	daemon_tell_alarm(peers->daemon, alarm);
	warn(peers, alarm);
}

/* A voter says that somebody goes by this node's key or name. The words are its own; which alarm it
 * is must be one of the two that are about that. */
void peers_take_warning(struct peers *peers, const struct peer_warning *message)
{
	const bool copied = strcmp(message->code, alarm_rows[ALARM_CHANNEL_COPIED].code) == 0;
	struct alarm *alarm = copied ? &peers->copied : &peers->name_taken;
	const uint64_t now_ms = clock_now_ms(peers->daemon->clock);
	if (!copied && strcmp(message->code, alarm_rows[ALARM_CHANNEL_NAME].code) != 0)
		return;
	peers->turned_away_ms = now_ms;
	if (strcmp(alarm->text, message->text) == 0)
		return;
	*alarm = (struct alarm){.code = copied ? ALARM_CHANNEL_COPIED : ALARM_CHANNEL_NAME,
				.since_ms = now_ms};
	snprintf(alarm->subject, sizeof(alarm->subject), "%s", peers->daemon->options->node);
	snprintf(alarm->text, sizeof(alarm->text), "%s", message->text);
	daemon_tell_alarm(peers->daemon, alarm);
}

void peers_forget_turned_away(struct peers *peers, uint64_t now_ms)
{
	if (!peers->turned_away_ms || now_ms - peers->turned_away_ms < COPIED_MS)
		return;
	peers->turned_away_ms = peers->turned_away_since_ms = 0;
	alarm_end(&peers->copied);
	alarm_end(&peers->name_taken);
}

void peers_put_alarms(const struct peers *peers, json_t *alarms)
{
	const struct alarm *standing[] = {&peers->copied, &peers->name_taken};
	for (size_t i = 0; i < sizeof(standing) / sizeof(standing[0]); i++) {
		if (alarm_stands(standing[i]))
			json_array_append_new(alarms,
					      alarm_json(standing[i], "", peers->daemon->clock));
	}
}
