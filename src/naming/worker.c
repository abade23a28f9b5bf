/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of the name server: wait for events, hand them on, watch the time. */
#include "naming/worker.h"

#include "base/clock.h"

#include <sys/epoll.h>
#include <urcu/urcu-memb.h>

enum {
	EVENTS_AT_ONCE = 64,
	LAST_BATCHES = 64, /* how much of what is waiting at the end is still answered */
};

void count_outcome(struct counts *counts, enum naming_transport transport,
		   const struct naming_outcome *outcome)
{
	if (outcome->drop != NAMING_DROP_NONE) {
		count(&counts->drops[outcome->drop], 1);
		return;
	}
	count(&counts->answers[outcome->qtype][outcome->result][transport], 1);
	if (outcome->truncated)
		count(&counts->truncated, 1);
	if (outcome->counter_slot != NAMING_NO_SLOT)
		count(&counts->slots[outcome->counter_slot], 1);
}

int worker_watch(const struct worker *worker, struct source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};
	return epoll_ctl(worker->epoll, EPOLL_CTL_ADD, source->fd, &event) < 0 ? -errno : 0;
}

/* Returns false when the server stops. */
static bool handle(struct worker *worker, const struct epoll_event *event, uint64_t now_ms)
{
	struct source *source = event->data.ptr;
	switch (source->kind) {
	case SOURCE_STOP:
		return false;
	case SOURCE_UDP:
		udp_serve(worker, (const struct endpoint *)source);
		break;
	case SOURCE_TCP_LISTENER:
		tcp_accept(worker, (struct endpoint *)source, now_ms);
		break;
	case SOURCE_TCP_CONNECTION:
		tcp_serve(worker, source, event->events, now_ms);
		break;
	}
	return true;
}

static void answer_what_waits(struct worker *worker)
{
	for (size_t i = 0; i < worker->endpoint_count; i++) {
		const struct endpoint *endpoint = &worker->endpoints[i];
		if (endpoint->source.kind != SOURCE_UDP)
			continue;
		for (unsigned batch = 0; batch < LAST_BATCHES; batch++)
			if (!udp_serve(worker, endpoint))
				break;
	}
}

void *worker_run(void *argument)
{
	struct worker *worker = argument;
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
	answer_what_waits(worker);
	tcp_close_all(worker);
	urcu_memb_unregister_thread();
	return NULL;
}
