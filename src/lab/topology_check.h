/* SPDX-License-Identifier: Apache-2.0 */
/* The meaning of a topology: what its parts must not contradict in each other. */
#ifndef FAIRLEAD_LAB_TOPOLOGY_CHECK_H
#define FAIRLEAD_LAB_TOPOLOGY_CHECK_H

struct notes;
struct topology;
struct yaml_node;

/* Report every contradiction. `root` is the tree that `topology` was read from. */
void topology_check(struct notes *notes, const struct yaml_node *root,
		    const struct topology *topology);

#endif
