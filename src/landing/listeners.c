/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/listeners.h"

#include "abi/landing.h"

#include <bpf/bpf.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

_Static_assert(LANDING_ABI_LISTENERS >= 2 * LANDING_LISTENERS_MAX, "room to add before deleting");

void listeners_init(struct listeners *listeners, int places_map, int sockets_map)
{
	*listeners = (struct listeners){.places_map = places_map, .sockets_map = sockets_map};
}

void listeners_done(struct listeners *listeners)
{
	free(listeners->places);
	listeners->places = NULL;
	listeners->count = 0;
}

static struct landing_listener_key key_of(const struct landing_listener *listener)
{
	struct landing_listener_key key = {
	    .length = LANDING_LISTENER_KEY_BITS + listener->destination.length,
	    .family = listener->destination.address.family,
	    .protocol = listener->protocol,
	    .port = listener->port,
	};
	memcpy(key.bytes, listener->destination.address.bytes, sizeof(key.bytes));
	return key;
}

static bool is_unspecified(const struct ip_address *address)
{
	static const uint8_t zero[16];
	return memcmp(address->bytes, zero, sizeof(zero)) == 0;
}

static bool fits(const struct landing_listener *listener, const struct socket_seen *seen)
{
	if (seen->protocol != listener->protocol || seen->port != listener->listen_port)
		return false;
	/* The kernel refuses to hand a flow to a socket that cannot carry its family. */
	if (listener->destination.address.family == IP_V6 && !seen->via_v6)
		return false;
	if (listener->destination.address.family == IP_V4 && seen->via_v6 && seen->v6_only)
		return false;
	return listener->listen_address.family == IP_NONE
		   ? is_unspecified(&seen->local)
		   : ip_address_equal(&listener->listen_address, &seen->local);
}

const struct socket_seen *listener_choose(const struct landing_listener *listener,
					  const struct socket_seen *sockets, size_t count,
					  uint64_t current)
{
	bool v6 = listener->destination.address.family == IP_V6;
	const struct socket_seen *best = NULL;
	for (size_t i = 0; i < count; i++) {
		const struct socket_seen *seen = &sockets[i];
		if (!fits(listener, seen))
			continue;
		if (seen->cookie == current)
			return seen;
		bool nearer = best && seen->via_v6 == v6 && best->via_v6 != v6;
		bool as_near = best && (seen->via_v6 == v6) == (best->via_v6 == v6);
		if (!best || nearer || (as_near && seen->cookie < best->cookie))
			best = seen;
	}
	return best;
}

/* A socket whose holder must be found, and the place it is for. */
struct search {
	const struct socket_seen *seen;
	struct listener_place *place;
};

struct searches {
	struct search *items; /* owned */
	size_t count;
	unsigned level; /* of our PID namespace, below that of /proc */
	int sockets_map; /* borrowed */
};

long listener_pid_at(const char *status, unsigned level, unsigned *ret_levels)
{
	const char *at = strstr(status, "\nNSpid:");
	long pid = -1;
	unsigned levels = 0;
	if (!at)
		return -1;
	for (at += strlen("\nNSpid:"); *at == '\t' || *at == ' '; levels++) {
		char *end;
		long number = strtol(at, &end, 10);
		if (end == at)
			break;
		if (levels == level)
			pid = number;
		at = end;
	}
	if (ret_levels)
		*ret_levels = levels;
	return pid;
}

