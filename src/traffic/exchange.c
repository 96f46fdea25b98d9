/* Owns every open exchange's memory and their number.
 *
 * The front opens, a back joins, each pushes to the other, each leaves; the
 * second to leave frees. An end that has left is never called again, and what
 * is pushed to it goes nowhere.
 *
 * Until a back joins its side counts as stopped, so a front that asks
 * exchange_stopped waits by itself and hears go() from the join.
 *
 * Failure paths: the front leaves first (the holder's dropped() before the
 * join, the back's over() after it), the back leaves first (over() of the
 * front), nobody wants it (exchange_refuse). While an end is inside one of
 * these calls its peer's op must not call it back: `calling` holds that to
 * account, but for go(), which an end must be ready for at any time.
 *
 * What comes of each is decided when the first end leaves, and counted when the
 * last has. */
#include "traffic/exchange.h"

#include "base/clock.h"
#include "base/limits.h"

#define EXCHANGE_MAGIC 0x65786368u

static size_t n_open;

/* By actor type. */
static struct {
	uint64_t requests[EXCHANGE_OUTCOMES], websockets[EXCHANGE_OUTCOMES];
	struct metric_histogram duration;
} counts[LIMIT_METRIC_TYPES];

static enum exchange_side other_side(enum exchange_side side)
{
	return side == EXCHANGE_FRONT ? EXCHANGE_BACK : EXCHANGE_FRONT;
}

static void check_end(const struct exchange *x, enum exchange_side side)
{
	CHECK(x->magic == EXCHANGE_MAGIC);
	CHECK(x->ends[side].here);
}

static bool is_refused(const struct exchange *x)
{
	return x->refusal.status != 0 && x->ends[EXCHANGE_BACK].ops == NULL;
}

int exchange_open(enum exchange_kind kind, const struct exchange_ops *ops, void *arg, struct exchange **ret)
{
	if (n_open == LIMIT_EXCHANGES)
		return EXCHANGE_FULL;
	n_open++;
	struct exchange *x = mem_zalloc(sizeof(*x));
	x->magic = EXCHANGE_MAGIC;
	x->kind = kind;
	list_init(&x->waiting);
	x->ends[EXCHANGE_FRONT].ops = ops;
	x->ends[EXCHANGE_FRONT].arg = arg;
	x->ends[EXCHANGE_FRONT].here = true;
	x->ends[EXCHANGE_BACK].stopped = true;
	*ret = x;
	return 0;
}

/* ---- counting ---- */

static enum exchange_outcome outcome_of(const struct exchange *x, enum exchange_side side, enum exchange_why why)
{
	if (side == EXCHANGE_FRONT && why == EXCHANGE_GONE)
		return OUTCOME_CLIENT_GONE;
	if (x->ends[EXCHANGE_BACK].ops == NULL)
		return OUTCOME_REFUSED;
	if (why == EXCHANGE_TIMEOUT)
		return OUTCOME_TIMEOUT;
	if (why == EXCHANGE_STOPPED)
		return OUTCOME_STOPPED;
	if (why != EXCHANGE_DONE || side == EXCHANGE_FRONT || x->status == 0)
		return x->status == 0 ? OUTCOME_FAILED : OUTCOME_CUT;
	if (x->kind == EXCHANGE_WEBSOCKET)
		return x->status == 101 ? OUTCOME_2XX : OUTCOME_REFUSED;
	return x->status < 300   ? OUTCOME_2XX
	       : x->status < 400 ? OUTCOME_3XX
	       : x->status < 500 ? OUTCOME_4XX
				 : OUTCOME_5XX;
}

static void count(const struct exchange *x)
{
	CHECK(x->type_slot < LIMIT_METRIC_TYPES);
	if (x->begun_mono_us == 0)
		return;
	if (x->kind == EXCHANGE_WEBSOCKET) {
		counts[x->type_slot].websockets[x->outcome]++;
		return;
	}
	counts[x->type_slot].requests[x->outcome]++;
	if (x->outcome != OUTCOME_REFUSED)
		metric_observe(&counts[x->type_slot].duration, clock_mono_us() - x->begun_mono_us);
}

