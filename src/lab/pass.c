/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/pass.h"

#include <linux/bpf.h>
#include <net/if.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

static int call(int command, union bpf_attr *attr)
{
	long fd = syscall(SYS_bpf, command, attr, sizeof(*attr));
	return fd < 0 ? -errno : (int)fd;
}

/* r0 = XDP_PASS; exit */
static int load(void)
{
	static const struct bpf_insn PROGRAM[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
	    {.code = BPF_JMP | BPF_EXIT}};
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_XDP,
			       .insns = (uint64_t)(uintptr_t)PROGRAM,
			       .insn_cnt = sizeof(PROGRAM) / sizeof(PROGRAM[0]),
			       .license = (uint64_t)(uintptr_t)"",
			       .prog_name = "lab_pass"};
	return call(BPF_PROG_LOAD, &attr);
}

int pass_attach(const char *interface, int *ret_fd)
{
	unsigned index = if_nametoindex(interface);
	if (!index)
		return -errno;
	int program = load();
	if (program < 0)
		return program;
	union bpf_attr attr = {.link_create = {.prog_fd = (uint32_t)program,
					       .target_ifindex = index,
					       .attach_type = BPF_XDP}};
	int link = call(BPF_LINK_CREATE, &attr);
	close(program);
	if (link < 0)
		return link;
	*ret_fd = link;
	return 0;
}
