/* What an operator graphs: histograms, the actor types things are counted by,
 * and the one writer of the Prometheus text.
 *
 * Counters are plain numbers of whoever counts; a histogram is embedded there
 * likewise. Every metric is one row of base/metric.def, which is also what the
 * documentation shows; its owner writes all of its samples in one go. Labels
 * are bounded: actor types by LIMIT_METRIC_TYPES, everything else by closed
 * sets of words. Never an id or a key. */
#pragma once

#include <stdatomic.h>

#include "base/buf.h"
#include "base/limits.h"

/* ---- histograms ---- */

#define METRIC_BOUNDS 18 /* upper bounds, from 0.1 ms to 60 s; one more bucket is above them */

/* Zeroed memory is an empty one. One thread adds, any thread reads. */
struct metric_histogram {
	atomic_uint_fast64_t counts[METRIC_BOUNDS + 1];
	atomic_uint_fast64_t sum_us;
};

/* Counts a time of `us` microseconds; below 0 (a clock that was moved) counts as 0. */
void metric_observe(struct metric_histogram *h, int64_t us);
uint64_t metric_observed(const struct metric_histogram *h);

/* ---- actor types ---- */

/* The slot of an actor type of that name, the same each time for the same name: slots outlive a reload, because a
 * counter must not go back. 0, shared with all others, when there are LIMIT_METRIC_TYPES. The loop's thread only. */
unsigned metric_type_slot(const char *name);
/* How many slots there are, at least 1; and the name of one ("other" for 0). */
unsigned metric_type_count(void);
const char *metric_type_name(unsigned slot);

/* ---- writing ---- */

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
enum metric_mode { METRIC_BOTH, METRIC_LOCAL, METRIC_ENGINE };

enum metric_id {
#define METRIC(id, name, kind, mode, label1, label2, help) METRIC_##id,
#include "base/metric.def"
#undef METRIC
	METRIC_COUNT
};

struct metric_row {
	const char *name; /* without the prefix rivet_runnerd_ */
	enum metric_kind kind;
	enum metric_mode mode; /* in which it is there */
	const char *labels[2]; /* NULL: none */
	const char *help;
};

extern const struct metric_row metric_rows[METRIC_COUNT];

struct metric_out {
	struct buf *buf; /* borrowed */
	int current;     /* the metric at hand, or -1 */
	bool begun[METRIC_COUNT];
};

void metric_out_init(struct metric_out *o, struct buf *buf);

/* One sample. label1 and label2: values of the row's labels, NULL for those it does not have. All samples of a metric
 * one after the other: it is a bug to come back to one. */
void metric_put(struct metric_out *o, enum metric_id id, const char *label1, const char *label2, uint64_t value);
void metric_put_histogram(struct metric_out *o, enum metric_id id, const char *label1, const char *label2,
			  const struct metric_histogram *h);
/* One sample for each actor type: values[slot], of an array whose elements are `stride` bytes apart. */
void metric_put_types(struct metric_out *o, enum metric_id id, const uint64_t *values, size_t stride);
