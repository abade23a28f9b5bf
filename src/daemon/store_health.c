/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the store takes changes: an alarm from the first that it could not take until it does. */
#include "daemon/daemon.h"
#include "state/records.h"

#define STORE_RETRY_MS 1000u /* after the store failed to take a change */

/* Is it the store's fault, or its disk's, and not that of what it was asked? */
static bool is_failure_of_store(int result)
{
	switch (result) {
	case -ENOSPC:
	case -EROFS:
	case -EIO:
	case -EACCES:
	case -EBUSY:
	case -FL_ECORRUPT:
	case -FL_EUNAVAILABLE:
		return true;
	default:
		return false;
	}
}

static void store_failed(struct daemon *daemon, const struct error *err)
{
	daemon->store_failed_ms = clock_now_ms(daemon->clock);
	if (ALARM_SET(&daemon->store_alarm, daemon->store_failed_ms, STORE_FAILED, "", err->text))
		daemon_tell_alarm(daemon, &daemon->store_alarm);
}

void daemon_store_result(struct daemon *daemon, int result, const struct error *err)
{
	if (is_failure_of_store(result) && err) {
		store_failed(daemon, err);
	} else if (result == 0 && alarm_stands(&daemon->store_alarm)) {
		alarm_end(&daemon->store_alarm);
		daemon_event(daemon, "store.recovered", json_object());
	}
}

bool daemon_store_rests(const struct daemon *daemon)
{
	return !daemon->decides || !replica_is_writable(&daemon->replica) ||
	       (alarm_stands(&daemon->store_alarm) &&
		clock_now_ms(daemon->clock) - daemon->store_failed_ms < STORE_RETRY_MS);
}

static void on_probed(void *context, int result, const struct error *err,
		      const struct store_txn_outcome *outcome)
{
	struct daemon *daemon = context;
	(void)outcome;
	daemon->probing = false;
	daemon_store_result(daemon, result, err);
}

void daemon_probe_store(struct daemon *daemon)
{
	const struct store_op op = {.kind = STORE_PUT, .key = RECORD_PROBE_KEY, .value = ""};
	const struct store_txn txn = {.ops = &op, .op_count = 1};
	struct error err = {0};
	if (!alarm_stands(&daemon->store_alarm) || daemon->probing || daemon_store_rests(daemon))
		return;
	int result = store_txn(daemon->store, &txn, on_probed, daemon, &err);
	daemon->probing = result == 0;
	if (result < 0)
		daemon_store_result(daemon, result, &err);
}
