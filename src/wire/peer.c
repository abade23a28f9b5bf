/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/peer.h"

#define ROW_OF_FIELD(of, kind, name, least, most, level, meaning)                                  \
	{#name, WIRE_##kind, level, least, most, offsetof(struct of, name), NULL, meaning},
#define ROW_OF_LIST(of, row, name, least, most, level, meaning)                                    \
	{#name, WIRE_LIST, level, least, most, offsetof(struct of, name), &row##_shape, meaning},

#define X(id, name, fields, meaning)                                                               \
	static const struct wire_field name##_row_fields[] = {                                     \
	    fields(ROW_OF_FIELD, ROW_OF_LIST, peer_##name)};                                       \
	static const struct wire_shape name##_shape = {                                            \
	    #name, meaning, sizeof(struct peer_##name), name##_row_fields,                         \
	    sizeof(name##_row_fields) / sizeof(struct wire_field)};
PEER_ROWS(X)
#undef X

#define X(number, id, name, level, most, fields, meaning)                                          \
	static const struct wire_field name##_fields[] = {                                         \
	    fields(ROW_OF_FIELD, ROW_OF_LIST, peer_##name)};
PEER_MESSAGES(X)
#undef X

static const struct wire_message messages[] = {
#define X(number, id, name, level, most, fields, meaning)                                          \
	{number,                                                                                   \
	 level,                                                                                    \
	 most,                                                                                     \
	 {#name, meaning, sizeof(struct peer_##name), name##_fields,                               \
	  sizeof(name##_fields) / sizeof(struct wire_field)}},
    PEER_MESSAGES(X)
#undef X
};

const struct wire_table peer_table = {
    .level = PEER_LEVEL,
    .most = PEER_FRAME_MAX,
    .messages = messages,
    .count = sizeof(messages) / sizeof(*messages),
};

/* All structs of the union begin where `hello` does. */
int peer_encode(const struct peer_message *message, struct buffer *out, struct error *err)
{
	return wire_encode(&peer_table, message->number, &message->hello, out, err);
}

int peer_frame_bytes(const void *bytes, size_t length, size_t *ret_bytes, struct error *err)
{
	return wire_frame_bytes(&peer_table, bytes, length, ret_bytes, err);
}

int peer_decode(const void *frame, size_t length, struct arena *arena,
		struct peer_message *ret_message, struct error *err)
{
	unsigned number = 0;
	struct peer_message message = {0};
	int result = wire_decode(&peer_table, frame, length, arena, &number, &message.hello, err);
	if (result < 0)
		return result;
	message.number = (enum peer_number)number;
	*ret_message = message;
	return 0;
}
