/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pins: what of a plane lies on the BPF file system, below a root of its own, and so outlives the
 * process. Maps lie in a folder named after their layout's digest (layout.h). Other programs pin
 * where they like: what is not surely ours stays. Any thread; the root's lock keeps others out.
 */
#ifndef FAIRLEAD_KERNEL_PINS_H
#define FAIRLEAD_KERNEL_PINS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bpf_map;

#define PINS_ROOT_BYTES 256
#define PINS_PATH_BYTES 512

/* That it is an absolute path of less than PINS_ROOT_BYTES, which the functions below rely on. */
must_check int pins_check_root(const char *root, struct error *err);

/* "<root>/<name>[/<leaf>]"; `name` and `leaf` together are shorter than PINS_ROOT_BYTES. */
void pins_path(char path[PINS_PATH_BYTES], const char *root, const char *name, const char *leaf);

/* The last part of a map's pin: bpffs refuses names with dots, which global data's map has. */
const char *pins_map_name(const struct bpf_map *map);

/* That `path`, or the nearest folder above it that exists, lies on a BPF file system:
 * -FL_EUNAVAILABLE. */
must_check int pins_check_filesystem(const char *path, struct error *err);

/* Make the root if need be, and lock it for the life of `ret_lock`. `what` it is, for the sentence
 * of -EBUSY. */
must_check int pins_lock_root(const char *root, const char *what, int *ret_lock, struct error *err);

/* Open the array that is pinned as <root>/<name>, or make one. The caller owns `ret_fd`. */
must_check int pins_open_array(const char *root, const char *name, size_t value_bytes,
			       uint32_t entries, int *ret_fd, struct error *err);

#define PINS_STAGES "stages"

/* The same for an array of one program, <root>/PINS_STAGES: the stage that takes what another one
 * does not, where two planes share interfaces. */
must_check int pins_open_stages(const char *root, int *ret_fd, struct error *err);

/* Remove the pin, if it is there. */
must_check int pins_remove(const char *root, const char *name, struct error *err);

/* Remove a folder and the pins in it. */
must_check int pins_remove_folder(const char *root, const char *name, struct error *err);

/*
 * Remove the folders of all layouts but `keep` (NULL: none), with or without `suffix` after their
 * digest, that hold a pin whose name begins like one of `marks` (NULL-terminated), or nothing.
 */
must_check int pins_sweep(const char *root, const char *suffix, const char *keep,
			  const char *const *marks, struct error *err);

/* Whether it is a layout's digest, followed by `suffix`. */
bool pins_is_layout(const char *name, const char *suffix);

/* Remove the root, unless others keep pins there or it is a mount point. */
must_check int pins_remove_root(const char *root, struct error *err);

#endif
