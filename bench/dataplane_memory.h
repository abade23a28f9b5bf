/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of the edge's maps, as the kernel accounts for it (`memlock` in /proc/self/fdinfo).
 *
 * Per flow: the sum over all maps before and after STAMP_FLOWS flows of each family.
 *
 * Per version: the records that differ between one published version and RIG_VERSIONS of them, each
 * with an address in both families, times the size of a record; and the counters of every new
 * descriptor, on every CPU. That is what a version takes of the maps; `allocated` is by how much
 * their memory grew for it.
 */
#ifndef FAIRLEAD_BENCH_DATAPLANE_MEMORY_H
#define FAIRLEAD_BENCH_DATAPLANE_MEMORY_H

#include "bench/dataplane_rig.h"

#include <stdio.h>

/* Write all that as one line of JSON. Leaves the rig as it was. */
must_check int memory_print(struct rig *rig, FILE *stream, struct error *err);

#endif
