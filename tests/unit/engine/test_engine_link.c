/* The link against an engine played by the test over real sockets; time is
 * moved by hand. */
#include "engine/engine_link.h"

#include "base/limits.h"
#include "base/log.h"
#include "lib/ws_peer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define TOKEN "s3cret.token"
#define RUNNER_ID "0123456789abcdefghij0123456789"

struct world {
	struct loop *loop;
	struct ws_peer engine;
	struct buf heard; /* by the engine: "init;" "pong 7;" "stopping;" "events;" "tunnel;" */
	struct engine_endpoint endpoint;
	struct engine_link_options o;
	struct engine_link *link;
	struct buf trace; /* told by the link: "online new;" "online same;" "offline;" ... */
	bool inside;
	bool close_in_event;
	size_t n_room, n_messages;
	int64_t soon_ms;
	uint64_t unsure_from;
	bool closed;
	int log_fd;
};

static struct world *the_world; /* of the peer's callback */

/* ---- the engine's side ---- */

static void hear_init(struct world *w, const struct runner_init *i)
{
	struct slice name, metadata;
	buf_addf(&w->heard, "init %.*s v%u slots=%u", SLICE_FMT(i->name), i->version, i->total_slots);
	struct runner_walk walk = runner_walk_of(i->actor_names);
	while (runner_pair_next(&walk, &name, &metadata))
		buf_addf(&w->heard, " %.*s=%.*s", SLICE_FMT(name), SLICE_FMT(metadata));
	assert_true(i->has_metadata && slice_starts(i->metadata, "{\"program\":\"rivet-runnerd\",\"version\":\"9.9\","
								 "\"host\":\""));
	buf_add_str(&w->heard, ";");
}

static void on_heard(struct ws_peer *p, struct slice payload)
{
	static const char *const names[] = {"init", "events", "ack", "stopping", "pong", "kv", "tunnel"};
	struct world *w = the_world;
	struct runner_to_server m;
	(void)p;
	assert_int_equal(runner_to_server_decode(payload, &m), 0);
	if (m.tag == RUNNER_TO_SERVER_INIT)
		hear_init(w, &m.init);
	else if (m.tag == RUNNER_TO_SERVER_PONG)
		buf_addf(&w->heard, "pong %lld;", (long long)m.pong_ts);
	else if (m.tag == RUNNER_TO_SERVER_TUNNEL && m.tunnel.kind == RUNNER_UP_RESPONSE_START)
		buf_addf(&w->heard, "answer %u;", m.tunnel.response.status);
	else if (m.tag == RUNNER_TO_SERVER_TUNNEL && m.tunnel.kind == RUNNER_UP_RESPONSE_ABORT)
		buf_add_str(&w->heard, "abort;");
	else
		buf_addf(&w->heard, "%s;", names[m.tag]);
}

static bool heard(struct world *w, const char *text)
{
	ws_peer_read(&w->engine);
	return strstr(buf_text(&w->heard), text) != NULL;
}

static void engine_say(struct world *w, const struct runner_to_client *m)
{
	struct buf b;
	buf_init(&b, 1024 * 1024);
	assert_int_equal(runner_to_client_put(&b, m), 0);
	ws_peer_say(&w->engine, WS_BINARY, buf_slice(&b));
	buf_done(&b);
}

static void engine_ping(struct world *w, int64_t ts)
{
	engine_say(w, &(struct runner_to_client){.tag = RUNNER_TO_CLIENT_PING, .ping_ts = ts});
}

/* A ping and its pong: everything before has been read by both. */
static void engine_beat(struct world *w, int64_t ts)
{
	char want[64];
	(void)snprintf(want, sizeof(want), "pong %lld;", (long long)ts);
	engine_ping(w, ts);
	IO_UNTIL(w->loop, heard(w, want));
}

static void engine_accept(struct world *w)
{
	ws_peer_drop(&w->engine, false);
	ws_peer_upgrade(&w->engine, "sec-websocket-protocol: rivet\r\nx-rivet-ray-id: ray77\r\n");
	buf_reset(&w->heard);
	IO_UNTIL(w->loop, heard(w, ";"));
}

static void engine_welcome_as(struct world *w, const char *id, int64_t lost_ms)
{
	engine_say(
	    w, &(struct runner_to_client){
		   .tag = RUNNER_TO_CLIENT_INIT,
		   .init = {.runner_id = slice_str(id), .lost_threshold_ms = lost_ms, .stop_threshold_ms = 1800000}});
}

/* ---- the owner's side ---- */

static struct world *note(void *arg, const char *text)
{
	struct world *w = arg;
	assert_false(w->inside);
	buf_addf(&w->trace, "%s;", text);
	if (w->close_in_event)
		engine_link_close(w->link);
	return w;
}

static void on_online(void *arg, const struct engine_link_welcome *welcome)
{
	struct world *w = note(arg, welcome->same_runner ? "online same" : "online new");
	assert_null(engine_link_why_not(w->link));
	w->unsure_from = welcome->unsure_from;
}

static void on_message(void *arg, const struct runner_to_client *m)
{
	struct world *w = arg;
	w->n_messages++;
	if (m->tag == RUNNER_TO_CLIENT_COMMANDS)
		note(arg, "commands");
	else
		note(arg, "message");
}

