/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a machine that is an edge calls services of its own pools: what the edge's plane makes
 * (dataplane/calls.h), and landing, which knows nothing of it, leaves alone and lets in.
 */
#ifndef FAIRLEAD_KERNEL_OWN_CALLS_H
#define FAIRLEAD_KERNEL_OWN_CALLS_H

#define OWN_CALLS_NEAR "fairlead-call" /* where the machine sends its calls */
#define OWN_CALLS_FAR "fairlead-edge" /* where they come out, and the edge's program is */
#define OWN_CALLS_PROTOCOL 103 /* of its rules and routes, in rtnetlink's number space; 'g' */
#define OWN_CALLS_PREF 49 /* of its rules: before landing's, which lead such calls elsewhere */
#define OWN_CALLS_TABLE 26220u /* of its routes: "fl" */

#endif
