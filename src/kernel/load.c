/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOG_BYTES 65536 /* of the verifier's log */

int load_check_privileges(const char *who, enum load_privileges privileges, struct error *err)
{
	const struct {
		unsigned bit;
		bool needed;
		const char *name, *why;
	} all[] = {
	    {CAP_BPF, true, "CAP_BPF", "to load BPF programs"},
	    {CAP_PERFMON, privileges == LOAD_PERFMON, "CAP_PERFMON",
	     "to let BPF programs read packets by pointer"},
	    {CAP_NET_ADMIN, true, "CAP_NET_ADMIN", "to attach XDP programs and set routes"},
	};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
	if (syscall(SYS_capget, &header, data) < 0)
		return error_set(err, -errno, "this process's capabilities cannot be read: %s",
				 error_text(-errno));
	uint64_t effective = (uint64_t)data[1].effective << 32 | data[0].effective;
	bool admin = effective >> CAP_SYS_ADMIN & 1;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		bool implied = admin && all[i].bit != CAP_NET_ADMIN;
		if (all[i].needed && !implied && !(effective >> all[i].bit & 1))
			return error_set(err, -FL_EPRIVILEGE,
					 "%s needs %s %s; run it as root or grant it that "
					 "capability",
					 who, all[i].name, all[i].why);
	}
	return 0;
}

/* libbpf's first complaint: of what goes wrong before the verifier, it alone knows. */
static char complaint[256];

__attribute__((format(printf, 2, 0))) static int
keep_complaint(enum libbpf_print_level level, const char *format, va_list arguments)
{
	if (level == LIBBPF_WARN && complaint[0] == '\0') {
		vsnprintf(complaint, sizeof(complaint), format, arguments);
		complaint[strcspn(complaint, "\n")] = '\0';
	}
	return 0;
}

/* The verifier's last words say what it did not like, but for the line that counts its work. */
static const char *last_words(char *log)
{
	char *line = log;
	for (;;) {
		for (size_t length = strlen(log); length && log[length - 1] == '\n'; length--)
			log[length - 1] = '\0';
		line = strrchr(log, '\n');
		line = line ? line + 1 : log;
		if (line == log || strncmp(line, "processed ", strlen("processed ")) != 0)
			return line;
		*line = '\0';
	}
}

int load_object(struct bpf_object *object, const char *who, struct error *err)
{
	struct bpf_program *program;
	char *log = calloc(1, LOG_BYTES);
	if (!log)
		return error_set(err, -ENOMEM, "out of memory");
	bpf_object__for_each_program(program, object)
	{
		(void)bpf_program__set_log_buf(program, log, LOG_BYTES);
	}
	complaint[0] = '\0';
	(void)libbpf_set_print(keep_complaint); /* and never again on stderr, by itself */
	int result = bpf_object__load(object);
	const char *said = last_words(log);
	/* Where the verifier has spoken, it was not for want of a privilege. */
	bool denied = !*said && (result == -EPERM || result == -EACCES);
	said = *said ? said : complaint[0] ? complaint : error_text(result);
	if (denied)
		result = error_set(err, -FL_EPRIVILEGE,
				   "the kernel does not let this process load the program of %s "
				   "(%s); run it as root",
				   who, said);
	else if (result < 0)
		result = error_set(err, -FL_EUNSUPPORTED,
				   "the kernel refuses the program of %s (%s); Linux 6.1 or later "
				   "is needed",
				   who, said);
	bpf_object__for_each_program(program, object)
	{
		(void)bpf_program__set_log_buf(program, NULL, 0);
	}
	free(log);
	return result;
}

int load_program_id(int program_fd, uint32_t *ret_id)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);
	if (bpf_obj_get_info_by_fd(program_fd, &info, &size) < 0)
		return -errno;
	*ret_id = info.id;
	return 0;
}

int load_read_per_cpu(int map_fd, uint32_t key, size_t bytes, uint64_t **ret_values,
		      size_t *ret_cpus)
{
	int cpus = libbpf_num_possible_cpus();
	if (cpus < 0)
		return cpus;
	uint64_t *values = calloc((size_t)cpus, bytes);
	if (!values)
		return -ENOMEM;
	if (bpf_map_lookup_elem(map_fd, &key, values) < 0) {
		int code = errno > 0 ? -errno : -EIO;
		free(values);
		return code;
	}
	*ret_values = values;
	*ret_cpus = (size_t)cpus;
	return 0;
}