static void on_room(void *arg)
{
	struct world *w = arg;
	assert_false(w->inside);
	w->n_room++;
}

static void on_offline(void *arg)
{
	note(arg, "offline");
}

static void on_lost_soon(void *arg, int64_t left_ms)
{
	note(arg, "lost soon")->soon_ms = left_ms;
}

static void on_lost(void *arg)
{
	note(arg, "lost");
}

static void on_evicted(void *arg)
{
	note(arg, "evicted");
}

static void on_finished(void *arg)
{
	note(arg, "finished");
}

static void on_failed(void *arg, int exit_code)
{
	assert_int_equal(exit_code, EXIT_CODE_FAILED);
	note(arg, "failed");
}

static void on_changed(void *arg)
{
	struct world *w = arg;
	assert_false(w->inside);
}

static void on_closed(void *arg)
{
	struct world *w = arg;
	assert_false(w->inside);
	buf_add_str(&w->trace, "closed;");
	w->closed = true;
}

static const struct engine_link_events events = {
    .online = on_online,
    .message = on_message,
    .room = on_room,
    .offline = on_offline,
    .lost_soon = on_lost_soon,
    .lost = on_lost,
    .evicted = on_evicted,
    .finished = on_finished,
    .failed = on_failed,
    .changed = on_changed,
    .closed = on_closed,
};

static const char *const types[] = {"counter", "room", NULL};

static void world_init(struct world *w)
{
	struct err e;
	char url[64];
	*w = (struct world){.loop = io_loop_open()};
	the_world = w;
	buf_init(&w->heard, 16 * 1024 * 1024);
	buf_init(&w->trace, 1024 * 1024);
	ws_peer_listen(&w->engine, w->loop, NULL);
	w->engine.message = on_heard;
	w->engine.quiet = true;
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", w->engine.port);
	assert_int_equal(engine_endpoint_parse(url, &w->endpoint, &e), 0);
	w->log_fd = memfd_create("log", MFD_CLOEXEC);
	assert_true(w->log_fd >= 0);
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT, w->log_fd);
	w->o = (struct engine_link_options){.loop = w->loop,
					    .endpoint = &w->endpoint,
					    .namespace_name = "pro d",
					    .token = TOKEN,
					    .runner = "pool-1",
					    .runner_key = "a/b&c",
					    .runner_version = 3,
					    .total_slots = 1000,
					    .actor_names = types,
					    .version = "9.9",
					    .events = &events,
					    .arg = w};
}

static void world_open(struct world *w)
{
	struct err e = {0};
	w->inside = true;
	if (engine_link_open(&w->o, &w->link, &e) != 0)
		fail_msg("%s", e.text);
	w->inside = false;
}

static bool traced(struct world *w, const char *text)
{
	return strstr(buf_text(&w->trace), text) != NULL;
}

static void world_forget(struct world *w)
{
	buf_reset(&w->trace);
}

/* Registered, for the first time. */
static void world_online(struct world *w)
{
	world_init(w);
	world_open(w);
	engine_accept(w);
	engine_welcome_as(w, RUNNER_ID, 15000);
	IO_UNTIL(w->loop, traced(w, "online new;"));
	world_forget(w);
}

static void world_again(struct world *w, const char *want)
{
	engine_accept(w);
	engine_welcome_as(w, RUNNER_ID, 15000);
	IO_UNTIL(w->loop, traced(w, want));
	world_forget(w);
}

/* How often the log has that text. */
static size_t logged(struct world *w, const char *text)
{
	static char all[1024 * 1024];
	ssize_t n = pread(w->log_fd, all, sizeof(all) - 1, 0);
	size_t count = 0;
	all[n < 0 ? 0 : n] = '\0';
	for (const char *at = all; (at = strstr(at, text)) != NULL; at++)
		count++;
	return count;
}

static void world_done(struct world *w)
{
	if (!w->closed) {
		w->inside = true;
		engine_link_close(w->link);
		engine_link_close(w->link);
		w->inside = false;
		IO_UNTIL(w->loop, w->closed);
	}
	assert_int_equal(logged(w, TOKEN), 0);
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, 2);
	close(w->log_fd);
	io_loop_done(w->loop);
	ws_peer_done(&w->engine);
	engine_endpoint_done(&w->endpoint);
	buf_done(&w->heard);
	buf_done(&w->trace);
}

/* Moves time in steps, as it passes. */
static void pass(struct world *w, int64_t ms)
{
	while (ms > 0) {
		int64_t step = ms < 500 ? ms : 500;
		loop_skew(w->loop, step);
		io_loop_turn(w->loop, 1);
		ms -= step;
	}
}

static int send_frame(struct world *w, enum engine_link_class class, const struct runner_to_server *m)
{
	struct buf b;
	buf_init(&b, LIMIT_WS_ENGINE_MESSAGE_BYTES);
	assert_int_equal(runner_to_server_put(&b, m), 0);
	w->inside = true;
	int r = engine_link_send(w->link, class, buf_slice(&b));
	w->inside = false;
	buf_done(&b);
	return r;
}

