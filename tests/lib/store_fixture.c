/* The store without a loop. */
#include "lib/store_fixture.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "codec/actor_id.h"
#include "store/store_actor.h"
#include "store/store_kv.h"

#define PATIENCE_MS 60000

static void on_notify(void *arg)
{
	struct store_fixture *f = arg;
	CHECK(write(f->wake_fd, &(uint64_t){1}, 8) == 8);
}

static void on_closed(void *arg)
{
	struct store_fixture *f = arg;
	f->closed = true;
	f->store = NULL;
}

void store_fixture_init(struct store_fixture *f)
{
	struct err e = {0};
	const char *tmp = getenv("TMPDIR");
	*f = (struct store_fixture){.wake_fd = eventfd(0, EFD_CLOEXEC)};
	snprintf(f->dir, sizeof(f->dir), "%s/store-XXXXXX", tmp == NULL ? "/tmp" : tmp);
	CHECK(mkdtemp(f->dir) != NULL);
	if (store_fixture_open(f, &e) < 0)
		fprintf(stderr, "%s\n", e.text);
	CHECK(f->store != NULL);
}

int store_fixture_open(struct store_fixture *f, struct err *e)
{
	f->closed = false;
	return store_open(f->dir, on_notify, f, &f->store, e);
}

void store_fixture_close(struct store_fixture *f)
{
	store_close(f->store, on_closed, f);
	while (!f->closed)
		store_fixture_turn(f);
}

void store_fixture_done(struct store_fixture *f)
{
	if (f->store != NULL)
		store_fixture_close(f);
	DIR *d = opendir(f->dir);
	CHECK(d != NULL);
	for (struct dirent *entry; (entry = readdir(d)) != NULL;)
		unlinkat(dirfd(d), entry->d_name, 0);
	closedir(d);
	CHECK(rmdir(f->dir) == 0);
	close(f->wake_fd);
}

void store_fixture_on_done(struct store_job *job)
{
	job->run = NULL;
}

bool store_fixture_is_done(const struct store_job *job)
{
	return job->run == NULL;
}

void store_fixture_turn(struct store_fixture *f)
{
	uint64_t n;
	struct pollfd p = {.fd = f->wake_fd, .events = POLLIN};
	CHECK(poll(&p, 1, PATIENCE_MS) == 1 && read(f->wake_fd, &n, 8) == 8);
	while (store_deliver(f->store))
		;
}

int store_fixture_wait(struct store_fixture *f, struct store_job *job)
{
	while (!store_fixture_is_done(job))
		store_fixture_turn(f);
	return job->result;
}

int store_fixture_put(struct store_fixture *f, uint64_t actor, const char *key, const char *value)
{
	struct store_kv op = {.actor_number = actor, .kind = STORE_KV_PUT, .n_pairs = 1};
	op.pairs = mem_zalloc(sizeof(*op.pairs));
	*op.pairs = (struct store_kv_pair){(uint8_t *)mem_strdup(key), (uint8_t *)mem_strdup(value), strlen(key),
					   strlen(value), 0};
	op.job.done = store_fixture_on_done;
	store_kv(f->store, &op);
	int result = store_fixture_wait(f, &op.job);
	store_kv_clear(&op);
	return result;
}

const char *store_fixture_get(struct store_fixture *f, uint64_t actor, const char *key, char out[64])
{
	struct store_kv op = {.actor_number = actor, .kind = STORE_KV_GET, .n_pairs = 1};
	op.pairs = mem_zalloc(sizeof(*op.pairs));
	*op.pairs = (struct store_kv_pair){.key = (uint8_t *)mem_strdup(key), .key_len = strlen(key)};
	op.job.done = store_fixture_on_done;
	store_kv(f->store, &op);
	CHECK(store_fixture_wait(f, &op.job) == 0);
	snprintf(out, 64, "-");
	if (op.n_entries == 1)
		snprintf(out, 64, "%.*s", (int)op.entries[0].value_len, (const char *)op.entries[0].value);
	store_kv_clear(&op);
	return out;
}

uint64_t store_fixture_actor(struct store_fixture *f, const char *name, const char *key)
{
	struct actor_id id = actor_id_new();
	struct store_actor_create c = {.actor = {.id = mem_strdup(id.text),
						 .namespace_name = mem_strdup("default"),
						 .name = mem_strdup(name),
						 .key = mem_strdup(key),
						 .generation = -1,
						 .create_ts = clock_wall_ms()}};
	c.job.done = store_fixture_on_done;
	store_actor_create(f->store, &c);
	CHECK(store_fixture_wait(f, &c.job) == 0);
	uint64_t number = c.actor.number;
	store_actor_create_clear(&c);
	return number;
}
