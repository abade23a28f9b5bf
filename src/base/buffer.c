/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include "base/error.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_init(struct buffer *buffer, size_t cap)
{
	*buffer = (struct buffer){.cap = cap};
}

void buffer_done(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct buffer){.cap = buffer->cap};
}

void buffer_clear(struct buffer *buffer)
{
	buffer->length = 0;
	buffer->status = 0;
	if (buffer->data)
		buffer->data[0] = '\0';
}

/* Room for `length` more bytes and a NUL. Sums are tested by subtraction, so they cannot wrap. */
static int buffer_reserve(struct buffer *buffer, size_t length)
{
	if (buffer->status)
		return buffer->status;
	size_t cap = buffer->cap ? buffer->cap : SIZE_MAX / 2;
	if (length > cap - buffer->length)
		return buffer->status = -FL_ELIMIT;

	size_t need = buffer->length + length + 1;
	if (need <= buffer->capacity)
		return 0;
	size_t capacity = buffer->capacity ? buffer->capacity : 256;
	while (capacity < need)
		capacity *= 2;
	char *data = realloc(buffer->data, capacity);
	if (!data)
		return buffer->status = -ENOMEM;
	buffer->data = data;
	buffer->capacity = capacity;
	return 0;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
	if (buffer_reserve(buffer, length))
		return;
	if (length)
		memcpy(buffer->data + buffer->length, bytes, length);
	buffer->length += length;
	buffer->data[buffer->length] = '\0';
}

void buffer_puts(struct buffer *buffer, const char *text)
{
	buffer_append(buffer, text, strlen(text));
}

void buffer_putc(struct buffer *buffer, char c)
{
	buffer_append(buffer, &c, 1);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (length < 0 || buffer_reserve(buffer, (size_t)length))
		return;

	va_start(arguments, format);
	vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, arguments);
	va_end(arguments);
	buffer->length += (size_t)length;
}

void buffer_consume(struct buffer *buffer, size_t length)
{
	ASSERT(length <= buffer->length);
	if (!length)
		return;
	memmove(buffer->data, buffer->data + length, buffer->length - length);
	buffer->length -= length;
	buffer->data[buffer->length] = '\0';
}

char *buffer_take(struct buffer *buffer)
{
	if (buffer->status || buffer_reserve(buffer, 0))
		return NULL;
	char *data = buffer->data;
	data[buffer->length] = '\0';
	*buffer = (struct buffer){.cap = buffer->cap};
	return data;
}
