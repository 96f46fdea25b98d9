/* Counts workers and their calls. Owned by the process, not by a pool: counters
 * go on when a pool is closed.
 *
 * The memory of all processes at once could hold the loop up for long. So each
 * look measures at most LIMIT_METRIC_PROCESSES of those that were not measured
 * in this round, and takes what was found before for the others. */
#include "worker/worker_count.h"

#include "worker/worker_private.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const char *const start_words[] = {
    [START_SPAWN] = "spawn",         [START_EXIT] = "exit",       [START_SIGNAL] = "signal",
    [START_NOT_READY] = "not_ready", [START_REFUSED] = "refused", [START_PROTOCOL] = "protocol",
    [START_NO_ROOM] = "no_room",
};
static const char *const crash_words[] = {[CRASH_EXIT] = "exit", [CRASH_SIGNAL] = "signal", [CRASH_OOM] = "oom"};
_Static_assert(ARRAY_SIZE(start_words) == START_FAILURES, "one word for each");
_Static_assert(ARRAY_SIZE(crash_words) == WORKER_CRASHES, "one word for each");

static struct {
	uint64_t starts, failures[START_FAILURES], crashes[WORKER_CRASHES], output, dropped;
	struct metric_histogram ready;
} counts[LIMIT_METRIC_TYPES];

enum runtime_result { RESULT_OK, RESULT_REFUSED, RESULT_FAILED, RUNTIME_RESULTS };
static const char *const result_words[] = {
    [RESULT_OK] = "ok", [RESULT_REFUSED] = "refused", [RESULT_FAILED] = "failed"};

static const struct {
	const char *word;
	bool kv;
} kinds[] = {
    [RUNTIME_INFO] = {"info", false},
    [RUNTIME_INPUT] = {"input", false},
    [RUNTIME_KV_GET] = {"kv_get", true},
    [RUNTIME_KV_PUT] = {"kv_put", true},
    [RUNTIME_KV_DELETE] = {"kv_delete", true},
    [RUNTIME_KV_LIST] = {"kv_list", true},
    [RUNTIME_KV_DELETE_RANGE] = {"kv_delete_range", true},
    [RUNTIME_KV_BATCH_GET] = {"kv_batch_get", true},
    [RUNTIME_ALARM_GET] = {"alarm_get", false},
    [RUNTIME_ALARM_SET] = {"alarm_set", false},
    [RUNTIME_SLEEP] = {"sleep", false},
    [RUNTIME_DESTROY] = {"destroy", false},
    [RUNTIME_KEEP_AWAKE] = {"keep_awake", false},
    [RUNTIME_LEASE_END] = {"lease_end", false},
};

static struct {
	uint64_t calls[RUNTIME_RESULTS];
	struct metric_histogram time; /* of key-value operations */
} runtime[ARRAY_SIZE(kinds)];

/* ---- counting ---- */

void worker_count_start(const struct actor_type *t)
{
	counts[t->slot].starts++;
}

void worker_count_ready(const struct actor_type *t, int64_t us)
{
	metric_observe(&counts[t->slot].ready, us);
}

void worker_count_start_failed(const struct actor_type *t, enum worker_start_failure why)
{
	counts[t->slot].failures[why]++;
}

void worker_count_crash(const struct actor_type *t, enum worker_crash how)
{
	counts[t->slot].crashes[how]++;
}

void worker_count_output(const struct actor_type *t, uint64_t lines, uint64_t dropped)
{
	counts[t->slot].output += lines;
	counts[t->slot].dropped += dropped;
}

void worker_count_answered(enum runtime_kind kind, enum runtime_outcome outcome, int64_t us)
{
	static const enum runtime_result results[] = {
	    [RUNTIME_OK] = RESULT_OK,
	    [RUNTIME_ABSENT] = RESULT_REFUSED,
	    [RUNTIME_STOPPING] = RESULT_REFUSED,
	    [RUNTIME_STALE] = RESULT_REFUSED,
	    [RUNTIME_DISK_FULL] = RESULT_FAILED,
	    [RUNTIME_UNAVAILABLE] = RESULT_FAILED,
	    [RUNTIME_TOO_MANY] = RESULT_REFUSED,
	};
	CHECK((unsigned)kind < ARRAY_SIZE(kinds) && (unsigned)outcome < ARRAY_SIZE(results));
	runtime[kind].calls[results[outcome]]++;
	if (kinds[kind].kv)
		metric_observe(&runtime[kind].time, us);
}

