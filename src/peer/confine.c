/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/confine.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534u

static int failed(const char *what, struct error *err)
{
	int code = errno ? -errno : -FL_EPRIVILEGE;
	return error_set(err, code, "the channel's process cannot %s: %s", what, error_text(code));
}

static bool limit(int resource, rlim_t most)
{
	const struct rlimit bounds = {.rlim_cur = most, .rlim_max = most};
	struct rlimit present;
	/* Without root a limit can only be lowered. */
	if (getrlimit((__rlimit_resource_t)resource, &present) == 0 && present.rlim_max < most)
		return true;
	return setrlimit((__rlimit_resource_t)resource, &bounds) == 0;
}

static bool drop_capabilities(void)
{
	const struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[2] = {{0}};
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return false;
	return syscall(SYS_capset, &header, none) == 0;
}

/* All rights over files that the kernel knows are handled, and none is given. */
static void bar_files(void)
{
	struct landlock_ruleset_attr rules = {0};
	long version =
	    syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (version < 1)
		return;
	rules.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
	long fd = syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
	if (fd < 0)
		return;
	syscall(SYS_landlock_restrict_self, fd, 0);
	close((int)fd);
}

int peer_confine(const struct peer_confinement *confinement, int parent_pid, struct error *err)
{
	uid_t uid = NOBODY;
	gid_t gid = NOBODY;
	const struct passwd *user = confinement->user ? getpwnam(confinement->user) : NULL;
	if (user && user->pw_uid) {
		uid = user->pw_uid;
		gid = user->pw_gid;
	}
	endpwent();
	errno = 0;
	if (close_range((unsigned)confinement->kept_fd + 1, ~0u, 0) < 0)
		return failed("close what it does not need", err);
	if (!limit(RLIMIT_NOFILE, confinement->files) || !limit(RLIMIT_CORE, 0))
		return failed("limit itself", err);
	if (chdir("/") < 0)
		return failed("leave its folder", err);
	if (geteuid() == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0)
			return failed("leave its groups", err);
		/* Changing the user empties the sets but the bounding one, which needs a right
		 * that is then gone. */
		for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
			if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
				return failed("drop capabilities for good", err);
		if (setresuid(uid, uid, uid) < 0)
			return failed("become another user", err);
		if (setuid(0) == 0)
			return failed("stay another user", err);
	}
	errno = 0;
	if (!drop_capabilities())
		return failed("drop its capabilities", err);
	if (!limit(RLIMIT_NPROC, 0))
		return failed("limit itself", err);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return failed("bar its way back", err);
	bar_files();
	/* The kernel forgets this one when the user changes. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return failed("tie itself to its parent", err);
	if (getppid() != parent_pid) {
		errno = ESRCH;
		return failed("find its parent", err);
	}
	return 0;
}
