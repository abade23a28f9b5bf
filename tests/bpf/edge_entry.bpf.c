// SPDX-License-Identifier: Apache-2.0
/*
 * Stands in front of the program under test. It fills the headroom with 0xff, so that a byte of the
 * new headers that is never written shows; and it can take the headroom away.
 */
/* Before libbpf's header, which needs its types. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL v2";

#define ENTRY_FILL 64 /* more than any header that is put in front */
#define ENTRY_FRAME 64 /* bytes that move_up() moves */
#define ENTRY_CROWD 200 /* leaves less headroom than any outer header takes */

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

SEC("xdp.frags")
int fill(struct xdp_md *ctx)
{
	if (bpf_xdp_adjust_head(ctx, -ENTRY_FILL))
		return XDP_ABORTED;
	__u8 *data = (void *)(long)ctx->data;
	__u8 *end = (void *)(long)ctx->data_end;
	if (data + ENTRY_FILL > end)
		return XDP_ABORTED;
	__builtin_memset(data, 0xff, ENTRY_FILL);
	if (bpf_xdp_adjust_head(ctx, ENTRY_FILL))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &next, 0);
	return XDP_ABORTED;
}

/* A frame of ENTRY_FRAME bytes, moved to where no outer header fits in front of it. */
SEC("xdp.frags")
int crowd(struct xdp_md *ctx)
{
	__u8 frame[ENTRY_FRAME];
	if (bpf_xdp_adjust_head(ctx, -ENTRY_CROWD) ||
	    bpf_xdp_load_bytes(ctx, ENTRY_CROWD, frame, sizeof(frame)) ||
	    bpf_xdp_store_bytes(ctx, 0, frame, sizeof(frame)) ||
	    bpf_xdp_adjust_tail(ctx, -ENTRY_CROWD))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &next, 0);
	return XDP_ABORTED;
}

/* For the far end of a veth pair, which takes XDP frames only if it runs a program itself. */
SEC("xdp.frags")
int pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}
