/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_random.h"

#include "base/netaddr.h"

#include <string.h>

/* The ends of a range are where faults lie. */
static uint64_t amount_between(struct random *random, uint64_t least, uint64_t most)
{
	switch (random_below(random, 4)) {
	case 0:
		return least;
	case 1:
		return most;
	default:
		return most - least == UINT64_MAX ? random_u64(random)
						  : least + random_below(random, most - least + 1);
	}
}

static size_t length_of(struct random *random, const struct wire_field *field, size_t usual)
{
	uint64_t most = field->most < usual ? field->most : usual;
	return (size_t)amount_between(random, field->least,
				      most < field->least ? field->least : most);
}

static char *random_text(struct random *random, const struct wire_field *field, size_t usual,
			 struct arena *arena)
{
	static const char name_characters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	size_t length = length_of(random, field, usual);
	char *text = arena_alloc(arena, length + 1);
	ASSERT(text);
	for (size_t i = 0; i < length; i++) {
		if (field->kind == WIRE_NAME)
			text[i] = name_characters[random_below(random,
							       sizeof(name_characters) - 2 + !!i)];
		else
			text[i] = (char)('!' + random_below(random, '~' - '!' + 1));
	}
	/* Two bytes of UTF-8 and a space, which only a TEXT may hold. */
	if (field->kind == WIRE_TEXT && length > 2)
		memcpy(text + length - 3, " \xc3\xa4", 3);
	return text;
}

static void random_address(struct random *random, bool none, struct ip_address *address)
{
	static const uint8_t families[] = {IP_V4, IP_V6, IP_NONE};
	address->family = families[random_below(random, none ? 3 : 2)];
	if (address->family)
		random_fill(random, address->bytes, ip_family_bits(address->family) / 8);
}

void wire_random_fill(struct random *random, const struct wire_shape *shape, size_t most_items,
		      size_t most_bytes, struct arena *arena, void *object)
{
	for (size_t i = 0; i < shape->field_count; i++) {
		const struct wire_field *field = &shape->fields[i];
		void *member = (char *)object + field->offset;
		switch (field->kind) {
		case WIRE_FLAG:
			*(bool *)member = random_below(random, 2) == 1;
			break;
		case WIRE_NUMBER:
			*(uint64_t *)member = amount_between(random, field->least, field->most);
			break;
		case WIRE_TEXT:
		case WIRE_NAME:
		case WIRE_KEY:
			*(const char **)member = random_text(random, field, most_bytes, arena);
			break;
		case WIRE_BYTES: {
			size_t length = length_of(random, field, most_bytes);
			char *bytes = arena_alloc(arena, length + 1);
			ASSERT(bytes);
			random_fill(random, bytes, length);
			*(struct wire_bytes *)member =
			    (struct wire_bytes){.data = bytes, .length = length};
			break;
		}
		case WIRE_DIGEST:
			random_fill(random, member, 32);
			break;
		case WIRE_ADDRESS:
			random_address(random, !field->least, member);
			break;
		case WIRE_PREFIX: {
			struct ip_prefix *prefix = member;
			random_address(random, false, &prefix->address);
			prefix->length = (uint8_t)random_below(
			    random, ip_family_bits(prefix->address.family) + 1);
			ip_address_mask(&prefix->address, prefix->length);
			break;
		}
		case WIRE_LIST: {
			size_t count = length_of(random, field, most_items);
			char *items = count ? arena_array(arena, count, field->row->size) : NULL;
			ASSERT(items || !count);
			for (size_t n = 0; n < count; n++)
				wire_random_fill(random, field->row, most_items, most_bytes, arena,
						 items + n * field->row->size);
			const struct wire_list list = {.items = items, .count = count};
			memcpy(member, &list, sizeof(list));
			break;
		}
		}
	}
}
