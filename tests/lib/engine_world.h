/* An engine for tests of engine/: a link that notes what is sent and is told
 * what to receive, over the workers and the clock of actor_world.h. It defines
 * the functions of engine_link, so that the linker takes these. */
#pragma once

#include "lib/actor_world.h"

#include "engine/engine_identity.h"
#include "engine/engine_private.h"

#include <stdlib.h>
#include <unistd.h>

#define SENT_MAX 512

struct engine_link {
	size_t n_announced;
	struct engine_link_options o;
	bool online, full, stopping, finished, closing;
	unsigned n_resync;
	size_t n_events, n_acks, n_kv, n_tunnel;
	/* Lists of hibernating WebSockets: answered by the next turn, with none. */
	uint32_t socket_lists[SENT_MAX];
	size_t n_socket_lists;
	struct {
		char id[64];
		struct runner_event ev; /* message: own text below */
		char message[1024];
	} events[SENT_MAX];
	struct {
		char id[64];
		uint32_t generation;
		int64_t index;
	} acks[SENT_MAX];
	struct {
		struct runner_kv_request q; /* slices into frame */
		uint8_t *frame;
	} kv[SENT_MAX];
};

static struct engine_link *lnk; /* NULL: none is open */
static struct engine *engine;
static unsigned n_changed, n_failed, n_drained;
static int failed_code;
static char engine_dir[64];

/* ---- the link ---- */

int engine_link_announce(struct engine_link *l, const struct engine_link_options *o, struct err *e)
{
	(void)o;
	(void)e;
	l->n_announced++;
	return 0;
}

int engine_link_open(const struct engine_link_options *o, struct engine_link **ret, struct err *e)
{
	(void)e;
	lnk = mem_zalloc(sizeof(*lnk));
	lnk->o = *o;
	*ret = lnk;
	return 0;
}

static inline void note_events(struct runner_list list)
{
	struct runner_walk w = runner_walk_of(list);
	struct runner_event ev;
	while (runner_event_next(&w, &ev)) {
		CHECK(lnk->n_events < SENT_MAX);
		(void)snprintf(lnk->events[lnk->n_events].id, 64, "%.*s", SLICE_FMT(ev.checkpoint.actor_id));
		(void)snprintf(lnk->events[lnk->n_events].message, 1024, "%.*s", SLICE_FMT(ev.message));
		lnk->events[lnk->n_events++].ev = ev;
	}
}

static inline void note_acks(struct runner_list list)
{
	struct runner_walk w = runner_walk_of(list);
	struct runner_checkpoint c;
	while (runner_checkpoint_next(&w, &c)) {
		CHECK(lnk->n_acks < SENT_MAX);
		(void)snprintf(lnk->acks[lnk->n_acks].id, 64, "%.*s", SLICE_FMT(c.actor_id));
		lnk->acks[lnk->n_acks].generation = c.generation;
		lnk->acks[lnk->n_acks++].index = c.index;
	}
}

static inline void note_kv(struct slice frame)
{
	struct runner_to_server m;
	CHECK(lnk->n_kv < SENT_MAX);
	uint8_t *copy = mem_alloc(frame.n);
	memcpy(copy, frame.p, frame.n);
	CHECK(runner_to_server_decode(slice_of(copy, frame.n), &m) == 0);
	if (m.kv.op == RUNNER_KV_LIST &&
	    slice_starts(slice_from(m.kv.start, m.kv.start.n > 0), "rivet-runnerd/socket/")) {
		CHECK(lnk->n_socket_lists < SENT_MAX);
		lnk->socket_lists[lnk->n_socket_lists++] = m.kv.request_id;
		mem_free(copy);
		return;
	}
	lnk->kv[lnk->n_kv].frame = copy;
	lnk->kv[lnk->n_kv++].q = m.kv;
}

int engine_link_send(struct engine_link *l, enum engine_link_class class, struct slice frame)
{
	struct runner_to_server m;
	(void)class;
	CHECK(l == lnk);
	if (!l->online)
		return ENGINE_LINK_OFFLINE;
	if (l->full)
		return ENGINE_LINK_FULL;
	CHECK(runner_to_server_decode(frame, &m) == 0);
	if (m.tag == RUNNER_TO_SERVER_EVENTS)
		note_events(m.events);
	else if (m.tag == RUNNER_TO_SERVER_ACK_COMMANDS)
		note_acks(m.commands);
	else if (m.tag == RUNNER_TO_SERVER_KV_REQUEST)
		note_kv(frame);
	else
		l->n_tunnel++;
	return 0;
}

