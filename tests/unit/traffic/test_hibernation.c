/* Messages on their way to workers that come and go. */
#include "traffic/hibernation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* A worker whose socket takes what the test lets it. */
struct worker {
	struct exchange *x;
	struct ws_reader *reader;
	struct buf socket; /* bytes given, in order */
	size_t taken;      /* of these, by the kernel */
	size_t room;       /* then it says stop */
	bool unsure;       /* whether it takes more is not known */
	struct buf got;    /* messages it read whole: "t:one " */
};

static struct worker worker;

static void on_front_over(void *end, struct exchange *x, enum exchange_why why)
{
	(void)why;
	hibernation_left(end, x);
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_DONE);
}

static void on_nothing(void *end, struct exchange *x)
{
	(void)end;
	(void)x;
}

static void on_front_head(void *end, struct exchange *x, const struct http_head *h)
{
	(void)end;
	(void)x;
	(void)h;
}

static const struct exchange_ops front_ops = {.head = on_front_head, .go = on_nothing, .over = on_front_over};

static void on_back_data(void *end, struct exchange *x, struct slice s, bool fin)
{
	(void)end;
	assert_false(fin);
	buf_add(&worker.socket, s);
	if (buf_len(&worker.socket) >= worker.room)
		exchange_stop(x, EXCHANGE_BACK);
}

static size_t on_unwritten(void *end, const struct exchange *x)
{
	(void)end;
	(void)x;
	return buf_len(&worker.socket) - worker.taken;
}

static bool on_sure(void *end, const struct exchange *x)
{
	(void)end;
	(void)x;
	return !worker.unsure;
}

static const struct exchange_ops back_ops = {
    .data = on_back_data, .go = on_nothing, .over = on_front_over, .unwritten = on_unwritten, .sure = on_sure};

static void on_message(void *arg, bool binary, struct slice payload)
{
	(void)arg;
	buf_addf(&worker.got, "%c:%.*s ", binary ? 'b' : 't', SLICE_FMT(payload));
}

static void on_ping(void *arg, struct slice payload)
{
	(void)arg;
	buf_addf(&worker.got, "ping:%.*s ", SLICE_FMT(payload));
}

static void on_close(void *arg, unsigned code, struct slice reason)
{
	(void)arg;
	buf_addf(&worker.got, "close:%u:%.*s ", code, SLICE_FMT(reason));
}

static const struct ws_reader_events events = {
    .message = on_message, .ping = on_ping, .pong = on_ping, .close = on_close};

static struct hibernation *first(void)
{
	static const struct http_field offered = {.name = {(const uint8_t *)"x-own", 5},
						  .value = {(const uint8_t *)"1", 1}};
	struct http_head head = {
	    .method = SLICE_LIT("GET"), .target = SLICE_LIT("/ws"), .fields = &offered, .n_fields = 1};
	struct http_field chosen = {.id = HTTP_F_SEC_WEBSOCKET_PROTOCOL, .value = SLICE_LIT("chat")};
	struct http_head answer = {.status = 101, .fields = &chosen, .n_fields = 1};
	struct exchange *x;
	assert_int_equal(exchange_open(EXCHANGE_WEBSOCKET, &front_ops, NULL, &x), 0);
	x->head = http_head_copy(&head);
	x->target = mem_strdup("/ws");
	x->method = mem_strdup("GET");
	x->subprotocols = mem_strdup("chat, v2");
	memcpy(x->connection_id, "c1", 3);
	struct hibernation *h = hibernation_new(x, &answer);
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_DONE);
	assert_true(hibernation_agrees(h, &answer));
	chosen.value = SLICE_LIT("v2");
	assert_false(hibernation_agrees(h, &answer));
	answer.n_fields = 0;
	assert_false(hibernation_agrees(h, &answer));
	answer.n_fields = 1;
	chosen.value = SLICE_LIT("chat");
	answer.status = 403;
	assert_false(hibernation_agrees(h, &answer));
	return h;
}

static void open_worker(struct hibernation *h, size_t room)
{
	buf_init(&worker.socket, 1 << 20);
	buf_init(&worker.got, 1 << 16);
	worker.taken = 0;
	worker.room = room;
	worker.unsure = false;
	assert_int_equal(hibernation_exchange(h, &front_ops, h, 7, &worker.x), 0);
	exchange_join(worker.x, &back_ops, &worker);
}

