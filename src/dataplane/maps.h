/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program, its maps in this process's memory, and their pins. Each process fills maps of its
 * own, which are pinned in <root>/<layout digest>_new/ before it attaches, and take the place of
 * whatever is in <root>/<layout digest>/ after that. A process that ends in between leaves both.
 */
#ifndef FAIRLEAD_DATAPLANE_MAPS_H
#define FAIRLEAD_DATAPLANE_MAPS_H

#include "abi/edge.h"
#include "kernel/layout.h"
#include "kernel/pins.h"

#include <stdint.h>

struct edge_bpf;

#define EDGE_FOLDER 32 /* longest name of a folder of maps */

/* Where an edge's pins lie. */
struct edge_pins {
	char root[PINS_ROOT_BYTES];
	char layout[LAYOUT_HEX]; /* of this build; known once its maps are open */
	int lock; /* of the root; owned; -1 until it is locked */
	bool in_place; /* this process's maps are in the folder of their layout */
};

/* The loaded program and its maps, mapped into memory: the program reads the same pages. All but
 * the ring pages, which are nearly all there is and are seldom looked at. */
struct edge_maps {
	struct edge_bpf *skeleton; /* owned; NULL: not open */
	struct edge_map_settings *settings;
	uint64_t *spans;
	uint64_t *addresses;
	struct edge_map_descriptor *descriptors;
	struct edge_map_backend *backends;
	int spans_fd, addresses_fd, descriptors_fd, pages_fd, backends_fd;
	int counters_fd, drops_fd, fence_fd, passes_fd;
	uint32_t page_count, descriptor_count; /* entries of the maps that grow */
};

/* Lock the root, which is made if need be. */
must_check int maps_lock(struct edge_pins *pins, struct error *err);

/* Load the program with maps of the sizes that an earlier process's had, all empty; tells `pins`
 * the layout. maps_close() after a failure, too. */
must_check int maps_open(struct edge_maps *maps, struct edge_pins *pins, struct error *err);

/*
 * Load it once more, with maps of these sizes in the place of those that are smaller, which get the
 * old ones' entries but for what is counted; all others are the present ones. Nothing is left after
 * a failure.
 */
must_check int maps_open_larger(const struct edge_maps *present, uint32_t pages,
				uint32_t descriptors, struct edge_maps *ret_maps,
				struct error *err);

void maps_close(struct edge_maps *maps);

/* Packets that another edge passed on begin anew in this program. After larger maps are in force;
 * maps_open() does it itself. */
must_check int maps_aim(const struct edge_maps *maps, struct error *err);

/* The XDP program, and the one that tells it that the daemon lives. Owned by `maps`. */
int maps_program(const struct edge_maps *maps);
int maps_heartbeat_program(const struct edge_maps *maps);

/* The digest of this build's object, in hex. */
void maps_build_id(char text[LAYOUT_HEX]);

/* The folder of maps that are not in force yet. */
void maps_new_folder(const struct edge_pins *pins, char name[EDGE_FOLDER]);

/* Pin the maps there. */
must_check int maps_pin(const struct edge_maps *maps, const struct edge_pins *pins,
			struct error *err);

/* Remove all other maps, and give these the folder of their layout. */
must_check int maps_take_place(struct edge_pins *pins, struct error *err);

/* The maps that grew: in the place of the smaller ones' pins. */
void maps_exchange_pins(const struct edge_maps *maps, const struct edge_pins *pins,
			const struct edge_maps *before);

/* Pin again what of the maps somebody unpinned; `ret_name` becomes the first such pin, if it is "".
 */
must_check int maps_repin(const struct edge_maps *maps, struct edge_pins *pins,
			  char ret_name[PINS_PATH_BYTES], struct error *err);
/* Pin `fd` as <root>/<folder>/<leaf> unless something is there; `ret_name` likewise. */
must_check int maps_repin_one(struct edge_pins *pins, int fd, const char *folder, const char *leaf,
			      char ret_name[PINS_PATH_BYTES], struct error *err);

/* Remove the maps, and the programs, that any build has pinned below the root, but the folder
 * `keep` (NULL: none). */
must_check int maps_sweep(const char *root, const char *keep, struct error *err);

#endif
