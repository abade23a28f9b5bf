/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: this node's page of them (docs/design/metrics.md), made from the image, the planes'
 * counters and what is known of the others, when it is asked for.
 *
 * One thread, the loop's.
 */
#ifndef FAIRLEAD_DAEMON_METRICS_METRICS_H
#define FAIRLEAD_DAEMON_METRICS_METRICS_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdint.h>

struct daemon;

/* Serve it at --metrics, from now on; does nothing when that is `none`, or it is served. A port
 * that is taken is an alarm, and tried again by the next call. */
void metrics_open(struct daemon *daemon, uint64_t now_ms);
void metrics_close(struct daemon *daemon);

/* Append the page to `text`, whose status says whether all of it fitted. */
void metrics_put(struct daemon *daemon, struct buffer *text);

#endif
