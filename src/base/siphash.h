/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012): a keyed hash whose
 * outcome nobody can foresee or steer without the key. Any thread.
 */
#ifndef FAIRLEAD_BASE_SIPHASH_H
#define FAIRLEAD_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY_BYTES 16

uint64_t siphash24(const uint8_t key[SIPHASH_KEY_BYTES], const void *bytes, size_t length);

#endif
