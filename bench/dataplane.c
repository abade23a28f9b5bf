/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The measuring process of `./dev bench dataplane`: bench-dataplane [SEED]. The seed, a decimal
 * number, is what the versions' keys are drawn from; without one it is 0. It takes commands on
 * stdin, one a line, and answers each by one line of JSON. `--against` asks the processes of
 * earlier releases by the same lines:
 *
 *   time FAMILY KIND PROGRAM FLOWS VERSIONS     {"ns": 61.25}
 *   memory                                      see dataplane_memory.h
 *
 * FAMILY is v4 or v6, KIND syn, established or udp, PROGRAM entry, move, floor or edge. What it
 * cannot do ends it with a sentence on stderr.
 */
#include "bench/dataplane_memory.h"
#include "bench/dataplane_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WARM_UP (1u << 17) /* packets before those that are timed: they bring the rings close */

static int find(const char *word, const char *const *words, size_t count, size_t *ret_index)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(word, words[i]) == 0) {
			*ret_index = i;
			return 0;
		}
	}
	return -FL_EUSAGE;
}

static int parse_case(const char *line, struct rig_case *ret_case)
{
	static const char *const families[] = {"v4", "v6"};
	static const char *const kinds[] = {"syn", "established", "udp"};
	static const char *const programs[] = {"entry", "move", "floor", "edge"};
	char family[16];
	char kind[16];
	char program[16];
	size_t family_index;
	size_t kind_index;
	size_t program_index;
	struct rig_case parsed;

	/* NOLINTNEXTLINE(cert-err34-c): the numbers are checked below */
	if (sscanf(line, "time %15s %15s %15s %u %u", family, kind, program, &parsed.flows,
		   &parsed.versions) != 5 ||
	    find(family, families, 2, &family_index) < 0 || find(kind, kinds, 3, &kind_index) < 0 ||
	    find(program, programs, 4, &program_index) < 0 || parsed.flows == 0 ||
	    parsed.flows > STAMP_FLOWS || (parsed.flows & (parsed.flows - 1)) != 0 ||
	    parsed.versions == 0 || parsed.versions > RIG_VERSIONS)
		return -FL_EUSAGE;
	parsed.family = family_index == 0 ? IP_V4 : IP_V6;
	parsed.kind = (enum rig_kind)kind_index;
	parsed.program = (enum rig_program)program_index;
	*ret_case = parsed;
	return 0;
}

static int answer_time(struct rig *rig, const char *line, struct error *err)
{
	struct rig_case rig_case;
	double ns = 0;
	if (parse_case(line, &rig_case) < 0)
		return error_set(err, -FL_EUSAGE, "not understood: %s", line);
	int result = rig_time(rig, &rig_case, WARM_UP, &ns, err);
	if (result == 0)
		result = rig_time(rig, &rig_case, STAMP_FLOWS, &ns, err);
	if (result == 0)
		printf("{\"ns\": %.3f}\n", ns);
	return result;
}

static int answer(struct rig *rig, const char *line, struct error *err)
{
	int result;
	if (strcmp(line, "memory\n") == 0)
		result = memory_print(rig, stdout, err);
	else
		result = answer_time(rig, line, err);
	(void)fflush(stdout);
	return result;
}

int main(int count, char **arguments)
{
	struct rig *rig = NULL;
	struct error err = {0};
	char line[128];
	uint64_t seed = count > 1 ? strtoull(arguments[1], NULL, 10) : 0;
	int result = rig_open(seed, &rig, &err);
	while (result == 0 && fgets(line, sizeof(line), stdin))
		result = answer(rig, line, &err);
	rig_close(rig);
	if (result < 0) {
		(void)fprintf(stderr, "%s\n", err.text);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
