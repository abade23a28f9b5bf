/* SPDX-License-Identifier: Apache-2.0 */
#include "state/mark.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SLOTS 2u
#define SLOT_BYTES ((size_t)4096)
#define TEXT_BYTES 256

/* What a program that knows only the first of them writes, and reads: it has no peers. */
#define LEVEL_ALONE 1u
#define LEVEL_PEERS 2u

/* The line with its digest; the length. */
static int format(const struct mark_note *note, char text[TEXT_BYTES])
{
	struct digest check;
	char hex[DIGEST_HEX_BYTES];
	hex_encode(note->position.digest.bytes, DIGEST_BYTES, hex);
	int length =
	    snprintf(text, TEXT_BYTES, "fairlead mark %u %" PRIu64 " %s",
		     note->has_peers ? LEVEL_PEERS : LEVEL_ALONE, note->position.sequence, hex);
	digest_of(text, (size_t)length, &check);
	hex_encode(check.bytes, DIGEST_BYTES, hex);
	return length + snprintf(text + length, TEXT_BYTES - (size_t)length, " %s\n", hex);
}

/* There is one way to write a mark; anything else is none. */
static bool parse(const char *slot, struct mark_note *ret_note)
{
	struct mark_note note = {0};
	unsigned level;
	char line[TEXT_BYTES];
	char again[TEXT_BYTES];
	char hex[DIGEST_HEX_BYTES];
	memcpy(line, slot, sizeof(line));
	line[sizeof(line) - 1] = '\0';
	if (sscanf(line, "fairlead mark %1u %19" SCNu64 " %64s", &level, &note.position.sequence,
		   hex) != 3 ||
	    hex_decode(hex, note.position.digest.bytes, DIGEST_BYTES) < 0)
		return false;
	note.has_peers = level == LEVEL_PEERS;
	if (strncmp(line, again, (size_t)format(&note, again)) != 0)
		return false;
	*ret_note = note;
	return true;
}

int mark_read(struct mark *mark, const struct disk *disk, const char *folder)
{
	struct buffer bytes;
	*mark = (struct mark){.disk = disk};
	snprintf(mark->path, sizeof(mark->path), "%s/" MARK_FILE, folder);
	buffer_init(&bytes, SLOTS * SLOT_BYTES);
	int result = disk->read(disk->context, mark->path, &bytes);
	if (result == 0 && bytes.length == SLOTS * SLOT_BYTES) {
		mark->is_there = true;
		for (unsigned slot = 0; slot < SLOTS; slot++) {
			struct mark_note found;
			if (!parse(bytes.data + slot * SLOT_BYTES, &found) ||
			    found.position.sequence <= mark->newest.position.sequence)
				continue;
			mark->newest = found;
			mark->slot = slot;
		}
	}
	mark->is_damaged = result != -ENOENT && !mark->newest.position.sequence;
	buffer_done(&bytes);
	return result == -ENOMEM ? result : 0;
}

static int write_new(const struct mark *mark, const char *text, size_t length, struct error *err)
{
	char file[SLOTS * SLOT_BYTES] = {0};
	memcpy(file, text, length);
	return disk_replace(mark->disk, mark->path, file, sizeof(file), 0600, err);
}

int mark_write(struct mark *mark, const struct mark_note *note, struct error *err)
{
	char text[TEXT_BYTES];
	unsigned slot = mark->is_there ? (mark->slot + 1) % SLOTS : 0;
	if (note->position.sequence <= mark->newest.position.sequence)
		return 0;
	size_t length = (size_t)format(note, text);
	int result = -ENOENT;
	if (mark->is_there)
		result = mark->disk->update(mark->disk->context, mark->path,
					    (off_t)(slot * SLOT_BYTES), text, length);
	if (result == -ENOENT || mark->is_damaged) {
		slot = 0;
		result = write_new(mark, text, length, err);
	} else if (result < 0) {
		error_set(err, result, "%s: cannot write: %s", mark->path, error_text(result));
	}
	if (result < 0)
		return result;
	mark->is_there = true;
	mark->is_damaged = false;
	mark->newest = *note;
	mark->slot = slot;
	return 0;
}
