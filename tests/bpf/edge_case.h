/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One published edge per test: what the tests of the edge's maps, pins and interfaces share. Each
 * test finds the state that edge_fixture.h describes published and attached, and what it leaves is
 * removed. What the maps say is judged by the packets that the program sends.
 */
#ifndef FAIRLEAD_TESTS_EDGE_CASE_H
#define FAIRLEAD_TESTS_EDGE_CASE_H

#include "abi/edge.h"
#include "edge_fixture.h"

#include <linux/bpf.h>

extern struct fixture fixture;
extern const enum ip_family families[2];

/* cmocka's functions of a group, and of one test. */
int case_enter(void **state);
int case_leave(void **state);
int case_start(void **state);
int case_stop(void **state);

#define EDGE_CASE(test) cmocka_unit_test_setup_teardown(test, case_start, case_stop)

/* Builds the TCP frame with which all of these look at an address, and runs it. */
uint32_t case_run_to(const struct ip_address *address, struct frame *frame, struct frame *ret_out);
/* The address leads to this backend, byte for byte; to the one that the version picks. */
void assert_leads(const struct ip_address *address, size_t backend);
void assert_serves(const struct ip_address *address, enum fixture_service version);
void assert_drops(const struct ip_address *address, unsigned reason);
/* Every address of the fixture is as the fixture describes it. */
void assert_all_served(void);
/* Frames over the cable, through the program as it is attached. */
void assert_wire_serves(bool native);

/* Frames that go over the cable and come back. Never more than a window of them are under way, so
 * that no queue of the kernel overflows when the machine has much else to do: one that is missing
 * was lost by the program. */
#define TRAFFIC_WINDOW 32u
struct traffic {
	int wire;
	size_t sent;
	size_t received;
};
/* Sends one more; false: it cannot be sent, or none of a whole window came back. */
bool traffic_send(struct traffic *traffic, const struct ip_address *address);
/* Waits for those that are under way; one that was lost is still missing then. */
void traffic_collect(struct traffic *traffic);

/* The death of a child that runs `action` by an assertion, whose words it does not print. */
void assert_child_aborts(void (*action)(void));
/* No other edge opens or removes the fixture's pins before this one is closed. Ends with the edge
 * opened anew. */
void assert_second_edge_is_refused(void);

struct edge_status case_status(void);
/* Publishes what the fixture desires; returns edge_publish()'s result. */
int case_publish(struct error *err);
struct edge_selfcheck case_check(void);

/* The number of the descriptor that the program finds for the address, by the address in it; 0 if
 * there is none. `ret_descriptor` may be NULL. */
uint32_t case_descriptor(const struct ip_address *address,
			 struct edge_map_descriptor *ret_descriptor);
struct bpf_map_info case_map_info(const char *map);
/* Sets one byte of a value. */
void case_tamper(const char *map, uint32_t key, size_t offset, uint8_t value);

#endif