static int send_traffic(struct world *w, size_t n)
{
	uint8_t *data = mem_zalloc(n + 1);
	const struct runner_to_server m = {
	    .tag = RUNNER_TO_SERVER_TUNNEL,
	    .tunnel = {.kind = RUNNER_UP_WS_MESSAGE, .message = {.data = slice_of(data, n), .binary = true}}};
	int r = send_frame(w, ENGINE_LINK_TRAFFIC, &m);
	mem_free(data);
	return r;
}

static int send_events(struct world *w)
{
	return send_frame(w, ENGINE_LINK_CONTROL, &(struct runner_to_server){.tag = RUNNER_TO_SERVER_EVENTS});
}

/* ---- registering ---- */

static void test_registers(void **state)
{
	(void)state;
	struct world w;
	world_init(&w);
	world_open(&w);
	assert_string_equal(engine_link_why_not(w.link), "connecting to the engine");
	assert_int_equal(send_events(&w), ENGINE_LINK_OFFLINE);
	ws_peer_upgrade(&w.engine, "sec-websocket-protocol: rivet\r\n");
	const char *request = buf_text(&w.engine.got);
	assert_non_null(strstr(request,
			       "GET /runners/connect?protocol_version=7&namespace=pro%20d&runner_key=a%2Fb%26c "
			       "HTTP/1.1\r\n"));
	assert_non_null(strstr(request, "sec-websocket-protocol: rivet, rivet_token." TOKEN "\r\n"));
	IO_UNTIL(w.loop, heard(&w, "init pool-1 v3 slots=1000 counter={} room={};"));
	assert_int_equal(send_events(&w), ENGINE_LINK_OFFLINE); /* not before the engine's */
	engine_welcome_as(&w, RUNNER_ID, 15000);
	IO_UNTIL(w.loop, traced(&w, "online new;"));
	assert_int_equal(send_events(&w), 0);
	IO_UNTIL(w.loop, heard(&w, "events;"));
	assert_int_equal(logged(&w, "registered with the engine"), 1);
	assert_int_equal(logged(&w, "runner_id=" RUNNER_ID), 1);
	world_done(&w);
}

