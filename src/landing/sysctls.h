/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sysctls that landing needs. The values that were there before are in the journal of the pin
 * root (kernel/sysctl_journal.h). A value that serves as well as ours is left alone and not
 * recorded.
 */
#ifndef FAIRLEAD_LANDING_SYSCTLS_H
#define FAIRLEAD_LANDING_SYSCTLS_H

#include "kernel/sysctl_journal.h"
#include "landing/programs.h"

/*
 * Have what pools of the families `v4` and `v6` need, and put back what is recorded and no longer
 * needed. With `alarms`, every value that had to be set is an alarm, but of an interface that is
 * not the one that programs_attach() saw last: its values are nobody's doing.
 */
must_check int sysctls_apply(struct sysctl_journal *journal, bool v4, bool v6,
			     const struct programs *programs, struct landing_alarms *alarms,
			     struct error *err);

#endif
