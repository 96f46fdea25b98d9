/* Makes a data directory with many sleeping actors, each with an alarm far in
 * the future, through the store itself.
 *
 *   fill_store DIRECTORY ACTORS NAME */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "codec/actor_id.h"
#include "store/store_actor.h"
#include "store/store_alarm.h"

#define LANES 512 /* actors under way at once: they share commits */
#define DUE_MS ((int64_t)365 * 24 * 3600 * 1000)

struct lane {
	struct store_actor_create create;
	struct store_alarm alarm;
};

static struct store *store;
static struct lane lanes[LANES];
static const char *name;
static long left, busy;
static int64_t now_wall_ms;
static int wake_fd;
static bool closed;

static void begin(struct lane *l);

static void on_alarm_set(struct store_job *job)
{
	struct lane *l = CONTAINER_OF(job, struct lane, alarm.job);
	CHECK(job->result == 0);
	busy--;
	if (left > 0)
		begin(l);
}

static void on_created(struct store_job *job)
{
	struct lane *l = CONTAINER_OF(job, struct lane, create.job);
	CHECK(job->result == 0);
	uint64_t number = l->create.actor.number;
	l->alarm = (struct store_alarm){
	    .job.done = on_alarm_set, .actor_number = number, .due_wall_ms = now_wall_ms + DUE_MS + (int64_t)number};
	store_actor_create_clear(&l->create);
	store_alarm(store, &l->alarm);
}

/* An actor that has run once and sleeps. */
static void begin(struct lane *l)
{
	char key[32];
	snprintf(key, sizeof(key), "key-%ld", left--);
	busy++;
	l->create = (struct store_actor_create){.job.done = on_created};
	struct store_actor *a = &l->create.actor;
	a->id = mem_strdup(actor_id_new().text);
	a->namespace_name = mem_strdup("default");
	a->name = mem_strdup(name);
	a->key = mem_strdup(key);
	a->runner_name_selector = mem_strdup("default");
	a->crash_policy = CRASH_SLEEP;
	a->generation = 1;
	a->create_ts = a->start_ts = a->sleep_ts = now_wall_ms;
	store_actor_create(store, &l->create);
}

static void on_notify(void *arg)
{
	(void)arg;
	CHECK(write(wake_fd, &(uint64_t){1}, 8) == 8);
}

static void on_closed(void *arg)
{
	(void)arg;
	closed = true;
}

static void turn(void)
{
	uint64_t n;
	struct pollfd p = {.fd = wake_fd, .events = POLLIN};
	CHECK(poll(&p, 1, -1) == 1 && read(wake_fd, &n, 8) == 8);
	while (store_deliver(store))
		;
}

int main(int argc, char **argv)
{
	struct err e = {0};
	left = argc == 4 ? strtol(argv[2], NULL, 10) : 0;
	if (left < 1 || left > 10000000) {
		fprintf(stderr, "usage: fill_store DIRECTORY ACTORS NAME\n");
		return EXIT_CODE_USAGE;
	}
	name = argv[3];
	now_wall_ms = clock_wall_ms();
	wake_fd = eventfd(0, EFD_CLOEXEC);
	CHECK(wake_fd >= 0);
	if (store_open(argv[1], on_notify, NULL, &store, &e) < 0) {
		fprintf(stderr, "fill_store: %s\n", e.text);
		return e.exit_code;
	}
	for (size_t i = 0; i < LANES && left > 0; i++)
		begin(&lanes[i]);
	while (busy > 0)
		turn();
	store_close(store, on_closed, NULL);
	while (!closed)
		turn();
	close(wake_fd);
	return 0;
}
