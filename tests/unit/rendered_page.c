/* SPDX-License-Identifier: Apache-2.0 */
#include "rendered_page.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

static int compare(const struct buffer *page, const char *path)
{
	struct buffer file;
	struct error err = {0};
	buffer_init(&file, 0);
	int result = file_read(path, &file, &err);
	if (result < 0)
		fprintf(stderr, "%s\n", err.text);
	else if (file.length != page->length || memcmp(file.data, page->data, page->length) != 0)
		result = -FL_ECORRUPT;
	buffer_done(&file);
	return result;
}

int rendered_page(int argc, char **argv, void (*render)(struct buffer *page), const char *source,
		  const char *target)
{
	struct buffer page;
	int result = -FL_EUSAGE;
	buffer_init(&page, 0);
	render(&page);
	if (page.status) {
		result = page.status;
	} else if (argc == 3 && !strcmp(argv[1], "--check")) {
		result = compare(&page, argv[2]);
		printf("1..1\n%s 1 - the page says what the tables say\n",
		       result ? "not ok" : "ok");
		if (result)
			fprintf(stderr,
				"%s is not what the tables in %s say:\n"
				"run `ninja -C build/dev %s` and commit the result\n",
				argv[2], source, target);
	} else if (argc == 3 && !strcmp(argv[1], "--write")) {
		result = file_write_durably(argv[2], page.data, page.length, 0644, NULL);
	}
	buffer_done(&page);
	if (result == -FL_EUSAGE)
		fprintf(stderr, "usage: %s --write|--check FILE\n", argv[0]);
	return result ? 1 : 0;
}
