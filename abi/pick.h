/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Pick: which backend a packet goes to. Compiled into the BPF program and into user space, so that
 * the one is the other's reference; nothing here may depend on which of the two it is.
 *
 * A flow's hash chooses one entry of the version's ring; the entry names two candidates in a fixed
 * order; dead ones are skipped. So a death moves only the flows of the dead backend, and two edges
 * with the same ring and the same dead set agree (invariants 4 and 5).
 *
 * The hash is SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012; the
 * reduced-round variant of its section 2.4) under a secret seed that the version carries: who does
 * not know the seed cannot aim at one backend.
 * The message is, in network order: source address, destination address, source port, destination
 * port, protocol. It has 13 bytes for IPv4 and 37 for IPv6, so the families never collide.
 */
#ifndef FAIRLEAD_ABI_PICK_H
#define FAIRLEAD_ABI_PICK_H

#include <linux/types.h>

/* A number stays for ever: a version keeps its algorithm for as long as it lives. */
enum pick_algorithm {
	PICK_SIPHASH13_5TUPLE = 1,
};

#define PICK_CANDIDATES 2
#define PICK_NONE 0 /* no backend: the map's entry 0 is never used */

#define PICK_INLINE static inline __attribute__((always_inline))

PICK_INLINE __u64 pick_little_endian(__u64 word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return __builtin_bswap64(word);
#else
	return word;
#endif
}

/*
 * BPF reads any address at any width, but its compiler takes a copy of bytes whose alignment it
 * does not know apart into single bytes, which costs a packet more than the hash itself.
 */
PICK_INLINE __u64 pick_load(const void *bytes)
{
	__u64 word;
#ifdef __bpf__
	word = *(const __u64 *)bytes;
#else
	__builtin_memcpy(&word, bytes, sizeof(word));
#endif
	return pick_little_endian(word);
}

PICK_INLINE __u32 pick_load32(const void *bytes)
{
	__u32 word;
#ifdef __bpf__
	word = *(const __u32 *)bytes;
#else
	__builtin_memcpy(&word, bytes, sizeof(word));
#endif
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	word = __builtin_bswap32(word);
#endif
	return word;
}

struct pick_siphash {
	__u64 v0, v1, v2, v3;
};

PICK_INLINE __u64 pick_rotate(__u64 word, unsigned bits)
{
	return word << bits | word >> (64 - bits);
}

PICK_INLINE void pick_round(struct pick_siphash *s)
{
	s->v0 += s->v1;
	s->v1 = pick_rotate(s->v1, 13) ^ s->v0;
	s->v0 = pick_rotate(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = pick_rotate(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = pick_rotate(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = pick_rotate(s->v1, 17) ^ s->v2;
	s->v2 = pick_rotate(s->v2, 32);
}

PICK_INLINE void pick_absorb(struct pick_siphash *s, __u64 word)
{
	s->v3 ^= word;
	pick_round(s);
	s->v0 ^= word;
}

/*
 * `seed`: 16 bytes. `addresses`: source, then destination, as they lie in the IP header;
 * `address_words` is 1 for IPv4 and 4 for IPv6, a constant where this is inlined. `ports`: source,
 * then destination, as they lie in the transport header.
 */
PICK_INLINE __u64 pick_hash(const void *seed, const void *addresses, unsigned address_words,
			    const void *ports, __u8 protocol)
{
	__u64 k0 = pick_load(seed);
	__u64 k1 = pick_load((const __u8 *)seed + 8);
	struct pick_siphash s = {
	    .v0 = 0x736f6d6570736575u ^ k0,
	    .v1 = 0x646f72616e646f6du ^ k1,
	    .v2 = 0x6c7967656e657261u ^ k0,
	    .v3 = 0x7465646279746573u ^ k1,
	};
	__u64 length = 8u * address_words + 5;
	__u64 tail = pick_load32(ports) | (__u64)protocol << 32 | length << 56;

	for (unsigned i = 0; i < address_words; i++)
		pick_absorb(&s, pick_load((const __u8 *)addresses + (__u64)8 * i));
	pick_absorb(&s, tail);
	s.v2 ^= 0xff;
	pick_round(&s);
	pick_round(&s);
	pick_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* The hash's place in a ring of `length` entries, evenly for every length below 2^32. */
PICK_INLINE __u32 pick_index(__u64 hash, __u32 length)
{
	return (__u32)((hash >> 32) * length >> 32);
}

/* Where candidates and deaths are kept differs between BPF and user space. */
typedef __u32 (*pick_candidate_fn)(void *context, unsigned rank, __u32 index);
typedef int (*pick_dead_fn)(void *context, __u32 backend);

/* The first living candidate of the ring's entry `index`, or PICK_NONE. */
PICK_INLINE __u32 pick(__u32 index, pick_candidate_fn candidate, pick_dead_fn dead, void *context)
{
	for (unsigned rank = 0; rank < PICK_CANDIDATES; rank++) {
		__u32 backend = candidate(context, rank, index);
		if (backend != PICK_NONE && !dead(context, backend))
			return backend;
	}
	return PICK_NONE;
}

#endif
