/* SPDX-License-Identifier: Apache-2.0 */
#include "routing/bird.h"

static unsigned number_of(uint8_t family)
{
	return family == IP_V4 ? 4 : 6;
}

static size_t count_prefixes(const struct routing_bird *bird, uint8_t family)
{
	size_t count = 0;
	for (size_t i = 0; i < bird->prefix_count; i++)
		count += bird->prefixes[i].address.family == family;
	return count;
}

static void write_head(const struct routing_bird *bird, struct buffer *text)
{
	buffer_printf(
	    text,
	    "# BIRD 2: announces the addresses that node %s takes traffic for.\n"
	    "# `fairlead routing config bird` wrote it. Save it beside bird.conf, and add there:\n"
	    "#     include \"fairlead.conf\";\n"
	    "# Besides, bird.conf needs a `router id`, and `protocol device {}` as Debian's has.\n"
	    "#\n"
	    "# BIRD has to read this once, and again only when the fabric gets other pools. "
	    "Whether\n"
	    "# an address is announced is not said here: fairlead puts a route into the kernel's\n"
	    "# table %u while this node may take traffic for it, and takes it out when it may "
	    "not.\n"
	    "# No rule looks that table up, and nothing here goes into the kernel's other "
	    "tables.\n\n",
	    bird->node, bird->table);
}

/* A set in which a prefix stands for itself alone. */
static void write_prefixes(const struct routing_bird *bird, uint8_t family, struct buffer *text)
{
	char prefix[IP_TEXT_BYTES];
	const char *before = "";
	buffer_printf(text, "define FAIRLEAD%u = [ ", number_of(family));
	for (size_t i = 0; i < bird->prefix_count; i++) {
		if (bird->prefixes[i].address.family != family)
			continue;
		buffer_printf(text, "%s%s", before, ip_prefix_format(&bird->prefixes[i], prefix));
		before = ", ";
	}
	buffer_puts(text, " ];\n");
}

static void write_kernel(const struct routing_bird *bird, uint8_t family, struct buffer *text)
{
	const unsigned number = number_of(family);
	buffer_printf(text,
		      "ipv%u table fairlead%u;\n"
		      "protocol kernel fairlead_kernel%u {\n"
		      "\tkernel table %u;\n"
		      "\tlearn;                  # the routes there are fairlead's, not BIRD's\n"
		      "\tipv%u {\n"
		      "\t\ttable fairlead%u;\n"
		      "\t\timport where net ~ FAIRLEAD%u;\n"
		      "\t\texport none;\n"
		      "\t};\n"
		      "}\n\n",
		      number, number, number, bird->table, number, number, number);
}

static void write_bfd(struct buffer *text)
{
	buffer_puts(
	    text,
	    "# A machine that dies without a word is missed after 300 ms. If bird.conf has a\n"
	    "# `protocol bfd` of its own, take the interval over there and leave this out.\n"
	    "protocol bfd fairlead_bfd {\n"
	    "\tinterface \"*\" { interval 100 ms; multiplier 3; };\n"
	    "}\n\n");
}

static void write_template(const struct routing_bird *bird, struct buffer *text)
{
	buffer_printf(text,
		      "template bgp fairlead_router {\n"
		      "\tlocal as %u;\n"
		      "\tbfd on;\n"
		      "\tgraceful restart off;   # it would keep a dead machine's routes\n"
		      "\tconnect delay time 1;   # and a machine that is back is not kept waiting\n"
		      "\tconnect retry time 5;\n"
		      "\terror wait time 1, 10;\n"
		      "}\n\n",
		      bird->local_as);
}

static void write_neighbour(const struct routing_bird *bird, size_t place, struct buffer *text)
{
	char address[IP_TEXT_BYTES];
	const struct ip_address *neighbour = &bird->neighbours[place];
	const unsigned number = number_of(neighbour->family);
	if (!count_prefixes(bird, neighbour->family)) {
		buffer_printf(text, "# There is no pool of IPv%u for neighbour %s to hear of.\n\n",
			      number, ip_address_format(neighbour, address));
		return;
	}
	buffer_printf(text,
		      "protocol bgp fairlead_router%zu from fairlead_router {\n"
		      "\tneighbor %s as %u;\n"
		      "\tipv%u {\n"
		      "\t\ttable fairlead%u;\n"
		      "\t\timport none;\n"
		      "\t\texport where net ~ FAIRLEAD%u;\n"
		      "\t};\n"
		      "}\n\n",
		      place + 1, ip_address_format(neighbour, address), bird->neighbour_as, number,
		      number, number);
}

/* What is left to the reader, with every line a comment. */
static void write_example(struct buffer *text)
{
	buffer_puts(
	    text, "# Then a session with each router, one for each family that it is to hear of:\n"
		  "# `fairlead routing config bird --neighbor ADDRESS --as N --local-as N` writes\n"
		  "# them (--neighbor may be repeated), or by hand:\n"
		  "#\n"
		  "# protocol bgp fairlead_router1 {\n"
		  "#\tlocal as YOURS;\n"
		  "#\tneighbor ADDRESS as ITS;\n"
		  "#\tbfd on;\n"
		  "#\tgraceful restart off;\n"
		  "#\tconnect delay time 1;\n"
		  "#\tconnect retry time 5;\n"
		  "#\terror wait time 1, 10;\n"
		  "#\tipv4 { table fairlead4; import none; export where net ~ FAIRLEAD4; };\n"
		  "# }\n");
}

static void write_unheard(const struct routing_bird *bird, uint8_t family, struct buffer *text)
{
	for (size_t i = 0; i < bird->neighbour_count; i++) {
		if (bird->neighbours[i].family == family)
			return;
	}
	if (count_prefixes(bird, family))
		buffer_printf(
		    text,
		    "# No neighbour has an IPv%u address: the prefixes of that family are "
		    "announced to nobody.\n",
		    number_of(family));
}

void routing_bird_write(const struct routing_bird *bird, struct buffer *text)
{
	static const uint8_t families[] = {IP_V4, IP_V6};
	write_head(bird, text);
	for (size_t i = 0; i < 2; i++) {
		if (!count_prefixes(bird, families[i]))
			continue;
		write_prefixes(bird, families[i], text);
		write_kernel(bird, families[i], text);
	}
	write_bfd(text);
	if (!bird->neighbour_count) {
		write_example(text);
		return;
	}
	write_template(bird, text);
	for (size_t i = 0; i < bird->neighbour_count; i++)
		write_neighbour(bird, i, text);
	for (size_t i = 0; i < 2; i++)
		write_unheard(bird, families[i], text);
}
