/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the kernel over netlink: one request and its acknowledgement, or a whole dump.
 * Blocking; one question at a time per socket. What is left of a question that failed half-way is
 * told apart by its sequence number and skipped.
 */
#ifndef FAIRLEAD_LANDING_NETLINK_H
#define FAIRLEAD_LANDING_NETLINK_H

#include "base/error.h"

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

struct mnl_socket;
struct nlattr;

struct netlink {
	struct mnl_socket *socket; /* owned */
	uint32_t sequence;
	uint8_t *answer; /* owned; NETLINK_ANSWER_BYTES */
};

/* The most that the kernel puts in one message of a dump, and room for any request of ours. */
#define NETLINK_ANSWER_BYTES 65536
#define NETLINK_REQUEST_BYTES 16384

/* `bus` is NETLINK_ROUTE or NETLINK_SOCK_DIAG; the socket belongs to the thread's namespace. */
must_check int netlink_init(struct netlink *netlink, int bus);
void netlink_done(struct netlink *netlink);

/* Send and wait for the acknowledgement: 0 or the kernel's negative errno. */
must_check int netlink_ask(struct netlink *netlink, struct nlmsghdr *request);

/* A dump that the kernel calls inconsistent is repeated so often before it is an error. */
#define NETLINK_DUMP_ATTEMPTS 10

/* Called for every message of a dump; a negative result ends the visit and is returned. */
typedef int netlink_visit(const struct nlmsghdr *message, void *context);

/*
 * Send a dump request and visit each message of the answer. -FL_ECONFLICT if the kernel says that
 * the tables changed meanwhile (NLM_F_DUMP_INTR): what was visited is not consistent, forget it
 * and ask again. Any message lost or cut is an error.
 */
must_check int netlink_dump(struct netlink *netlink, struct nlmsghdr *request, netlink_visit *visit,
			    void *context);

/*
 * The first attribute of this type with at least `least` bytes, after a family header of
 * `header_bytes`; NULL if there is none. Borrowed from the message. Pure.
 */
const struct nlattr *netlink_attribute(const struct nlmsghdr *message, size_t header_bytes,
				       unsigned type, size_t least);

#endif
