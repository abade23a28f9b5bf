/* SPDX-License-Identifier: Apache-2.0 */
/* Renders the life cycle's tables as docs/design/lifecycle.md. */
#include "model/lifecycle_wait.h"
#include "rendered_page.h"

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
	buffer_puts(page,
		    "# The life of a version\n\n"
		    "Rendered from the tables in `src/model/lifecycle.h` and `lifecycle_wait.h`, "
		    "which are the specification; a test compares them.\n"
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

	buffer_puts(page,
		    "\n## Waits\n\nWhat `lifecycle_waits()` finds in the way of a version's next "
		    "move; a move is due when there is nothing.\n`status`, `describe` and "
		    "`rollout status` tell the first that nobody's clock ends, otherwise the "
		    "last to end.\n\n| wait | the version waits until | ends by itself |\n"
		    "| --- | --- | --- |\n");
	for (unsigned i = 0; i < VERSION_WAIT_COUNT; i++)
		buffer_printf(page, "| %s | %s | %s |\n", version_wait_name((enum version_wait)i),
			      version_wait_sentence((enum version_wait)i),
			      i >= VERSION_WAIT_TIMED ? "yes" : "no");

	buffer_printf(page,
		      "\n## Times\n\n| name | value |\n| --- | --- |\n"
		      "| `CLOSING_SETTLE_MS` | %u ms |\n"
		      "| `CLOSING_LIMIT_MS` | %u ms, and %u report intervals |\n"
		      "| `CLOSING_RETRY_MS` | %u ms |\n",
		      CLOSING_SETTLE_MS, CLOSING_LIMIT_MS, CLOSING_LIMIT_REPORTS, CLOSING_RETRY_MS);
}

int main(int argc, char **argv)
{
	return rendered_page(argc, argv, render, "src/model/lifecycle.h", "lifecycle-doc");
}
