/* SPDX-License-Identifier: Apache-2.0 */
/* What this node is to the fabric, and what one that decides does of its own accord. */
#include "daemon/daemon.h"
#include "daemon/member/credentials.h"
#include "fabric/burned.h"
#include "fabric/driver.h"
#include "fabric/fence.h"
#include "fabric/membership.h"
#include "fabric/passing_renewal.h"
#include "state/upgrade.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Many say the same within a moment: what is due is looked for once. */
#define HEARD_MS 10u

/* A store of the first release is taken over as soon as it takes changes. */
static void on_upgraded(void *context, int result, const struct error *err)
{
	struct daemon *daemon = context;
	if (result == 0 || result == -ECANCELED)
		alarm_end(&daemon->upgrade_alarm);
	else if (ALARM_SET(&daemon->upgrade_alarm, clock_now_ms(daemon->clock), STATE_OLD, "",
			   err->text))
		daemon_tell_alarm(daemon, &daemon->upgrade_alarm);
}

void daemon_upgrade_state(struct daemon *daemon)
{
	if (!daemon->decides || !daemon->image.is_old || daemon_store_rests(daemon) ||
	    changes_pending(daemon->changes, LEDGER_KIND_UPGRADE))
		return;
	struct error err;
	int result = upgrade_begin(daemon->changes, on_upgraded, daemon);
	if (result < 0) {
		error_set(&err, result, "out of memory");
		on_upgraded(daemon, result, &err);
	}
}

void daemon_decide(struct daemon *daemon)
{
	daemon_upgrade_state(daemon);
	membership_run(daemon->membership);
	burned_run(daemon->burned);
	fence_run(daemon->fence);
	passing_renewal_run(daemon->passing_renewal);
	driver_run(daemon->driver);
}

/* While somebody who is heard has not followed, most that is due waits for him: that is for the
 * tick, and so is who never follows. */
static void on_heard_timer(uv_timer_t *timer)
{
	struct daemon *daemon = timer->data;
	const struct sights sights = driver_sights(daemon->driver);
	if (!merge_lacking(&sights, daemon->image.head.sequence))
		driver_run(daemon->driver);
}

void daemon_heard(struct daemon *daemon)
{
	if (daemon->decides && !uv_is_active((uv_handle_t *)&daemon->heard_timer))
		uv_timer_start(&daemon->heard_timer, on_heard_timer, HEARD_MS, 0);
}

uint64_t daemon_applied_by_all(void *context)
{
	const struct daemon *daemon = context;
	const struct sights sights = driver_sights(daemon->driver);
	return merge_applied(&sights);
}

static bool store_rests(void *context)
{
	return daemon_store_rests(context);
}

static void driver_event(void *context, const char *event, json_t *fields)
{
	daemon_event(context, event, fields);
}

/* Pinned maps go on forwarding without a process. A name server ends with its process. */
static bool acts(void *context, enum member_role role)
{
	const struct daemon *daemon = context;
	return role == MEMBER_EDGE && !daemon->options->edge &&
	       access(daemon->options->edge_pins, F_OK) == 0;
}

/* What the flags make of this node. */
static void describe_self(struct daemon *daemon)
{
	const struct daemon_options *options = daemon->options;
	struct member *self = &daemon->self;
	uint8_t bytes[16];
	*self = (struct member){
	    .name = options->node,
	    .site = options->site,
	    .key = daemon->signer ? ledger_signer_public_key(daemon->signer) : "",
	    .roles = (daemon->decides ? MEMBER_VOTER : 0u) | daemon_options_roles(options),
	    .features = MEMBER_FEATURES};
	if (options->channel) {
		uint8_t key[KEY_BYTES];
		key_pair_public(options->channel->key, key);
		key_text_format(key, self->channel_key);
		self->channel_address = options->channel_address;
		self->channel_port = options->channel_port;
	}
	if (options->edge && options->source_v4.family)
		self->sources[self->source_count++] = options->source_v4;
	if (options->edge && options->source_v6.family)
		self->sources[self->source_count++] = options->source_v6;
	random_fill(&daemon->random, bytes, sizeof(bytes));
	hex_encode(bytes, sizeof(bytes), daemon->instance);
}

int daemon_open_fabric(struct daemon *daemon)
{
	const char *unsafe = getenv(DRIVER_UNSAFE_VARIABLE);
	const struct driver_options driver = {.image = &daemon->image,
					      .changes = daemon->changes,
					      .observations = daemon->observations,
					      .reports = daemon->reports,
					      .landings = daemon->landings,
					      .clock = daemon->clock,
					      .steady = &daemon->steady,
					      .unsafe = unsafe &&
							strcmp(unsafe, DRIVER_UNSAFE_VALUE) == 0,
					      .rests = store_rests,
					      .tell = driver_event,
					      .context = daemon};
	const struct membership_options membership = {.image = &daemon->image,
						      .changes = daemon->changes,
						      .self = &daemon->self,
						      .acts = acts,
						      .rests = store_rests,
						      .context = daemon};
	const struct burned_options burned = {.image = &daemon->image,
					      .changes = daemon->changes,
					      .reports = daemon->reports,
					      .clock = daemon->clock,
					      .applied = daemon_applied_by_all,
					      .rests = store_rests,
					      .context = daemon};
	const struct fence_options fence = {.image = &daemon->image,
					    .changes = daemon->changes,
					    .reports = daemon->reports,
					    .clock = daemon->clock,
					    .rests = store_rests,
					    .context = daemon};
	const struct passing_renewal_options passing = {.image = &daemon->image,
							.changes = daemon->changes,
							.steady = &daemon->steady,
							.applied = daemon_applied_by_all,
							.rests = store_rests,
							.context = daemon};
	describe_self(daemon);
	int result = driver_new(&driver, &daemon->driver);
	if (result == 0)
		result = membership_new(&membership, &daemon->membership);
	if (result == 0)
		result = fence_new(&fence, &daemon->fence);
	if (result == 0)
		result = passing_renewal_new(&passing, &daemon->passing_renewal);
	return result < 0 ? result : burned_new(&burned, &daemon->burned);
}
