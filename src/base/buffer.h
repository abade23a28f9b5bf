/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffer: bytes that grow up to a cap. The first failure (no memory, over the cap) sticks in
 * `status`, later appends do nothing, and the caller checks once at the end.
 */
#ifndef FAIRLEAD_BASE_BUFFER_H
#define FAIRLEAD_BASE_BUFFER_H

#include <stddef.h>

struct buffer {
	char *data; /* owned; NUL-terminated after each append (the NUL is not in `length`) */
	size_t length;
	size_t capacity;
	size_t cap; /* most bytes it may hold; 0 means none */
	int status; /* 0, -ENOMEM or -FL_ELIMIT */
};

void buffer_init(struct buffer *buffer, size_t cap);
void buffer_done(struct buffer *buffer);
void buffer_clear(struct buffer *buffer); /* keeps the memory; also clears `status` */

void buffer_append(struct buffer *buffer, const void *bytes, size_t length);
void buffer_puts(struct buffer *buffer, const char *text);
void buffer_putc(struct buffer *buffer, char c);
void buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Drop the first `length` bytes, which must be there. */
void buffer_consume(struct buffer *buffer, size_t length);

/* Move the bytes out: the caller owns the result (free()); NULL if `status` is not 0. */
char *buffer_take(struct buffer *buffer);

#endif
