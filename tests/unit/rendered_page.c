/* SPDX-License-Identifier: Apache-2.0 */
#include "rendered_page.h"

#include "base/disk.h"
#include "base/file.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static int compare(const struct buffer *bytes, const char *path, const char *source,
		   const char *target)
{
	struct buffer file;
	struct error err = {0};
	buffer_init(&file, 0);
	int result = file_read(path, &file, &err);
	if (result < 0)
		fprintf(stderr, "%s\n", err.text);
	else if (file.length != bytes->length || memcmp(file.data, bytes->data, bytes->length) != 0)
		result = -FL_ECORRUPT;
	buffer_done(&file);
	if (result < 0)
		fprintf(stderr,
			"%s is not what the tables in %s say:\n"
			"run `ninja -C build/dev %s` and commit the result\n",
			path, source, target);
	return result;
}

int rendered_file(const struct buffer *bytes, const char *path, bool checks, const char *source,
		  const char *target)
{
	if (bytes->status)
		return bytes->status;
	return checks ? compare(bytes, path, source, target)
		      : disk_write_durably(path, bytes->data, bytes->length, 0644, NULL);
}

int rendered_page(int argc, char **argv, void (*render)(struct buffer *page), const char *source,
		  const char *target)
{
	struct buffer page;
	bool checks = argc == 3 && !strcmp(argv[1], "--check");
	if (argc != 3 || (!checks && strcmp(argv[1], "--write") != 0)) {
		fprintf(stderr, "usage: %s --write|--check FILE\n", argv[0]);
		return 1;
	}
	buffer_init(&page, 0);
	render(&page);
	int result = rendered_file(&page, argv[2], checks, source, target);
	buffer_done(&page);
	if (checks)
		printf("1..1\n%s 1 - the page says what the tables say\n",
		       result ? "not ok" : "ok");
	return result ? 1 : 0;
}

void rendered_sentence(struct buffer *page, const char *format)
{
	while (*format) {
		const char *conversion = strchr(format, '%');
		if (!conversion)
			break;
		buffer_append(page, format, (size_t)(conversion - format));
		buffer_puts(page, "…");
		format = conversion + 1;
		format += strspn(format, ".0123456789zl");
		format += isalpha((unsigned char)*format) != 0;
	}
	buffer_puts(page, format);
}
