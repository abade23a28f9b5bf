/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/boot.h"

#include "base/buffer.h"
#include "base/file.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int boot_id_read(char text[BOOT_ID_BYTES], struct error *err)
{
	struct buffer bytes;
	buffer_init(&bytes, 128);
	int result = file_read("/proc/sys/kernel/random/boot_id", &bytes, err);
	if (result == 0 && bytes.length < BOOT_ID_BYTES - 1)
		result = error_set(err, -FL_ECORRUPT, "the kernel's boot id is too short");
	if (result == 0) {
		memcpy(text, bytes.data, BOOT_ID_BYTES - 1);
		text[BOOT_ID_BYTES - 1] = '\0';
	}
	buffer_done(&bytes);
	return result;
}

int boot_namespace_read(uint64_t *ret_cookie, struct error *err)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);
	int result = 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0)
		result = -errno;
	if (fd >= 0)
		close(fd);
	if (result < 0)
		return error_set(err, result, "the network namespace cannot be identified: %s",
				 error_text(result));
	*ret_cookie = cookie;
	return 0;
}