static void refuse_options(struct engine_link_options o, const char *text)
{
	struct engine_link *l = NULL;
	struct err e = {0};
	assert_int_equal(engine_link_open(&o, &l, &e), -EINVAL);
	assert_int_equal(e.exit_code, EXIT_CODE_CONFIG);
	if (strstr(e.text, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.text, text);
	assert_null(l);
}

static void test_what_cannot_be_said_is_an_error(void **state)
{
	(void)state;
	struct world w;
	char longest[4000];
	static const char *const bad[] = {"a", "\xff", NULL};
	memset(longest, '/', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	world_init(&w);
	struct engine_link_options o = w.o;
	o.token = "a b";
	refuse_options(o, "token holds a character");
	o = w.o;
	o.total_slots = 0;
	refuse_options(o, "RIVET_TOTAL_SLOTS) is 0");
	o.total_slots = 4294968;
	refuse_options(o, "RIVET_TOTAL_SLOTS) is 4294968");
	o = w.o;
	o.runner = "\xff";
	refuse_options(o, "engine.runner (RIVET_RUNNER) is not UTF-8");
	o = w.o;
	o.actor_names = bad;
	refuse_options(o, "actor type is not UTF-8");
	o = w.o;
	o.runner_key = longest;
	refuse_options(o, "over 8 KiB");
	o = w.o;
	w.endpoint.tls = true;
	o.ca_file = "/dev/null";
	refuse_options(o, "holds no certificate");
	w.endpoint.tls = false;
	world_open(&w);
	world_done(&w);
}

static void test_pings_are_answered_at_once(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	engine_beat(&w, 1795454038911);
	engine_beat(&w, -1);
	engine_beat(&w, INT64_MIN);
	engine_beat(&w, INT64_MAX);
	world_done(&w);
}

static void test_messages_go_up_and_strange_ones_nowhere(void **state)
{
	(void)state;
	struct world w;
	struct engine_link_stats stats;
	world_online(&w);
	ws_peer_say(&w.engine, WS_BINARY, SLICE_LIT("\x07new"));
	ws_peer_say(&w.engine, WS_BINARY, SLICE_NONE);
	ws_peer_say(&w.engine, WS_TEXT, SLICE_LIT("hello"));
	ws_peer_say(&w.engine, WS_BINARY, SLICE_LIT("\x01\xff\xff\xff\xff\x0f"));
	engine_welcome_as(&w, "another", 1);
	engine_say(&w, &(struct runner_to_client){.tag = RUNNER_TO_CLIENT_COMMANDS});
	engine_beat(&w, 1);
	assert_string_equal(buf_text(&w.trace), "commands;");
	engine_link_stats(w.link, &stats);
	assert_int_equal(stats.frames_bad, 4);
	assert_int_equal(logged(&w, "they are ignored"), 1);
	world_done(&w);
}

/* ---- losing it ---- */

static void test_a_lost_connection_comes_back_as_the_same_runner(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	ws_peer_drop(&w.engine, true);
	IO_UNTIL(w.loop, traced(&w, "offline;"));
	assert_int_equal(send_events(&w), ENGINE_LINK_OFFLINE);
	assert_non_null(engine_link_why_not(w.link));
	world_again(&w, "offline;online same;"); /* within the test's patience: 100 ms */
	pass(&w, 7000);
	ws_peer_drop(&w.engine, false);
	engine_accept(&w);
	engine_welcome_as(&w, "anotherid", 15000);
	IO_UNTIL(w.loop, traced(&w, "offline;online new;"));
	world_done(&w);
}

static void test_going_away_is_followed_at_once(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	ws_peer_close(&w.engine, 1011, "ws.going_away#abc");
	world_again(&w, "offline;online same;");
	assert_int_equal(logged(&w, "the engine is being stopped or restarted"), 1);
	world_done(&w);
}

static void test_a_silent_engine_is_dropped(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	for (int i = 0; i < 5; i++) {
		pass(&w, 7000);
		engine_beat(&w, 7000 * i);
	}
	assert_string_equal(buf_text(&w.trace), "");
	pass(&w, LIMIT_LINK_SILENCE_MS + LIMIT_LINK_LAST_LOOK_MS);
	IO_UNTIL(w.loop, traced(&w, "offline;"));
	assert_int_equal(logged(&w, "no ping for 8 s"), 1);
	world_again(&w, "offline;online same;");
	world_done(&w);
}

static void test_an_engine_that_never_welcomes(void **state)
{
	(void)state;
	struct world w;
	world_init(&w);
	world_open(&w);
	engine_accept(&w);
	engine_ping(&w, 1); /* is no welcome */
	engine_say(&w, &(struct runner_to_client){.tag = RUNNER_TO_CLIENT_COMMANDS});
	io_loop_settle(w.loop);
	pass(&w, LIMIT_LINK_INIT_MS + LIMIT_LINK_LAST_LOOK_MS);
	engine_accept(&w);
	assert_string_equal(buf_text(&w.trace), "");
	assert_int_equal(logged(&w, "did not register this runner within 10 s"), 1);
	world_done(&w);
}

/* What was swallowed between upgrade and welcome must not hold up the next attempt; an engine that is only slow gets
 * its time in the end. */
static void test_a_welcome_that_was_swallowed_is_not_waited_for(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	ws_peer_drop(&w.engine, true);
	IO_UNTIL(w.loop, traced(&w, "offline;"));
	for (int i = 0; i < LIMIT_LINK_INIT_SOON; i++) {
		engine_accept(&w);
		pass(&w, LIMIT_LINK_INIT_SOON_MS + LIMIT_LINK_LAST_LOOK_MS);
	}
	engine_accept(&w);
	assert_int_equal(logged(&w, "did not register this runner within 4 s"), 1);
	pass(&w, LIMIT_LINK_INIT_SOON_MS + LIMIT_LINK_LAST_LOOK_MS);
	engine_welcome_as(&w, RUNNER_ID, 15000);
	IO_UNTIL(w.loop, traced(&w, "online"));
	world_done(&w);
}

static void test_lost_in_time_and_a_newcomer_after_it(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	engine_beat(&w, 1000);
	ws_peer_drop(&w.engine, true);
	close(w.engine.listen_fd);
	w.engine.listen_fd = -1;
	IO_UNTIL(w.loop, traced(&w, "offline;"));
	pass(&w, 10000);
	assert_string_equal(buf_text(&w.trace), "offline;");
	pass(&w, 500);
	IO_UNTIL(w.loop, traced(&w, "lost soon;"));
	assert_in_range(w.soon_ms, 2000, LIMIT_LINK_LOST_SOON_MS);
	pass(&w, 2000);
	assert_string_equal(buf_text(&w.trace), "offline;lost soon;");
	pass(&w, 1000);
	IO_UNTIL(w.loop, traced(&w, "lost;"));
	pass(&w, 60000);
	assert_string_equal(buf_text(&w.trace), "offline;lost soon;lost;");
	assert_int_equal(logged(&w, "connection refused"), 1); /* not one for each attempt */
	world_done(&w);
}

static void test_what_follows_lost_is_new_even_under_the_same_id(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	ws_peer_drop(&w.engine, true);
	loop_skew(w.loop, 15000);
	IO_UNTIL(w.loop, traced(&w, "lost;"));
	world_again(&w, "online new;");
	world_done(&w);
}

static void test_back_in_time_nothing_is_lost(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	for (int i = 0; i < 3; i++) {
		ws_peer_drop(&w.engine, true);
		IO_UNTIL(w.loop, traced(&w, "offline;"));
		pass(&w, 9000);
		world_again(&w, "online same;");
	}
	engine_beat(&w, 1);
	pass(&w, 7000);
	assert_string_equal(buf_text(&w.trace), "");
	world_done(&w);
}

/* A process that was stopped finds old pings in its socket: what counts is when they were sent. */
static void test_old_pings_do_not_keep_a_runner_alive(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	engine_beat(&w, 100000);
	pass(&w, 3000);
	engine_beat(&w, 103000);
	loop_skew(w.loop, 14000); /* stopped here */
	engine_ping(&w, 106000);
	engine_ping(&w, 109000);
	engine_ping(&w, 112000);
	ws_peer_close(&w.engine, 1011, "core.internal_error#x");
	close(w.engine.listen_fd);
	w.engine.listen_fd = -1;
	IO_UNTIL(w.loop, traced(&w, "offline;"));
	assert_string_equal(buf_text(&w.trace), "offline;");
	/* The last was sent 5 s ago: 8.5 s are left, not 13.5. */
	pass(&w, 8600);
	IO_UNTIL(w.loop, traced(&w, "lost;"));
	world_done(&w);
}

/* Its timers are due before its socket is read. */
static void test_a_stopped_process_hears_first_that_it_was_evicted(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	engine_beat(&w, 1000);
	loop_skew(w.loop, 60000);
	io_loop_turn(w.loop, 1);
	ws_peer_close(&w.engine, 1000, "ws.eviction#a");
	IO_UNTIL(w.loop, traced(&w, "evicted;"));
	assert_string_equal(buf_text(&w.trace), "offline;evicted;");
	world_done(&w);
}

static void test_a_stopped_process_is_lost_at_once(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	engine_beat(&w, 1000);
	loop_skew(w.loop, 60000);
	io_loop_turn(w.loop, 1);
	ws_peer_close(&w.engine, 1011, "core.internal_error#a");
	IO_UNTIL(w.loop, traced(&w, "offline;"));
	io_loop_turn(w.loop, 1);
	io_loop_turn(w.loop, 1);
	assert_string_equal(buf_text(&w.trace), "offline;lost;");
	world_done(&w);
}

static void test_an_engine_that_sets_its_clock(void **state)
{
	(void)state;
	struct world w;
	static const int64_t clocks[] = {100000, 103000, 50000, 53000, 900000, INT64_MAX, INT64_MIN, 0, 3000};
	world_online(&w);
	for (size_t i = 0; i < ARRAY_SIZE(clocks); i++) {
		engine_beat(&w, clocks[i]);
		pass(&w, 3000);
	}
	ws_peer_drop(&w.engine, true);
	close(w.engine.listen_fd);
	w.engine.listen_fd = -1;
	pass(&w, 7000);
	assert_string_equal(buf_text(&w.trace), "offline;");
	world_done(&w);
}

/* ---- close reasons ---- */

static void test_eviction_is_for_good(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	ws_peer_close(&w.engine, 1000, "ws.eviction#1w8k6y2wt1gzfkxeq3sok5esnlal00");
	IO_UNTIL(w.loop, traced(&w, "evicted;"));
	assert_string_equal(buf_text(&w.trace), "offline;evicted;");
	ws_peer_drop(&w.engine, true);
	pass(&w, 120000);
	assert_string_equal(buf_text(&w.trace), "offline;evicted;");
	assert_int_equal(accept(w.engine.listen_fd, NULL, NULL), -1);
	assert_string_equal(engine_link_why_not(w.link), "another runner has registered with this runner key");
	assert_int_equal(send_events(&w), ENGINE_LINK_OFFLINE);
	world_done(&w);
}

static void test_no_protocol_in_common(void **state)
{
	(void)state;
	struct world w;
	world_init(&w);
	world_open(&w);
	engine_accept(&w);
	ws_peer_close(&w.engine, 1011, "ws.invalid_packet#abc");
	IO_UNTIL(w.loop, traced(&w, "failed;"));
	assert_int_equal(logged(&w, "does not speak version 7"), 1);
	pass(&w, 60000);
	assert_int_equal(accept(w.engine.listen_fd, NULL, NULL), -1);
	world_done(&w);
}

static void test_a_refused_packet_later_is_no_reason_to_stop(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	ws_peer_close(&w.engine, 1011, "ws.invalid_packet#abc");
	world_again(&w, "offline;online same;");
	world_done(&w);
}

static void test_what_a_person_must_change_is_tried_slowly(void **state)
{
	(void)state;
	static const char *const reasons[][2] = {
	    {"namespace.not_found#a", "no such namespace"},
	    {"guard.missing_header#b", "wants a token"},
	    {"api.forbidden#c", "refuses the token"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		struct world w;
		world_init(&w);
		world_open(&w);
		engine_accept(&w);
		ws_peer_close(&w.engine, 1011, reasons[i][0]);
		IO_UNTIL(w.loop, logged(&w, reasons[i][1]) == 1);
		assert_non_null(strstr(engine_link_why_not(w.link), reasons[i][1]));
		ws_peer_drop(&w.engine, false);
		pass(&w, 29000);
		assert_int_equal(accept(w.engine.listen_fd, NULL, NULL), -1);
		pass(&w, 10000);
		engine_accept(&w);
		ws_peer_close(&w.engine, 1011, reasons[i][0]);
		io_loop_settle(w.loop);
		assert_int_equal(logged(&w, reasons[i][1]), 1); /* once is enough */
		pass(&w, 40000);
		engine_accept(&w);
		engine_welcome_as(&w, RUNNER_ID, 15000);
		IO_UNTIL(w.loop, traced(&w, "online new;"));
		world_done(&w);
	}
}

static void test_distinct_failures_are_each_told(void **state)
{
	(void)state;
	struct world w;
	world_init(&w);
	log_set_level(LOG_LEVEL_DEBUG); /* where the same failure is told again */
	world_open(&w);
	for (int i = 0; i < 6; i++) {
		ws_peer_drop(&w.engine, false);
		ws_peer_accept(&w.engine);
		ws_peer_request(&w.engine);
		if (i % 2 == 0)
			ws_peer_put(&w.engine, SLICE_LIT("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"));
		ws_peer_drop(&w.engine, false);
		IO_UNTIL(w.loop, logged(&w, "trying again") == (size_t)i + 1);
		pass(&w, 4000); /* longer than any back-off */
	}
	assert_int_equal(logged(&w, "level=warn msg=\"cannot register"), 2);
	assert_int_equal(logged(&w, "HTTP 404 Not Found"), 3);
	assert_int_equal(logged(&w, "no answer to the WebSocket handshake"), 3);
	world_done(&w);
}

/* ---- stopping ---- */

static void test_stopping_is_said_again_and_again(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	w.inside = true;
	engine_link_stopping(w.link);
	engine_link_stopping(w.link);
	w.inside = false;
	IO_UNTIL(w.loop, heard(&w, "stopping;"));
	for (int i = 0; i < 4; i++) {
		buf_reset(&w.heard);
		pass(&w, LIMIT_LINK_STOPPING_MS);
		engine_beat(&w, LIMIT_LINK_STOPPING_MS * i);
		assert_true(heard(&w, "stopping;pong"));
	}
	assert_int_equal(send_events(&w), 0); /* what the actors still have to say */
	w.inside = true;
	engine_link_finish(w.link);
	engine_link_finish(w.link);
	w.inside = false;
	IO_UNTIL(w.loop, strstr(ws_peer_trace(&w.engine), "close 1000 pegboard.runner_shutdown;") != NULL);
	assert_true(heard(&w, "events;"));
	assert_string_equal(buf_text(&w.trace), "");
	ws_peer_close(&w.engine, 1000, "ws.closed#a");
	IO_UNTIL(w.loop, traced(&w, "finished;"));
	ws_peer_drop(&w.engine, false);
	pass(&w, 60000);
	assert_string_equal(buf_text(&w.trace), "finished;");
	world_done(&w);
}

static void test_eviction_ends_a_drain_as_it_should(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	engine_link_stopping(w.link);
	IO_UNTIL(w.loop, heard(&w, "stopping;"));
	ws_peer_close(&w.engine, 1000, "ws.eviction#a");
	IO_UNTIL(w.loop, traced(&w, "finished;"));
	assert_string_equal(buf_text(&w.trace), "offline;finished;");
	world_done(&w);
}

static void test_a_connection_lost_while_stopping_is_not_made_again(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	engine_link_stopping(w.link);
	IO_UNTIL(w.loop, heard(&w, "stopping;"));
	ws_peer_drop(&w.engine, true);
	IO_UNTIL(w.loop, traced(&w, "finished;"));
	pass(&w, 60000);
	assert_int_equal(accept(w.engine.listen_fd, NULL, NULL), -1);
	assert_string_equal(buf_text(&w.trace), "offline;finished;");
	world_done(&w);
}

static void test_stopping_without_an_engine(void **state)
{
	(void)state;
	for (int stage = 0; stage < 4; stage++) {
		struct world w;
		world_init(&w);
		world_open(&w);
		if (stage >= 1)
			engine_accept(&w);
		if (stage == 3) {
			engine_welcome_as(&w, RUNNER_ID, 15000);
			IO_UNTIL(w.loop, traced(&w, "online new;"));
			world_forget(&w);
		}
		if (stage >= 2) {
			close(w.engine.listen_fd);
			w.engine.listen_fd = -1;
			ws_peer_drop(&w.engine, true);
			io_loop_settle(w.loop);
			world_forget(&w);
		}
		w.inside = true;
		engine_link_stopping(w.link);
		w.inside = false;
		IO_UNTIL(w.loop, traced(&w, "finished;"));
		engine_link_finish(w.link);
		engine_link_stopping(w.link);
		pass(&w, 60000);
		assert_string_equal(buf_text(&w.trace), "finished;");
		world_done(&w);
	}
}

static void test_closing_from_inside_any_event(void **state)
{
	(void)state;
	static const char *const reasons[] = {"ws.eviction", "ws.going_away"};
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		struct world w;
		world_online(&w);
		w.close_in_event = true;
		ws_peer_close(&w.engine, 1000, reasons[i]);
		IO_UNTIL(w.loop, w.closed);
		assert_string_equal(buf_text(&w.trace), "offline;closed;");
		world_done(&w);
	}
}

static void test_resync_connects_afresh_once(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	w.inside = true;
	assert_true(engine_link_resync(w.link));
	assert_false(engine_link_resync(w.link));
	w.inside = false;
	world_again(&w, "offline;online same;");
	pass(&w, 5000);
	engine_beat(&w, 1);
	assert_false(engine_link_resync(w.link));
	for (int i = 0; i < 10; i++) {
		pass(&w, 6000);
		engine_beat(&w, 6000 * i);
	}
	assert_true(engine_link_resync(w.link));
	world_again(&w, "offline;online same;");
	world_done(&w);
}

static void test_resync_lets_the_engine_read_first(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	for (int in_time = 1; in_time >= 0; in_time--) {
		w.engine.pongless = !in_time;
		assert_int_equal(send_events(&w), 0);
		w.inside = true;
		assert_true(engine_link_resync(w.link));
		w.inside = false;
		io_loop_settle(w.loop);
		assert_false(traced(&w, "offline;"));
		assert_int_equal(send_traffic(&w, 5), ENGINE_LINK_FULL);
		if (in_time)
			IO_UNTIL(w.loop, (ws_peer_read(&w.engine), traced(&w, "offline;")));
		else
			pass(&w, LIMIT_LINK_RESYNC_WAIT_MS);
		w.engine.pongless = false;
		world_again(&w, "offline;online same;");
		for (int i = 0; i < 11; i++) {
			pass(&w, 6000);
			engine_beat(&w, 6000 * i);
		}
	}
	world_done(&w);
}

/* ---- sending ---- */

static void send_answer(struct world *w, uint16_t status, size_t n)
{
	uint8_t *body = mem_zalloc(n + 1);
	const struct runner_to_server m = {
	    .tag = RUNNER_TO_SERVER_TUNNEL,
	    .tunnel = {.kind = status == 0 ? RUNNER_UP_RESPONSE_ABORT : RUNNER_UP_RESPONSE_START,
		       .response = {.status = status, .has_body = true, .body = slice_of(body, n)}}};
	assert_int_equal(send_frame(w, ENGINE_LINK_TRAFFIC, &m), 0);
	mem_free(body);
}

static size_t unconsumed(struct world *w)
{
	struct engine_link_stats stats;
	ws_peer_read(&w->engine);
	engine_link_stats(w->link, &stats);
	return stats.unconsumed;
}

static void test_answers_that_may_be_lost_are_sent_again(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	send_answer(&w, 200, 10);
	send_answer(&w, 0, 0);
	pass(&w, LIMIT_LINK_MARK_MS); /* the mark behind them */
	IO_UNTIL(w.loop, unconsumed(&w) == 0);
	uint64_t sure = engine_link_sent(w.link);
	w.engine.pongless = true;
	send_answer(&w, 201, 10);
	assert_int_equal(send_traffic(&w, 5), 0);
	assert_int_equal(send_events(&w), 0);
	send_answer(&w, 0, 0);
	send_answer(&w, 203, 10);
	send_answer(&w, 202, LIMIT_LINK_KEEP_BYTES); /* is not kept */
	ws_peer_drop(&w.engine, true);
	IO_UNTIL(w.loop, traced(&w, "offline;"));
	w.engine.pongless = false;
	world_again(&w, "offline;online same;");
	assert_int_equal(w.unsure_from, sure);
	IO_UNTIL(w.loop, heard(&w, "answer 203;"));
	assert_non_null(strstr(buf_text(&w.heard), ";answer 201;abort;answer 203;"));
	engine_beat(&w, 1);
	assert_false(heard(&w, "answer 202;") || heard(&w, "tunnel;") || heard(&w, "events;") ||
		     heard(&w, "answer 200;"));
	/* Not a third time. */
	pass(&w, LIMIT_LINK_MARK_MS);
	IO_UNTIL(w.loop, unconsumed(&w) == 0);
	ws_peer_drop(&w.engine, true);
	IO_UNTIL(w.loop, traced(&w, "offline;"));
	world_again(&w, "offline;online same;");
	engine_beat(&w, 1);
	assert_false(heard(&w, "answer") || heard(&w, "abort"));
	world_done(&w);
}

static void test_answers_of_another_runner_are_not(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	w.engine.pongless = true;
	send_answer(&w, 201, 10);
	ws_peer_drop(&w.engine, true);
	IO_UNTIL(w.loop, traced(&w, "offline;"));
	engine_accept(&w);
	engine_welcome_as(&w, "another", 15000);
	IO_UNTIL(w.loop, traced(&w, "online new;"));
	engine_beat(&w, 1);
	assert_false(heard(&w, "answer"));
	send_answer(&w, 201, 10);
	ws_peer_drop(&w.engine, true);
	loop_skew(w.loop, 15000);
	IO_UNTIL(w.loop, traced(&w, "lost;"));
	engine_accept(&w);
	engine_welcome_as(&w, "another", 15000);
	engine_beat(&w, 1);
	assert_false(heard(&w, "answer"));
	world_done(&w);
}

static void test_an_engine_that_is_behind_shuts_the_window(void **state)
{
	(void)state;
	struct world w;
	size_t sent = 0;
	int r;
	world_online(&w);
	w.engine.pongless = true;
	while ((r = send_traffic(&w, 100)) == 0 && sent < 2 * LIMIT_LINK_WINDOW)
		sent++;
	assert_int_equal(r, ENGINE_LINK_FULL);
	assert_int_equal(sent, LIMIT_LINK_WINDOW - 1); /* Init was the first */
	assert_int_equal(send_events(&w), 0);          /* not for control */
	engine_beat(&w, 1);                            /* nor for the pong */
	assert_int_equal(w.n_room, 0);
	struct engine_link_stats stats;
	engine_link_stats(w.link, &stats);
	assert_int_equal(stats.unconsumed, LIMIT_LINK_WINDOW + 2); /* with events and pong */
	uint8_t mark[8] = {0};
	uint64_t at = LIMIT_LINK_WINDOW / 2;
	memcpy(mark, &at, sizeof(at));
	ws_peer_say(&w.engine, WS_PONG, SLICE_LIT("nonsense"));
	ws_peer_say(&w.engine, WS_PONG, slice_of(mark, sizeof(mark)));
	IO_UNTIL(w.loop, w.n_room == 1);
	assert_int_equal(send_traffic(&w, 100), 0);
	world_done(&w);
}

static void test_an_engine_that_keeps_up_never_shuts_it(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	for (size_t sent = 0; sent < 20 * LIMIT_LINK_WINDOW;) {
		int r = send_traffic(&w, 100);
		if (r == 0)
			sent++;
		else
			IO_UNTIL(w.loop, (ws_peer_read(&w.engine), send_traffic(&w, 100) == 0 && ++sent > 0));
	}
	world_done(&w);
}

static void test_a_full_socket_leaves_room_for_control(void **state)
{
	(void)state;
	struct world w;
	int r, sent = 0;
	world_online(&w);
	while ((r = send_traffic(&w, (size_t)8 * 1024 * 1024)) == 0)
		sent++;
	assert_int_equal(r, ENGINE_LINK_FULL);
	assert_in_range(sent, 1, 2);
	while (send_traffic(&w, 0) == 0)
		sent++;
	assert_int_equal(w.n_room, 0);
	IO_UNTIL(w.loop, (ws_peer_read(&w.engine), w.n_room > 0));
	assert_int_equal(send_traffic(&w, 0), 0);
	world_done(&w);
}

static void test_sizes(void **state)
{
	(void)state;
	struct world w;
	world_online(&w);
	assert_int_equal(send_traffic(&w, LIMIT_ENGINE_BODY_BYTES + 1), ENGINE_LINK_TOO_BIG);
	assert_int_equal(send_traffic(&w, LIMIT_ENGINE_BODY_BYTES), 0);
	uint8_t *big = mem_zalloc(LIMIT_WS_MESSAGE_BYTES + 1);
	assert_int_equal(engine_link_send(w.link, ENGINE_LINK_CONTROL, slice_of(big, LIMIT_WS_MESSAGE_BYTES + 1)),
			 ENGINE_LINK_TOO_BIG);
	mem_free(big);
	world_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_registers),
	    cmocka_unit_test(test_what_cannot_be_said_is_an_error),
	    cmocka_unit_test(test_pings_are_answered_at_once),
	    cmocka_unit_test(test_messages_go_up_and_strange_ones_nowhere),
	    cmocka_unit_test(test_a_lost_connection_comes_back_as_the_same_runner),
	    cmocka_unit_test(test_going_away_is_followed_at_once),
	    cmocka_unit_test(test_a_silent_engine_is_dropped),
	    cmocka_unit_test(test_an_engine_that_never_welcomes),
	    cmocka_unit_test(test_a_welcome_that_was_swallowed_is_not_waited_for),
	    cmocka_unit_test(test_lost_in_time_and_a_newcomer_after_it),
	    cmocka_unit_test(test_what_follows_lost_is_new_even_under_the_same_id),
	    cmocka_unit_test(test_back_in_time_nothing_is_lost),
	    cmocka_unit_test(test_old_pings_do_not_keep_a_runner_alive),
	    cmocka_unit_test(test_a_stopped_process_hears_first_that_it_was_evicted),
	    cmocka_unit_test(test_a_stopped_process_is_lost_at_once),
	    cmocka_unit_test(test_an_engine_that_sets_its_clock),
	    cmocka_unit_test(test_eviction_is_for_good),
	    cmocka_unit_test(test_no_protocol_in_common),
	    cmocka_unit_test(test_a_refused_packet_later_is_no_reason_to_stop),
	    cmocka_unit_test(test_what_a_person_must_change_is_tried_slowly),
	    cmocka_unit_test(test_distinct_failures_are_each_told),
	    cmocka_unit_test(test_stopping_is_said_again_and_again),
	    cmocka_unit_test(test_eviction_ends_a_drain_as_it_should),
	    cmocka_unit_test(test_a_connection_lost_while_stopping_is_not_made_again),
	    cmocka_unit_test(test_stopping_without_an_engine),
	    cmocka_unit_test(test_closing_from_inside_any_event),
	    cmocka_unit_test(test_resync_connects_afresh_once),
	    cmocka_unit_test(test_resync_lets_the_engine_read_first),
	    cmocka_unit_test(test_answers_that_may_be_lost_are_sent_again),
	    cmocka_unit_test(test_answers_of_another_runner_are_not),
	    cmocka_unit_test(test_an_engine_that_is_behind_shuts_the_window),
	    cmocka_unit_test(test_an_engine_that_keeps_up_never_shuts_it),
	    cmocka_unit_test(test_a_full_socket_leaves_room_for_control),
	    cmocka_unit_test(test_sizes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
