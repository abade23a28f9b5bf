// SPDX-License-Identifier: Apache-2.0
/*
 * redirect IN OUT SERVICE TO-MAC FROM-MAC: what comes in for SERVICE by the interface IN goes out
 * by OUT with these link addresses, until this process is told to end; forwarding_redirect.bpf.c
 * says why. It prints "ready" once it does.
 */
#include "forwarding_redirect.skel.h"

#include <arpa/inet.h>
#include <err.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct ether_addr mac[2];
	sigset_t ends;
	int number;

	if (argc != 6 || !ether_aton_r(argv[4], &mac[0]) || !ether_aton_r(argv[5], &mac[1]))
		errx(2, "usage: redirect IN OUT SERVICE TO-MAC FROM-MAC");
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	struct forwarding_redirect_bpf *redirect = forwarding_redirect_bpf__open();
	if (!redirect)
		err(1, "the program does not open");
	unsigned in = if_nametoindex(argv[1]), out = if_nametoindex(argv[2]);
	if (in == 0 || out == 0)
		err(1, "%s", in == 0 ? argv[1] : argv[2]);
	redirect->rodata->out = out;
	memcpy((void *)redirect->rodata->addresses, mac, sizeof(mac));
	if (inet_pton(AF_INET, argv[3], (void *)&redirect->rodata->service) != 1)
		errx(2, "not an IPv4 address: %s", argv[3]);
	if (forwarding_redirect_bpf__load(redirect) != 0)
		err(1, "the program does not load");
	struct bpf_link *link = bpf_program__attach_xdp(redirect->progs.redirect, (int)in);
	if (!link)
		err(1, "cannot attach to %s", argv[1]);
	puts("ready");
	fflush(stdout);
	sigwait(&ends, &number);
	bpf_link__destroy(link);
	forwarding_redirect_bpf__destroy(redirect);
	return 0;
}
