/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that publishes the fixture's state on the pins of its argument, attaches, and ends.
 * Built once for each layout of the maps, it stands for a daemon of this and of another release.
 */
#include "edge_fixture.h"

#include <stdio.h>

int main(int count, char **arguments)
{
	struct fixture fixture = {.now_ms = 1};
	struct edge_status status;
	if (count != 2)
		return 2;
	snprintf(fixture.pins, sizeof(fixture.pins), "%s", arguments[1]);
	fixture_start(&fixture);
	if (edge_status(fixture.edge, &status) < 0)
		return 1;
	fixture_close(&fixture);
	return 0;
}
