/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Pick: which entry of its version's ring a packet goes to. Compiled into the BPF program and into
 * user space, so that the one is the other's reference; nothing here may depend on which of the two
 * it is.
 *
 * A flow's hash chooses one entry, and the entry names the backend. Which backends are left out as
 * dead or unhealthy is settled before, when the ring is filled (ring_effective() of
 * src/model/ring.h), so a packet pays nothing for it.
 *
 * Every hash here is keyed by a secret seed that the version carries: who does not know it cannot
 * aim packets with forged sources at one backend. docs/adr/0013-algorithm-2.md says what is
 * claimed of which.
 */
#ifndef FAIRLEAD_ABI_PICK_H
#define FAIRLEAD_ABI_PICK_H

#include <linux/types.h>

/*
 * A number stays for ever: a version keeps its algorithm for as long as it lives. It stands for the
 * hash and for the rule by which ring_effective() refills a ring.
 */
enum pick_algorithm {
	PICK_SIPHASH13_5TUPLE = 1, /* of versions made before algorithm 2 was there */
	PICK_MULTILINEAR = 2,
};

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

/*
 * Algorithm 2: a multilinear sum, finished by a mix.
 *
 * It hashes what differs within a version, source address and ports. The destination is the
 * version's own. The protocol is left out: a client's TCP and UDP flows with equal ports meet one
 * backend, which harms nobody and tells nobody anything.
 *
 * Each 32-bit word is multiplied by an odd 64-bit key word of its own, and all 64 bits of the sum
 * count. So two flows that differ in one word never have the same sum, and any other two have it
 * under at most one key in 2^32 (Lemire, Kaser: "Strongly universal string hashing is fast", 2014).
 * A sum alone would be linear: what is learnt of one source's flows would hold for every source. So
 * two rounds of shift and secret multiplication stand behind it. They permute the 64-bit numbers.
 *
 * All key words are expanded from the version's seed when its descriptor is written
 * (src/dataplane/pick_key.h). A word that shall not count has the key word 0: so one program serves
 * the policies of flow and of source.
 */
struct pick_key {
	__u64 start; /* of the sum */
	__u64 mix[2]; /* odd */
	__u64 ports; /* of the word that holds both ports; odd, 0 if they do not count */
	__u64 source4; /* of an IPv4 source; odd */
};

/* Of the words of an IPv6 source; odd, 0 for those that do not count. */
struct pick_key6 {
	__u64 source[4];
};

PICK_INLINE __u64 pick_mix(const struct pick_key *key, __u64 sum)
{
	sum ^= sum >> 32;
	sum *= key->mix[0];
	sum ^= sum >> 32;
	return sum * key->mix[1];
}

/* `source`: the address as it lies in the IP header. `ports`: source and destination, as they lie
 * in the transport header. */
PICK_INLINE __u64 pick_hash4(const struct pick_key *key, const void *source, const void *ports)
{
	return pick_mix(key, key->start + key->ports * pick_load32(ports) +
				 key->source4 * pick_load32(source));
}

PICK_INLINE __u64 pick_hash6(const struct pick_key *key, const struct pick_key6 *key6,
			     const void *source, const void *ports)
{
	const __u8 *words = source;
	__u64 sum = key->start + key->ports * pick_load32(ports);
	sum += key6->source[0] * pick_load32(words);
	sum += key6->source[1] * pick_load32(words + 4);
	sum += key6->source[2] * pick_load32(words + 8);
	sum += key6->source[3] * pick_load32(words + 12);
	return pick_mix(key, sum);
}

/*
 * Algorithm 1: SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012; the
 * reduced-round variant of its section 2.4) of source address, destination address, source port,
 * destination port and protocol, in network order. The message has 13 bytes for IPv4 and 37 for
 * IPv6, so the families never collide.
 */
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

#endif
