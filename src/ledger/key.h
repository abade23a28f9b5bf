/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures as the ledger writes them; keys are base/key.h's. Private to src/ledger. */
#ifndef FAIRLEAD_LEDGER_KEY_H
#define FAIRLEAD_LEDGER_KEY_H

#include "base/error.h"
#include "base/key.h"
#include "ledger/ledger.h"

#define LEDGER_SIGNATURE_TEXT_BYTES 89u /* 88 of base64 and a NUL */

must_check int ledger_sign(const struct ledger_signer *signer, const void *bytes, size_t length,
			   uint8_t ret_signature[LEDGER_SIGNATURE_BYTES], struct error *err);

/* 0, -FL_EINVALID when the signature does not match, or -ENOMEM. */
must_check int ledger_signature_check(const uint8_t key[KEY_BYTES], const void *bytes,
				      size_t length,
				      const uint8_t signature[LEDGER_SIGNATURE_BYTES]);

#endif