/* The worker is left after `taken` bytes; what it read. */
static const char *leave_worker(size_t taken)
{
	worker.taken = taken;
	worker.reader = ws_reader_new(true, 1 << 16, &events, NULL);
	assert_int_equal(ws_reader_feed(worker.reader, slice_head(buf_slice(&worker.socket), taken)), 0);
	ws_reader_free(worker.reader);
	exchange_leave(worker.x, EXCHANGE_BACK, EXCHANGE_STOPPED);
	return buf_text(&worker.got);
}

static void close_worker(void)
{
	buf_done(&worker.socket);
	buf_done(&worker.got);
}

static void add(struct hibernation *h, const char *text)
{
	hibernation_add(h, WS_TEXT, slice_str(text));
}

static void test_it_is_opened_as_it_was(void **state)
{
	(void)state;
	struct hibernation *h = first();
	struct exchange *x;
	assert_int_equal(hibernation_exchange(h, &front_ops, h, 7, &x), 0);
	assert_string_equal(x->connection_id, "c1");
	assert_true(x->reopens && x->no_body);
	assert_string_equal(x->target, "/ws");
	assert_string_equal(x->subprotocols, "chat, v2");
	assert_non_null(http_head_find(x->head, "x-own"));
	assert_int_equal(x->begun_mono_us, 7);
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_DONE);
	hibernation_free(h);
}

static void test_messages_wait_and_go_in_order(void **state)
{
	(void)state;
	struct hibernation *h = first();
	add(h, "one");
	hibernation_add(h, WS_BINARY, SLICE_LIT("two"));
	hibernation_add_close(h, 4001, SLICE_LIT("bye"));
	assert_int_equal(hibernation_waiting_bytes(h), 3 + 3 + 5);
	assert_true(hibernation_wants_worker(h));
	open_worker(h, 1 << 20);
	hibernation_push(h, worker.x);
	assert_false(hibernation_waiting(h));
	assert_int_equal(hibernation_waiting_bytes(h), 0);
	assert_string_equal(leave_worker(buf_len(&worker.socket)), "t:one b:two close:4001:bye ");
	assert_false(hibernation_waiting(h));
	close_worker();
	hibernation_free(h);
}

static void test_a_close_alone_wakes_nobody(void **state)
{
	(void)state;
	struct hibernation *h = first();
	hibernation_add_close(h, WS_CLOSE_NONE, SLICE_NONE);
	assert_true(hibernation_waiting(h));
	assert_false(hibernation_wants_worker(h));
	hibernation_free(h);
}

/* Whatever part of the bytes a worker was written, each message is read whole by one of two workers, once. */
static void test_each_is_delivered_once_wherever_the_worker_is_left(void **state)
{
	(void)state;
	static const char *const all = "t:one t:two t:three close:1000: ";
	for (size_t taken = 0;; taken++) {
		struct hibernation *h = first();
		char both[256];
		add(h, "one");
		add(h, "two");
		hibernation_add(h, WS_PING, SLICE_LIT("p"));
		add(h, "three");
		hibernation_add_close(h, 1000, SLICE_NONE);
		open_worker(h, 1 << 20);
		hibernation_push(h, worker.x);
		size_t total = buf_len(&worker.socket);
		snprintf(both, sizeof(both), "%s", leave_worker(taken));
		close_worker();
		open_worker(h, 1 << 20);
		hibernation_push(h, worker.x);
		strncat(both, leave_worker(buf_len(&worker.socket)), sizeof(both) - strlen(both) - 1);
		char *ping = strstr(both, "ping:p ");
		if (ping != NULL)
			memmove(ping, ping + 7, strlen(ping + 7) + 1);
		assert_string_equal(both, all);
		assert_false(hibernation_waiting(h));
		close_worker();
		hibernation_free(h);
		if (taken == total)
			break;
	}
}

