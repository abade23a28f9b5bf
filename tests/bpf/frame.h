/* SPDX-License-Identifier: Apache-2.0 */
/* A frame with its link header, as the tests of both programs compare and print it. */
#ifndef FAIRLEAD_TESTS_FRAME_H
#define FAIRLEAD_TESTS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FRAME_BYTES 2048
#define FRAME_LINK 14 /* bytes of the Ethernet header, which every frame has */

struct frame {
	uint8_t bytes[FRAME_BYTES];
	size_t length;
};

static inline bool frame_equal(const struct frame *a, const struct frame *b)
{
	return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

/* In hexadecimal: the link header on a line of its own, then 16 bytes a line. */
static inline void frame_print(FILE *report, const char *title, const struct frame *frame)
{
	fprintf(report, "%s, %zu bytes:", title, frame->length);
	for (size_t i = 0; i < frame->length; i++)
		fprintf(report, "%s%02x", i % 16 == FRAME_LINK ? "\n  " : " ", frame->bytes[i]);
	fputc('\n', report);
}

#endif