void worker_count_refused(enum runtime_kind kind)
{
	CHECK((unsigned)kind < ARRAY_SIZE(kinds));
	runtime[kind].calls[RESULT_REFUSED]++;
}

/* ---- what is in the pool ---- */

struct now {
	uint64_t workers, memory, waiting, places;
};

/* Resident bytes of a process as the kernel counts them; 0: it cannot be read. */
static uint64_t resident_bytes(int32_t pid)
{
	char path[48], text[128];
	unsigned long long size, resident;
	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return sscanf(text, "%llu %llu", &size, &resident) == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static void look_at(struct worker *w, struct now *n, unsigned *budget)
{
	struct worker_pool *p = w->pool;
	if (w->state >= WORKER_EXITED || w->pid == 0)
		return;
	n->workers++;
	n->waiting += w->n_waiting;
	if (*budget > 0 && w->memory_round != p->memory_round) {
		--*budget;
		w->memory_round = p->memory_round;
		w->memory_bytes = resident_bytes(w->pid);
	}
	n->memory += w->memory_bytes;
}

static void look(struct worker_pool *p, struct now now[LIMIT_METRIC_TYPES])
{
	unsigned budget = LIMIT_METRIC_PROCESSES;
	LIST_FOR (&p->kinds, kind) {
		struct worker_kind *k = CONTAINER_OF(kind, struct worker_kind, node);
		struct now *n = &now[k->type->slot];
		LIST_FOR (&k->waiting, waiting)
			n->places++;
		LIST_FOR (&k->workers, node)
			look_at(CONTAINER_OF(node, struct worker, node), n, &budget);
	}
	if (budget > 0) /* all were: the next look begins anew */
		p->memory_round++;
}

/* ---- telling ---- */

static void put_reasons(struct metric_out *out)
{
	for (unsigned slot = 0; slot < metric_type_count(); slot++)
		for (unsigned i = 0; i < START_FAILURES; i++)
			metric_put(out, METRIC_START_FAILURES, metric_type_name(slot), start_words[i],
				   counts[slot].failures[i]);
	for (unsigned slot = 0; slot < metric_type_count(); slot++)
		for (unsigned i = 0; i < WORKER_CRASHES; i++)
			metric_put(out, METRIC_WORKER_CRASHES, metric_type_name(slot), crash_words[i],
				   counts[slot].crashes[i]);
}

static void put_runtime(struct metric_out *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		for (unsigned r = 0; r < RUNTIME_RESULTS; r++)
			metric_put(out, METRIC_RUNTIME_CALLS, kinds[i].word, result_words[r], runtime[i].calls[r]);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].kv)
			metric_put_histogram(out, METRIC_KV_SECONDS, kinds[i].word, NULL, &runtime[i].time);
}

void worker_count_metrics(struct worker_pool *p, struct metric_out *out)
{
	struct now now[LIMIT_METRIC_TYPES] = {0};
	if (p != NULL)
		look(p, now);
	metric_put_types(out, METRIC_WORKERS, &now->workers, sizeof(*now));
	metric_put(out, METRIC_WORKERS_STARTING, NULL, NULL, p == NULL ? 0 : p->n_starting);
	metric_put_types(out, METRIC_PLACES_WAITING, &now->places, sizeof(*now));
	metric_put_types(out, METRIC_CONNECTIONS_WAITING, &now->waiting, sizeof(*now));
	metric_put_types(out, METRIC_WORKER_MEMORY, &now->memory, sizeof(*now));
	metric_put_types(out, METRIC_WORKER_STARTS, &counts->starts, sizeof(*counts));
	for (unsigned slot = 0; slot < metric_type_count(); slot++)
		metric_put_histogram(out, METRIC_WORKER_START_SECONDS, metric_type_name(slot), NULL,
				     &counts[slot].ready);
	put_reasons(out);
	metric_put_types(out, METRIC_OUTPUT, &counts->output, sizeof(*counts));
	metric_put_types(out, METRIC_OUTPUT_DROPPED, &counts->dropped, sizeof(*counts));
	put_runtime(out);
}
