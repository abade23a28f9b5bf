/* SPDX-License-Identifier: Apache-2.0 */
#include "clamp_reference.h"
#include "frame_bytes.h"
#include "landing_reference.h"

#include <netinet/in.h>

#define SYN 0x02
#define OPTION_MSS 2

/* Where the TCP header starts, or 0 if none is to be seen. */
static size_t find_tcp(const struct frame *frame, bool v6)
{
	const uint8_t *ip = frame->bytes + FRAME_LINK;
	size_t header = v6 ? 40 : (size_t)4 * (ip[0] & 15u);
	if (frame->length < FRAME_LINK + (v6 ? 40 : 20) || ip[v6 ? 6 : 9] != IPPROTO_TCP ||
	    (!v6 && get16(ip + 6) & 0x3fff) || frame->length < FRAME_LINK + header + 20)
		return 0;
	return FRAME_LINK + header;
}

enum clamp_outcome clamp_judge(struct frame *frame, unsigned v4, unsigned v6)
{
	unsigned type = get16(frame->bytes + 12);
	bool is_v6 = type == 0x86dd;
	unsigned limit = is_v6 ? v6 : v4;
	size_t at = is_v6 || type == 0x0800 ? find_tcp(frame, is_v6) : 0;
	const uint8_t *ip = frame->bytes + FRAME_LINK;
	uint8_t *tcp = frame->bytes + at;
	if (!at || !(tcp[13] & SYN) || !landing_in_pools(ip + (is_v6 ? 8 : 12), is_v6))
		return CLAMP_UNTOUCHED;
	if (frame->length < at + 24 || tcp[12] >> 4 < 6 || tcp[20] != OPTION_MSS || tcp[21] != 4)
		return CLAMP_UNSEEN;
	unsigned mss = get16(tcp + 22);
	if (!limit || mss <= limit)
		return CLAMP_UNTOUCHED;
	/* Nobody pads before this point, or cuts. */
	size_t total = is_v6 ? 40 + get16(ip + 4) : get16(ip + 2);
	if (frame->length != FRAME_LINK + total)
		return CLAMP_UNSEEN;
	/* RFC 1624, equation 3: a wrong checksum stays as wrong. */
	uint32_t sum = 0xffffu - get16(tcp + 16) + 0xffffu - mss + limit;
	put16(tcp + 16, 0xffffu - checksum_fold(sum));
	put16(tcp + 22, limit);
	return CLAMP_LOWERED;
}
