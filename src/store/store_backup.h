/* A consistent copy of the whole store, while it is written to. */
#pragma once

#include "store/store.h"

/* One at a time; a second gets -EBUSY. Out: fd, a descriptor of the finished copy at its beginning (the caller closes
 * it), whose file has no name any more; size in bytes. The copy is made in the data directory: -ENOSPC when it does not
 * fit; -ECANCELED when the store was closed meanwhile. A restore is putting it into an empty data directory as
 * store.db. */
struct store_backup {
	struct store_job job;
	int fd; /* -1: none */
	uint64_t size;
	void *user;
};
void store_backup(struct store *s, struct store_backup *b);
