/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Hands flows for a service address and port to a listener that is bound to one address or to
 * another port (sk_lookup, attached to the landing's network namespace; it runs only for packets
 * that no connected socket takes). Without a rule, or without a listener, the kernel's own look-up
 * goes on. The listeners' places are kept filled by src/landing; a listener that closes leaves its
 * place by itself.
 */
#include "abi/landing.h"

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FAMILY_INET 2 /* AF_INET, whose header is not fit for BPF */

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LANDING_ABI_LISTENERS);
	__type(key, struct landing_listener_key);
	__type(value, __u32);
} landing_places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, LANDING_ABI_LISTENERS);
	__type(key, __u32);
	__type(value, __u64);
} landing_listeners SEC(".maps");

SEC("sk_lookup")
int landing_hand(struct bpf_sk_lookup *ctx)
{
	struct landing_listener_key key = {
	    .family = ctx->family == FAMILY_INET ? 4 : 6,
	    .protocol = (__u8)ctx->protocol,
	    .port = (__u16)ctx->local_port,
	};
	__u32 *address = (__u32 *)key.bytes;
	if (ctx->family == FAMILY_INET) {
		key.length = LANDING_LISTENER_KEY_BITS + 32;
		address[0] = ctx->local_ip4;
	} else {
		key.length = LANDING_LISTENER_KEY_BITS + 128;
		address[0] = ctx->local_ip6[0];
		address[1] = ctx->local_ip6[1];
		address[2] = ctx->local_ip6[2];
		address[3] = ctx->local_ip6[3];
	}

	__u32 *place = bpf_map_lookup_elem(&landing_places, &key);
	if (!place)
		return SK_PASS;
	struct bpf_sock *listener = bpf_map_lookup_elem(&landing_listeners, place);
	if (!listener)
		return SK_PASS;
	/* Refused for a listener of the wrong family: then, too, the normal look-up goes on. */
	bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	return SK_PASS;
}

char landing_license[] SEC("license") = "Dual Apache-2.0/GPL";
