/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fabric as the operator wrote it: plain values, no behaviour. `config` builds it from YAML
 * and writes it back; the rest of the model derives versions from it. All memory of one
 * configuration belongs to one arena and dies with it. Nothing here changes after it is built.
 *
 * Order is the file's order, except where said. Names are valid DNS labels, lower case.
 */
#ifndef FAIRLEAD_MODEL_FABRIC_H
#define FAIRLEAD_MODEL_FABRIC_H

#include "base/arena.h"
#include "base/error.h"
#include "base/netaddr.h"
#include "model/zone_records.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_MAX_POOLS 8
#define MODEL_MAX_SITES 64
#define MODEL_MAX_SERVICES 4096
#define MODEL_MAX_BACKENDS 1024 /* per service */
#define MODEL_MAX_PORTS 8 /* per service */
#define MODEL_MAX_SHARES 16 /* rollout steps */
#define MODEL_MAX_WEIGHT 1000
#define MODEL_MAX_LISTENERS 16 /* per backend */
#define MODEL_MAX_NAMESERVERS 16
#define MODEL_MAX_NAMESERVER_ADDRESSES 8 /* per name server */
#define MODEL_CLIENT_BITS_V4 24u /* of an address that tell clients apart in DNS, by default */
#define MODEL_CLIENT_BITS_V6 56u
#define MODEL_NAME_BYTES 64 /* a DNS label and its NUL */

enum service_protocol { SERVICE_TCP = 6, SERVICE_UDP = 17 }; /* IP protocol numbers */

struct service_port {
	uint8_t protocol; /* enum service_protocol */
	bool quic; /* written `quic/443`: UDP that carries QUIC */
	uint16_t first; /* inclusive range; first == last for one port */
	uint16_t last;
};

/* Where the instance behind a backend really listens, when not on the service port on any address:
 * `listen: {tcp/80: "127.0.0.1:8080"}`. */
struct backend_listener {
	uint8_t protocol;
	uint16_t service_port;
	struct ip_address address; /* IP_NONE: any */
	uint16_t port;
};

struct backend {
	const char *name;
	const char *site;
	struct ip_address address; /* where the tunnel ends */
	uint32_t weight; /* 0…MODEL_MAX_WEIGHT; 0 takes no flow */
	bool no_landing; /* `landing: none`: something else takes tunnels there, and counts nothing
			  */
	struct backend_listener *listeners;
	size_t listener_count;
};

struct rollout_policy {
	uint32_t
	    shares[MODEL_MAX_SHARES]; /* 1/65536ths of the clients, rising; the last is 65536 */
	size_t share_count;
	uint64_t pause_ms; /* between two shares */
};

#define SHARE_WHOLE 65536u

enum health_kind { HEALTH_NONE, HEALTH_TCP, HEALTH_HTTP };

/* How a backend proves its health. Kept as written; nothing probes yet. */
struct health_check {
	enum health_kind kind;
	uint16_t port;
	const char *path; /* HTTP only; begins with a slash */
	uint64_t interval_ms;
	uint32_t fall; /* failures in a row that make a backend unhealthy */
	uint32_t rise; /* successes in a row that make it healthy again */
};

/* What of a packet decides its backend: what the flow is, or the client alone. */
enum balance_by { BALANCE_FLOW, BALANCE_SOURCE };

struct service {
	const char *name;
	struct service_port ports[MODEL_MAX_PORTS];
	size_t port_count;
	uint32_t ttl_seconds;
	enum balance_by balance_by;
	/* Bits of an address that tell clients apart in DNS; 0 for MODEL_CLIENT_BITS_…, which is
	 * never written out. */
	uint8_t client_bits_v4, client_bits_v6;
	struct health_check health;
	struct rollout_policy rollout;
	struct backend *backends;
	size_t backend_count;
	uint64_t drain_limit_ms; /* 0: none */
};

struct pool {
	struct ip_prefix prefix;
	uint8_t site_bits;
	uint32_t slots_per_service; /* 0: all services share the slots; else each gets a block */
};

struct site {
	const char *name;
	bool has_location;
	double latitude;
	double longitude;
	struct ip_prefix *clients;
	size_t client_count;
};

struct nameserver {
	const char
	    *name; /* a label in the zone, or a full name outside it (has a dot at its end) */
	struct ip_address *addresses;
	size_t address_count;
};

struct settings {
	uint64_t quiet_ms; /* default 1 h */
	uint64_t stale_ms; /* default 24 h */
	uint64_t quarantine_ms; /* default 7 d */
	uint64_t report_interval_ms; /* between two connection reports; default 1 s */
};

struct fabric {
	const char *name;
	const char *zone; /* lower case, no dot at the end */
	struct settings settings;
	struct nameserver *nameservers;
	size_t nameserver_count;
	struct zone_settings dns;
	struct pool *pools;
	size_t pool_count;
	struct site *sites;
	size_t site_count;
	struct service *services;
	size_t service_count;
	const uint32_t
	    *by_name; /* of services: their places in the order of names; NULL: unknown */
};

/* Fill in `by_name`, without which a service is looked for among all. -ENOMEM. */
must_check int fabric_index(struct fabric *fabric, struct arena *arena);

/* Borrowed from `fabric`; NULL when there is none. */
const struct service *fabric_service(const struct fabric *fabric, const char *name);
const struct site *fabric_site(const struct fabric *fabric, const char *name);
/* How many bits of an address of the family tell clients of the service apart in DNS. */
static inline unsigned service_client_bits(const struct service *service, enum ip_family family)
{
	unsigned own = family == IP_V4 ? service->client_bits_v4 : service->client_bits_v6;
	return own ? own : family == IP_V4 ? MODEL_CLIENT_BITS_V4 : MODEL_CLIENT_BITS_V6;
}

const struct backend *service_backend(const struct service *service, const char *name);

/* Do both say the same, in the same order? A name server's and a site's addresses are a part of it,
 * and so is all that a service says; fabric_names_equal() looks at name, zone, name servers and
 * what is said of the zone. */
bool fabric_names_equal(const struct fabric *a, const struct fabric *b);
bool pool_equal(const struct pool *a, const struct pool *b);
bool site_equal(const struct site *a, const struct site *b);
bool service_equal(const struct service *a, const struct service *b);

/*
 * An address of a pool is prefix | site number << slot bits | slot. The site number stands directly
 * below the prefix, so that a site's slice of the pool is itself a prefix.
 *
 * Slots at each site: 2^(host bits - site bits), at most 2^20; 0 when the prefix has too few bits.
 */
uint32_t pool_slot_count(const struct pool *pool);
/* Those of them that a version may get: all but slot 0. */
uint32_t pool_usable_slots(const struct pool *pool);

/* Sites that the pool can number: 2^site_bits. */
uint32_t pool_site_count(const struct pool *pool);

/* The service address of (pool, site number, slot); both must be in range. */
struct ip_address pool_address(const struct pool *pool, uint32_t site, uint32_t slot);

/* The reverse; false when the address is not one of the pool's (site, slot) addresses. */
bool pool_locate(const struct pool *pool, const struct ip_address *address, uint32_t *ret_site,
		 uint32_t *ret_slot);

#endif
