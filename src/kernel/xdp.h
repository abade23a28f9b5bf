/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XDP programs on interfaces, each by a pinned bpf_link: a link that is there is switched to the
 * new program in one step, so that packets meet the old program or the new one, never none.
 *
 * Interfaces are those of the thread's network namespace. One thread per link.
 */
#ifndef FAIRLEAD_KERNEL_XDP_H
#define FAIRLEAD_KERNEL_XDP_H

#include "base/error.h"

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>

enum xdp_mode { XDP_MODE_NONE, XDP_MODE_NATIVE, XDP_MODE_GENERIC };

/* What XDP program is on an interface, whosoever's, and how. `ret_program_id` is 0 if none is. */
enum xdp_mode xdp_query(uint32_t ifindex, uint32_t *ret_program_id);

/* The interface and the program of a link; false for what is no XDP link, and so not ours.
 * `ret_ifindex` is 0 if the interface has gone. */
bool xdp_link_read(int link, uint32_t *ret_ifindex, uint32_t *ret_program_id);

/* Whether the link acts on this very interface. The index alone does not say so: an interface of
 * another namespace may have the same. */
bool xdp_link_is_on(int link, uint32_t ifindex);

/* Where the program shall be. */
struct xdp_place {
	const char *interface;
	uint32_t ifindex;
	const char *pin; /* of the link */
	bool generic_only; /* not in the driver, even where it could */
};

struct xdp_attached {
	int link; /* the caller's */
	enum xdp_mode mode;
	int refused; /* why the driver did not take the program; 0 if it did, or was not asked */
};

/*
 * Have the program at its place: by the link that is pinned there, if it is good for it, else by a
 * new one, in the driver where that can. One that is pinned outside the driver is taken off first,
 * since the driver may take the program by now. The sentences name no interface. -FL_ECONFLICT:
 * another XDP program is on it.
 */
must_check int xdp_attach(const struct xdp_place *place, int program,
			  struct xdp_attached *ret_attached, struct error *err);

/* Detach and unpin the link, if it is one of `type`; anything else stays. */
must_check int xdp_remove(const char *pin, enum bpf_link_type type, struct error *err);

/* Whether a pin of this name, if it is a link, shall go. */
typedef bool xdp_goes(const char *name, const void *context);

/* Do so with all XDP links in the folder that shall go; no such folder is fine. */
must_check int xdp_sweep(const char *folder, xdp_goes *goes, const void *context,
			 struct error *err);

#endif
