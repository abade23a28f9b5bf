/* SPDX-License-Identifier: Apache-2.0 */
#include "state/crashes.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_BYTES 256
#define FORMAT "fairlead starts 1\ncrashes %u\nsequence %llu\nprogram %s\n"

/* An installed upgrade is another file, and so is a build. */
static void name_program(char program[CRASHES_PROGRAM_BYTES])
{
	struct stat status = {0};
	(void)stat("/proc/self/exe", &status); /* all zero then, which is as good a name */
	snprintf(program, CRASHES_PROGRAM_BYTES, "%llx-%llx-%llx",
		 (unsigned long long)status.st_ino, (unsigned long long)status.st_size,
		 (unsigned long long)status.st_mtim.tv_sec);
}

static void parse(struct crashes *crashes, const char *text)
{
	unsigned count;
	unsigned long long sequence;
	char program[CRASHES_PROGRAM_BYTES];
	char again[FILE_BYTES];
	if (sscanf(text, "fairlead starts 1 crashes %9u sequence %19llu program %63s", &count,
		   &sequence, program) != 3)
		return;
	snprintf(again, sizeof(again), FORMAT, count, sequence, program);
	if (strcmp(again, text) != 0 || strcmp(program, crashes->program) != 0)
		return;
	crashes->count = count;
	crashes->sequence = sequence;
}

void crashes_read(struct crashes *crashes, const struct disk *disk, const char *folder)
{
	struct buffer text;
	*crashes = (struct crashes){.disk = disk};
	name_program(crashes->program);
	snprintf(crashes->path, sizeof(crashes->path), "%s/starts", folder);
	buffer_init(&text, FILE_BYTES - 1);
	if (disk->read(disk->context, crashes->path, &text) == 0 && text.data)
		parse(crashes, text.data);
	buffer_done(&text);
}

static void put(const struct crashes *crashes, unsigned count, uint64_t sequence)
{
	char text[FILE_BYTES];
	int length = snprintf(text, sizeof(text), FORMAT, count, (unsigned long long)sequence,
			      crashes->program);
	int result = disk_replace(crashes->disk, crashes->path, text, (size_t)length, 0600, NULL);
	(void)result;
}

void crashes_expect(const struct crashes *crashes, uint64_t sequence)
{
	put(crashes, crashes->count + 1, sequence);
}

void crashes_take_back(const struct crashes *crashes)
{
	put(crashes, crashes->count, crashes->sequence);
}

void crashes_forget(struct crashes *crashes)
{
	crashes->count = 0;
	crashes->sequence = 0;
	put(crashes, 0, 0);
}
