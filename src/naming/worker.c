/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of the name server. The one of TCP waits for events, hands them on and watches the
 * time; one of UDP waits for queries.
 */
#include "naming/worker.h"

#include "base/clock.h"

#include <sys/epoll.h>
#include <urcu/urcu-memb.h>

enum {
	EVENTS_AT_ONCE = 64,
	LAST_BATCHES = 64, /* how much of what is waiting at the end is still answered */
};

/* ---- UDP ---- */

void udp_wake(const struct udp_worker *worker)
{
	/* Without a peer this is an error, but it wakes who waits and keeps others from waiting: an
	 * empty datagram from nobody seems to arrive, and is dropped as one that is too short. */
	shutdown(worker->fd, SHUT_RD);
}

void *udp_run(void *argument)
{
	struct udp_worker *worker = argument;
	urcu_memb_register_thread();
	while (!in_force_stops(worker->in_force))
		udp_serve(worker, MSG_WAITFORONE);
	for (unsigned batch = 0; batch < LAST_BATCHES; batch++)
		if (!udp_serve(worker, MSG_DONTWAIT))
			break;
	urcu_memb_unregister_thread();
	return NULL;
}

/* ---- TCP ---- */

/* Returns false when the server stops. */
static bool handle(struct tcp_worker *worker, const struct epoll_event *event, uint64_t now_ms)
{
	struct source *source = event->data.ptr;
	switch (source->kind) {
	case SOURCE_STOP:
		return false;
	case SOURCE_LISTENER:
		tcp_accept(worker, (struct listener *)source, now_ms);
		break;
	case SOURCE_CONNECTION:
		tcp_serve(worker, source, event->events, now_ms);
		break;
	}
	return true;
}

void *tcp_run(void *argument)
{
	struct tcp_worker *worker = argument;
	urcu_memb_register_thread();
	for (bool running = true; running;) {
		struct epoll_event events[EVENTS_AT_ONCE];
		uint64_t now_ms = clock_now_ms(&clock_system);
		int ready = epoll_wait(worker->epoll, events, EVENTS_AT_ONCE,
				       tcp_timeout_ms(worker, now_ms));
		now_ms = clock_now_ms(&clock_system);
		for (int i = 0; i < ready; i++)
			running &= handle(worker, &events[i], now_ms);
		tcp_tick(worker, now_ms);
	}
	tcp_close_all(worker);
	urcu_memb_unregister_thread();
	return NULL;
}
