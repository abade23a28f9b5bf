/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name server alone, for tests/lab/test_naming.py: serves the zone that is written there as a
 * master file, on 127.0.0.1 and ::1 at a free port, which it prints. Each line on standard input
 * swaps in a zone whose serial is one higher, and prints that serial; the end of input ends it.
 */
#include "base/random.h"
#include "naming/server.h"
#include "tests/addresses.h"
#include "wire/dns.h"

#include <stdio.h>
#include <stdlib.h>

static struct naming_share share(uint32_t upper, const char *v4, const char *v6, uint32_t version)
{
	struct naming_share made = {
	    .upper = upper, .v4 = address(v4), .version = version, .held = true};
	if (v6)
		made.v6 = address(v6);
	return made;
}

static int build(uint32_t serial, struct naming_snapshot **ret_snapshot, struct error *err)
{
	struct ip_address ns1[] = {address("127.0.0.1"), address("::1")};
	/* With so long a name they do not fit 512 bytes. */
	struct ip_address many[16];
	for (unsigned i = 0; i < 16; i++) {
		many[i] = address("2001:db8:53::");
		many[i].bytes[15] = (uint8_t)(i + 1);
	}
	struct naming_nameserver nameservers[] = {
	    {"ns1.svc.example.net", ns1, 2},
	    {"a-name-server-with-many-addresses.svc.example.net", many, 16},
	    {"ns.example.org", NULL, 0},
	};
	struct naming_share web = share(65536, "198.51.100.1", "2001:db8:f::1", 1);
	struct naming_share only4 = share(65536, "198.51.100.4", NULL, 4);
	struct naming_share roll[] = {share(32768, "198.51.100.3", "2001:db8:f::3", 3),
				      share(65536, "198.51.100.2", "2001:db8:f::2", 2)};
	struct naming_service services[] = {
	    {.name = "web", .ttl_s = 30, .shares = &web, .share_count = 1},
	    {.name = "api.eu.deep", .ttl_s = 5, .shares = &web, .share_count = 1},
	    {.name = "only4", .ttl_s = 0, .shares = &only4, .share_count = 1},
	    {.name = "roll",
	     .ttl_s = 30,
	     .salt = "fifteen letters",
	     .shares = roll,
	     .share_count = 2},
	};
#define VALUES(...)                                                                                \
	(const char *const[]){__VA_ARGS__},                                                        \
	    sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)
	const struct naming_set sets[] = {
	    {"@", DNS_TXT, 60, VALUES("v=spf1 -all")},
	    {"@", DNS_MX, 60, VALUES("10 mail.example.org.", "20 mail")},
	    {"@", DNS_CAA, 60, VALUES("0 issue \"ca.example.org\"")},
	    {"@", DNS_A, 60, VALUES("203.0.113.80")},
	    {"web", DNS_HTTPS, 60, VALUES("1 . port=8443 alpn=h2,h3")},
	    {"web", DNS_TXT, 60, VALUES("\"two\" \"strings\"")},
	    {"out", DNS_CNAME, 60, VALUES("www.example.org.")},
	    {"_dns.res", DNS_SVCB, 60, VALUES("1 dns.example.org. key65000=x alpn=dot")},
	    {"*.dev", DNS_TXT, 60, VALUES("wild")},
	    {"*.dev", DNS_AAAA, 60, VALUES("2001:db8::7")},
	    {"*.out2", DNS_CNAME, 60, VALUES("www.example.org.")},
	    {"in", DNS_CNAME, 60, VALUES("web")},
	    {"in2", DNS_CNAME, 60, VALUES("in")},
	    {"apex", DNS_CNAME, 60, VALUES("@")},
	    {"gone", DNS_CNAME, 60, VALUES("not-there")},
	    {"*.in3", DNS_CNAME, 60, VALUES("web")},
	    {"in4", DNS_CNAME, 60, VALUES("any.dev")},
	};
	struct naming_input input = {
	    .zone = "svc.example.net",
	    .serial = serial,
	    .contact = "host\\.master.svc.example.net",
	    .refresh_s = 3600,
	    .retry_s = 600,
	    .expire_s = 604800,
	    .ttl_s = 300,
	    .negative_ttl_s = 10,
	    .nameservers = nameservers,
	    .nameserver_count = sizeof(nameservers) / sizeof(*nameservers),
	    .nsid = (const uint8_t *)"lab1",
	    .nsid_length = 4,
	    .version = "Fairlead lab",
	    .services = services,
	    .service_count = sizeof(services) / sizeof(*services),
	    .sets = sets,
	    .set_count = sizeof(sets) / sizeof(*sets),
	};
	return naming_snapshot_build(&input, ret_snapshot, err);
}

int main(void)
{
	struct ip_address listens[] = {address("127.0.0.1"), address("::1")};
	struct random random;
	random_init_system(&random);
	struct naming_server_options options = {
	    .addresses = listens, .address_count = 2, .random = &random};
	struct naming_server *server;
	struct naming_snapshot *snapshot;
	struct error err = {0};
	if (naming_server_open(&options, &server, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	uint32_t serial = 0;
	printf("%u\n", naming_server_port(server));
	do {
		if (build(++serial, &snapshot, &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			break;
		}
		naming_server_swap(server, snapshot);
		printf("%u\n", serial);
		fflush(stdout);
	} while (getchar() != EOF);
	naming_server_close(server);
	return err.code ? 1 : 0;
}
