/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of kernel settings that a plane changed, and how each was before.
 *
 * It is the map `sysctls` below the plane's pin root, and so lives as long as the settings do: till
 * the next boot. A value is in it before ours is written, so that a crash at any point neither
 * loses the value nor takes ours for it; and only what still is as we set it is put back. An
 * interface that was made anew has values of its own, and a network namespace too: what was
 * recorded of another one is not put back.
 *
 * The map's format never changes, so that any build undoes what any other did.
 *
 * Settings are named by their path below /proc/sys, as in base/sysctl.h; all are below net/, and of
 * the network namespace of the thread. One thread; the lock of the pin root keeps others out.
 */
#ifndef FAIRLEAD_KERNEL_SYSCTL_JOURNAL_H
#define FAIRLEAD_KERNEL_SYSCTL_JOURNAL_H

#include "base/error.h"
#include "kernel/pins.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYSCTL_JOURNAL_ENTRIES 256
#define SYSCTL_PATH_BYTES 100 /* with "net/" */

/* An entry of the map. Earlier releases wrote the name and the value before, and zeros between. */
struct sysctl_saved {
	char name[SYSCTL_PATH_BYTES - 4]; /* below net/; "": an unused entry */
	uint64_t namespace; /* its cookie; 0: an earlier release's entry, to be put back anyhow */
	uint32_t ifindex; /* of the interface that it belongs to; 0: of none */
	int32_t ours; /* put back while it is this */
	char before[16]; /* decimal */
};

struct sysctl_journal {
	char root[PINS_ROOT_BYTES];
	int map; /* owned; -1 */
	uint64_t namespace;
	struct sysctl_saved *saved; /* owned; what the map holds: SYSCTL_JOURNAL_ENTRIES */
};

/* Open the journal below `pin_root`, or begin one. sysctl_journal_close() also after a failure. */
must_check int sysctl_journal_open(struct sysctl_journal *journal, const char *pin_root,
				   struct error *err);
/* The process's side alone: what is recorded stays. */
void sysctl_journal_close(struct sysctl_journal *journal);

/* Set it to `value`, unless it has it or the kernel, or the interface, has no such setting. */
must_check int sysctl_journal_set(struct sysctl_journal *journal, const char *path, int value,
				  struct error *err);

/* Record the value it has now, to be put back when it is `ours`: for what changes along with
 * another setting. What was recorded before stays. */
must_check int sysctl_journal_keep(struct sysctl_journal *journal, const char *path, int ours,
				   struct error *err);

/* Record `saved`, unless its setting is recorded already of the same interface. */
must_check int sysctl_journal_record(struct sysctl_journal *journal,
				     const struct sysctl_saved *saved, struct error *err);

/* Whether the setting of this path shall stay as we set it. */
typedef bool sysctl_journal_stays(const char *path, const void *context);

/*
 * Put back, and forget, what does not stay (`stays` NULL: everything), the last recorded first.
 * Goes on after a failure, and returns the first.
 */
must_check int sysctl_journal_restore(struct sysctl_journal *journal, sysctl_journal_stays *stays,
				      const void *context, struct error *err);

/* Put everything back and remove the journal. */
must_check int sysctl_journal_undo(struct sysctl_journal *journal, struct error *err);

/*
 * Take over the file in which earlier releases of the landing kept the same, and remove it; no such
 * file is fine. What it says of another boot or namespace is gone. -FL_ECORRUPT: it is not whole.
 */
must_check int sysctl_journal_take_over(struct sysctl_journal *journal, const char *file,
					struct error *err);

/*
 * The records in such a file's text (NUL-terminated), as many as `ret_saved` holds at most; none if
 * it is not of this boot and namespace. -FL_ECORRUPT. Pure.
 */
must_check int sysctl_file_parse(const char *text, const char *boot_id, uint64_t namespace,
				 struct sysctl_saved ret_saved[SYSCTL_JOURNAL_ENTRIES],
				 size_t *ret_count);

#endif
