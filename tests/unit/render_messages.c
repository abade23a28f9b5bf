/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Renders the table of src/wire/peer.h as docs/design/messages.md, and it and that of channel.h as
 * seeds for the fuzzer, one file per message in tests/fuzz/corpus/peer and …/channel: `--write PAGE
 * PEER CHANNEL` writes them, `--check PAGE PEER CHANNEL` compares, fails when they differ, and says
 * which in TAP, as every test of the house does.
 */
#include "../wire_random.h"
#include "rendered_page.h"
#include "wire/channel.h"
#include "wire/peer.h"

#include <stdio.h>
#include <string.h>

#define SEED 1u

static void render_fields(struct buffer *page, const struct wire_shape *shape)
{
	buffer_puts(page, "| field | kind | least | most | level | means |\n"
			  "| --- | --- | --- | --- | --- | --- |\n");
	for (size_t i = 0; i < shape->field_count; i++) {
		const struct wire_field *field = &shape->fields[i];
		buffer_printf(page, "| `%s` | %s%s%s ", field->name, wire_kind_name(field->kind),
			      field->row ? " of " : "", field->row ? field->row->name : "");
		if (field->kind == WIRE_ADDRESS && field->least)
			buffer_puts(page, "| 1 | ");
		else if (field->kind == WIRE_FLAG || field->kind == WIRE_DIGEST ||
			 field->kind == WIRE_ADDRESS || field->kind == WIRE_PREFIX)
			buffer_puts(page, "| | ");
		else
			buffer_printf(page, "| %llu | %llu ", (unsigned long long)field->least,
				      (unsigned long long)field->most);
		buffer_printf(page, "| %u | %s |\n", field->level, field->meaning);
	}
}

static void render(struct buffer *page)
{
	static const struct {
		const char *name, *meaning;
	} kinds[] = {
#define X(id, name, meaning) {name, meaning},
	    WIRE_KINDS(X)
#undef X
	};
	static const struct wire_shape *rows[64];
	size_t row_count = 0;
	buffer_puts(page,
		    "# Messages\n\n"
		    "Rendered from the table in `src/wire/peer.h`, which is the specification; a "
		    "test compares them.\n"
		    "Change the table, then run `ninja -C build/dev messages-doc`.\n"
		    "`src/wire/codec.h` says how a message becomes bytes, and what a receiver does "
		    "with one of another level.\n\n"
		    "## Kinds of fields\n\n| kind | its bytes; what least and most bound |\n"
		    "| --- | --- |\n");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		buffer_printf(page, "| %s | %s |\n", kinds[i].name, kinds[i].meaning);
	buffer_puts(page, "\n## Messages\n");
	for (size_t i = 0; i < peer_table.count; i++) {
		const struct wire_message *message = &peer_table.messages[i];
		buffer_printf(page, "\n### %u: %s\n\n%s Level %u, at most %zu bytes.\n\n",
			      message->number, message->shape.name, message->shape.meaning,
			      message->level, message->most);
		render_fields(page, &message->shape);
		for (size_t f = 0; f < message->shape.field_count; f++) {
			const struct wire_shape *row = message->shape.fields[f].row;
			size_t at = 0;
			while (at < row_count && rows[at] != row)
				at++;
			if (row && at == row_count && row_count < sizeof(rows) / sizeof(*rows))
				rows[row_count++] = row;
		}
	}
	buffer_puts(page, "\n## Rows of lists\n");
	for (size_t i = 0; i < row_count; i++) {
		buffer_printf(page, "\n### %s: %s\n\n", rows[i]->name, rows[i]->meaning);
		render_fields(page, rows[i]);
	}
}

static int put(const struct buffer *bytes, const char *path, bool checks)
{
	return rendered_file(bytes, path, checks, "src/wire/peer.h", "messages-doc");
}

static int put_seed(const struct wire_table *table, const struct wire_message *row,
		    const char *folder, bool checks)
{
	union {
		struct peer_message peer;
		struct channel_message channel;
	} message = {0};
	void *object =
	    table == &peer_table ? (void *)&message.peer.hello : (void *)&message.channel.identity;
	struct random random;
	struct arena arena;
	struct buffer bytes;
	char path[4096];
	arena_init(&arena, 0);
	buffer_init(&bytes, 0);
	random_init_seeded(&random, SEED + row->number);
	wire_random_fill(&random, &row->shape, 3, 12, &arena, object);
	int result = wire_encode(table, row->number, object, &bytes, NULL);
	snprintf(path, sizeof(path), "%s/seed-%s", folder, row->shape.name);
	if (result == 0)
		result = put(&bytes, path, checks);
	buffer_done(&bytes);
	arena_done(&arena);
	return result;
}

static int put_seeds(const struct wire_table *table, const char *folder, bool checks)
{
	int result = 0;
	for (size_t i = 0; i < table->count; i++) {
		int one = put_seed(table, &table->messages[i], folder, checks);
		result = result ? result : one;
	}
	return result;
}

int main(int argc, char **argv)
{
	bool checks = argc == 5 && strcmp(argv[1], "--check") == 0;
	if (argc != 5 || (!checks && strcmp(argv[1], "--write") != 0)) {
		fprintf(stderr, "usage: render_messages --write|--check PAGE PEER CHANNEL\n");
		return 1;
	}
	struct buffer page;
	buffer_init(&page, 0);
	render(&page);
	int result = put(&page, argv[2], checks);
	buffer_done(&page);
	if (checks)
		printf("1..2\n%s 1 - the page says what the table says\n",
		       result ? "not ok" : "ok");
	int seeds = put_seeds(&peer_table, argv[3], checks);
	int channel_seeds = put_seeds(&channel_table, argv[4], checks);
	seeds = seeds ? seeds : channel_seeds;
	if (checks)
		printf("%s 2 - the fuzzer's seeds are of the table\n", seeds ? "not ok" : "ok");
	return result || seeds ? 1 : 0;
}
