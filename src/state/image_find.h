/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are in an image, for those who change it: places in its sorted lists. Private to
 * src/state. */
#ifndef FAIRLEAD_STATE_IMAGE_FIND_H
#define FAIRLEAD_STATE_IMAGE_FIND_H

#include "state/image.h"

/* NULL: the service has no such version here. */
struct image_version *image_version_find(const struct image_service *service, uint32_t number);

/* Where the node's record is, or would be. */
size_t image_member_place(const struct image *image, const char *node, bool *ret_found);

/* The place of the first unread key that is not below `key`. */
size_t image_unread_place(const struct image *image, const char *key, bool *ret_found);

#endif
