/* Owns one write at a time, from the question to the store's answer. */
#include "local/local_alarm_failed.h"

#include "local/local_driver_private.h"

#include "base/log.h"
#include "codec/json_field.h"

#define VALUE_MAX ((size_t)16 * 1024)

static const char name[] = "\0alarm_failed";

struct keep_job {
	struct store_kv op;
	struct local_driver *d;
};

static void set_key(struct store_kv *op, uint64_t actor_number)
{
	op->actor_number = actor_number;
	op->pairs = mem_zalloc(sizeof(*op->pairs));
	op->n_pairs = 1;
	op->pairs[0].key_len = sizeof(name) - 1;
	op->pairs[0].key = memcpy(mem_alloc(sizeof(name)), name, sizeof(name));
}

static void on_kept(struct store_job *base)
{
	struct keep_job *job = CONTAINER_OF(CONTAINER_OF(base, struct store_kv, job), struct keep_job, op);
	if (base->result < 0)
		LOG(ERROR, "that an alarm was given up could not be recorded",
		    LOG_NUM("actor_number", job->op.actor_number));
	store_kv_clear(&job->op);
	local_driver_job_done(job->d);
	mem_free(job);
}

void local_alarm_failed_keep(struct local_driver *d, uint64_t actor_number, int64_t due_wall_ms, const char *why)
{
	struct keep_job *job = mem_zalloc(sizeof(*job));
	struct buf value;
	buf_init(&value, VALUE_MAX);
	buf_addf(&value, "{\"due_at\":%lld,\"failed_at\":%lld,\"reason\":", (long long)due_wall_ms,
		 (long long)clock_wall_ms());
	json_put_str(&value, slice_str(why == NULL ? "" : why));
	buf_add_byte(&value, '}');
	job->d = d;
	job->op.kind = STORE_KV_PUT;
	job->op.job.done = on_kept;
	set_key(&job->op, actor_number);
	job->op.pairs[0].value_len = buf_len(&value);
	job->op.pairs[0].value = (uint8_t *)slice_dup(buf_slice(&value));
	buf_done(&value);
	d->jobs++;
	store_kv(d->l->o.store, &job->op);
}

void local_alarm_failed_ask(struct store_kv *op, uint64_t actor_number)
{
	op->kind = STORE_KV_GET;
	set_key(op, actor_number);
}
