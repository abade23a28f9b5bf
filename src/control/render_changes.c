/* SPDX-License-Identifier: Apache-2.0 */
/* Changes: what an order did, what a file would do, and what the ledger tells of either. */
#include "control/render_parts.h"

#include "base/memory.h"
#include <string.h>

/* --- validate, plan, apply --- */

void render_validate(const struct render *render, const json_t *data)
{
	json_int_t warnings = part_number(data, "warnings");
	if (!part_true(data, "valid"))
		return; /* the findings say it */
	screen_puts(render->text, part_text(data, "file", "?"));
	if (warnings)
		buffer_printf(render->text, ": ok, with %lld warning%s\n", (long long)warnings,
			      warnings == 1 ? "" : "s");
	else
		buffer_puts(render->text, ": ok\n");
	buffer_puts(render->text, part_text(data, "text", ""));
}

/* A word of a shell's line. */
static void put_word(const char *word, struct buffer *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "._/@%+=:,-";
	if (*word && !word[strspn(word, plain)]) {
		buffer_puts(text, word);
		return;
	}
	struct buffer quoted;
	buffer_init(&quoted, 0);
	for (const char *c = word; *c; c++) {
		if (*c == '\'')
			buffer_puts(&quoted, "'\\''");
		else
			buffer_putc(&quoted, *c);
	}
	buffer_putc(text, '\'');
	screen_puts(text, quoted.data ? quoted.data : "");
	buffer_putc(text, '\'');
	buffer_done(&quoted);
}

void render_plan(const struct render *render, const json_t *data)
{
	const struct invocation *invocation = render->invocation;
	const char *file = json_string_value(json_object_get(invocation->parameters, "file"));
	struct buffer *text = render->text;
	buffer_puts(text, part_text(data, "text", ""));
	if (!file || part_true(data, "empty") || !json_is_integer(json_object_get(data, "expect")))
		return;
	buffer_puts(text, "to apply it: fairlead ");
	if (invocation->socket_typed) {
		buffer_puts(text, "--socket ");
		put_word(invocation->socket, text);
		buffer_putc(text, ' ');
	}
	buffer_printf(text, "apply --expect %lld %s", (long long)part_number(data, "expect"),
		      *file == '-' && file[1] ? "-- " : "");
	put_word(file, text);
	buffer_putc(text, '\n');
}

void render_apply(const struct render *render, const json_t *data)
{
	struct buffer *text = render->text;
	if (part_true(data, "dry_run")) {
		render_plan(render, data);
	} else if (part_true(data, "changed")) {
		buffer_puts(text, part_text(data, "text", ""));
		buffer_printf(text, "applied as entry %lld of the ledger\n",
			      (long long)part_number(data, "sequence"));
	} else {
		buffer_puts(text, "nothing to change: this is what is applied\n");
	}
}

/* --- orders --- */

/* "web: …", then the entry that holds it. */
static void begin_order(const struct render *render, const json_t *data, const char *key)
{
	screen_puts(render->text, part_text(data, key, "?"));
	buffer_puts(render->text, ": ");
}

static void end_order(const struct render *render, const json_t *data)
{
	if (part_true(data, "changed"))
		buffer_printf(render->text, " (entry %lld)\n",
			      (long long)part_number(data, "sequence"));
	else
		buffer_puts(render->text, " (nothing to change)\n");
}

void render_rollback(const struct render *render, const json_t *data)
{
	long long published = (long long)part_number(data, "published");
	long long from = (long long)part_number(data, "from");
	long long to = (long long)part_number(data, "to");
	begin_order(render, data, "service");
	if (!from)
		buffer_printf(render->text,
			      "it was removed; what it was comes back as version %lld", published);
	else if (published)
		buffer_printf(render->text,
			      "version %lld is retired, so its content is published anew as "
			      "version %lld, in place of %lld",
			      to, published, from);
	else
		buffer_printf(render->text, "DNS names version %lld again, in place of %lld", to,
			      from);
	if (json_array_size(json_object_get(data, "backends"))) {
		buffer_puts(render->text, "; backends: ");
		part_join(json_object_get(data, "backends"), render->text);
	}
	if (part_true(data, "dry_run"))
		buffer_puts(render->text, " (nothing was changed)\n");
	else
		end_order(render, data);
}

void render_rollout_pause(const struct render *render, const json_t *data)
{
	begin_order(render, data, "service");
	buffer_puts(render->text, "the rollout keeps its share until `fairlead rollout resume`");
	end_order(render, data);
}

void render_rollout_resume(const struct render *render, const json_t *data)
{
	begin_order(render, data, "service");
	buffer_puts(render->text, "the rollout goes on");
	end_order(render, data);
}

void render_rollout_cut(const struct render *render, const json_t *data)
{
	begin_order(render, data, "service");
	buffer_printf(render->text, "what is left of version %lld's flows is being cut",
		      (long long)part_number(data, "version"));
	end_order(render, data);
}

void render_backend_forget(const struct render *render, const json_t *data)
{
	begin_order(render, data, "backend");
	buffer_puts(render->text, "its connections count as gone until it reports again");
	end_order(render, data);
}

