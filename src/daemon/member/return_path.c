/* SPDX-License-Identifier: Apache-2.0 */
/* A trial is what one machine does; a round is one call, and its trials at all backends. */
#include "daemon/member/return_path.h"

#include "base/memory.h"
#include "base/sockaddr.h"
#include "daemon/member/peers_internal.h"

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SENDS 3u /* of the SYN, as some of any packets are lost */
#define SEND_MS 500u
#define LISTEN_MS 2500u /* after the first */
#define ROUND_MS 4000u /* until those that said nothing are not waited for */
#define TRIALS_MAX 8u /* at once, of one node */
#define DEFAULT_PORT 443

/* --- a trial -----------------------------------------------------------------------------------
 */

struct trial {
	struct return_paths *paths;
	struct trial *next;
	struct peer_path_try order;
	bool is_own; /* of a round here; else the voter's, named by: */
	char node[PEER_NAME_MAX + 1];
	int fd;
	unsigned sent;
	bool seen[PEER_PATHS_MAX];
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned open_handles;
};

struct answerer {
	char name[MODEL_NAME_BYTES];
	bool asked, answered;
	char failure[512];
};

struct round {
	struct return_paths *paths;
	struct round *next;
	struct api_call *call;
	struct peer_path_try order;
	char service[MODEL_NAME_BYTES];
	struct answerer *backends; /* owned; by place */
	int landed[PEER_PATHS_MAX]; /* place of whom the answer came to; -1: to nobody */
	uv_timer_t timer;
};

struct return_paths {
	struct daemon *daemon;
	struct trial *trials;
	struct round *rounds;
	uint64_t last_call;
};

static void round_take(struct round *round, const char *node, const struct peer_path_seen *seen);

static struct round *find_round(struct return_paths *paths, uint64_t call)
{
	struct round *round = paths->rounds;
	while (round && round->order.call != call)
		round = round->next;
	return round;
}

static struct fellow *find_fellow(const struct daemon *daemon, const char *node)
{
	struct fellow *fellow = daemon->peers ? daemon->peers->fellows : NULL;
	while (fellow && !(fellow->is_up && fellow->remote && strcmp(fellow->node, node) == 0))
		fellow = fellow->next;
	return fellow;
}

static void say(struct trial *trial, const char *failure)
{
	struct peer_path rows[PEER_PATHS_MAX];
	struct peer_path_seen seen = {
	    .call = trial->order.call, .failure = failure, .paths = {.items = rows}};
	for (size_t i = 0; i < trial->order.count; i++) {
		if (trial->seen[i])
			rows[seen.paths.count++] = (struct peer_path){.place = i};
	}
	struct round *round = find_round(trial->paths, trial->order.call);
	struct fellow *fellow = find_fellow(trial->paths->daemon, trial->node);
	if (trial->is_own && round)
		round_take(round, trial->paths->daemon->options->node, &seen);
	else if (!trial->is_own && fellow)
		(void)fellow_send(
		    fellow, &(struct peer_message){.number = PEER_PATH_SEEN, .path_seen = seen});
}

static void on_trial_closed(uv_handle_t *handle)
{
	struct trial *trial = handle->data;
	if (--trial->open_handles)
		return;
	close(trial->fd);
	free(trial);
}

static void trial_end(struct trial *trial)
{
	struct trial **at = &trial->paths->trials;
	while (*at != trial)
		at = &(*at)->next;
	*at = trial->next;
	uv_close((uv_handle_t *)&trial->poll, on_trial_closed);
	uv_close((uv_handle_t *)&trial->timer, on_trial_closed);
}

static uint32_t sum_words(uint32_t sum, const void *bytes, size_t length)
{
	const uint8_t *at = bytes;
	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	return sum;
}

