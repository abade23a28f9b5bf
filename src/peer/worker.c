/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/worker.h"

#include "base/memory.h"
#include "base/text.h"
#include "peer/confine.h"
#include "peer/exchange.h"
#include "peer/listener.h"

#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FEWEST_FILES 64u

struct worker {
	uv_loop_t loop;
	struct peer_pipe pipe;
	uv_tcp_t listener;
	uv_timer_t timer;
	bool listens; /* it was given a socket */
	bool accepts; /* since it was told who it is */
	struct random random;
	struct arena names; /* what greetings point to, for as long as the process lives */
	struct peer_exchange exchange;
};

static void on_newcomer(uv_stream_t *listener, int status)
{
	struct worker *worker = listener->data;
	if (status == 0)
		peer_exchange_newcomer(&worker->exchange, listener);
}

static void on_tick(uv_timer_t *timer)
{
	peer_exchange_tick(&((struct worker *)timer->data)->exchange);
}

/* Why it cannot go on; the parent sees that it ended. */
__attribute__((noreturn)) static void give_up(const char *why)
{
	fprintf(stderr, "fairlead: the channel's process ends: %s\n", why);
	_exit(1);
}

/* Before it knows who it is, whoever connects waits in the kernel's queue. */
static void accept_from_now_on(struct worker *worker)
{
	if (!worker->listens || worker->accepts)
		return;
	worker->accepts = true;
	int result = uv_listen((uv_stream_t *)&worker->listener, PEER_LISTEN_BACKLOG, on_newcomer);
	if (result < 0)
		give_up(uv_strerror(result));
}

static void take_identity(struct worker *worker, const struct channel_identity *identity)
{
	struct peer_exchange *exchange = &worker->exchange;
	struct evp_pkey_st *pair;
	struct peer_side *side;
	struct error err = {0};
	must_succeed(key_pair_from(identity->key.data, &pair));
	key_pair_public(pair, exchange->own_key);
	if (peer_side_of(pair, identity, &worker->random, peer_now_read().wall_ms / 1000, &side,
			 &err) < 0)
		give_up(err.text);
	key_pair_free(pair);
	peer_side_unref(exchange->side);
	exchange->side = side;
	exchange->is_member = identity->authorities.count > 0;
	/* Sessions that go on have the present one. */
	struct peer_greeting *greeting = must_have(arena_alloc(&worker->names, sizeof(*greeting)));
	greeting->node = must_have(arena_strdup(&worker->names, identity->node));
	greeting->boot_id = must_have(arena_strdup(&worker->names, identity->boot_id));
	greeting->instance = must_have(arena_strdup(&worker->names, identity->instance));
	exchange->greeting = greeting;
	peer_exchange_side_changed(exchange);
	accept_from_now_on(worker);
}

static void on_message(struct peer_pipe *pipe, const struct channel_message *message)
{
	struct worker *worker = pipe->context;
	switch (message->number) {
	case CHANNEL_IDENTITY:
		take_identity(worker, &message->identity);
		break;
	case CHANNEL_MEMBERS:
		peer_exchange_members(&worker->exchange, &message->members);
		break;
	case CHANNEL_CONNECT:
		peer_exchange_connect(&worker->exchange, &message->connect);
		break;
	case CHANNEL_SEND:
		peer_exchange_send(&worker->exchange, &message->send);
		break;
	case CHANNEL_PART:
		peer_exchange_part(&worker->exchange, &message->part);
		break;
	case CHANNEL_READY:
	case CHANNEL_UP:
	case CHANNEL_FRAME:
	case CHANNEL_TAKEN:
	case CHANNEL_DOWN:
	case CHANNEL_JOIN:
	case CHANNEL_TURNED_AWAY:
	case CHANNEL_COUNTERS:
		give_up("its parent says what makes no sense");
	}
}

static void on_sent(struct peer_pipe *pipe)
{
	peer_exchange_sent(&((struct worker *)pipe->context)->exchange);
}

/* The parent is gone, or wants it to be: nobody needs what it has. */
static void on_pipe_end(struct peer_pipe *pipe, const char *why)
{
	(void)pipe;
	if (strcmp(why, uv_strerror(UV_EOF)) != 0)
		give_up(why);
	_exit(0);
}

static void begin(struct worker *worker, const char *user, unsigned files)
{
	struct error err = {0};
	const struct peer_confinement confinement = {
	    .user = user,
	    .files = files,
	    .kept_fd = worker->listens ? PEER_WORKER_LISTEN_FD : PEER_WORKER_PIPE_FD};
	int parent = getppid();
	/* Its parent ends it, and wants to say goodbye to its peers before. */
	static const int ignored[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGPIPE};
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_IGN);
	/* What an operator sets for other programs' TLS does not change this one's. */
	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS, NULL) !=
	    1)
		memory_end();
	if (peer_confine(&confinement, parent, &err) < 0)
		give_up(err.text);

	random_init_system(&worker->random);
	arena_init(&worker->names, 0);
	int result = uv_loop_init(&worker->loop);
	if (result < 0)
		give_up(uv_strerror(result));
	worker->exchange.loop = &worker->loop;
	worker->exchange.pipe = &worker->pipe;
	worker->exchange.files = files;
	worker->exchange.next_number = 1;
	peer_limits_init(&worker->exchange.limits, &worker->random);
	uv_timer_init(&worker->loop, &worker->timer);
	worker->timer.data = worker;
	uv_timer_start(&worker->timer, on_tick, PEER_TICK_MS, PEER_TICK_MS);
	peer_pipe_init(&worker->pipe, &worker->loop);
	worker->pipe.on_message = on_message;
	worker->pipe.on_sent = on_sent;
	worker->pipe.on_end = on_pipe_end;
	worker->pipe.context = worker;
	result = uv_pipe_open(&worker->pipe.handle, PEER_WORKER_PIPE_FD);
	if (result == 0 && worker->listens) {
		uv_tcp_init(&worker->loop, &worker->listener);
		worker->listener.data = worker;
		result = uv_tcp_open(&worker->listener, PEER_WORKER_LISTEN_FD);
	}
	if (result < 0)
		give_up(uv_strerror(result));
	peer_pipe_start(&worker->pipe);
	peer_pipe_send(&worker->pipe,
		       &(struct channel_message){.number = CHANNEL_READY,
						 .ready = {.listens = worker->listens}});
}

int peer_worker_main(int argc, char **argv)
{
	uint32_t files;
	if (argc != 5 || text_parse_number(argv[3], UINT16_MAX, &files) || files < FEWEST_FILES)
		return 2;
	struct worker *worker = must_alloc(1, sizeof(*worker));
	worker->listens = strcmp(argv[4], "listen") == 0;
	begin(worker, argv[2], files);
	uv_run(&worker->loop, UV_RUN_DEFAULT);
	give_up("there is nothing left to do");
}
