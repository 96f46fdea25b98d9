/* Owns the passed descriptors until they are taken, and the watchdog's timer.
 *
 * A listener's socket comes from a socket unit (named after the listener) or
 * from the manager's store, where our last run left a copy (named with KEPT
 * behind). Both of one listener: the unit's wins, it is what is configured. */
#include "app/notify.h"

#include "io/timer.h"

#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#define PASSED_MAX 16
#define KEPT "-kept"
#define WATCH_PART 3 /* of the watchdog's time: two turns may be late */

static struct {
	struct {
		char name[64];
		int fd;
	} passed[PASSED_MAX];
	size_t n;
	struct timer watch;
	int64_t watch_ms;
} self;

void notify_begin(void)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		if (self.n == PASSED_MAX) {
			close(fd);
			continue;
		}
		snprintf(self.passed[self.n].name, sizeof(self.passed[self.n].name), "%s", names[i]);
		self.passed[self.n++].fd = fd;
	}
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

static int take(const char *name)
{
	for (size_t i = 0; i < self.n; i++) {
		int fd = self.passed[i].fd;
		if (fd < 0 || strcmp(self.passed[i].name, name) != 0)
			continue;
		self.passed[i].fd = -1;
		return fd;
	}
	return -1;
}

int notify_take(const char *listener, bool *ret_kept)
{
	char kept[64];
	snprintf(kept, sizeof(kept), "%s" KEPT, listener);
	int fd = take(listener), old = take(kept);
	*ret_kept = fd < 0 && old >= 0;
	if (fd < 0)
		return old;
	if (old >= 0)
		close(old);
	return fd;
}

size_t notify_unused(struct buf *names)
{
	size_t n = 0;
	for (size_t i = 0; i < self.n; i++) {
		if (self.passed[i].fd < 0)
			continue;
		buf_addf(names, "%s%s", n == 0 ? "" : ", ", self.passed[i].name);
		close(self.passed[i].fd);
		self.passed[i].fd = -1;
		n++;
	}
	return n;
}

void notify_keep(const char *listener, int fd)
{
	char said[128];
	snprintf(said, sizeof(said), "FDSTORE=1\nFDNAME=%s" KEPT, listener);
	(void)sd_pid_notify_with_fds(0, 0, said, &fd, 1);
}

void notify_forget(const char *listener)
{
	(void)sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s" KEPT, listener);
}

void notify_ready(void)
{
	(void)sd_notify(0, "READY=1");
}

void notify_stopping(void)
{
	(void)sd_notify(0, "STOPPING=1");
}

void notify_reloading(void)
{
	struct timespec now; /* the manager wants this very clock */
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void notify_status(const char *fmt, ...)
{
	char text[512];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	(void)sd_notifyf(0, "STATUS=%s", text);
}

void notify_extend(int64_t ms)
{
	(void)sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%lld", (long long)ms * 1000);
}

static void on_watch(void *arg)
{
	(void)arg;
	(void)sd_notify(0, "WATCHDOG=1");
	timer_arm(&self.watch, self.watch_ms);
}

void notify_watch(struct loop *l)
{
	uint64_t usec = 0;
	timer_init(&self.watch, l, on_watch, NULL);
	if (sd_watchdog_enabled(1, &usec) <= 0 || usec < 3000)
		return;
	self.watch_ms = (int64_t)(usec / 1000 / WATCH_PART);
	if (self.watch_ms < 1)
		self.watch_ms = 1;
	on_watch(NULL);
}

void notify_unwatch(void)
{
	timer_disarm(&self.watch);
}