void render_node_remove(const struct render *render, const json_t *data)
{
	buffer_puts(render->text, part_text(data, "text", ""));
	buffer_printf(render->text, "done, by ledger entry %lld\n",
		      (long long)part_number(data, "sequence"));
}

void render_token(const struct render *render, const json_t *data)
{
	buffer_printf(render->text, "on the machine that is to join, within %lld hours:\n\n",
		      (long long)(part_number(data, "expires_in_ms") + 1800000) / 3600000);
	buffer_printf(render->text, "    fairlead join %s --token %s\n",
		      part_text(data, "address", "ADDRESS"), part_text(data, "token", "?"));
}

void render_routing_status(const struct render *render, const json_t *data)
{
	const json_t *prefixes = json_object_get(data, "prefixes");
	const char *why = part_text(data, "why", "");
	const char *node = part_text(data, "node", "?");
	if (json_array_size(prefixes)) {
		buffer_printf(render->text, "%s announces ", node);
		part_join(prefixes, render->text);
		buffer_printf(render->text, ", by table %lld\n",
			      (long long)part_number(data, "table"));
	} else {
		buffer_printf(render->text, "%s announces nothing\n", node);
	}
	if (*why)
		buffer_printf(render->text, "in the way: %s\n", why);
}

void render_routing_config(const struct render *render, const json_t *data)
{
	buffer_puts(render->text, part_text(data, "text", ""));
}

void render_store_recover(const struct render *render, const json_t *data)
{
	buffer_puts(render->text, part_text(data, "text", ""));
	if (part_true(data, "dry_run"))
		return;
	buffer_puts(render->text, "done; the daemon starts anew by it");
	if (part_number(data, "sequence"))
		buffer_printf(render->text, " (entry %lld)",
			      (long long)part_number(data, "sequence"));
	buffer_putc(render->text, '\n');
}

void render_store_resume(const struct render *render, const json_t *data)
{
	struct buffer *text = render->text;
	buffer_puts(text, "this voter takes orders again, without having heard ");
	part_join(json_object_get(data, "unheard"), text);
	buffer_printf(text, " (entry %lld)\n", (long long)part_number(data, "sequence"));
}

/* --- the ledger --- */

static void tell_apply(const json_t *what, struct buffer *words)
{
	const json_t *published = json_object_get(what, "published");
	const json_t *removed = json_object_get(what, "removed");
	for (size_t i = 0; i < json_array_size(published); i++) {
		const json_t *version = json_array_get(published, i);
		buffer_printf(words, "%s%s/%lld", i ? ", " : "publish ",
			      part_text(version, "service", "?"),
			      (long long)part_number(version, "version"));
	}
	if (json_array_size(removed)) {
		buffer_puts(words, words->length ? "; remove " : "remove ");
		part_join(removed, words);
	}
	if (!words->length)
		buffer_puts(words, "settings only");
}

static void tell_undo(const json_t *what, struct buffer *words)
{
	tell_apply(what, words);
	buffer_printf(words, "; undoes entry %lld", (long long)part_number(what, "undoes"));
}

static void tell_rollback(const json_t *what, struct buffer *words)
{
	json_int_t published = part_number(what, "published");
	buffer_printf(words, "%s: %lld → %lld", part_text(what, "service", "?"),
		      (long long)part_number(what, "from"), (long long)part_number(what, "to"));
	if (published)
		buffer_printf(words, ", published as %lld", (long long)published);
}

static void tell_transition(const json_t *transition, struct buffer *words)
{
	char share[PART_BYTES];
	const char *kind = part_text(transition, "kind", "?");
	long long version = (long long)part_number(transition, "version");
	if (strcmp(kind, "version") == 0)
		buffer_printf(words, "%s %lld", part_text(transition, "event", "?"), version);
	else if (strcmp(kind, "share") == 0)
		buffer_printf(
		    words, "%lld has %s", version,
		    part_share(json_number_value(json_object_get(transition, "share")), share));
	else if (strcmp(kind, "cut") == 0)
		buffer_printf(words, "cut %lld", version);
	else
		buffer_printf(words, "%s slot %lld of pool %lld", kind,
			      (long long)part_number(transition, "slot"),
			      (long long)part_number(transition, "pool"));
}

static void tell_service_transitions(const json_t *what, struct buffer *words)
{
	const json_t *transitions = json_object_get(what, "transitions");
	buffer_printf(words, "%s: ", part_text(what, "service", "?"));
	for (size_t i = 0; i < json_array_size(transitions); i++) {
		buffer_puts(words, i ? ", " : "");
		tell_transition(json_array_get(transitions, i), words);
	}
}

#define TOLD_SERVICES 4u /* of an entry; the others are a number */

/* One entry may move many services on. Those before it could name one only. */
static void tell_transitions(const json_t *what, struct buffer *words)
{
	const json_t *services = json_object_get(what, "services");
	size_t count = json_array_size(services);
	if (!services)
		tell_service_transitions(what, words);
	for (size_t i = 0; i < count && i < TOLD_SERVICES; i++) {
		buffer_puts(words, i ? "; " : "");
		tell_service_transitions(json_array_get(services, i), words);
	}
	if (count > TOLD_SERVICES)
		buffer_printf(words, "; and %zu more services", count - TOLD_SERVICES);
}

