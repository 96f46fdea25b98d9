/* One blocking HTTP/1.1 call on the daemon's control socket. */
#pragma once

#include "base/err.h"
#include "base/slice.h"

struct ctl_call {
	const char *socket; /* path */
	const char *method;
	const char *target;
	struct slice body; /* n 0: none */
	/* Bytes of a 2xx answer's body as they come; false ends the call early (-ECANCELED). The slice dies on return.
	 */
	bool (*take)(void *arg, struct slice s);
	void *arg;
};

/* Makes the call. *ret_status is the answer's. The body of any other status than 2xx is the daemon's error object,
 * whose sentence comes back in e with 1 and exit code EXIT_CODE_FAILED. Nobody there, or cut off: -errno and
 * EXIT_CODE_UNAVAILABLE. 0: answered with 2xx. */
int ctl_call(const struct ctl_call *call, unsigned *ret_status, struct err *e);
