/* SPDX-License-Identifier: Apache-2.0 */
/* The edge's program and maps as bpftool wraps them, for this build's layout. */
#ifndef FAIRLEAD_DATAPLANE_SKELETON_H
#define FAIRLEAD_DATAPLANE_SKELETON_H

/* bpftool's code is not written to our warnings. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Woverlength-strings"
#ifdef FAIRLEAD_LAYOUT_VARIANT
#include "edge_next.skel.h"
#else
#include "edge.skel.h"
#endif
#pragma GCC diagnostic pop

#endif
