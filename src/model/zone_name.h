/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names that a fabric has in DNS, as texts: what the file's check tries to build and what the
 * name server is given are built here, so that neither takes what the other refuses. Any thread.
 */
#ifndef FAIRLEAD_MODEL_ZONE_NAME_H
#define FAIRLEAD_MODEL_ZONE_NAME_H

/* Characters of a name without the dot at its end: 255 bytes in a message (RFC 1035 section 3.1)
 * less one for the first label's length and one for the root. */
#define ZONE_NAME_MAX 253
#define ZONE_NAME_BYTES (ZONE_NAME_MAX + 1)

#define ZONE_CONTACT "hostmaster" /* the mailbox at the zone, when the file names no other */

#define ZONE_CONTACT_BYTES 508 /* with the dots of its first label escaped */

/*
 * What `name` means in the file: "web" is web.ZONE, "@" the zone itself, "ns.example.org." itself
 * without the dot. `text` holds ZONE_NAME_BYTES. Returns `text`, or NULL when that is too long.
 */
const char *zone_name(const char *zone, const char *name, char *text);

/*
 * The mailbox of the zone's SOA record as a domain name (RFC 1035 section 8): "user@example.net" or
 * the name itself, or, where `contact` is NULL, ZONE_CONTACT at the zone. `text` holds
 * ZONE_CONTACT_BYTES. NULL when it is none, or too long.
 */
const char *zone_contact(const char *zone, const char *contact, char *text);

#endif
