/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge once more, in plain C over a byte array: what shall happen to any frame at all, given
 * the fixture's published state. It shares abi/pick.h with the program and nothing else.
 */
#ifndef FAIRLEAD_TESTS_EDGE_REFERENCE_H
#define FAIRLEAD_TESTS_EDGE_REFERENCE_H

#include "edge_fixture.h"

enum reference_verdict { REFERENCE_PASS, REFERENCE_DROP, REFERENCE_DELIVER };

struct reference {
	enum reference_verdict verdict;
	unsigned reason; /* of a drop */
	size_t backend; /* of a delivery: ordinal in the fixture */
	size_t total; /* bytes of the packet delivered */
};

struct reference reference_judge(const struct fixture *fixture, const struct frame *frame);

#endif
