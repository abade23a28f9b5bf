/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials: what makes a machine a node of its fabric, in the state folder's `channel`, where
 * `fairlead init` and `fairlead join` put it:
 *
 *   key.pem            the channel key
 *   certificate        this node's, X.509 in DER
 *   ca, ca.next        whose certificates are trusted, likewise; `ca.next` while one CA takes the
 *                      other's place
 *   ca-key.pem         the CA's, on a voter
 *   doors              where voters listen, for a start whose replica names none: JSON
 *
 * A state folder without them is that of a node that is alone, or of a landing that reports to a
 * socket.
 */
#ifndef FAIRLEAD_DAEMON_MEMBER_CREDENTIALS_H
#define FAIRLEAD_DAEMON_MEMBER_CREDENTIALS_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/key.h"
#include "base/netaddr.h"
#include "base/text.h"
#include "wire/codec.h"

#include <stdbool.h>

#define CREDENTIALS_FOLDER "channel"
#define CREDENTIALS_DOORS 16u

/* Where a node channel listens. */
struct door {
	char node[TEXT_NAME_MAX + 1];
	struct ip_address address;
	uint16_t port;
};

struct credentials {
	bool voter; /* it has the CA's key */
	char fabric[TEXT_NAME_MAX + 1];
	struct evp_pkey_st *key; /* owned, like all of this */
	struct evp_pkey_st *ca_key; /* NULL unless voter */
	struct buffer certificate;
	struct buffer cas[2];
	size_t ca_count;
	struct door doors[CREDENTIALS_DOORS];
	size_t door_count;
};

/* False: there are none. Errors name the file. */
must_check int credentials_load(const char *state_folder, bool *ret_found,
				struct credentials *ret_credentials, struct error *err);
void credentials_done(struct credentials *credentials);

/* Durably; the folder is made. The key's file is written by who makes the key. */
must_check int credentials_write(const char *state_folder, const struct wire_bytes *certificate,
				 const struct wire_bytes *cas, size_t ca_count,
				 const struct door *doors, size_t door_count, struct error *err);

/* The path of one of the files into `path`, of PATH_MAX bytes; returns it. */
const char *credentials_path(const char *state_folder, const char *name, char *path);

#endif
