/* The link's socket: opening it, what comes out of it, what goes into it.
 *
 * Nothing is queued here. A pong goes out at once. What the owner sends goes
 * out at once too, or is refused: TRAFFIC above LIMIT_STREAM_QUEUE_HIGH or when
 * the engine is behind (engine_window), CONTROL above LIMIT_LINK_CONTROL_BYTES.
 * So at most that much, and one message, is ever before a pong. */
#include "base/limits.h"
#include "base/log.h"
#include "engine/engine_link_private.h"

#include <stdio.h>

static bool is_online(const struct engine_link *l)
{
	return l->state == LINK_ONLINE || l->state == LINK_DRAINING;
}

/* ---- out ---- */

/* A ping that asks how far the engine is, if one is due. */
static void mark_if_due(struct engine_link *l, bool quiet)
{
	uint8_t mark[ENGINE_WINDOW_MARK_BYTES];
	if (engine_window_mark(&l->window, quiet, mark) &&
	    ws_client_send(l->ws, WS_PING, slice_of(mark, sizeof(mark))) == 0)
		engine_window_marked(&l->window, loop_mono_ms(l->loop));
	if (l->window.sent != l->window.marked && !timer_armed(&l->mark))
		timer_arm(&l->mark, LIMIT_LINK_MARK_MS);
}

void engine_link_on_mark(void *arg)
{
	mark_if_due(CAST(struct engine_link, arg, ENGINE_LINK_MAGIC), true);
}

/* Hands a frame to the socket. 0 or enum ws_client_outcome. */
static int pass(struct engine_link *l, unsigned cost, struct slice frame)
{
	int r = ws_client_send(l->ws, WS_BINARY, frame);
	if (r != 0)
		return r;
	l->stats.frames_out++;
	l->stats.bytes_out += frame.n;
	engine_window_sent(&l->window, cost, frame.n);
	engine_link_keep(l, frame);
	mark_if_due(l, false);
	return 0;
}

static bool has_room(const struct engine_link *l, enum engine_link_class class)
{
	size_t queued = ws_client_queued(l->ws);
	if (class == ENGINE_LINK_CONTROL)
		return queued <= LIMIT_LINK_CONTROL_BYTES;
	return !l->resync_asked && queued <= LIMIT_STREAM_QUEUE_HIGH &&
	       engine_window_open(&l->window, loop_mono_ms(l->loop));
}

/* Whether the engine would close the connection over it (section 1.7). Looks inside only where it is large. */
static bool is_too_big(struct slice frame)
{
	struct runner_to_server m;
	if (frame.n <= LIMIT_ENGINE_BODY_BYTES)
		return false;
	if (frame.n > LIMIT_WS_MESSAGE_BYTES)
		return true;
	if (runner_to_server_decode(frame, &m) != 0 || m.tag != RUNNER_TO_SERVER_TUNNEL)
		return false;
	switch (m.tunnel.kind) {
	case RUNNER_UP_RESPONSE_START:
		return m.tunnel.response.body.n > LIMIT_ENGINE_BODY_BYTES;
	case RUNNER_UP_RESPONSE_CHUNK:
		return m.tunnel.chunk.body.n > LIMIT_ENGINE_BODY_BYTES;
	case RUNNER_UP_WS_MESSAGE:
		return m.tunnel.message.data.n > LIMIT_ENGINE_BODY_BYTES;
	case RUNNER_UP_RESPONSE_ABORT:
	case RUNNER_UP_WS_OPEN:
	case RUNNER_UP_WS_ACK:
	case RUNNER_UP_WS_CLOSE:
	case RUNNER_UP_KINDS:
	default:
		return false;
	}
}

int engine_link_send(struct engine_link *l, enum engine_link_class class, struct slice frame)
{
	if (!is_online(l))
		return ENGINE_LINK_OFFLINE;
	if (is_too_big(frame))
		return ENGINE_LINK_TOO_BIG;
	int r = has_room(l, class) ? pass(l, engine_window_cost(frame), frame) : WS_CLIENT_FULL;
	if (r == 0)
		return 0;
	if (r == WS_CLIENT_ENDING)
		return ENGINE_LINK_OFFLINE; /* about to be told */
	if (!l->wants_room && ws_client_queued(l->ws) <= LIMIT_STREAM_QUEUE_HIGH)
		l->stats.window_shut++;
	l->wants_room = true;
	l->stats.refused_full++;
	return ENGINE_LINK_FULL;
}

bool engine_link_flush(struct engine_link *l)
{
	return is_online(l) && ws_client_flush(l->ws);
}

static void room_if_any(struct engine_link *l)
{
	if (!is_online(l))
		return;
	mark_if_due(l, false);
	if (!l->wants_room || !has_room(l, ENGINE_LINK_TRAFFIC))
		return;
	l->wants_room = false;
	l->events->room(l->arg);
}

void engine_link_say(struct engine_link *l, struct slice frame)
{
	(void)pass(l, 1, frame); /* a socket that takes nothing more is found out by its silence */
}

static void say(struct engine_link *l, const struct runner_to_server *m)
{
	buf_reset(&l->small);
	CHECK(runner_to_server_put(&l->small, m) == 0);
	engine_link_say(l, buf_slice(&l->small));
}

