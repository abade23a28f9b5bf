/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/pick_key.h"

#include "base/digest.h"

#include <endian.h>
#include <string.h>

#define WORDS 9
#define BLOCK_WORDS (DIGEST_BYTES / 8)
#define BLOCKS ((WORDS + BLOCK_WORDS - 1) / BLOCK_WORDS)

void pick_key_expand(const uint8_t seed[PICK_SEED_BYTES], bool by_source, struct pick_key *ret_key,
		     struct pick_key6 *ret_key6)
{
	uint8_t message[16 + PICK_SEED_BYTES + 1] = "fairlead pick 2";
	uint64_t words[BLOCKS * BLOCK_WORDS];
	memcpy(message + 16, seed, PICK_SEED_BYTES);
	for (size_t block = 0; block < BLOCKS; block++) {
		struct digest digest;
		message[16 + PICK_SEED_BYTES] = (uint8_t)block;
		digest_of(message, sizeof(message), &digest);
		memcpy(words + block * BLOCK_WORDS, digest.bytes, DIGEST_BYTES);
	}
	for (size_t i = 0; i < WORDS; i++)
		words[i] =
		    le64toh(words[i]) | (i ? 1 : 0); /* all but the start of the sum are odd */
	*ret_key = (struct pick_key){
	    .start = words[0],
	    .mix = {words[1], words[2]},
	    .ports = by_source ? 0 : words[3],
	    .source4 = words[4],
	};
	*ret_key6 = (struct pick_key6){
	    .source = {words[5], words[6], by_source ? 0 : words[7], by_source ? 0 : words[8]},
	};
}
