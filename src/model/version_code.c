/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical bytes of a version, out and in. Reader and writer stand side by side, field by
 * field in the same order; the reader accepts exactly what the writer writes.
 */
#include "base/buffer.h"
#include "model/version.h"

#include <endian.h>
#include <string.h>

static const char FIRST_FORMAT[] = "fairlead version 1";
static const char SECOND_FORMAT[] = "fairlead version 2";
/* Of versions that have a backend without a landing; all others keep the second. */
static const char THIRD_FORMAT[] = "fairlead version 3";

/* --- writing --- */

static void put_number(struct buffer *buffer, uint64_t value, unsigned bytes)
{
	uint8_t out[8];
	for (unsigned i = 0; i < bytes; i++)
		out[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
	buffer_append(buffer, out, bytes);
}

static void put_text(struct buffer *buffer, const char *text)
{
	size_t length = strlen(text);
	put_number(buffer, length, 4);
	buffer_append(buffer, text, length);
}

static void put_address(struct buffer *buffer, const struct ip_address *address)
{
	put_number(buffer, address->family, 1);
	buffer_append(buffer, address->bytes, sizeof(address->bytes));
}

static void put_port(struct buffer *buffer, const struct service_port *port)
{
	put_number(buffer, port->protocol, 1);
	put_number(buffer, port->quic, 1);
	put_number(buffer, port->first, 2);
	put_number(buffer, port->last, 2);
}

static void put_backend(struct buffer *buffer, const struct backend *backend, bool is_third)
{
	put_text(buffer, backend->name);
	put_text(buffer, backend->site);
	put_address(buffer, &backend->address);
	put_number(buffer, backend->weight, 4);
	if (is_third)
		put_number(buffer, backend->no_landing, 1);
	put_number(buffer, backend->listener_count, 4);
	for (size_t i = 0; i < backend->listener_count; i++) {
		const struct backend_listener *listener = &backend->listeners[i];
		put_number(buffer, listener->protocol, 1);
		put_number(buffer, listener->service_port, 2);
		put_address(buffer, &listener->address);
		put_number(buffer, listener->port, 2);
	}
}

static void put_ordinals(struct buffer *buffer, const uint16_t *ordinals, uint32_t count)
{
	/* In chunks, for speed; rings are whole pages, so the last chunk is full too. */
	uint8_t chunk[512];
	size_t used = 0;
	for (uint32_t i = 0; i < count; i++) {
		chunk[used++] = (uint8_t)(ordinals[i] >> 8);
		chunk[used++] = (uint8_t)ordinals[i];
		if (used == sizeof(chunk)) {
			buffer_append(buffer, chunk, sizeof(chunk));
			used = 0;
		}
	}
}

static bool lacks_landing(const struct version *version)
{
	for (size_t i = 0; i < version->backend_count; i++) {
		if (version->backends[i].no_landing)
			return true;
	}
	return false;
}

void version_encode(const struct version *version, struct buffer *buffer)
{
	bool is_first = version->algorithm == VERSION_SIPHASH13_5TUPLE;
	bool is_third = !is_first && lacks_landing(version);
	put_text(buffer, is_first ? FIRST_FORMAT : is_third ? THIRD_FORMAT : SECOND_FORMAT);
	put_text(buffer, version->service);
	put_number(buffer, version->number, 4);
	put_number(buffer, version->algorithm, 1);
	if (!is_first)
		put_number(buffer, version->balance_by, 1);
	buffer_append(buffer, version->seed, sizeof(version->seed));
	buffer_append(buffer, version->base.bytes, DIGEST_BYTES);
	put_number(buffer, version->port_count, 4);
	for (size_t i = 0; i < version->port_count; i++)
		put_port(buffer, &version->ports[i]);
	put_number(buffer, version->backend_count, 4);
	for (size_t i = 0; i < version->backend_count; i++)
		put_backend(buffer, &version->backends[i], is_third);
	put_number(buffer, version->ring_count, 4);
	for (size_t i = 0; i < version->ring_count; i++) {
		const struct ring *ring = &version->rings[i].ring;
		put_text(buffer, version->rings[i].site);
		put_number(buffer, ring->length, 4);
		put_ordinals(buffer, ring->entries, ring->length);
		if (is_first)
			put_ordinals(buffer, version->rings[i].seconds, ring->length);
	}
}

int version_digest(const struct version *version, struct digest *ret_digest)
{
	struct buffer buffer;
	buffer_init(&buffer, 0);
	version_encode(version, &buffer);
	int status = buffer.status;
	if (!status)
		digest_of(buffer.data, buffer.length, ret_digest);
	buffer_done(&buffer);
	return status;
}

/* --- reading --- */

/* The first failure sticks in `status`; reads after it give zeroes, and the loops below end at
 * once because the counts they read are zero. */
struct code_reader {
	const uint8_t *at;
	size_t left;
	struct arena *arena;
	int status;
};

static void code_fail(struct code_reader *reader, int status)
{
	if (!reader->status)
		reader->status = status;
	reader->left = 0;
}

static void get_bytes(struct code_reader *reader, void *ret_bytes, size_t length)
{
	if (length > reader->left) {
		code_fail(reader, -FL_ECORRUPT);
		memset(ret_bytes, 0, length);
		return;
	}
	memcpy(ret_bytes, reader->at, length);
	reader->at += length;
	reader->left -= length;
}

static uint32_t get_number(struct code_reader *reader, unsigned bytes)
{
	uint8_t in[4];
	uint32_t value = 0;
	get_bytes(reader, in, bytes);
	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | in[i];
	return value;
}

/* A number that must lie between `least` and `most`. */
static uint32_t get_bounded(struct code_reader *reader, unsigned bytes, uint32_t least,
			    uint32_t most)
{
	uint32_t value = get_number(reader, bytes);
	if (value >= least && value <= most)
		return value;
	code_fail(reader, -FL_ECORRUPT);
	return 0;
}

static void *get_room(struct code_reader *reader, size_t count, size_t size)
{
	void *room = reader->status ? NULL : arena_array(reader->arena, count, size);
	if (!room)
		code_fail(reader, -ENOMEM);
	return room;
}

static const char *get_text(struct code_reader *reader)
{
	uint32_t length = get_bounded(reader, 4, 0, MODEL_NAME_BYTES - 1);
	char *text = get_room(reader, length + 1, 1);
	if (!text)
		return "";
	get_bytes(reader, text, length);
	if (memchr(text, '\0', length))
		code_fail(reader, -FL_ECORRUPT);
	return text;
}

static struct ip_address get_address(struct code_reader *reader)
{
	struct ip_address address = {.family = (uint8_t)get_number(reader, 1)};
	get_bytes(reader, address.bytes, sizeof(address.bytes));
	static const uint8_t zeroes[16];
	bool valid = address.family == IP_V6 ||
		     (address.family == IP_V4 && !memcmp(address.bytes + 4, zeroes, 12)) ||
		     (address.family == IP_NONE && !memcmp(address.bytes, zeroes, 16));
	if (!valid)
		code_fail(reader, -FL_ECORRUPT);
	return address;
}

static void get_port(struct code_reader *reader, struct service_port *port)
{
	port->protocol = (uint8_t)get_number(reader, 1);
	port->quic = get_bounded(reader, 1, 0, 1);
	port->first = (uint16_t)get_number(reader, 2);
	port->last = (uint16_t)get_number(reader, 2);
}

static void get_backend(struct code_reader *reader, struct backend *backend, bool is_third)
{
	backend->name = get_text(reader);
	backend->site = get_text(reader);
	backend->address = get_address(reader);
	backend->weight = get_bounded(reader, 4, 0, MODEL_MAX_WEIGHT);
	if (is_third)
		backend->no_landing = get_bounded(reader, 1, 0, 1);
	backend->listener_count = get_bounded(reader, 4, 0, MODEL_MAX_PORTS);
	backend->listeners =
	    get_room(reader, backend->listener_count, sizeof(backend->listeners[0]));
	for (size_t i = 0; !reader->status && i < backend->listener_count; i++) {
		struct backend_listener *listener = &backend->listeners[i];
		listener->protocol = (uint8_t)get_number(reader, 1);
		listener->service_port = (uint16_t)get_number(reader, 2);
		listener->address = get_address(reader);
		listener->port = (uint16_t)get_number(reader, 2);
	}
}

/* So many ordinals are read at once, which nearly all of a version's bytes are: a number of steps
 * that the compiler knows is one that it takes side by side. Divides the length of every ring. */
#define LANE 64u
_Static_assert(RING_PAGE_ENTRIES % LANE == 0, "rings are of whole lanes");

/* Whether one of them is no ordinal, and not `missing` either; 0 is an ordinal in any case. */
static bool get_lane(const uint8_t *restrict in, uint16_t *restrict out, uint16_t backends,
		     uint16_t missing)
{
	uint16_t strange = 0;
	for (unsigned i = 0; i < LANE; i++) {
		uint16_t ordinal;
		memcpy(&ordinal, in + 2 * (size_t)i, sizeof(ordinal));
		ordinal = be16toh(ordinal);
		out[i] = ordinal;
		strange |= (uint16_t)((ordinal >= backends) & (ordinal != missing));
	}
	return strange;
}

/* Ordinals of backends; a second candidate may also be missing. */
static uint16_t *get_ordinals(struct code_reader *reader, uint32_t count, size_t backends,
			      bool may_miss)
{
	/* Room only for what the bytes can hold. */
	if ((size_t)2 * count > reader->left) {
		code_fail(reader, -FL_ECORRUPT);
		return NULL;
	}
	if (reader->status) /* of a ring of another length, too */
		return NULL;
	uint16_t *ordinals = arena_space(reader->arena, count * sizeof(ordinals[0]));
	if (!ordinals) {
		code_fail(reader, -ENOMEM);
		return NULL;
	}
	bool strange = false;
	for (size_t i = 0; i < count; i += LANE)
		strange |= get_lane(reader->at + 2 * i, ordinals + i, (uint16_t)backends,
				    may_miss ? RING_NONE : 0);
	reader->at += (size_t)2 * count;
	reader->left -= (size_t)2 * count;
	if (strange)
		code_fail(reader, -FL_ECORRUPT);
	return ordinals;
}

static void get_ring(struct code_reader *reader, struct version_ring *ring, size_t backends,
		     bool has_seconds)
{
	ring->site = get_text(reader);
	ring->ring.length = get_bounded(reader, 4, RING_PAGE_ENTRIES, RING_MAX_ENTRIES);
	if (ring->ring.length & (ring->ring.length - 1))
		code_fail(reader, -FL_ECORRUPT);
	ring->ring.entries = get_ordinals(reader, ring->ring.length, backends, false);
	if (has_seconds)
		ring->seconds = get_ordinals(reader, ring->ring.length, backends, true);
}

static void get_lists(struct code_reader *reader, struct version *version, bool is_third)
{
	version->port_count = get_bounded(reader, 4, 0, MODEL_MAX_PORTS);
	for (size_t i = 0; i < version->port_count; i++)
		get_port(reader, &version->ports[i]);

	version->backend_count = get_bounded(reader, 4, 1, MODEL_MAX_BACKENDS);
	version->backends = get_room(reader, version->backend_count, sizeof(version->backends[0]));
	for (size_t i = 0; !reader->status && i < version->backend_count; i++) {
		get_backend(reader, &version->backends[i], is_third);
		if (i && strcmp(version->backends[i - 1].name, version->backends[i].name) >= 0)
			code_fail(reader, -FL_ECORRUPT);
	}

	if (is_third && !reader->status && !lacks_landing(version))
		code_fail(reader, -FL_ECORRUPT);
	version->ring_count = get_bounded(reader, 4, 0, MODEL_MAX_SITES);
	version->rings = get_room(reader, version->ring_count, sizeof(version->rings[0]));
	for (size_t i = 0; !reader->status && i < version->ring_count; i++) {
		get_ring(reader, &version->rings[i], version->backend_count,
			 version->algorithm == VERSION_SIPHASH13_5TUPLE);
		if (i && strcmp(version->rings[i - 1].site, version->rings[i].site) >= 0)
			code_fail(reader, -FL_ECORRUPT);
	}
}

int version_decode(const void *bytes, size_t length, struct arena *arena,
		   struct version **ret_version)
{
	struct code_reader reader = {.at = bytes, .left = length, .arena = arena};
	struct version *version = get_room(&reader, 1, sizeof(*version));
	if (!version)
		return -ENOMEM;
	const char *format = get_text(&reader);
	bool is_first = !strcmp(format, FIRST_FORMAT);
	bool is_third = !strcmp(format, THIRD_FORMAT);
	if (!is_first && !is_third && strcmp(format, SECOND_FORMAT) != 0)
		code_fail(&reader, -FL_ECORRUPT);
	version->service = get_text(&reader);
	version->number = get_bounded(&reader, 4, 1, UINT32_MAX);
	version->algorithm = (uint8_t)get_bounded(
	    &reader, 1, is_first ? VERSION_SIPHASH13_5TUPLE : VERSION_MULTILINEAR,
	    is_first ? VERSION_SIPHASH13_5TUPLE : UINT8_MAX);
	if (!is_first)
		version->balance_by = get_bounded(&reader, 1, BALANCE_FLOW, BALANCE_SOURCE);
	get_bytes(&reader, version->seed, sizeof(version->seed));
	get_bytes(&reader, version->base.bytes, DIGEST_BYTES);
	get_lists(&reader, version, is_third);
	if (reader.left)
		code_fail(&reader, -FL_ECORRUPT);
	if (reader.status)
		return reader.status;
	digest_of(bytes, length, &version->digest);
	*ret_version = version;
	return 0;
}
