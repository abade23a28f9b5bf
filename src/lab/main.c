/* SPDX-License-Identifier: Apache-2.0 */
/* `fairlead-lab`, which `fairlead lab …` becomes, with the same words: nothing of a lab is in the
 * program that runs as a daemon. */
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "lab/lab.h"

int main(int argc, char **argv)
{
	struct invocation invocation;
	struct error err = {0};
	output_hold_standard_files();
	memory_end_without_json();
	int status = command_parse(argc, argv, &invocation, &err);
	if (status == 0 && (!invocation.command || invocation.command->place != COMMAND_LAB ||
			    invocation.help || invocation.version))
		status = error_set(&err, -FL_EUSAGE,
				   "fairlead-lab does only what `fairlead lab` asks it to; "
				   "`fairlead lab --help` says what that is");
	status = status < 0 ? output_error(&invocation, &err) : lab_main(&invocation);
	invocation_done(&invocation);
	return status;
}