static void test_a_worker_that_is_full_gets_no_more(void **state)
{
	(void)state;
	struct hibernation *h = first();
	for (int i = 0; i < 10; i++)
		add(h, "0123456789");
	open_worker(h, 40);
	hibernation_push(h, worker.x);
	assert_int_equal(hibernation_waiting_bytes(h), 70);
	worker.room = 1 << 20;
	worker.taken = buf_len(&worker.socket);
	exchange_go(worker.x, EXCHANGE_BACK);
	hibernation_push(h, worker.x);
	assert_int_equal(hibernation_waiting_bytes(h), 0);
	(void)leave_worker(buf_len(&worker.socket));
	assert_false(hibernation_waiting(h));
	close_worker();
	hibernation_free(h);
}

/* Of promises, and what the worker had been given as each was made. */
static struct {
	uint64_t n;
	size_t given;
	bool stuck;
} promised;

static void on_say(void *arg, uint64_t n)
{
	(void)arg;
	promised.n = n;
	promised.given = buf_len(&worker.socket);
}

static bool on_said(void *arg)
{
	(void)arg;
	return !promised.stuck;
}

static const struct hibernation_promise promise = {.say = on_say, .said = on_said};

static void test_a_promise_comes_before_the_message(void **state)
{
	(void)state;
	struct hibernation *h = first();
	add(h, "one");
	add(h, "two");
	hibernation_add(h, WS_PING, SLICE_LIT("p"));
	open_worker(h, 1 << 20);
	promised.stuck = true;
	hibernation_push_promised(h, worker.x, &promise);
	assert_int_equal(promised.n, 2);
	assert_int_equal(buf_len(&worker.socket), 0);
	promised.n = 0;
	promised.stuck = false;
	add(h, "three");
	hibernation_push_promised(h, worker.x, &promise);
	assert_int_equal(promised.n, 3);
	assert_int_equal(hibernation_promised(h), 3);
	assert_false(hibernation_waiting(h));
	assert_string_equal(leave_worker(buf_len(&worker.socket)), "t:one t:two ping:p t:three ");
	close_worker();
	hibernation_free(h);
}

/* A long message goes but for its last byte, which waits until the socket is sure to take it. */
static void test_a_long_message_is_promised_when_it_is_all_but_written(void **state)
{
	(void)state;
	struct hibernation *h = first();
	char text[3001];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	add(h, text);
	add(h, "next");
	open_worker(h, 1 << 20);
	promised.n = 0;
	worker.unsure = true;
	hibernation_push_promised(h, worker.x, &promise);
	hibernation_push_promised(h, worker.x, &promise);
	size_t most = buf_len(&worker.socket);
	assert_in_range(most, 3000, 3010);
	assert_int_equal(promised.n, 0);
	(void)leave_worker(most);
	assert_int_equal(buf_len(&worker.got), 0);
	close_worker();
	open_worker(h, 1 << 20);
	hibernation_push_promised(h, worker.x, &promise);
	assert_int_equal(promised.n, 2);
	assert_int_equal(promised.given, most);
	(void)leave_worker(buf_len(&worker.socket));
	assert_int_equal(buf_len(&worker.got), 2 + 3000 + 1 + 7);
	close_worker();
	hibernation_free(h);
}

static void test_what_is_promised_is_not_forgotten(void **state)
{
	(void)state;
	struct hibernation *h = first();
	add(h, "one");
	open_worker(h, 1 << 20);
	promised.stuck = true;
	hibernation_push_promised(h, worker.x, &promise);
	promised.stuck = false;
	add(h, "two");
	(void)leave_worker(0);
	close_worker();
	hibernation_forget_waiting(h);
	assert_int_equal(hibernation_waiting_bytes(h), 3);
	promised.n = 0;
	open_worker(h, 1 << 20);
	hibernation_push_promised(h, worker.x, &promise);
	assert_int_equal(promised.n, 0); /* it has been */
	assert_string_equal(leave_worker(buf_len(&worker.socket)), "t:one ");
	close_worker();
	hibernation_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_it_is_opened_as_it_was),
	    cmocka_unit_test(test_messages_wait_and_go_in_order),
	    cmocka_unit_test(test_a_close_alone_wakes_nobody),
	    cmocka_unit_test(test_each_is_delivered_once_wherever_the_worker_is_left),
	    cmocka_unit_test(test_a_worker_that_is_full_gets_no_more),
	    cmocka_unit_test(test_a_promise_comes_before_the_message),
	    cmocka_unit_test(test_a_long_message_is_promised_when_it_is_all_but_written),
	    cmocka_unit_test(test_what_is_promised_is_not_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
