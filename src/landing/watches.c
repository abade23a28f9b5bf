/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/watches.h"

#include "abi/landing.h"
#include "base/clock.h"
#include "landing/cookies.h"

#include <arpa/inet.h>
#include <string.h>

#define CHECKSUMS_MANY 16u /* in a window; a few come from the Internet */

static void look_at_checksums(struct watches *watches, uint64_t now_ms,
			      struct landing_alarms *alarms)
{
	uint64_t wrong;
	if (!kernel_count_read("snmp", "Tcp: ", "InCsumErrors", &wrong))
		return;
	uint64_t grown = growth_look(&watches->wrong_checksums, now_ms, wrong);
	if (grown >= CHECKSUMS_MANY)
		LANDING_ALARM(alarms, CHECKSUMS_WRONG, "", (unsigned long long)grown,
			      GROWTH_WINDOW_MS / 1000);
}

static void tell_wrong_source(const struct landing_wrong *wrong, struct landing_alarms *alarms)
{
	char asked_text[IP_TEXT_BYTES], text[IP_TEXT_BYTES];
	struct ip_address asked = {.family = (uint8_t)wrong->family};
	struct ip_address address = asked;
	memcpy(asked.bytes, wrong->asked.address, sizeof(asked.bytes));
	memcpy(address.bytes, wrong->address, sizeof(address.bytes));
	ip_address_format(&asked, asked_text);
	LANDING_ALARM(alarms, UDP_WRONG_SOURCE, asked_text, asked_text, ntohs(wrong->asked.port),
		      ip_address_format(&address, text), ntohs(wrong->port));
}

int watches_look(struct watches *watches, const struct programs *programs,
		 struct landing_alarms *alarms, struct error *err)
{
	struct landing_counters counters;
	struct landing_wrong wrong;
	const uint64_t now_ms = clock_now_ms(&clock_system);
	look_at_checksums(watches, now_ms, alarms);
	int result = programs_counters(programs, &counters, err);
	if (result == 0 &&
	    growth_look(&watches->wrong_sources, now_ms, counters.wrong_source) > 0 &&
	    programs_wrong(programs, &wrong) == 0)
		tell_wrong_source(&wrong, alarms);
	return result;
}
