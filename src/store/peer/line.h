/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Line: what joins a store's client and its server. One ordered stream of whole frames in each
 * direction, which may break at any time; then what is under way in it is lost. Who owns the line
 * (a TLS session, a simulated wire) fills in these calls, and tells either end of frames, and of
 * the line's coming up and going down, by client.h and server.h.
 */
#ifndef FAIRLEAD_STORE_PEER_LINE_H
#define FAIRLEAD_STORE_PEER_LINE_H

#include <stdbool.h>
#include <stddef.h>

struct peer_line {
	/* Queue a frame, which is copied. False: the line is down, or has no memory left, and its
	 * going down will be told. Never calls back. */
	bool (*send)(void *context, const void *frame, size_t length);
	/* Bytes that were queued and that the other end has not taken yet. */
	size_t (*queued)(void *context);
	/* Break the line, because what came over it makes no sense. Its going down is told later,
	 * from outside this call. */
	void (*cut)(void *context);
	void *context; /* borrowed for as long as the line is up */
};

#endif
