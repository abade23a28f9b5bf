/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Netlink: questions to the kernel, and its news. A question is one request with its answer, or a
 * whole dump; it blocks until the kernel has answered, one at a time per socket, and what is left
 * of one that failed half-way is told apart by its sequence number and skipped. News are read by a
 * socket of their own and never block.
 *
 * A socket belongs to the network namespace of the thread that opened it. One thread per socket.
 */
#ifndef FAIRLEAD_KERNEL_NETLINK_H
#define FAIRLEAD_KERNEL_NETLINK_H

#include "base/error.h"
#include "base/netaddr.h"

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mnl_socket;
struct nlattr;

struct netlink {
	struct mnl_socket *socket; /* owned; NULL until it is opened */
	uint32_t sequence;
	uint8_t *answer; /* owned; NETLINK_ANSWER_BYTES */
};

/* The most that the kernel puts in one message of a dump, and room for any request of ours. */
#define NETLINK_ANSWER_BYTES 65536
#define NETLINK_REQUEST_BYTES 16384

/* `bus` is NETLINK_ROUTE or NETLINK_SOCK_DIAG. 0 or a negative errno. */
must_check int netlink_init(struct netlink *netlink, int bus);
/* A socket that hears the news of these groups (RTNLGRP_…). 0 or a negative errno. */
must_check int netlink_init_news(struct netlink *news, const int *groups, size_t count);
void netlink_done(struct netlink *netlink);

/*
 * Who asked the kernel for a change that the news tell of: "systemd-network (pid 412)", "the
 * kernel", or that it cannot be told any more. `message` is one of NETLINK_ROUTE's news.
 */
void netlink_sender(const struct nlmsghdr *message, char *text, size_t size);
/* Whether it was this socket. */
bool netlink_is_sender(const struct netlink *netlink, const struct nlmsghdr *message);

/* Readable when there are news. Owned by `news`. */
int netlink_fd(const struct netlink *news);

/* Called for every message of an answer; a negative result ends the visit and is returned. */
typedef int netlink_visit(const struct nlmsghdr *message, void *context);

/* Send, visit (NULL: nothing) what the kernel answers, and wait until it acknowledges: 0 or its
 * negative errno. */
must_check int netlink_ask(struct netlink *netlink, struct nlmsghdr *request, netlink_visit *visit,
			   void *context);

/*
 * Send a dump request and visit each message of the answer. Where the kernel says that its tables
 * changed meanwhile (NLM_F_DUMP_INTR), what was visited is not consistent: it is asked again, and a
 * visit without a message (NULL), with which every dump begins, says to forget what was seen.
 * -FL_ECONFLICT if it is inconsistent every time. Any message lost or cut is an error.
 */
must_check int netlink_dump(struct netlink *netlink, struct nlmsghdr *request, netlink_visit *visit,
			    void *context);

/* How often that is tried. */
#define NETLINK_DUMP_ATTEMPTS 10
/* One try: -FL_ECONFLICT if it was inconsistent. For what takes several dumps to see. */
must_check int netlink_dump_once(struct netlink *netlink, struct nlmsghdr *request,
				 netlink_visit *visit, void *context);

/*
 * Visit all news that wait, until there are none or the visit refuses. Where some were lost, a
 * visit without a message (NULL) says so: then look at everything. 0 or a negative errno.
 */
must_check int netlink_drain(struct netlink *news, netlink_visit *visit, void *context);

/*
 * The first attribute of this type with at least `least` bytes, after a family header of
 * `header_bytes`; NULL if there is none. Borrowed from the message. Pure, as are the following.
 */
const struct nlattr *netlink_attribute(const struct nlmsghdr *message, size_t header_bytes,
				       unsigned type, size_t least);
/* The same among the attributes that `outer` (NULL: none) holds. */
const struct nlattr *netlink_nested(const struct nlattr *outer, unsigned type, size_t least);
/* A number of 32 bits; `otherwise` if there is none. */
uint32_t netlink_number(const struct nlmsghdr *message, size_t header_bytes, unsigned type,
			uint32_t otherwise);
/* An address of the AF_… that the header gave; IP_NONE if there is none. */
struct ip_address netlink_address(const struct nlmsghdr *message, size_t header_bytes,
				  unsigned type, uint8_t af);
void netlink_put_address(struct nlmsghdr *request, uint16_t type, const struct ip_address *address);

/* AF_INET or AF_INET6, and back; IP_NONE for any other. */
uint8_t netlink_af(uint8_t family);
uint8_t netlink_family(uint8_t af);
/* "IPv4" or "IPv6", of AF_INET or AF_INET6; for sentences. */
const char *netlink_family_name(uint8_t af);

#endif
