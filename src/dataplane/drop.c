/* SPDX-License-Identifier: Apache-2.0 */
#include "abi/drop.h"
#include "dataplane/edge.h"

struct drop_words {
	const char *label, *text;
};

static const struct drop_words words[DROP_REASONS] = {
#define X(name, number, reason_label, reason_text)                                                 \
	[number] = {.label = (reason_label), .text = (reason_text)},
    EDGE_DROPS(X) LANDING_DROPS(X)
#undef X
};

const char *drop_label(unsigned reason)
{
	return reason < DROP_REASONS ? words[reason].label : NULL;
}

const char *drop_text(unsigned reason)
{
	return reason < DROP_REASONS ? words[reason].text : NULL;
}
