/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives src/landing from a test: one command a line on standard input, for each of them lines of
 * results and then `ok` or `error NAME TEXT` on standard output.
 *
 *	drive-landing PIN_ROOT STATE_FOLDER [INTERFACE…]
 *
 *	open [generic]
 *	apply [pool=PREFIX | address=IP | edge=IP | hand=PROTOCOL,PREFIX,PORT,IP or *,PORT]…
 *	check | count | state | counters
 *	destroy IP…
 *	path MTU		of the way from the edges, in bytes
 *	watch SECONDS		wait until the watch descriptor is readable, or an error
 *	close keep|undo
 */
#include "abi/drop.h"
#include "landing/landing.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct driver {
	struct landing_options options;
	struct landing *landing; /* owned; NULL while closed */
};

/* What an `apply` line says. */
struct wish {
	struct ip_prefix pools[LANDING_POOLS_MAX];
	struct ip_address addresses[LANDING_ADDRESSES_MAX];
	struct ip_address edges[LANDING_EDGES_MAX];
	struct landing_listener listeners[LANDING_LISTENERS_MAX];
	struct landing_desired desired;
};

static int bad_word(const char *word, struct error *err)
{
	return error_set(err, -FL_EUSAGE, "what is `%s`?", word);
}

static int parse_listener(char *text, struct landing_listener *listener)
{
	char *fields[5];
	for (size_t i = 0; i < 5; i++) {
		fields[i] = strsep(&text, ",");
		if (!fields[i])
			return -FL_EUSAGE;
	}
	*listener = (struct landing_listener){
	    .protocol = strcmp(fields[0], "tcp") == 0 ? IPPROTO_TCP : IPPROTO_UDP,
	    .port = (uint16_t)strtoul(fields[2], NULL, 10),
	    .listen_port = (uint16_t)strtoul(fields[4], NULL, 10),
	};
	int result = ip_prefix_parse(fields[1], &listener->destination);
	if (result == 0 && strcmp(fields[3], "*") != 0)
		result = ip_address_parse(fields[3], &listener->listen_address);
	return result;
}

static int parse_wish(char *words, struct wish *wish, struct error *err)
{
	struct landing_desired *desired = &wish->desired;
	*desired = (struct landing_desired){.pools = wish->pools,
					    .addresses = wish->addresses,
					    .edges = wish->edges,
					    .listeners = wish->listeners};
	for (char *word; (word = strsep(&words, " "));) {
		char *value = strchr(word, '=');
		int result = value ? 0 : -FL_EUSAGE;
		if (result == 0)
			*value++ = '\0';
		if (result == 0 && strcmp(word, "pool") == 0)
			result = ip_prefix_parse(value, &wish->pools[desired->pool_count++]);
		else if (result == 0 && strcmp(word, "address") == 0)
			result =
			    ip_address_parse(value, &wish->addresses[desired->address_count++]);
		else if (result == 0 && strcmp(word, "edge") == 0)
			result = ip_address_parse(value, &wish->edges[desired->edge_count++]);
		else if (result == 0 && strcmp(word, "hand") == 0)
			result = parse_listener(value, &wish->listeners[desired->listener_count++]);
		else
			result = -FL_EUSAGE;
		if (result < 0)
			return bad_word(word, err);
	}
	return 0;
}

static int do_open(struct driver *driver, char *words, struct error *err)
{
	driver->options.generic_only = words && strcmp(words, "generic") == 0;
	return landing_open(&driver->options, &driver->landing, err);
}

static int do_apply(struct driver *driver, char *words, struct error *err)
{
	struct wish *wish = calloc(1, sizeof(*wish));
	if (!wish)
		return error_set(err, -ENOMEM, "out of memory");
	int result = parse_wish(words, wish, err);
	if (result == 0)
		result = landing_apply(driver->landing, &wish->desired, err);
	free(wish);
	return result;
}

static int do_check(struct driver *driver, char *words, struct error *err)
{
	struct landing_alarms alarms;
	(void)words;
	int result = landing_check(driver->landing, &alarms, err);
	for (unsigned i = 0; result == 0 && i < alarms.count; i++) {
		char advice[512];
		const struct landing_alarm *alarm = &alarms.items[i];
		alarm_advice(alarm->code, alarm->subject, advice, sizeof(advice));
		printf("%s %s%s%s\n", alarm_is_repaired(alarm->code) ? "repaired" : "standing",
		       alarm->text, *advice ? "; " : "", advice);
	}
	return result;
}

static int do_count(struct driver *driver, char *words, struct error *err)
{
	struct landing_connections *connections;
	size_t count;
	char text[IP_TEXT_BYTES];
	(void)words;
	int result = landing_count(driver->landing, &connections, &count, err);
	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++)
		printf("%s %" PRIu64 "\n", ip_address_format(&connections[i].address, text),
		       connections[i].count);
	free(connections);
	return 0;
}

