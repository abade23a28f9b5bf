/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Renders the life cycle's tables as docs/design/lifecycle.md: `--write FILE` writes the page,
 * `--check FILE` compares it with the file, fails when they differ, and says which in TAP, as every
 * test of the house does.
 */
#include "base/buffer.h"
#include "base/file.h"
#include "model/lifecycle.h"

#include <stdio.h>
#include <string.h>

struct state_line {
	const char *name, *meaning;
};

struct move_line {
	enum version_state from, to;
	enum version_event event;
	const char *guard;
};

struct answer_line {
	const char *name, *guard;
};

static const struct state_line STATES[] = {
#define X(id, name, meaning) {name, meaning},
    VERSION_STATES(X)
#undef X
};

static const struct move_line MOVES[] = {
#define X(from, to, event, guard) {VERSION_##from, VERSION_##to, VERSION_EVENT_##event, guard},
    VERSION_TRANSITIONS(X)
#undef X
};

static const struct answer_line ANSWERS[] = {
#define X(id, name, guard) {name, guard},
    TRANSITIONS(X)
#undef X
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void render(struct buffer *page)
{
	buffer_puts(page, "# The life of a version\n\n"
			  "Rendered from the tables in `src/model/lifecycle.h`, which are the "
			  "specification; a test compares them.\n"
			  "Change the tables, then run `ninja -C build/dev lifecycle-doc`.\n"
			  "[model.md](model.md) tells the story behind them.\n\n"
			  "## States\n\n| state | means |\n| --- | --- |\n");
	for (size_t i = 0; i < COUNT(STATES); i++)
		buffer_printf(page, "| %s | %s |\n", STATES[i].name, STATES[i].meaning);

	buffer_puts(page, "\n## Moves\n\nNo other move exists; the code checks each one against "
			  "this table.\n\n"
			  "| from | event | to | when |\n| --- | --- | --- | --- |\n");
	for (size_t i = 0; i < COUNT(MOVES); i++)
		buffer_printf(page, "| %s | %s | %s | %s |\n", version_state_name(MOVES[i].from),
			      version_event_name(MOVES[i].event), version_state_name(MOVES[i].to),
			      MOVES[i].guard);

	buffer_puts(page, "\n## Transitions\n\nWhat `lifecycle_next()` can ask for; each is one "
			  "change of the ledger.\n\n| transition | when |\n| --- | --- |\n");
	for (size_t i = 0; i < COUNT(ANSWERS); i++)
		buffer_printf(page, "| %s | %s |\n", ANSWERS[i].name, ANSWERS[i].guard);

	buffer_printf(page,
		      "\n## Times\n\n| name | value |\n| --- | --- |\n"
		      "| `CLOSING_SETTLE_MS` | %u ms |\n"
		      "| `CLOSING_LIMIT_MS` | %u ms, and %u report intervals |\n"
		      "| `CLOSING_RETRY_MS` | %u ms |\n",
		      CLOSING_SETTLE_MS, CLOSING_LIMIT_MS, CLOSING_LIMIT_REPORTS, CLOSING_RETRY_MS);
}

static int compare(const struct buffer *page, const char *path)
{
	struct buffer file;
	struct error err = {0};
	buffer_init(&file, 0);
	int result = file_read(path, &file, &err);
	if (result < 0)
		fprintf(stderr, "%s\n", err.text);
	else if (file.length != page->length || memcmp(file.data, page->data, page->length) != 0)
		result = -FL_ECORRUPT;
	buffer_done(&file);
	if (result < 0)
		fprintf(stderr,
			"%s is not what the tables in src/model/lifecycle.h say:\n"
			"run `ninja -C build/dev lifecycle-doc` and commit the result\n",
			path);
	return result;
}

static int check(const struct buffer *page, const char *path)
{
	int result = compare(page, path);
	printf("1..1\n%s 1 - the page says what the tables say\n", result ? "not ok" : "ok");
	return result;
}

int main(int argc, char **argv)
{
	struct buffer page;
	buffer_init(&page, 0);
	render(&page);
	int result = -FL_EUSAGE;
	if (page.status)
		result = page.status;
	else if (argc == 3 && !strcmp(argv[1], "--check"))
		result = check(&page, argv[2]);
	else if (argc == 3 && !strcmp(argv[1], "--write"))
		result = file_write_durably(argv[2], page.data, page.length, 0644, NULL);
	buffer_done(&page);
	if (result == -FL_EUSAGE)
		fprintf(stderr, "usage: render_lifecycle --write|--check FILE\n");
	return result ? 1 : 0;
}