bool engine_link_flush(struct engine_link *l)
{
	(void)l;
	return true;
}

uint64_t engine_link_sent(const struct engine_link *l)
{
	return l->n_tunnel;
}

uint64_t engine_link_read(const struct engine_link *l)
{
	return l->n_tunnel;
}

void engine_link_stopping(struct engine_link *l)
{
	l->stopping = true;
}

void engine_link_finish(struct engine_link *l)
{
	l->finished = true;
}

bool engine_link_resync(struct engine_link *l)
{
	return l->n_resync++ == 0;
}

const char *engine_link_why_not(const struct engine_link *l)
{
	return l->online ? NULL : "not connected";
}

const char *const engine_link_state_names[] = {"closed", NULL};

void engine_link_stats(const struct engine_link *l, struct engine_link_stats *ret)
{
	(void)l;
	*ret = (struct engine_link_stats){.state = "closed"};
}

void engine_link_close(struct engine_link *l)
{
	l->closing = true;
}

/* ---- turns ---- */

static inline void answer_socket_lists(void)
{
	while (lnk != NULL && lnk->online && lnk->n_socket_lists > 0) {
		const struct runner_to_client none = {
		    .tag = RUNNER_TO_CLIENT_KV_RESPONSE,
		    .kv = {.request_id = lnk->socket_lists[--lnk->n_socket_lists], .answer = RUNNER_KV_ANSWER_LIST}};
		lnk->o.events->message(lnk->o.arg, &none);
	}
}

static inline void turns(int n)
{
	for (int i = 0; i < n; i++) {
		answer_socket_lists();
		static struct loop_task task;
		if (task.fn == NULL)
			loop_task_init(&task, world_nothing, NULL);
		loop_post(world_loop, &task);
		loop_turn(world_loop);
		if (engine != NULL)
			(void)engine_tick(engine);
	}
}

static inline void turn(void)
{
	turns(4);
}

static inline void pass(int64_t ms)
{
	world_mono_ms += ms;
	loop_skew(world_loop, 0);
	turn();
}

/* ---- what the engine says ---- */

/* What was read of the socket at once is told in one turn. */
static inline void tell(const struct runner_to_client *m)
{
	struct buf b;
	struct runner_to_client decoded;
	buf_init(&b, 4 << 20);
	CHECK(runner_to_client_put(&b, m) == 0 && runner_to_client_decode(buf_slice(&b), &decoded) == 0);
	lnk->o.events->message(lnk->o.arg, &decoded);
	buf_done(&b);
}

static inline void say(const struct runner_to_client *m)
{
	tell(m);
	turn();
}

static struct buf command_list;
static size_t n_commands;

static inline void add_command(const struct runner_command *c)
{
	CHECK(runner_command_put(&command_list, c) == 0);
	n_commands++;
}

static inline void add_start_of(const char *id, uint32_t generation, int64_t index, const char *name)
{
	add_command(&(struct runner_command){
	    .checkpoint = {.actor_id = slice_str(id), .generation = generation, .index = index},
	    .kind = RUNNER_COMMAND_START,
	    .name = slice_str(name),
	    .has_key = true,
	    .key = SLICE_LIT("k"),
	    .has_input = true,
	    .input = SLICE_LIT("in"),
	    .create_ms = 5});
}

static inline void add_start(const char *id, uint32_t generation, int64_t index)
{
	add_start_of(id, generation, index, "counter");
}

static inline void add_stop(const char *id, uint32_t generation, int64_t index)
{
	add_command(&(struct runner_command){
	    .checkpoint = {.actor_id = slice_str(id), .generation = generation, .index = index},
	    .kind = RUNNER_COMMAND_STOP});
}

/* Sends what was added as one list. */
static inline void command_at_once(void)
{
	tell(&(struct runner_to_client){.tag = RUNNER_TO_CLIENT_COMMANDS,
					.commands = runner_list_of(buf_slice(&command_list), n_commands)});
	buf_reset(&command_list);
	n_commands = 0;
}

static inline void command(void)
{
	command_at_once();
	turn();
}

static inline void online(bool same_runner)
{
	lnk->online = true;
	lnk->o.events->online(lnk->o.arg, &(struct engine_link_welcome){.same_runner = same_runner,
									.runner_id = SLICE_LIT("r"),
									.lost_threshold_ms = 15000,
									.stop_threshold_ms = 1800000});
	lnk->o.events->changed(lnk->o.arg);
	turn();
}

static inline void offline(void)
{
	lnk->online = false;
	lnk->o.events->offline(lnk->o.arg);
	turn();
}

