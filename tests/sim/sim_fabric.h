/* SPDX-License-Identifier: Apache-2.0 */
/* What one process of the fabric's simulator has once, for all seeds. */
#ifndef FAIRLEAD_TESTS_SIM_FABRIC_H
#define FAIRLEAD_TESTS_SIM_FABRIC_H

/* Holds a state folder for each node: names on simulated disks, and the places of their locks. */
extern char sim_folder[64];

#endif
