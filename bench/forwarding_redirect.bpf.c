// SPDX-License-Identifier: Apache-2.0
/*
 * The floor of the forwarding benchmark: every packet for the service goes out of another interface
 * with other link addresses. No look-up, no tunnel, no count: less is not forwarding.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL v2";

/* Filled in before it is loaded. */
const volatile __u32 out;
const volatile __u32 service; /* in network order */
const volatile __u16 addresses[ETH_ALEN]; /* destination, then source */

SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	const struct iphdr *ip = (const void *)(eth + 1);

	if ((const void *)(ip + 1) > (const void *)(long)ctx->data_end ||
	    eth->h_proto != bpf_htons(ETH_P_IP) || ip->daddr != service)
		return XDP_PASS;
	for (unsigned i = 0; i < ETH_ALEN; i++)
		((__u16 *)eth)[i] = addresses[i];
	return (int)bpf_redirect(out, 0);
}
