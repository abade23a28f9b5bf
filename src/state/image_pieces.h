/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pieces of an image: the records of configuration and placement as they were read, one by one,
 * each with its revision, and the fabric and the placement that are assembled from them when one
 * has changed. Private to image.c and image_pieces.c.
 */
#ifndef FAIRLEAD_STATE_IMAGE_PIECES_H
#define FAIRLEAD_STATE_IMAGE_PIECES_H

#include "state/image.h"
#include "state/records.h"

must_check int image_pieces_new(struct image_pieces **ret_pieces);
void image_pieces_free(struct image_pieces *pieces);

/* Take in a record, whose type is one of configuration or placement, but config/service/NAME. */
must_check int image_pieces_take(struct image *image, enum record_type type,
				 const struct store_record *record, struct error *err);
/* It is gone, or unread from now on. */
void image_pieces_drop(struct image *image, enum record_type type, const char *key);

/* The service's own record, `record` NULL when it is gone. */
must_check int image_pieces_take_service(struct image *image, struct image_service *service,
					 const struct store_record *record, struct error *err);

/* A service's state has come or gone: its number counts. */
void image_pieces_renumber(struct image *image);

/* Assemble again what has changed; image->fabric and image->placement are new pointers then. */
must_check int image_pieces_settle(struct image *image, uint64_t revision, struct error *err);

uint64_t image_pieces_revision(const struct image *image, enum record_type type, const char *key);

#endif