static int do_destroy(struct driver *driver, char *words, struct error *err)
{
	struct ip_address addresses[16];
	size_t count = 0;
	uint64_t destroyed;
	for (char *word; count < 16 && (word = strsep(&words, " "));) {
		if (ip_address_parse(word, &addresses[count++]) < 0)
			return bad_word(word, err);
	}
	int result = landing_destroy(driver->landing, addresses, count, &destroyed, err);
	if (result == 0)
		printf("%" PRIu64 "\n", destroyed);
	return result;
}

static int do_state(struct driver *driver, char *words, struct error *err)
{
	struct landing_state state;
	(void)words;
	(void)err;
	landing_state_read(driver->landing, &state);
	for (unsigned i = 0; i < state.interface_count; i++)
		printf("%s %s\n", state.interfaces[i].name,
		       !state.interfaces[i].present    ? "absent"
		       : !state.interfaces[i].attached ? "detached"
		       : state.interfaces[i].native    ? "native"
						       : "generic");
	printf("listeners %u/%u\nprogram %s\nlayout %s\n", state.listeners_bound,
	       state.listener_count, state.program_tag, state.layout);
	return 0;
}

static int do_counters(struct driver *driver, char *words, struct error *err)
{
	struct landing_counters counters;
	(void)words;
	int result = landing_counters_read(driver->landing, &counters, err);
	if (result < 0)
		return result;
	printf("4in4 %" PRIu64 "\n6in4 %" PRIu64 "\n4in6 %" PRIu64 "\n6in6 %" PRIu64 "\n",
	       counters.accepted_4in4, counters.accepted_6in4, counters.accepted_4in6,
	       counters.accepted_6in6);
	printf("clamped %" PRIu64 "\n", counters.clamped);
	if (counters.wrong_source)
		printf("wrong_source %" PRIu64 "\n", counters.wrong_source);
	if (counters.unclamped)
		printf("unclamped %" PRIu64 "\n", counters.unclamped);
#define X(name, number, label, text)                                                               \
	if (counters.drops[number])                                                                \
		printf("%s %" PRIu64 "\n", label, counters.drops[number]);
	LANDING_DROPS(X)
#undef X
	return 0;
}

static int do_path(struct driver *driver, char *words, struct error *err)
{
	(void)err;
	landing_set_path_mtu(driver->landing, words ? (uint32_t)strtoul(words, NULL, 10) : 0);
	return 0;
}

static int do_watch(struct driver *driver, char *words, struct error *err)
{
	struct pollfd poll_fd = {.fd = landing_watch_fd(driver->landing), .events = POLLIN};
	int seconds = words ? (int)strtol(words, NULL, 10) : 1;
	if (poll(&poll_fd, 1, 1000 * seconds) == 1)
		return 0;
	return error_set(err, -ETIMEDOUT, "nothing happened in %d s", seconds);
}

static int do_close(struct driver *driver, char *words, struct error *err)
{
	bool undo = words && strcmp(words, "undo") == 0;
	int result = landing_close(driver->landing, undo ? LANDING_UNDO : LANDING_KEEP, err);
	driver->landing = NULL;
	return result;
}

static const struct {
	const char *name;
	int (*run)(struct driver *driver, char *words, struct error *err);
} commands[] = {
    {"open", do_open},   {"apply", do_apply},       {"check", do_check},     {"count", do_count},
    {"state", do_state}, {"counters", do_counters}, {"destroy", do_destroy}, {"watch", do_watch},
    {"close", do_close}, {"path", do_path},
};

static int run(struct driver *driver, char *line, struct error *err)
{
	char *name = strsep(&line, " ");
	if (!driver->landing && strcmp(name, "open") != 0)
		return error_set(err, -FL_ESTATE, "not open");
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(name, commands[i].name) == 0)
			return commands[i].run(driver, line, err);
	}
	return bad_word(name, err);
}

int main(int argc, char **argv)
{
	char line[65536];
	if (argc < 3) {
		fprintf(stderr, "usage: %s PIN_ROOT STATE_FOLDER [INTERFACE...]\n", argv[0]);
		return 2;
	}
	char former_sysctls[4096];
	snprintf(former_sysctls, sizeof(former_sysctls), "%s/sysctls", argv[2]);
	struct driver driver = {.options = {.pin_root = argv[1],
					    .former_sysctls = former_sysctls,
					    .interfaces = (const char *const *)(argv + 3),
					    .interface_count = (unsigned)(argc - 3)}};
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		struct error err = {0};
		line[strcspn(line, "\n")] = '\0';
		int result = run(&driver, line, &err);
		if (result < 0)
			printf("error %s %s\n", error_name(result), err.text);
		else
			puts("ok");
	}
	return landing_close(driver.landing, LANDING_KEEP, NULL) < 0;
}