/* Outcomes that a kind cannot have have no word. */
static void put_outcomes(struct metric_out *out, enum metric_id id, const char *const words[EXCHANGE_OUTCOMES],
			 bool websockets)
{
	for (unsigned slot = 0; slot < metric_type_count(); slot++) {
		const uint64_t *n = websockets ? counts[slot].websockets : counts[slot].requests;
		for (unsigned i = 0; i < EXCHANGE_OUTCOMES; i++)
			if (words[i] != NULL)
				metric_put(out, id, metric_type_name(slot), words[i], n[i]);
	}
}

void exchange_metrics(struct metric_out *out)
{
	static const char *const request_words[EXCHANGE_OUTCOMES] = {
	    [OUTCOME_2XX] = "2xx",         [OUTCOME_3XX] = "3xx",
	    [OUTCOME_4XX] = "4xx",         [OUTCOME_5XX] = "5xx",
	    [OUTCOME_REFUSED] = "refused", [OUTCOME_TIMEOUT] = "timeout",
	    [OUTCOME_FAILED] = "failed",   [OUTCOME_CUT] = "cut",
	    [OUTCOME_STOPPED] = "stopped", [OUTCOME_CLIENT_GONE] = "client_gone",
	};
	static const char *const websocket_words[EXCHANGE_OUTCOMES] = {
	    [OUTCOME_2XX] = "closed",
	    [OUTCOME_REFUSED] = "refused",
	    [OUTCOME_TIMEOUT] = "timeout",
	    [OUTCOME_FAILED] = "failed",
	    [OUTCOME_CUT] = "cut",
	    [OUTCOME_STOPPED] = "stopped",
	    [OUTCOME_CLIENT_GONE] = "client_gone",
	};
	metric_put(out, METRIC_EXCHANGES, NULL, NULL, n_open);
	put_outcomes(out, METRIC_REQUESTS, request_words, false);
	for (unsigned slot = 0; slot < metric_type_count(); slot++)
		metric_put_histogram(out, METRIC_REQUEST_SECONDS, metric_type_name(slot), NULL, &counts[slot].duration);
	put_outcomes(out, METRIC_WEBSOCKETS, websocket_words, true);
}

static void exchange_free(struct exchange *x)
{
	CHECK(!list_linked(&x->waiting));
	CHECK(n_open > 0);
	n_open--;
	count(x);
	mem_free(x->head);
	mem_free(x->target);
	mem_free(x->subprotocols);
	mem_free(x->forwarded_for);
	mem_free(x->forwarded_proto);
	mem_free(x->forwarded_host);
	mem_free(x->lifecycle);
	mem_free(x->method);
	mem_free(x->actor_key);
	mem_free(x->refusal.message);
	x->magic = 0;
	mem_free(x);
}

void exchange_join(struct exchange *x, const struct exchange_ops *ops, void *arg)
{
	check_end(x, EXCHANGE_FRONT);
	CHECK(x->ends[EXCHANGE_BACK].ops == NULL && !is_refused(x));
	CHECK(!list_linked(&x->waiting));
	x->dropped = NULL;
	x->holder = NULL;
	x->ends[EXCHANGE_BACK].ops = ops;
	x->ends[EXCHANGE_BACK].arg = arg;
	x->ends[EXCHANGE_BACK].here = true;
	exchange_go(x, EXCHANGE_BACK);
}

bool exchange_joined(const struct exchange *x)
{
	CHECK(x->magic == EXCHANGE_MAGIC);
	return x->ends[EXCHANGE_BACK].ops != NULL;
}

void exchange_give_front(struct exchange *x, const struct exchange_ops *ops, void *arg)
{
	check_end(x, EXCHANGE_FRONT);
	x->ends[EXCHANGE_FRONT].ops = ops;
	x->ends[EXCHANGE_FRONT].arg = arg;
}

/* Whether an op of side `to` may and can be called now, for side `from`. */
static bool reaches(const struct exchange *x, enum exchange_side from, enum exchange_side to)
{
	check_end(x, from);
	CHECK(!x->ends[to].calling);
	return x->ends[to].here;
}