/* Answers the state request with this number: pairs of key and value (none: absent), or an error. */
static inline void answer_kv(size_t n, enum runner_kv_answer kind, const char *const *pairs, const char *error)
{
	struct buf keys, values, metadata;
	size_t n_pairs = 0;
	buf_init(&keys, 1 << 20);
	buf_init(&values, 1 << 20);
	buf_init(&metadata, 1 << 20);
	for (; pairs != NULL && *pairs != NULL; pairs += 2, n_pairs++) {
		CHECK(runner_bytes_put(&keys, slice_str(pairs[0])) == 0);
		CHECK(runner_bytes_put(&values, slice_str(pairs[1])) == 0);
		CHECK(runner_kv_metadata_put(
			  &metadata, &(struct runner_kv_metadata){.version = SLICE_LIT("v"), .update_ms = 9}) == 0);
	}
	CHECK(n < lnk->n_kv);
	say(&(struct runner_to_client){.tag = RUNNER_TO_CLIENT_KV_RESPONSE,
				       .kv = {.request_id = lnk->kv[n].q.request_id,
					      .answer = kind,
					      .error = slice_str(error),
					      .keys = runner_list_of(buf_slice(&keys), n_pairs),
					      .values = runner_list_of(buf_slice(&values), n_pairs),
					      .metadata = runner_list_of(buf_slice(&metadata), n_pairs)}});
	buf_done(&keys);
	buf_done(&values);
	buf_done(&metadata);
}

/* ---- the whole ---- */

static inline void on_world_changed(void *arg)
{
	(void)arg;
	n_changed++;
}

static inline void on_world_failed(void *arg, int exit_code)
{
	(void)arg;
	n_failed++;
	failed_code = exit_code;
}

static inline void on_world_drained(void *arg)
{
	(void)arg;
	n_drained++;
}

static const struct engine_events world_engine_events = {.changed = on_world_changed, .failed = on_world_failed};
static struct engine_endpoint world_endpoint;

static struct actor_types *world_types;

static inline void engine_world_open(const struct actor_type *type, uint32_t total_slots)
{
	world_types = world_types_of(type);
	list_init(&world_places);
	world_n_places = world_n_placed = world_n_alarms = world_n_runtime = world_n_answered = 0;
	world_n_indeterminate = 0;
	world_wall_offset_ms = WORLD_WALL_MS;
	n_changed = n_failed = n_drained = 0;
	failed_code = 0;
	if (world_loop == NULL)
		CHECK(loop_open(&world_loop) == 0);
	memcpy(engine_dir, "/tmp/test_engine.XXXXXX", 24);
	CHECK(mkdtemp(engine_dir) != NULL);
	buf_init(&command_list, 1 << 20);
	n_commands = 0;
	struct engine_options o = {.loop = world_loop,
				   .types = world_types,
				   .endpoint = &world_endpoint,
				   .namespace_name = "default",
				   .runner = "default",
				   .runner_key = "key",
				   .total_slots = total_slots,
				   .data_dir = engine_dir,
				   .version = "0",
				   .events = &world_engine_events};
	CHECK(engine_open(&o, &engine, NULL) == 0 && engine_serve(engine, NULL) == 0);
	world_table = engine_actors(engine);
}

static inline void engine_world_close(void)
{
	static bool closed;
	char path[128];
	closed = false;
	engine_close(engine, world_on_closed, &closed);
	for (int n = 0; !closed; n++) {
		CHECK(n < 200);
		turns(1);
		LIST_FOR (&world_places, node) {
			struct place *pl = CONTAINER_OF(node, struct place, node);
			if (pl->killed)
				world_lost(pl, PLACE_STOPPED, NULL);
		}
		if (world_closed != NULL) {
			void (*fn)(void *) = world_closed;
			world_closed = NULL;
			fn(world_closed_arg);
		}
		if (lnk != NULL && lnk->closing) {
			struct engine_link *l = lnk;
			lnk = NULL;
			engine = NULL; /* nothing ticks it from here */
			l->o.events->closed(l->o.arg);
			for (size_t i = 0; i < l->n_kv; i++)
				mem_free(l->kv[i].frame);
			mem_free(l);
		}
	}
	engine = NULL;
	actor_types_free(TAKE(world_types));
	buf_done(&command_list);
	(void)snprintf(path, sizeof(path), "%s/evicted", engine_dir);
	(void)unlink(path);
	CHECK(rmdir(engine_dir) == 0);
	CHECK(world_n_places == 0 && world_n_answered == world_n_runtime && exchange_count() == 0);
	CHECK(timer_heap_next_ms(loop_timers(world_loop)) == -1);
}
