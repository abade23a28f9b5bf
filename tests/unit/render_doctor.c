/* SPDX-License-Identifier: Apache-2.0 */
/* Renders the table of findings as docs/design/doctor.md. */
#include "doctor/findings.h"
#include "rendered_page.h"

/* A table's cell ends at a bar. */
static void put_command(struct buffer *page, const char *command)
{
	for (; *command; command++)
		buffer_puts(page, *command == '|' ? "\\|" : (char[]){*command, '\0'});
}

static void render(struct buffer *page)
{
	char mend[1024];
	static const struct {
		const char *name, *meaning;
	} severities[] = {
#define X(id, name, meaning) {name, meaning},
	    FINDING_SEVERITIES(X)
#undef X
	};
	buffer_puts(
	    page, "# The doctor\n\n"
		  "Rendered from the table in `src/doctor/findings.h`; a test compares them.\n"
		  "Change the table, then run `ninja -C build/dev doctor-doc`.\n\n"
		  "`fairlead doctor` looks over the machine that it is typed on, in its own "
		  "process: it changes nothing, holds no\ndaemon up, and works, with less, while "
		  "none runs. What the daemon knows it is told over the local API; what the\n"
		  "voter knows it asks by `status`. Each finding has a code that keeps its "
		  "meaning, a sentence, and the command that\nmends it. Every alarm of this node "
		  "that stands is a finding too, by the [alarm](alarms.md)'s own code: `error`,\n"
		  "or `warning` if it was set back already. What could not be looked at is told "
		  "under *not known*, with the reason.\n\n"
		  "The firewall's rules are read by `nft -j list ruleset` and walked with the "
		  "packets that must come in. A match that\nasks for what is not known of such a "
		  "packet (a mark, who sends it), and rules of iptables' own modules, are neither\n"
		  "true nor false; where the outcome hangs on one, it is not known. The ways to "
		  "backends are tried by echo requests\nwith DF set, of the size that the "
		  "interface promises.\n\n"
		  "`doctor return-path` is another thing: [decision "
		  "0033](../adr/0033-return-path.md).\n\n"
		  "| severity | |\n| --- | --- |\n");
	for (size_t i = 0; i < sizeof(severities) / sizeof(severities[0]); i++)
		buffer_printf(page, "| %s | %s |\n", severities[i].name, severities[i].meaning);
	buffer_puts(page, "\n| code | severity | what is told | what mends it |\n"
			  "| --- | --- | --- | --- |\n");
	for (size_t i = 0; i < FINDING_CODES; i++) {
		const struct finding_row *row = &finding_rows[i];
		buffer_printf(page, "| `%s` | %s | ", row->code,
			      finding_severity_name(row->severity));
		rendered_sentence(page, row->sentence);
		buffer_puts(page, " | `");
		finding_mend((enum finding_code)i, "NAME", "VALUE", mend, sizeof(mend));
		put_command(page, mend);
		buffer_puts(page, "` |\n");
	}
}

int main(int argc, char **argv)
{
	return rendered_page(argc, argv, render, "src/doctor/findings.h", "doctor-doc");
}
