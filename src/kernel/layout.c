/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/layout.h"

#include "base/buffer.h"
#include "base/digest.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <string.h>

#define LAYOUT_DEPTH 16 /* records within records */
#define LAYOUT_BYTES 65536 /* of the text */

static void describe(const struct btf *btf, uint32_t id, struct buffer *text, unsigned depth);

static void describe_members(const struct btf *btf, const struct btf_type *type,
			     struct buffer *text, unsigned depth)
{
	const struct btf_member *members = btf_members(type);
	buffer_printf(text, "%s %u{", btf_is_union(type) ? "union" : "struct", type->size);
	for (uint32_t i = 0; i < btf_vlen(type); i++) {
		buffer_printf(text, "%s@%u:", btf__name_by_offset(btf, members[i].name_off),
			      btf_member_bit_offset(type, i));
		describe(btf, members[i].type, text, depth + 1);
		buffer_putc(text, ';');
	}
	buffer_putc(text, '}');
}

static void describe_section(const struct btf *btf, const struct btf_type *type,
			     struct buffer *text, unsigned depth)
{
	const struct btf_var_secinfo *variables = btf_var_secinfos(type);
	buffer_puts(text, "section{");
	for (uint32_t i = 0; i < btf_vlen(type); i++) {
		const struct btf_type *variable = btf__type_by_id(btf, variables[i].type);
		buffer_printf(text, "%s@%u:", btf__name_by_offset(btf, variable->name_off),
			      variables[i].offset);
		describe(btf, variable->type, text, depth + 1);
		buffer_putc(text, ';');
	}
	buffer_putc(text, '}');
}

static void describe(const struct btf *btf, uint32_t id, struct buffer *text, unsigned depth)
{
	int resolved = btf__resolve_type(btf, id);
	const struct btf_type *type =
	    resolved < 0 ? NULL : btf__type_by_id(btf, (uint32_t)resolved);

	if (!type || depth > LAYOUT_DEPTH) {
		text->status = -FL_ELIMIT;
		return;
	}
	if (btf_is_composite(type)) {
		describe_members(btf, type, text, depth);
	} else if (btf_is_datasec(type)) {
		describe_section(btf, type, text, depth);
	} else if (btf_is_array(type)) {
		buffer_printf(text, "[%u]", btf_array(type)->nelems);
		describe(btf, btf_array(type)->type, text, depth + 1);
	} else {
		buffer_printf(text, "%u/%u", btf_kind(type), type->size);
	}
}

static void describe_map(const struct btf *btf, const struct bpf_map *map, layout_grows *grows,
			 struct buffer *text)
{
	const char *name = bpf_map__name(map);
	bool has_size = !grows || !grows(name);
	buffer_printf(text, "%s %u %u %u %u %u ", name, bpf_map__type(map), bpf_map__key_size(map),
		      bpf_map__value_size(map), has_size ? bpf_map__max_entries(map) : 0,
		      bpf_map__map_flags(map));
	if (bpf_map__btf_key_type_id(map)) /* global data has none */
		describe(btf, bpf_map__btf_key_type_id(map), text, 0);
	buffer_putc(text, ' ');
	describe(btf, bpf_map__btf_value_type_id(map), text, 0);
	buffer_putc(text, '\n');
}

int layout_digest(const struct bpf_object *const *objects, size_t count, layout_grows *grows,
		  char text[LAYOUT_HEX], struct error *err)
{
	struct buffer description;
	int result = 0;
	buffer_init(&description, LAYOUT_BYTES);
	for (size_t i = 0; i < count && result == 0; i++) {
		const struct btf *btf = bpf_object__btf(objects[i]);
		struct bpf_map *map;
		if (!btf)
			result = error_set(err, -FL_EUNSUPPORTED,
					   "the BPF object of this build carries no type "
					   "information; build it with clang -g");
		bpf_object__for_each_map(map, objects[i])
		{
			if (btf)
				describe_map(btf, map, grows, &description);
		}
	}
	if (result == 0 && description.status < 0)
		result =
		    error_set(err, description.status, "the maps' layout cannot be described: %s",
			      error_text(description.status));
	if (result == 0) {
		struct digest digest;
		digest_of(description.data, description.length, &digest);
		hex_encode(digest.bytes, (LAYOUT_HEX - 1) / 2, text);
	}
	buffer_done(&description);
	return result;
}
