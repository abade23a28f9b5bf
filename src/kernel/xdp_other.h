/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XDP program of somebody else that is in the way: whose it is, and what takes it away. `ip
 * link … xdp off` takes no program away that a BPF link holds; that ends with the link's last
 * holder.
 */
#ifndef FAIRLEAD_KERNEL_XDP_OTHER_H
#define FAIRLEAD_KERNEL_XDP_OTHER_H

#include "base/error.h"

#include <stdint.h>

/* `program` is its id. Returns -FL_ECONFLICT and sets the sentence. Reads all of /proc. */
int xdp_explain_other(uint32_t ifindex, const char *interface, uint32_t program, struct error *err);

#endif
