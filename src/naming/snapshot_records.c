/* SPDX-License-Identifier: Apache-2.0 */
/* The records of a snapshot that is being built, in wire form. */
#include "naming/snapshot_builder.h"

void snapshot_put_u16(struct snapshot_builder *b, unsigned value)
{
	uint8_t bytes[2];
	dns_put_u16(bytes, value);
	buffer_append(&b->bytes, bytes, sizeof(bytes));
}

void snapshot_put_u32(struct snapshot_builder *b, uint32_t value)
{
	uint8_t bytes[4];
	dns_put_u32(bytes, value);
	buffer_append(&b->bytes, bytes, sizeof(bytes));
}

struct naming_piece snapshot_piece_begin(const struct snapshot_builder *b)
{
	return (struct naming_piece){
	    .offset = (uint32_t)b->bytes.length,
	    .patches = (uint32_t)(b->patches.length / sizeof(uint16_t)),
	};
}

void snapshot_piece_end(const struct snapshot_builder *b, struct naming_piece *piece)
{
	piece->length = (uint16_t)(b->bytes.length - piece->offset);
}

void snapshot_put_name(struct snapshot_builder *b, struct naming_piece *piece,
		       const struct dns_name *name)
{
	int below = dns_name_below(name, &b->zone);
	if (below < 0) {
		buffer_append(&b->bytes, name->bytes, name->length);
		return;
	}
	buffer_append(&b->bytes, name->bytes, (size_t)below);
	uint16_t patch = (uint16_t)(b->bytes.length - piece->offset);
	buffer_append(&b->patches, &patch, sizeof(patch));
	piece->patch_count++;
	snapshot_put_u16(b, 0);
}

size_t snapshot_record_begin(struct snapshot_builder *b, struct naming_piece *piece, unsigned type,
			     unsigned class, uint32_t ttl_s)
{
	snapshot_put_u16(b, type);
	snapshot_put_u16(b, class);
	snapshot_put_u32(b, ttl_s);
	snapshot_put_u16(b, 0);
	piece->records++;
	return b->bytes.length;
}

void snapshot_record_end(struct snapshot_builder *b, size_t data)
{
	if (b->bytes.status == 0)
		dns_put_u16((uint8_t *)b->bytes.data + data - 2,
			    (unsigned)(b->bytes.length - data));
}

void snapshot_put_question(struct snapshot_builder *b)
{
	/* It begins right behind the header. */
	snapshot_put_u16(b, 0xc000 | DNS_HEADER_BYTES);
}

struct naming_piece snapshot_put_soa(struct snapshot_builder *b, const struct dns_name *mname,
				     const struct dns_name *rname, uint32_t ttl_s)
{
	const struct naming_input *input = b->input;
	struct naming_piece piece = snapshot_piece_begin(b);
	snapshot_put_name(b, &piece, &b->zone);
	size_t data = snapshot_record_begin(b, &piece, DNS_SOA, DNS_CLASS_IN, ttl_s);
	snapshot_put_name(b, &piece, mname);
	snapshot_put_name(b, &piece, rname);
	snapshot_put_u32(b, input->serial);
	snapshot_put_u32(b, input->refresh_s);
	snapshot_put_u32(b, input->retry_s);
	snapshot_put_u32(b, input->expire_s);
	snapshot_put_u32(b, input->negative_ttl_s);
	snapshot_record_end(b, data);
	snapshot_piece_end(b, &piece);
	return piece;
}

struct naming_piece snapshot_put_hinfo(struct snapshot_builder *b)
{
	/* RFC 8482 §4.2: CPU "RFC8482", OS empty. */
	static const uint8_t data_bytes[] = {7, 'R', 'F', 'C', '8', '4', '8', '2', 0};
	struct naming_piece piece = snapshot_piece_begin(b);
	snapshot_put_question(b);
	size_t data = snapshot_record_begin(b, &piece, DNS_HINFO, DNS_CLASS_IN, b->input->ttl_s);
	buffer_append(&b->bytes, data_bytes, sizeof(data_bytes));
	snapshot_record_end(b, data);
	snapshot_piece_end(b, &piece);
	return piece;
}

struct naming_piece snapshot_put_chaos(struct snapshot_builder *b, const void *text, size_t length)
{
	struct naming_piece piece = snapshot_piece_begin(b);
	if (length == 0)
		return piece;
	uint8_t length_byte = (uint8_t)length;
	snapshot_put_question(b);
	size_t data = snapshot_record_begin(b, &piece, DNS_TXT, DNS_CLASS_CH, 0);
	buffer_append(&b->bytes, &length_byte, sizeof(length_byte));
	buffer_append(&b->bytes, text, length);
	snapshot_record_end(b, data);
	snapshot_piece_end(b, &piece);
	return piece;
}

struct naming_piece snapshot_put_addresses(struct snapshot_builder *b, const struct dns_name *owner,
					   const struct ip_address *addresses, size_t count,
					   enum ip_family family, uint32_t ttl_s)
{
	struct naming_piece piece = snapshot_piece_begin(b);
	for (size_t i = 0; i < count; i++) {
		if (addresses[i].family != family)
			continue;
		if (owner)
			snapshot_put_name(b, &piece, owner);
		else
			snapshot_put_question(b);
		size_t data = snapshot_record_begin(b, &piece, family == IP_V4 ? DNS_A : DNS_AAAA,
						    DNS_CLASS_IN, ttl_s);
		buffer_append(&b->bytes, addresses[i].bytes, ip_family_bits(family) / 8);
		snapshot_record_end(b, data);
	}
	snapshot_piece_end(b, &piece);
	return piece;
}