void engine_link_say_stopping(struct engine_link *l)
{
	say(l, &(struct runner_to_server){.tag = RUNNER_TO_SERVER_STOPPING});
}

/* ---- in ---- */

static void on_open(void *arg, const struct http_head *answer)
{
	struct engine_link *l = CAST(struct engine_link, arg, ENGINE_LINK_MAGIC);
	const struct http_field *ray = http_head_get(answer, HTTP_F_X_RIVET_RAY_ID);
	(void)snprintf(l->ray, sizeof(l->ray), "%.*s", SLICE_FMT(ray == NULL ? SLICE_NONE : ray->value));
	engine_link_step(l, LINK_OPEN);
}

static void take_init(struct engine_link *l, const struct runner_welcome *w)
{
	if (l->state != LINK_WAIT_INIT)
		return; /* once is enough */
	struct engine_link_welcome welcome = {.runner_id = w->runner_id,
					      .lost_threshold_ms = w->lost_threshold_ms,
					      .stop_threshold_ms = w->stop_threshold_ms,
					      .unsure_from = l->unsure_from};
	welcome.same_runner = slice_is(w->runner_id, l->runner_id) && w->runner_id.n > 0;
	(void)snprintf(l->runner_id, sizeof(l->runner_id), "%.*s", SLICE_FMT(w->runner_id));
	engine_link_step(l, LINK_INIT);
	engine_lost_welcome(l, l->open_mono_ms, w->lost_threshold_ms);
	engine_link_say_online(l, welcome.same_runner);
	l->events->changed(l->arg);
	if (!welcome.same_runner)
		engine_link_keep_none(l);
	if (l->state == LINK_ONLINE)
		l->events->online(l->arg, &welcome);
	if (l->state == LINK_ONLINE)
		engine_link_keep_again(l);
}

static void take_ping(struct engine_link *l, int64_t ts)
{
	if (!is_online(l))
		return;
	say(l, &(struct runner_to_server){.tag = RUNNER_TO_SERVER_PONG, .pong_ts = ts});
	engine_link_heard(l);
	engine_lost_ping(l, ts);
}

/* Not worth the connection: the same command would come again behind the next Init, and lost traffic is noticed by its
 * index. */
static void take_bad(struct engine_link *l, struct slice frame, int why)
{
	l->stats.frames_bad++;
	if (l->bad_told)
		return;
	l->bad_told = true;
	LOG(WARN, "the engine sends messages that version 7 of the runner protocol does not have; they are ignored",
	    LOG_NUM("tag", frame.n == 0 ? -1 : frame.p[0]), LOG_NUM("bytes", frame.n), LOG_NUM("outcome", why),
	    LOG_STR("engine", l->place));
}

static void on_message(void *arg, bool binary, struct slice payload)
{
	struct engine_link *l = CAST(struct engine_link, arg, ENGINE_LINK_MAGIC);
	struct runner_to_client m;
	l->stats.frames_in++;
	l->stats.bytes_in += payload.n;
	int r = binary ? runner_to_client_decode(payload, &m) : BARE_BAD;
	if (r != 0)
		take_bad(l, payload, r);
	else if (m.tag == RUNNER_TO_CLIENT_INIT)
		take_init(l, &m.init);
	else if (m.tag == RUNNER_TO_CLIENT_PING)
		take_ping(l, m.ping_ts);
	else if (is_online(l))
		l->events->message(l->arg, &m);
}

static void on_pong(void *arg, struct slice payload)
{
	struct engine_link *l = CAST(struct engine_link, arg, ENGINE_LINK_MAGIC);
	engine_window_answered(&l->window, payload);
	engine_link_keep_read(l);
	if (l->resync_asked)
		engine_link_settle(l);
	else
		room_if_any(l);
}

static void on_drained(void *arg)
{
	room_if_any(CAST(struct engine_link, arg, ENGINE_LINK_MAGIC));
}

static const struct ws_client_events events = {
    .open = on_open,
    .message = on_message,
    .pong = on_pong,
    .drained = on_drained,
    .ended = engine_link_on_ended,
    .closed = engine_link_on_closed,
};

/* ---- life ---- */

void engine_link_dial(struct engine_link *l)
{
	const struct ws_client_options o = {.host = l->host,
					    .port = l->port,
					    .tls = l->tls,
					    .target = l->target,
					    .subprotocols = l->subprotocols,
					    .message_max = LIMIT_WS_ENGINE_MESSAGE_BYTES,
					    .connect_ms = engine_link_patience_ms(l),
					    .upgrade_ms = engine_link_patience_ms(l)};
	CHECK(l->ws == NULL);
	l->dial_mono_ms = loop_mono_ms(l->loop);
	engine_window_restart(&l->window);
	l->wants_room = l->bad_told = l->last_look = false;
	l->stats.connects++;
	l->n_sockets++;
	l->ws = ws_client_open(l->loop, &o, &events, l);
}

void engine_link_drop(struct engine_link *l)
{
	timer_disarm(&l->mark);
	if (l->ws != NULL)
		ws_client_abort(TAKE(l->ws));
}
