/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/member/credentials.h"

#include "base/disk.h"
#include "base/file.h"
#include "peer/ca.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CREDENTIALS_FILE_BYTES 16384u

static const char KEY[] = "key.pem";
static const char CA_KEY[] = "ca-key.pem";
static const char CERTIFICATE[] = "certificate";
static const char DOORS[] = "doors";
static const char *const CAS[] = {"ca", "ca.next"};

const char *credentials_path(const char *state_folder, const char *name, char *path)
{
	snprintf(path, PATH_MAX, "%s/" CREDENTIALS_FOLDER "/%s", state_folder, name);
	return path;
}

static int load_doors(const char *path, struct credentials *credentials, struct error *err)
{
	json_t *list = json_load_file(path, 0, NULL);
	size_t at;
	json_t *one;
	json_array_foreach (list, at, one) {
		const char *node = json_string_value(json_object_get(one, "node"));
		const char *address = json_string_value(json_object_get(one, "address"));
		json_int_t port = json_integer_value(json_object_get(one, "port"));
		struct door *door = &credentials->doors[credentials->door_count];
		if (credentials->door_count == CREDENTIALS_DOORS)
			break;
		if (!node || !text_is_node_name(node) || !address ||
		    ip_address_parse(address, &door->address) < 0 || port < 1 ||
		    port > UINT16_MAX) {
			json_decref(list);
			return error_set(err, -FL_ECORRUPT, "%s: this names no voter's address",
					 path);
		}
		snprintf(door->node, sizeof(door->node), "%s", node);
		door->port = (uint16_t)port;
		credentials->door_count++;
	}
	json_decref(list);
	return 0;
}

static int load_cas(const char *state_folder, struct credentials *credentials, struct error *err)
{
	char path[PATH_MAX];
	for (size_t i = 0; i < sizeof(CAS) / sizeof(*CAS); i++) {
		struct buffer *ca = &credentials->cas[credentials->ca_count];
		int result = file_read(credentials_path(state_folder, CAS[i], path), ca, err);
		if (result == -ENOENT && i > 0)
			continue;
		if (result < 0)
			return result;
		credentials->ca_count++;
	}
	return 0;
}

static int read_fabric(struct credentials *credentials, const char *path, struct error *err)
{
	struct peer_certificate certificate;
	const struct wire_bytes der = wire_bytes_of(&credentials->certificate);
	int result = peer_certificate_read(&der, &certificate, err);
	if (result < 0) {
		error_prefix(err, "%s", path);
		return result;
	}
	memcpy(credentials->fabric, certificate.fabric, sizeof(credentials->fabric));
	return 0;
}

int credentials_load(const char *state_folder, bool *ret_found, struct credentials *ret_credentials,
		     struct error *err)
{
	struct credentials credentials = {0};
	buffer_init(&credentials.certificate, CREDENTIALS_FILE_BYTES);
	for (size_t i = 0; i < sizeof(CAS) / sizeof(*CAS); i++)
		buffer_init(&credentials.cas[i], CREDENTIALS_FILE_BYTES);
	char path[PATH_MAX];
	*ret_found = false;
	if (access(credentials_path(state_folder, CERTIFICATE, path), F_OK) < 0)
		return 0;
	int result = file_read(path, &credentials.certificate, err);
	if (result == 0)
		result = read_fabric(&credentials, path, err);
	if (result == 0)
		result =
		    key_pair_load(credentials_path(state_folder, KEY, path), &credentials.key, err);
	if (result == 0)
		result = load_cas(state_folder, &credentials, err);
	credentials.voter = access(credentials_path(state_folder, CA_KEY, path), F_OK) == 0;
	if (result == 0 && credentials.voter)
		result = key_pair_load(path, &credentials.ca_key, err);
	if (result == 0)
		result = load_doors(credentials_path(state_folder, DOORS, path), &credentials, err);
	if (result < 0) {
		credentials_done(&credentials);
		return result;
	}
	*ret_found = true;
	*ret_credentials = credentials;
	return 0;
}

void credentials_done(struct credentials *credentials)
{
	key_pair_free(credentials->key);
	key_pair_free(credentials->ca_key);
	buffer_done(&credentials->certificate);
	for (size_t i = 0; i < sizeof(CAS) / sizeof(*CAS); i++)
		buffer_done(&credentials->cas[i]);
	*credentials = (struct credentials){0};
}

static int write_doors(const char *path, const struct door *doors, size_t count, struct error *err)
{
	char text[IP_TEXT_BYTES];
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:i}", "node", doors[i].node, "address",
						ip_address_format(&doors[i].address, text), "port",
						(int)doors[i].port));
	char *bytes = json_dumps(list, JSON_COMPACT);
	int result = disk_write_durably(path, bytes, strlen(bytes), 0600, err);
	free(bytes);
	json_decref(list);
	return result;
}

int credentials_write(const char *state_folder, const struct wire_bytes *certificate,
		      const struct wire_bytes *cas, size_t ca_count, const struct door *doors,
		      size_t door_count, struct error *err)
{
	char path[PATH_MAX];
	ASSERT(ca_count <= sizeof(CAS) / sizeof(*CAS));
	int result = file_make_folders(credentials_path(state_folder, "", path), 0700, err);
	for (size_t i = 0; i < ca_count && result == 0; i++)
		result = disk_write_durably(credentials_path(state_folder, CAS[i], path),
					    cas[i].data, cas[i].length, 0600, err);
	if (result == 0)
		result = write_doors(credentials_path(state_folder, DOORS, path), doors, door_count,
				     err);
	/* The last, since it says that the others are there. */
	if (result == 0)
		result = disk_write_durably(credentials_path(state_folder, CERTIFICATE, path),
					    certificate->data, certificate->length, 0600, err);
	return result;
}
