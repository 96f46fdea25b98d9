/* How fast the store acknowledges: N clients, each with one put of 128 bytes
 * under way, over a poll()ed pipe as the loop would. Beside it the same disk
 * under a bare append and fdatasync.
 *
 *   store_bench DIRECTORY [CLIENTS [SECONDS]] */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/store_kv.h"

#define VALUE_BYTES 128
#define KEYS_PER_CLIENT 1000
#define CLIENTS_MAX 4096
#define SAMPLES_MAX 10000000

struct client {
	struct store_kv op;
	uint8_t key[16], value[VALUE_BYTES];
	struct store_kv_pair pair;
	int64_t sent_us;
	unsigned turn;
};

static struct store *store;
static struct client clients[CLIENTS_MAX];
static uint32_t *samples_us;
static size_t n_samples;
static int64_t until_us;
static int wake_fd, busy;
static bool closed;

static void put(struct client *c);

static void on_done(struct store_job *job)
{
	struct client *c = CONTAINER_OF(job, struct client, op.job);
	CHECK(job->result == 0);
	if (n_samples < SAMPLES_MAX)
		samples_us[n_samples++] = (uint32_t)(clock_mono_us() - c->sent_us);
	if (clock_mono_us() < until_us)
		put(c);
	else
		busy--;
}

static void put(struct client *c)
{
	c->pair = (struct store_kv_pair){.key = c->key, .value = c->value, .value_len = sizeof(c->value)};
	c->pair.key_len =
	    (size_t)snprintf((char *)c->key, sizeof(c->key), "key-%06u", c->turn++ * 7919 % KEYS_PER_CLIENT);
	c->op.kind = STORE_KV_PUT;
	c->op.actor_number = (uint64_t)(c - clients) + 1;
	c->op.pairs = &c->pair;
	c->op.n_pairs = 1;
	c->op.job.done = on_done;
	c->sent_us = clock_mono_us();
	store_kv(store, &c->op);
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

static void turn_loop(void)
{
	uint64_t n;
	struct pollfd p = {.fd = wake_fd, .events = POLLIN};
	CHECK(poll(&p, 1, -1) == 1 && read(wake_fd, &n, 8) == 8);
	while (store_deliver(store))
		;
}

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static void report(const char *what, int64_t us)
{
	CHECK(n_samples > 0);
	qsort(samples_us, n_samples, sizeof(*samples_us), compare);
	printf("%-28s %9.0f /s  p50 %u us  p99 %u us  max %u us\n", what, (double)n_samples * 1e6 / (double)us,
	       samples_us[n_samples / 2], samples_us[n_samples / 100 * 99], samples_us[n_samples - 1]);
	n_samples = 0;
}

static void bare(const char *dir, int64_t seconds)
{
	char path[4096], record[VALUE_BYTES + 32] = "";
	snprintf(path, sizeof(path), "%s/bare", dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	CHECK(fd >= 0);
	int64_t start_us = clock_mono_us();
	while (clock_mono_us() - start_us < seconds * 1000000) {
		int64_t sent_us = clock_mono_us();
		CHECK(write(fd, record, sizeof(record)) == (ssize_t)sizeof(record) && fdatasync(fd) == 0);
		samples_us[n_samples++] = (uint32_t)(clock_mono_us() - sent_us);
	}
	report("bare append + fdatasync", clock_mono_us() - start_us);
	close(fd);
	unlink(path);
}

int main(int argc, char **argv)
{
	struct err e = {0};
	char what[64];
	if (argc < 2)
		return EXIT_CODE_USAGE;
	int n = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 64;
	int64_t seconds = argc > 3 ? strtol(argv[3], NULL, 10) : 5;
	CHECK(n > 0 && n <= CLIENTS_MAX && seconds > 0);
	samples_us = mem_alloc(SAMPLES_MAX * sizeof(*samples_us));
	wake_fd = eventfd(0, EFD_CLOEXEC);
	if (store_open(argv[1], on_notify, NULL, &store, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return e.exit_code;
	}
	bare(argv[1], seconds);
	int64_t start_us = clock_mono_us();
	until_us = start_us + seconds * 1000000;
	for (busy = 0; busy < n; busy++)
		put(&clients[busy]);
	while (busy > 0)
		turn_loop();
	snprintf(what, sizeof(what), "store, %d clients", n);
	report(what, clock_mono_us() - start_us);
	struct store_stats stats;
	store_stats(store, &stats);
	printf("%.1f puts per commit\n", (double)stats.writes / (double)stats.commits);
	store_close(store, on_closed, NULL);
	while (!closed)
		turn_loop();
	mem_free(samples_us);
	close(wake_fd);
	return 0;
}