void exchange_head(struct exchange *x, const struct http_head *h)
{
	x->status = h->status;
	if (!reaches(x, EXCHANGE_BACK, EXCHANGE_FRONT))
		return;
	x->ends[EXCHANGE_BACK].calling = true;
	x->ends[EXCHANGE_FRONT].ops->head(x->ends[EXCHANGE_FRONT].arg, x, h);
	x->ends[EXCHANGE_BACK].calling = false;
}

void exchange_data(struct exchange *x, enum exchange_side from, struct slice s, bool fin)
{
	enum exchange_side to = other_side(from);
	CHECK(exchange_joined(x) || is_refused(x));
	if (!reaches(x, from, to))
		return;
	x->ends[from].calling = true;
	x->ends[to].ops->data(x->ends[to].arg, x, s, fin);
	x->ends[from].calling = false;
}

void exchange_stop(struct exchange *x, enum exchange_side side)
{
	check_end(x, side);
	x->ends[side].stopped = true;
}

void exchange_go(struct exchange *x, enum exchange_side side)
{
	enum exchange_side to = other_side(side);
	check_end(x, side);
	if (!x->ends[side].stopped)
		return;
	x->ends[side].stopped = false;
	if (!x->ends[to].here)
		return;
	bool nested = x->ends[side].calling;
	x->ends[side].calling = true;
	x->ends[to].ops->go(x->ends[to].arg, x);
	x->ends[side].calling = nested;
}

bool exchange_stopped(const struct exchange *x, enum exchange_side side)
{
	CHECK(x->magic == EXCHANGE_MAGIC);
	return x->ends[side].stopped;
}

size_t exchange_unwritten(const struct exchange *x)
{
	CHECK(x->magic == EXCHANGE_MAGIC);
	const struct exchange_ops *ops = x->ends[EXCHANGE_BACK].ops;
	if (!x->ends[EXCHANGE_BACK].here || ops->unwritten == NULL)
		return x->unwritten;
	return ops->unwritten(x->ends[EXCHANGE_BACK].arg, x);
}

bool exchange_sure(const struct exchange *x)
{
	CHECK(x->magic == EXCHANGE_MAGIC);
	const struct exchange_ops *ops = x->ends[EXCHANGE_BACK].ops;
	return x->ends[EXCHANGE_BACK].here && !x->ends[EXCHANGE_BACK].stopped &&
	       (ops->sure == NULL || ops->sure(x->ends[EXCHANGE_BACK].arg, x));
}

void exchange_leave(struct exchange *x, enum exchange_side side, enum exchange_why why)
{
	enum exchange_side to = other_side(side);
	bool tell = reaches(x, side, to);
	CHECK(!x->ends[side].calling);
	if (x->outcome == OUTCOME_OPEN)
		x->outcome = (uint8_t)outcome_of(x, side, why);
	x->unwritten = exchange_unwritten(x);
	x->ends[side].here = false;
	x->ends[side].stopped = false; /* what is still pushed this way is dropped, not waited for */
	if (tell) {
		x->ends[to].ops->over(x->ends[to].arg, x, why); /* may leave and so free x */
		return;
	}
	if (x->dropped != NULL) {
		x->dropped(x->holder, x);
		list_remove(&x->waiting);
	}
	exchange_free(x);
}

void exchange_refuse(struct exchange *x, unsigned status, const char *group, const char *code, char *message,
		     uint32_t retry_after_s)
{
	check_end(x, EXCHANGE_FRONT);
	CHECK(x->ends[EXCHANGE_BACK].ops == NULL && !is_refused(x));
	CHECK(!list_linked(&x->waiting));
	CHECK(status != 0 && !x->ends[EXCHANGE_FRONT].calling);
	x->dropped = NULL;
	x->holder = NULL;
	x->refusal = (struct exchange_refusal){status, group, code, message, retry_after_s};
	x->outcome = OUTCOME_REFUSED;
	x->ends[EXCHANGE_BACK].stopped = false;
	x->ends[EXCHANGE_FRONT].ops->over(x->ends[EXCHANGE_FRONT].arg, x, EXCHANGE_REFUSED); /* may free x */
}

size_t exchange_count(void)
{
	return n_open;
}
