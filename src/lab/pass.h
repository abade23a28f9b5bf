/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An XDP program that passes everything. Frames that an XDP program sends back out of a veth end
 * (XDP_TX) arrive only if the other end has an XDP program too; this is one for ends that have
 * none of their own.
 */
#ifndef FAIRLEAD_LAB_PASS_H
#define FAIRLEAD_LAB_PASS_H

#include "base/error.h"

/* Attach it to the interface, in the thread's network, for the life of `ret_fd`. */
must_check int pass_attach(const char *interface, int *ret_fd);

#endif
