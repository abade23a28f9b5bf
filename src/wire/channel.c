/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/channel.h"

#define ROW_OF_FIELD(of, kind, name, least, most, level, meaning)                                  \
	{#name, WIRE_##kind, level, least, most, offsetof(struct of, name), NULL, meaning},
#define ROW_OF_LIST(of, row, name, least, most, level, meaning)                                    \
	{#name, WIRE_LIST, level, least, most, offsetof(struct of, name), &row##_shape, meaning},

#define X(id, name, fields, meaning)                                                               \
	static const struct wire_field name##_row_fields[] = {                                     \
	    fields(ROW_OF_FIELD, ROW_OF_LIST, channel_##name)};                                    \
	static const struct wire_shape name##_shape = {                                            \
	    #name, meaning, sizeof(struct channel_##name), name##_row_fields,                      \
	    sizeof(name##_row_fields) / sizeof(struct wire_field)};
CHANNEL_ROWS(X)
#undef X

#define X(number, id, name, level, most, fields, meaning)                                          \
	static const struct wire_field name##_fields[] = {                                         \
	    fields(ROW_OF_FIELD, ROW_OF_LIST, channel_##name)};
CHANNEL_MESSAGES(X)
#undef X

static const struct wire_message messages[] = {
#define X(number, id, name, level, most, fields, meaning)                                          \
	{number,                                                                                   \
	 level,                                                                                    \
	 most,                                                                                     \
	 {#name, meaning, sizeof(struct channel_##name), name##_fields,                            \
	  sizeof(name##_fields) / sizeof(struct wire_field)}},
    CHANNEL_MESSAGES(X)
#undef X
};

const struct wire_table channel_table = {
    .level = CHANNEL_LEVEL,
    .most = CHANNEL_FRAME_MAX,
    .messages = messages,
    .count = sizeof(messages) / sizeof(*messages),
};

/* All structs of the union begin where `identity` does. */
int channel_encode(const struct channel_message *message, struct buffer *out, struct error *err)
{
	return wire_encode(&channel_table, message->number, &message->identity, out, err);
}

int channel_frame_bytes(const void *bytes, size_t length, size_t *ret_bytes, struct error *err)
{
	return wire_frame_bytes(&channel_table, bytes, length, ret_bytes, err);
}

int channel_decode(const void *frame, size_t length, struct arena *arena,
		   struct channel_message *ret_message, struct error *err)
{
	unsigned number = 0;
	struct channel_message message = {0};
	int result =
	    wire_decode(&channel_table, frame, length, arena, &number, &message.identity, err);
	if (result < 0)
		return result;
	message.number = (enum channel_number)number;
	*ret_message = message;
	return 0;
}
