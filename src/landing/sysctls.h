/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sysctls that landing needs. The values that were there before are in the journal of the pin
 * root (kernel/sysctl_journal.h). A value that serves as well as ours is left alone and not
 * recorded.
 */
#ifndef FAIRLEAD_LANDING_SYSCTLS_H
#define FAIRLEAD_LANDING_SYSCTLS_H

#include "kernel/sysctl_journal.h"
#include "landing/landing_alarms.h"

struct sysctl_interface {
	const char *name;
	unsigned ifindex; /* 0: it is not there */
	bool is_new; /* made anew since the last time: its values are nobody's doing */
};

/* What to look after. */
struct sysctl_wish {
	bool v4, v6; /* families of the pools */
	const struct sysctl_interface *interfaces;
	unsigned interface_count;
};

/*
 * Set what is wished and not so, put back what is recorded and no longer wished. With `alarms`,
 * every value that had to be set is an alarm.
 */
must_check int sysctls_apply(struct sysctl_journal *journal, const struct sysctl_wish *wish,
			     struct landing_alarms *alarms, struct error *err);

#endif
