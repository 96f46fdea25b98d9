/* Owns the names of the actor types that are counted by themselves.
 *
 * A histogram has one writing thread, so adding is a load and a store without
 * a lock; a reader may see a bucket counted and its time not yet. */
#include "base/metric.h"

static const int64_t bounds_us[METRIC_BOUNDS] = {
    100,    250,    500,    1000,    2500,    5000,    10000,    25000,    50000,
    100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000,
};

static const char *const bound_texts[METRIC_BOUNDS + 1] = {
    "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1",
    "0.25",   "0.5",     "1",      "2.5",   "5",      "10",    "30",   "60",    "+Inf",
};

const struct metric_row metric_rows[METRIC_COUNT] = {
#define METRIC(id, name, kind, mode, label1, label2, help) \
	[METRIC_##id] = {name, METRIC_##kind, METRIC_##mode, {label1, label2}, help},
#include "base/metric.def"
#undef METRIC
};

/* ---- histograms ---- */

static void add(atomic_uint_fast64_t *to, uint64_t n)
{
	atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n, memory_order_relaxed);
}

void metric_observe(struct metric_histogram *h, int64_t us)
{
	size_t i = 0;
	if (us < 0)
		us = 0;
	while (i < METRIC_BOUNDS && us > bounds_us[i])
		i++;
	add(&h->counts[i], 1);
	add(&h->sum_us, (uint64_t)us);
}

uint64_t metric_observed(const struct metric_histogram *h)
{
	uint64_t n = 0;
	for (size_t i = 0; i <= METRIC_BOUNDS; i++)
		n += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
	return n;
}

/* ---- actor types ---- */

static char *type_names[LIMIT_METRIC_TYPES]; /* slot 0 has none */
static unsigned n_types = 1;

const char *metric_type_name(unsigned slot)
{
	CHECK(slot < n_types);
	return slot == 0 ? "other" : type_names[slot];
}

unsigned metric_type_count(void)
{
	return n_types;
}

/* A type that is called "other" is counted with the others: two series of one name must not be. */
unsigned metric_type_slot(const char *name)
{
	for (unsigned i = 0; i < n_types; i++)
		if (strcmp(metric_type_name(i), name) == 0)
			return i;
	if (n_types == LIMIT_METRIC_TYPES)
		return 0;
	type_names[n_types] = mem_strdup(name);
	return n_types++;
}

/* ---- writing ---- */

void metric_out_init(struct metric_out *o, struct buf *buf)
{
	*o = (struct metric_out){.buf = buf, .current = -1};
}

static void begin(struct metric_out *o, enum metric_id id)
{
	static const char *const kinds[] = {
	    [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
	const struct metric_row *row = &metric_rows[id];
	if (o->current == (int)id)
		return;
	CHECK(!o->begun[id]);
	o->begun[id] = true;
	o->current = (int)id;
	buf_addf(o->buf, "# HELP rivet_runnerd_%s %s\n# TYPE rivet_runnerd_%s %s\n", row->name, row->help, row->name,
		 kinds[row->kind]);
}

/* A label's value: backslash, quote and newline are escaped. */
static void put_value(struct buf *b, const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '\n') {
			buf_add_str(b, "\\n");
			continue;
		}
		if (*s == '\\' || *s == '"')
			buf_add_byte(b, '\\');
		buf_add_byte(b, (uint8_t)*s);
	}
}

/* The series: its name with `suffix`, and its labels; le NULL: it is no bucket. */
static void put_series(struct metric_out *o, enum metric_id id, const char *suffix, const char *const values[2],
		       const char *le)
{
	const struct metric_row *row = &metric_rows[id];
	const char *names[3] = {row->labels[0], row->labels[1], le == NULL ? NULL : "le"};
	const char *const all[3] = {values[0], values[1], le};
	char before = '{';
	buf_addf(o->buf, "rivet_runnerd_%s%s", row->name, suffix);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		CHECK((names[i] == NULL) == (all[i] == NULL));
		if (names[i] == NULL)
			continue;
		buf_addf(o->buf, "%c%s=\"", before, names[i]);
		put_value(o->buf, all[i]);
		buf_add_byte(o->buf, '"');
		before = ',';
	}
	buf_add_str(o->buf, before == ',' ? "} " : " ");
}

void metric_put(struct metric_out *o, enum metric_id id, const char *label1, const char *label2, uint64_t value)
{
	CHECK(metric_rows[id].kind != METRIC_HISTOGRAM);
	begin(o, id);
	put_series(o, id, "", (const char *const[2]){label1, label2}, NULL);
	buf_add_u64(o->buf, value);
	buf_add_byte(o->buf, '\n');
}

void metric_put_histogram(struct metric_out *o, enum metric_id id, const char *label1, const char *label2,
			  const struct metric_histogram *h)
{
	const char *const values[2] = {label1, label2};
	uint64_t n = 0, sum_us = atomic_load_explicit(&h->sum_us, memory_order_relaxed);
	CHECK(metric_rows[id].kind == METRIC_HISTOGRAM);
	begin(o, id);
	for (size_t i = 0; i <= METRIC_BOUNDS; i++) {
		n += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
		put_series(o, id, "_bucket", values, bound_texts[i]);
		buf_addf(o->buf, "%llu\n", (unsigned long long)n);
	}
	put_series(o, id, "_sum", values, NULL);
	buf_addf(o->buf, "%llu.%06llu\n", (unsigned long long)(sum_us / 1000000),
		 (unsigned long long)(sum_us % 1000000));
	put_series(o, id, "_count", values, NULL);
	buf_addf(o->buf, "%llu\n", (unsigned long long)n);
}

void metric_put_types(struct metric_out *o, enum metric_id id, const uint64_t *values, size_t stride)
{
	const char *at = (const char *)values;
	for (unsigned i = 0; i < n_types; i++, at += stride) {
		uint64_t v;
		memcpy(&v, at, sizeof(v));
		metric_put(o, id, metric_type_name(i), NULL, v);
	}
}
