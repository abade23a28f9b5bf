/* SPDX-License-Identifier: Apache-2.0 */
/* Loading BPF objects, and reading what their maps count. One thread. */
#ifndef FAIRLEAD_KERNEL_LOAD_H
#define FAIRLEAD_KERNEL_LOAD_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct bpf_object;

/* What a plane's programs take: LOAD_PERFMON as well where one compares pointers into packets. */
enum load_privileges { LOAD_PLAIN, LOAD_PERFMON };

/* Whether this process may load and attach programs; -FL_EPRIVILEGE says what `who` lacks. */
must_check int load_check_privileges(const char *who, enum load_privileges privileges,
				     struct error *err);

/*
 * Have the kernel take the object's maps and programs. `who` it is for, in sentences.
 * -FL_EPRIVILEGE, or -FL_EUNSUPPORTED with what the verifier, or libbpf, said last.
 */
must_check int load_object(struct bpf_object *object, const char *who, struct error *err);

/* The id of a loaded program; 0 or a negative errno. */
must_check int load_program_id(int program_fd, uint32_t *ret_id);

/* The values of all CPUs of one entry of a map, `bytes` each, a multiple of 8. The caller frees. */
must_check int load_read_per_cpu(int map_fd, uint32_t key, size_t bytes, uint64_t **ret_values,
				 size_t *ret_cpus);

#endif
