/* SPDX-License-Identifier: Apache-2.0 */
#include "golden_findings.h"
#include "base/disk.h"
#include "base/error.h"
#include "base/file.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_BYTES (16u << 20)
#define SUFFIX ".yaml"

struct buffer golden_read(const char *path)
{
	struct buffer bytes;
	struct error err;
	buffer_init(&bytes, MAX_BYTES);
	if (file_read(path, &bytes, &err) < 0)
		fail_msg("%s", err.text);
	buffer_puts(&bytes, "");
	return bytes;
}

static int is_yaml(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');
	return dot && strcmp(dot, SUFFIX) == 0;
}

static void check(const char *folder, const char *name, golden_refuse_fn *refuse)
{
	char path[512], expected_path[512];
	struct buffer shown;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	snprintf(expected_path, sizeof(expected_path), "%s/%.*s.expected", folder,
		 (int)(strlen(name) - strlen(SUFFIX)), name);
	struct buffer bytes = golden_read(path);
	buffer_init(&shown, 0);
	refuse(bytes.data, bytes.length, name, &shown);
	if (getenv("FAIRLEAD_UPDATE_GOLDEN"))
		assert_int_equal(
		    disk_write_durably(expected_path, shown.data, shown.length, 0644, NULL), 0);
	struct buffer expected = golden_read(expected_path);
	assert_string_equal(shown.data, expected.data);
	buffer_done(&expected);
	buffer_done(&shown);
	buffer_done(&bytes);
}

void golden_check_findings(const char *folder, int least, golden_refuse_fn *refuse)
{
	struct dirent **entries;
	int count = scandir(folder, &entries, is_yaml, alphasort);
	assert_true(count >= least);
	for (int i = 0; i < count; i++) {
		check(folder, entries[i]->d_name, refuse);
		free(entries[i]);
	}
	free(entries);
}