static void tell_service(const json_t *what, struct buffer *words)
{
	const json_t *version = json_object_get(what, "version");
	buffer_puts(words, part_text(what, "service", "?"));
	if (version)
		buffer_printf(words, "/%lld", (long long)json_integer_value(version));
}

static void tell_force(const json_t *what, struct buffer *words)
{
	tell_service(what, words);
	if (json_array_size(json_object_get(what, "waits"))) {
		buffer_puts(words, " no longer ");
		part_waits(what, words);
	}
}

static void tell_node_key(const json_t *what, struct buffer *words)
{
	buffer_printf(words, "the key of %s", part_text(what, "node", "?"));
}

static void tell_node(const json_t *what, struct buffer *words)
{
	screen_puts(words, part_text(what, "node", "?"));
}

static void tell_fenced(const json_t *what, struct buffer *words)
{
	const json_t *nodes = json_object_get(what, "nodes");
	for (size_t i = 0; i < json_array_size(nodes); i++) {
		buffer_puts(words, i ? ", " : "no landing takes tunnels any more of ");
		tell_node(json_array_get(nodes, i), words);
	}
}

static void tell_backend(const json_t *what, struct buffer *words)
{
	buffer_puts(words, part_text(what, "backend", "?"));
}

static void tell_resumption(const json_t *what, struct buffer *words)
{
	buffer_puts(words, "without having heard ");
	part_join(json_object_get(what, "unheard"), words);
}

static int append_chunk(const char *chunk, size_t length, void *context)
{
	buffer_append(context, chunk, length);
	return 0;
}

void render_entry_words(const char *kind, const json_t *what, struct buffer *words)
{
	static const struct {
		const char *kind;
		void (*tell)(const json_t *what, struct buffer *words);
	} tellers[] = {
	    {"apply", tell_apply},
	    {"rollback", tell_rollback},
	    {"undo", tell_undo},
	    {"transition", tell_transitions},
	    {"rollout.pause", tell_service},
	    {"rollout.resume", tell_service},
	    {"rollout.force", tell_force},
	    {"rollout.cut", tell_service},
	    {"node.key", tell_node_key},
	    {"member.remove", tell_node},
	    {"member.fenced", tell_fenced},
	    {"backend.forget", tell_backend},
	    {"backend.return", tell_backend},
	    {"store.resume", tell_resumption},
	};
	for (size_t i = 0; i < sizeof(tellers) / sizeof(tellers[0]); i++) {
		if (strcmp(tellers[i].kind, kind) == 0) {
			tellers[i].tell(what, words);
			return;
		}
	}
	if (what)
		(void)json_dump_callback(what, append_chunk, words, JSON_COMPACT);
}

void render_verify(const struct render *render, const json_t *data)
{
	json_int_t entries = part_number(data, "entries");
	buffer_printf(render->text,
		      "ledger: %lld %s, chain and signatures hold; the newest has the digest ",
		      (long long)entries, entries == 1 ? "entry" : "entries");
	screen_puts(render->text, part_text(data, "digest", "?"));
	buffer_putc(render->text, '\n');
}

/* --- events --- */

static void put_fields(const json_t *event, struct buffer *words)
{
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)event, key, value) {
		if (strcmp(key, "time") == 0 || strcmp(key, "event") == 0)
			continue;
		buffer_printf(words, "%s%s=", words->length ? " " : "", key);
		if (json_is_string(value))
			buffer_puts(words, json_string_value(value));
		else if (json_dump_callback(value, append_chunk, words,
					    JSON_COMPACT | JSON_ENCODE_ANY) < 0)
			buffer_puts(words, "?");
	}
}

/* "07:31:04 apply: publish web/2 (alice, entry 12: more capacity)" */
void render_event(const struct render *render, const json_t *event)
{
	char time[PART_BYTES];
	struct buffer words;
	const char *name = part_text(event, "event", "?");
	const char *clock = strchr(part_time(part_text(event, "time", "?"), time), ' ');
	const json_t *what = json_object_get(event, "what");
	buffer_init(&words, 0);
	if (json_is_object(what)) {
		render_entry_words(name, what, &words);
		buffer_printf(&words, " (%s, entry %lld", part_text(event, "who", "?"),
			      (long long)part_number(event, "sequence"));
		if (*part_text(event, "why", ""))
			buffer_printf(&words, ": %s", part_text(event, "why", ""));
		buffer_putc(&words, ')');
	} else {
		put_fields(event, &words);
	}
	screen_paint(render->text, PAINT_FAINT, render->color, clock ? clock + 1 : time);
	buffer_putc(render->text, ' ');
	screen_paint(render->text, PAINT_TITLE, render->color, name);
	buffer_puts(render->text, words.length ? ": " : "");
	screen_puts(render->text, words.data ? words.data : "");
	buffer_putc(render->text, '\n');
	must_succeed(words.status);
	buffer_done(&words);
}