/* RFC 9293, section 3.1: over the pseudo header too, of either family. */
static uint16_t checksum(const struct peer_path_try *order, const struct tcphdr *tcp)
{
	const size_t bytes = order->source.family == IP_V6 ? 16 : 4;
	uint32_t sum = sum_words(0, order->source.bytes, bytes);
	sum = sum_words(sum, order->to.bytes, bytes);
	sum += IPPROTO_TCP + (uint32_t)sizeof(*tcp);
	sum = sum_words(sum, tcp, sizeof(*tcp));
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static int send_syn(const struct trial *trial)
{
	const struct peer_path_try *order = &trial->order;
	union sockaddr_ip to;
	struct tcphdr tcp = {.source = htons((uint16_t)order->source_port),
			     .dest = htons((uint16_t)order->to_port),
			     .seq = htonl((uint32_t)order->sequence + 2 * (uint32_t)order->place),
			     .doff = sizeof(tcp) / 4,
			     .syn = 1,
			     .window = htons(1024)};
	const socklen_t length = sockaddr_ip_set(&to, &order->to, 0);
	tcp.check = checksum(order, &tcp);
	return sendto(trial->fd, &tcp, sizeof(tcp), 0, &to.any, length) < 0 ? -errno : 0;
}

static void take_segment(struct trial *trial, const struct tcphdr *tcp)
{
	const struct peer_path_try *order = &trial->order;
	const uint32_t ahead = ntohl(tcp->ack_seq) - 1 - (uint32_t)order->sequence;
	if (tcp->source == htons((uint16_t)order->to_port) &&
	    tcp->dest == htons((uint16_t)order->source_port) && tcp->ack && ahead % 2 == 0 &&
	    ahead / 2 < order->count)
		trial->seen[ahead / 2] = true;
}

/* All of TCP that comes to the service address is shown; what is not an answer is passed over. */
static void on_segment(uv_poll_t *poll, int status, int events)
{
	struct trial *trial = poll->data;
	const bool v6 = trial->order.source.family == IP_V6;
	(void)events;
	for (int i = 0; status == 0 && i < 256; i++) {
		uint8_t packet[512];
		union sockaddr_ip from;
		socklen_t size = sizeof(from);
		struct tcphdr tcp;
		const ssize_t length =
		    recvfrom(trial->fd, packet, sizeof(packet), 0, &from.any, &size);
		if (length <= 0)
			return;
		const size_t skip = v6 ? 0 : (size_t)(packet[0] & 0x0f) * 4;
		const void *sender =
		    v6 ? (const void *)&from.v6.sin6_addr : (const void *)&from.v4.sin_addr;
		if ((size_t)length < skip + sizeof(tcp) ||
		    memcmp(sender, trial->order.to.bytes, v6 ? 16 : 4) != 0)
			continue;
		memcpy(&tcp, packet + skip, sizeof(tcp));
		take_segment(trial, &tcp);
	}
}

static void on_turn(uv_timer_t *timer)
{
	struct trial *trial = timer->data;
	if (trial->sent < SENDS) {
		(void)send_syn(trial); /* the first was sent, or the trial would not be */
		trial->sent++;
		uv_timer_start(timer, on_turn,
			       trial->sent < SENDS ? SEND_MS : LISTEN_MS - (SENDS - 1) * SEND_MS,
			       0);
		return;
	}
	say(trial, "");
	trial_end(trial);
}

/* The socket; or a negative errno. */
static int open_raw(const struct peer_path_try *order, struct error *err)
{
	union sockaddr_ip place;
	char text[IP_TEXT_BYTES];
	const bool v6 = order->source.family == IP_V6;
	const socklen_t length = sockaddr_ip_set(&place, &order->source, 0);
	int fd =
	    socket(v6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	if (fd < 0)
		return error_set(err, -errno, "no raw socket can be opened: %s",
				 error_text(-errno));
	if (bind(fd, &place.any, length) < 0) {
		const int result = -errno;
		close(fd);
		return error_set(err, result,
				 "%s is no address of this machine, as landing makes it: %s",
				 ip_address_format(&order->source, text), error_text(result));
	}
	return fd;
}

/* NULL with the error set: nothing was sent. */
static struct trial *begin(struct return_paths *paths, const struct peer_path_try *order,
			   struct error *err)
{
	unsigned count = 0;
	for (const struct trial *other = paths->trials; other; other = other->next)
		count++;
	if (count >= TRIALS_MAX) {
		error_set(err, -EBUSY, "%u such trials are under way", count);
		return NULL;
	}
	if (order->source.family != order->to.family || order->place >= order->count) {
		error_set(err, -FL_EINVALID, "the order makes no sense");
		return NULL;
	}
	int fd = open_raw(order, err);
	if (fd < 0)
		return NULL;
	struct trial *trial = must_alloc(1, sizeof(*trial));
	*trial = (struct trial){.paths = paths, .order = *order, .fd = fd, .sent = 1};
	int result = send_syn(trial);
	if (result < 0) {
		error_set(err, result, "nothing can be sent there: %s", error_text(result));
		close(fd);
		free(trial);
		return NULL;
	}
	trial->next = paths->trials;
	paths->trials = trial;
	uv_poll_init(&paths->daemon->loop, &trial->poll, fd);
	uv_timer_init(&paths->daemon->loop, &trial->timer);
	trial->poll.data = trial->timer.data = trial;
	trial->open_handles = 2;
	uv_poll_start(&trial->poll, UV_READABLE, on_segment);
	uv_timer_start(&trial->timer, on_turn, SEND_MS, 0);
	return trial;
}

void return_path_try(struct return_paths *paths, struct fellow *fellow,
		     const struct peer_path_try *order)
{
	struct error err = {0};
	struct trial *trial = begin(paths, order, &err);
	if (trial)
		snprintf(trial->node, sizeof(trial->node), "%s", fellow->node);
	else
		(void)fellow_send(fellow,
				  &(struct peer_message){
				      .number = PEER_PATH_SEEN,
				      .path_seen = {.call = order->call, .failure = err.text}});
}

/* --- a round -----------------------------------------------------------------------------------
 */

static json_t *answer_of(const struct round *round, size_t place, bool any)
{
	char text[1024];
	char to[IP_TEXT_BYTES];
	char from[IP_TEXT_BYTES];
	const struct answerer *backend = &round->backends[place];
	const char *state = "silent";
	ip_address_format(&round->order.to, to);
	ip_address_format(&round->order.source, from);
	if (round->landed[place] >= 0) {
		state = "returns";
		snprintf(text, sizeof(text), "its answer came back, at %s",
			 round->backends[round->landed[place]].name);
	} else if (!backend->asked || !backend->answered || *backend->failure) {
		state = "not_known";
		snprintf(text, sizeof(text), "not known: %s",
			 *backend->failure ? backend->failure
			 : backend->asked  ? "it did not say what came of it; is it of an earlier "
					     "release?"
					   : "no session leads to its node");
	} else if (any) {
		snprintf(
		    text, sizeof(text),
		    "no answer came back, though others' did: what it sends from %s is dropped "
		    "on the way to %s; look for reverse-path filters, ARP inspection and port "
		    "security between it and the router",
		    from, to);
	} else {
		snprintf(
		    text, sizeof(text),
		    "no answer came back to anybody: does %s answer on TCP port %u at all, and "
		    "do replies to %s reach an edge?",
		    to, (unsigned)round->order.to_port, from);
	}
	return json_pack("{s:s, s:s, s:s}", "name", backend->name, "state", state, "text", text);
}

static void on_round_closed(uv_handle_t *handle)
{
	struct round *round = handle->data;
	free(round->backends);
	free(round);
}

static void round_leave(struct round *round)
{
	struct round **at = &round->paths->rounds;
	while (*at != round)
		at = &(*at)->next;
	*at = round->next;
	uv_close((uv_handle_t *)&round->timer, on_round_closed);
}

static void round_end(struct round *round)
{
	char to[IP_TEXT_BYTES];
	char from[IP_TEXT_BYTES];
	bool any = false;
	bool well = true;
	json_t *backends = json_array();
	for (size_t i = 0; i < round->order.count; i++) {
		any = any || round->landed[i] >= 0;
		well = well && round->landed[i] >= 0;
	}
	for (size_t i = 0; i < round->order.count; i++)
		json_array_append_new(backends, answer_of(round, i, any));
	struct api_call *call = round->call;
	json_t *answer = json_pack(
	    "{s:s, s:i, s:s, s:s, s:b, s:o}", "to", ip_address_format(&round->order.to, to), "port",
	    (int)round->order.to_port, "service", round->service, "address",
	    ip_address_format(&round->order.source, from), "well", (int)well, "backends", backends);
	round_leave(round);
	api_succeed(call, answer);
}

static void on_round_over(uv_timer_t *timer)
{
	round_end(timer->data);
}

static void round_take(struct round *round, const char *node, const struct peer_path_seen *seen)
{
	size_t place = 0;
	bool all = true;
	while (place < round->order.count && strcmp(round->backends[place].name, node) != 0)
		place++;
	if (place == round->order.count)
		return;
	struct answerer *backend = &round->backends[place];
	backend->answered = true;
	snprintf(backend->failure, sizeof(backend->failure), "%.500s", seen->failure);
	for (size_t i = 0; i < seen->paths.count; i++) {
		if (seen->paths.items[i].place < round->order.count)
			round->landed[seen->paths.items[i].place] = (int)place;
	}
	for (size_t i = 0; i < round->order.count; i++)
		all = all && (!round->backends[i].asked || round->backends[i].answered);
	if (all)
		uv_timer_start(&round->timer, on_round_over, 0, 0);
}

void return_path_seen(struct return_paths *paths, const struct fellow *fellow,
		      const struct peer_path_seen *seen)
{
	struct round *round = find_round(paths, seen->call);
	if (round)
		round_take(round, fellow->node, seen);
}

/* The version that DNS answers, and its address of the family. */
static const struct version *find_version(const struct daemon *daemon,
					  const struct image_service *service, uint8_t family,
					  struct ip_address *ret_address)
{
	const struct service_state *state = service->state;
	for (size_t i = 0; state && i < state->binding_count; i++) {
		const struct binding *binding = &state->bindings[i];
		const uint32_t wanted =
		    state->rollout.target ? state->rollout.target : state->rollout.base;
		if (binding->version != wanted || binding->is_late || binding->refusing)
			continue;
		*ret_address =
		    placement_address(daemon->image.placement, binding, daemon->options->site);
		if (ret_address->family == family)
			return image_version(service, binding->version);
	}
	return NULL;
}

/* A service whose version is sent for. Errors say what is missing. */
static const struct version *choose(const struct daemon *daemon, const char *name, uint8_t family,
				    struct peer_path_try *order, struct error *err)
{
	const struct image *image = &daemon->image;
	for (size_t i = 0; i < image->service_count; i++) {
		const struct image_service *service = image->services[i];
		if (name && strcmp(service->name, name) != 0)
			continue;
		const struct version *version =
		    find_version(daemon, service, family, &order->source);
		for (size_t k = 0; version && k < version->port_count; k++) {
			if (version->ports[k].protocol != SERVICE_TCP)
				continue;
			order->source_port = version->ports[k].first;
			return version;
		}
		if (name)
			break;
	}
	if (name)
		error_set(err, -FL_ENOTFOUND,
			  "%s is no service with an IPv%d address and a TCP port, which the trial "
			  "needs",
			  name, family);
	else
		error_set(err, -FL_ENOTFOUND,
			  "no service has an IPv%d address and a TCP port, which the trial needs",
			  family);
	return NULL;
}

static int read_order(const struct api_call *call, struct peer_path_try *order, struct error *err)
{
	const char *to = api_text(call, "to");
	const json_t *port = json_object_get(api_parameters(call), "port");
	order->to_port = port ? (uint64_t)json_integer_value(port) : DEFAULT_PORT;
	if (strcmp(api_text(call, "what"), "return-path") != 0 || !to)
		return error_set(err, -FL_EUSAGE,
				 "`fairlead doctor return-path` wants --to: the address of a "
				 "machine outside");
	if (ip_address_parse(to, &order->to) < 0)
		return error_set(err, -FL_EUSAGE, "--to \"%s\" is no IP address", to);
	if (order->to_port < 1 || order->to_port > UINT16_MAX)
		return error_set(err, -FL_EUSAGE, "--port is from 1 to 65535");
	return 0;
}

static void ask(struct round *round, size_t place)
{
	struct daemon *daemon = round->paths->daemon;
	struct answerer *backend = &round->backends[place];
	struct peer_path_try order = round->order;
	struct error err = {0};
	order.place = place;
	if (strcmp(backend->name, daemon->options->node) == 0) {
		struct trial *trial = begin(round->paths, &order, &err);
		backend->asked = true;
		backend->answered = !trial;
		snprintf(backend->failure, sizeof(backend->failure), "%.500s", err.text);
		if (trial)
			trial->is_own = true;
		return;
	}
	struct fellow *fellow = find_fellow(daemon, backend->name);
	backend->asked =
	    fellow &&
	    fellow_send(fellow, &(struct peer_message){.number = PEER_PATH_TRY, .path_try = order});
}

void return_path_call(void *context, struct api_call *call)
{
	struct daemon *daemon = context;
	struct peer_path_try order = {0};
	struct error err = {0};
	int result = read_order(call, &order, &err);
	const struct version *version =
	    result == 0 ? choose(daemon, api_text(call, "service"), order.to.family, &order, &err)
			: NULL;
	if (!version) {
		api_fail(call, &err);
		return;
	}
	struct round *round = must_alloc(1, sizeof(*round));
	order.call = ++daemon->return_paths->last_call;
	order.sequence = random_u64(&daemon->random) & UINT32_MAX;
	order.count =
	    version->backend_count < PEER_PATHS_MAX ? version->backend_count : PEER_PATHS_MAX;
	*round = (struct round){.paths = daemon->return_paths,
				.next = daemon->return_paths->rounds,
				.call = call,
				.order = order,
				.backends = must_alloc(order.count, sizeof(*round->backends))};
	daemon->return_paths->rounds = round;
	snprintf(round->service, sizeof(round->service), "%s", version->service);
	uv_timer_init(&daemon->loop, &round->timer);
	round->timer.data = round;
	uv_timer_start(&round->timer, on_round_over, ROUND_MS, 0);
	for (size_t i = 0; i < order.count; i++) {
		round->landed[i] = -1;
		snprintf(round->backends[i].name, sizeof(round->backends[i].name), "%s",
			 version->backends[i].name);
	}
	for (size_t i = 0; i < order.count; i++)
		ask(round, i);
}

/* --- life --------------------------------------------------------------------------------------
 */

struct return_paths *return_paths_new(struct daemon *daemon)
{
	struct return_paths *paths = must_alloc(1, sizeof(*paths));
	paths->daemon = daemon;
	return paths;
}

void return_paths_close(struct return_paths *paths)
{
	struct error err;
	if (!paths)
		return;
	while (paths->trials)
		trial_end(paths->trials);
	while (paths->rounds) {
		struct api_call *call = paths->rounds->call;
		round_leave(paths->rounds);
		error_set(&err, -FL_EUNAVAILABLE, "the daemon stops");
		api_fail(call, &err);
	}
}

void return_paths_free(struct return_paths *paths)
{
	free(paths);
}
