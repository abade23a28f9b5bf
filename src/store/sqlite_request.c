/* SPDX-License-Identifier: Apache-2.0 */
/* What the calls of the embedded engine share: how a request waits, and why one is refused. */
#include "store/sqlite.h"

#include <stdlib.h>
#include <sys/eventfd.h>

int sqlite_no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "store: out of memory");
}

void sqlite_arm(struct sqlite_store *store)
{
	/* Fails only if the counter is full, and then the descriptor is readable already. */
	(void)eventfd_write(store->event_fd, 1);
}

void sqlite_request_free(struct sqlite_request *request)
{
	if (!request)
		return;
	arena_done(&request->arena);
	free(request);
}

struct sqlite_request *sqlite_request_new(const struct sqlite_store *store)
{
	struct sqlite_request *request = store->closing ? NULL : calloc(1, sizeof(*request));
	if (request)
		arena_init(&request->arena, 0);
	return request;
}

int sqlite_cannot_queue(const struct sqlite_store *store, struct error *err)
{
	return store->closing ? error_set(err, -ECANCELED, "store: it is being closed")
			      : sqlite_no_memory(err);
}

void sqlite_request_queue(struct sqlite_store *store, struct sqlite_request *request)
{
	*store->last_request = request;
	store->last_request = &request->next;
	sqlite_arm(store);
}

int sqlite_cancelled(struct error *err)
{
	return error_set(err, -ECANCELED, "store: it was closed before the call was done");
}

int sqlite_revision_set(struct sqlite_store *store, uint64_t revision, struct error *err)
{
	sqlite3_stmt *set = sqlite_file_statement(&store->file, STATEMENT_STATE_SET_REVISION);
	sqlite_bind_number(set, 1, revision);
	return sqlite_file_run(&store->file, set, err);
}

int sqlite_check_writable(const struct sqlite_store *store, struct error *err)
{
	return store->why ? error_set(err, -FL_ESTATE, "%s", store->why) : 0;
}