/* listener_pid_at for the process whose folder in /proc is `pid`, "self" for this one. */
static long read_pid_at(const char *pid, unsigned level, unsigned *ret_levels)
{
	char path[48];
	char status[4096];
	snprintf(path, sizeof(path), "/proc/%.16s/status", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t got = read(fd, status, sizeof(status) - 1);
	close(fd);
	if (got < 0)
		return -1;
	status[got] = '\0';
	return listener_pid_at(status, level, ret_levels);
}

/* Copy the descriptor out of the process and put the socket in its place. */
static bool bind_from(const char *pid, int number, const struct search *search,
		      const struct searches *searches)
{
	long inner = read_pid_at(pid, searches->level, NULL);
	int process = inner > 0 ? pidfd_open((pid_t)inner, 0) : -1;
	int copy = process >= 0 ? pidfd_getfd(process, number, 0) : -1;
	if (process >= 0)
		close(process);
	if (copy < 0)
		return false;
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);
	/* The process may have closed the one and opened another since we looked. */
	bool right = getsockopt(copy, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 &&
		     cookie == search->seen->cookie;
	uint64_t value = (uint64_t)copy;
	bool bound = right && bpf_map_update_elem(searches->sockets_map, &search->place->place,
						  &value, BPF_ANY) == 0;
	close(copy);
	return bound;
}

/* Look at one descriptor of a process, `folder` being its /proc/PID/fd. */
static void try_descriptor(int folder, const char *name, const char *pid, struct searches *searches)
{
	char target[64];
	uint32_t inode;
	ssize_t length = readlinkat(folder, name, target, sizeof(target) - 1);
	if (length < 0)
		return;
	target[length] = '\0';
	if (sscanf(target, "socket:[%" SCNu32 "]", &inode) != 1)
		return;
	for (size_t i = 0; i < searches->count; i++) {
		struct search *search = &searches->items[i];
		if (!search->place->bound && search->seen->inode == inode)
			search->place->bound =
			    bind_from(pid, (int)strtol(name, NULL, 10), search, searches);
	}
}

static void search_process(int proc, const char *pid, struct searches *searches)
{
	char path[32];
	snprintf(path, sizeof(path), "%.16s/fd", pid);
	int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
	if (!folder) {
		if (fd >= 0)
			close(fd);
		return;
	}
	const struct dirent *entry;
	while ((entry = readdir(folder))) {
		if (isdigit((unsigned char)entry->d_name[0]))
			try_descriptor(fd, entry->d_name, pid, searches);
	}
	closedir(folder); /* and `fd` with it */
}

static int search_all(struct searches *searches, struct error *err)
{
	unsigned levels = 0;
	if (read_pid_at("self", 0, &levels) < 0 || levels == 0)
		return error_set(err, -FL_EUNSUPPORTED,
				 "/proc does not show this process: it must be mounted to find "
				 "listeners");
	searches->level = levels - 1;
	DIR *proc = opendir("/proc");
	if (!proc)
		return error_set(err, -errno, "/proc: cannot open: %s", strerror(errno));
	const struct dirent *entry;
	while ((entry = readdir(proc))) {
		if (isdigit((unsigned char)entry->d_name[0]))
			search_process(dirfd(proc), entry->d_name, searches);
	}
	closedir(proc);
	return 0;
}

/* A listener that would fit if its address were left open. */
static bool listens_on_all(const struct landing_listener *listener,
			   const struct socket_seen *sockets, size_t count)
{
	struct landing_listener open = *listener;
	open.listen_address = (struct ip_address){.family = IP_NONE};
	return listener->listen_address.family != IP_NONE &&
	       listener_choose(&open, sockets, count, 0);
}

static void report_missing(const struct listener_place *place, bool seen, bool on_all,
			   struct landing_alarms *alarms)
{
	char destination[IP_TEXT_BYTES];
	char address[IP_TEXT_BYTES];
	char subject[IP_TEXT_BYTES + 8];
	const struct landing_listener *listener = &place->listener;
	const char *protocol = listener->protocol == IPPROTO_TCP ? "tcp" : "udp";
	ip_prefix_format(&listener->destination, destination);
	if (listener->listen_address.family == IP_NONE)
		snprintf(address, sizeof(address), "*");
	else
		ip_address_format(&listener->listen_address, address);
	snprintf(subject, sizeof(subject), "%s %u", address, listener->listen_port);
	if (seen)
		LANDING_ALARM(alarms, LISTENER_CLOSED, subject, destination, protocol,
			      listener->port, address, protocol, listener->listen_port);
	else if (on_all)
		LANDING_ALARM(alarms, LISTENER_ELSEWHERE, subject, destination, protocol,
			      listener->port, protocol, listener->listen_port, address);
	else
		LANDING_ALARM(alarms, LISTENER_NONE, subject, destination, protocol, listener->port,
			      address, protocol, listener->listen_port);
}

/*
 * Settle all places whose listener has `protocol`; those that need a search are appended.
 */
static void settle_places(struct listeners *listeners, uint8_t protocol,
			  const struct socket_seen *sockets, size_t count,
			  struct searches *searches, struct landing_alarms *alarms)
{
	for (unsigned i = 0; i < listeners->count; i++) {
		struct listener_place *place = &listeners->places[i];
		if (place->listener.protocol != protocol)
			continue;
		uint64_t current = 0;
		if (bpf_map_lookup_elem(listeners->sockets_map, &place->place, &current) < 0)
			current = 0;
		const struct socket_seen *seen =
		    listener_choose(&place->listener, sockets, count, current);
		place->bound = seen && current && seen->cookie == current;
		if (place->bound)
			continue;
		/* What was there is another listener's former socket, or has ceased to fit. */
		if (current)
			(void)bpf_map_delete_elem(listeners->sockets_map, &place->place);
		if (seen)
			searches->items[searches->count++] =
			    (struct search){.seen = seen, .place = place};
		else
			report_missing(place, false,
				       listens_on_all(&place->listener, sockets, count), alarms);
	}
}

static int bind_protocol(struct listeners *listeners, uint8_t protocol, struct netlink *diag,
			 struct landing_alarms *alarms, struct error *err)
{
	struct socket_seen *sockets = NULL;
	size_t count = 0;
	bool any = false;
	for (unsigned i = 0; i < listeners->count; i++)
		any |= listeners->places[i].listener.protocol == protocol;
	if (!any)
		return 0;
	int result = sockets_listening(diag, protocol, &sockets, &count, err);
	if (result < 0)
		return result;
	struct searches searches = {.items = calloc(listeners->count, sizeof(*searches.items)),
				    .sockets_map = listeners->sockets_map};
	if (!searches.items)
		result = error_set(err, -ENOMEM, "out of memory");
	else
		settle_places(listeners, protocol, sockets, count, &searches, alarms);
	if (result == 0 && searches.count)
		result = search_all(&searches, err);
	for (size_t i = 0; result == 0 && i < searches.count; i++) {
		if (!searches.items[i].place->bound)
			report_missing(searches.items[i].place, true, false, alarms);
	}
	free(searches.items);
	free(sockets);
	return result;
}

int listeners_bind(struct listeners *listeners, struct netlink *diag, struct landing_alarms *alarms,
		   struct error *err)
{
	int result = bind_protocol(listeners, IPPROTO_TCP, diag, alarms, err);
	return result < 0 ? result : bind_protocol(listeners, IPPROTO_UDP, diag, alarms, err);
}

/* The keys in the trie and their places, also those of an earlier run. */
struct present {
	struct landing_listener_key keys[LANDING_ABI_LISTENERS];
	uint32_t places[LANDING_ABI_LISTENERS];
	unsigned count;
	bool taken[LANDING_ABI_LISTENERS]; /* by place */
};

static void read_present(int places_map, struct present *present)
{
	const struct landing_listener_key *previous = NULL;
	memset(present, 0, sizeof(*present));
	while (present->count < LANDING_ABI_LISTENERS) {
		struct landing_listener_key *key = &present->keys[present->count];
		uint32_t *place = &present->places[present->count];
		if (bpf_map_get_next_key(places_map, previous, key) < 0)
			break;
		previous = key;
		if (bpf_map_lookup_elem(places_map, key, place) < 0 ||
		    *place >= LANDING_ABI_LISTENERS)
			*place = UINT32_MAX;
		else
			present->taken[*place] = true;
		present->count++;
	}
}

static const uint32_t *find_present(const struct present *present,
				    const struct landing_listener_key *key)
{
	for (unsigned i = 0; i < present->count; i++) {
		if (memcmp(&present->keys[i], key, sizeof(*key)) == 0 &&
		    present->places[i] != UINT32_MAX)
			return &present->places[i];
	}
	return NULL;
}

/* There is one: the map has twice the places that listeners may take. */
static uint32_t take_free_place(struct present *present)
{
	uint32_t place = 0;
	while (place < LANDING_ABI_LISTENERS && present->taken[place])
		place++;
	ASSERT(place < LANDING_ABI_LISTENERS);
	present->taken[place] = true;
	return place;
}

static bool is_wanted(const struct listeners *listeners, const struct landing_listener_key *key)
{
	for (unsigned i = 0; i < listeners->count; i++) {
		struct landing_listener_key wanted = key_of(&listeners->places[i].listener);
		if (memcmp(&wanted, key, sizeof(wanted)) == 0)
			return true;
	}
	return false;
}

/* Keys and places come and go in the order that the header promises. */
static int switch_keys(struct listeners *listeners, struct present *present, struct netlink *diag,
		       struct error *err)
{
	int result = listeners_bind(listeners, diag, NULL, err);
	if (result < 0)
		return result;
	for (unsigned i = 0; i < listeners->count && result == 0; i++) {
		struct landing_listener_key key = key_of(&listeners->places[i].listener);
		result = bpf_map_update_elem(listeners->places_map, &key,
					     &listeners->places[i].place, BPF_ANY);
	}
	for (unsigned i = 0; i < present->count && result == 0; i++) {
		if (is_wanted(listeners, &present->keys[i]))
			continue;
		result = bpf_map_delete_elem(listeners->places_map, &present->keys[i]);
		if (result == 0 && present->places[i] != UINT32_MAX)
			(void)bpf_map_delete_elem(listeners->sockets_map, &present->places[i]);
	}
	return result < 0 ? error_set(err, result, "cannot fill the BPF map of listeners: %s",
				      error_text(result))
			  : 0;
}

int listeners_apply(struct listeners *listeners, struct netlink *diag,
		    const struct landing_listener *wanted, unsigned count, struct error *err)
{
	struct present *present = malloc(sizeof(*present));
	struct listener_place *places = calloc(count ? count : 1, sizeof(*places));
	if (!present || !places) {
		free(present);
		free(places);
		return error_set(err, -ENOMEM, "out of memory");
	}
	read_present(listeners->places_map, present);
	for (unsigned i = 0; i < count; i++) {
		struct landing_listener_key key = key_of(&wanted[i]);
		const uint32_t *place = find_present(present, &key);
		places[i].listener = wanted[i];
		places[i].place = place ? *place : take_free_place(present);
	}
	listeners_done(listeners);
	listeners->places = places;
	listeners->count = count;
	int result = switch_keys(listeners, present, diag, err);
	free(present);
	return result;
}
