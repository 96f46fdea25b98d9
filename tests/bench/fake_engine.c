/* An engine that can ask more than a runner can answer: the engine's side of
 * runner protocol v7 for one runner, as fast as one thread goes.
 *
 * It tells its port as {"port": n} and does what lines on its stdin say, one
 * after another, each answered by a line of JSON when it is done:
 *
 *   start NAME COUNT     so many new actors; {"running": n} when all are
 *   load INFLIGHT S      keeps that many requests under way for S seconds:
 *                        {"requests": n, "seconds": s, "p50_us": n, "p99_us": n}
 *   sockets COUNT        opens that many more WebSockets, in turns among the
 *                        actors; {"open": n} when all are
 *
 * Anything unexpected from the runner, and any answer but 200, is fatal: a
 * figure is only worth something if everything was done. Ends with its stdin. */
#include "base/buf.h"
#include "codec/runner_msg.h"
#include "codec/ws_frame.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ACTORS_MAX 16384
#define SLOTS 1024 /* requests under way; its bits are the low ones of a request id */
#define SAMPLES_MAX 20000000
#define OPENING_MAX 64
#define READ_BYTES ((size_t)256 * 1024)
#define OUT_BYTES ((size_t)64 * 1024 * 1024)
#define PING_MS 3000
#define LOST_MS 15000
#define STOP_MS 1800000
#define ID_SIZE 31
#define REQUEST_ID_AT 5 /* behind the tag and the gateway id */

static int listener = -1, runner = -1;
static struct ws_reader *reader; /* NULL: up to the upgrade */
static struct buf head, out, message, request;
static int64_t now_ns, ping_ns;

static char ids[ACTORS_MAX][ID_SIZE];
static bool running[ACTORS_MAX];
static size_t n_actors, n_running;

static bool loading;
static int64_t load_from_ns, load_until_ns;
static size_t under_way, n_samples;
static int64_t sent_ns[SLOTS];
static uint32_t sequence, *samples_us;

static size_t sockets_asked, sockets_wanted, sockets_open;

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "fake_engine: %s: %s\n", what, errno != 0 ? strerror(errno) : "unexpected");
	exit(1);
}

static void look_at_clock(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	now_ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- out ---- */

static void send_message(const struct runner_to_client *m)
{
	buf_reset(&message);
	if (runner_to_client_put(&message, m) != 0)
		die("a message of ours");
	ws_put_frame(&out, WS_BINARY, true, false, buf_slice(&message));
}

static void flush_out(void)
{
	while (runner >= 0 && buf_len(&out) > 0) {
		struct slice s = buf_slice(&out);
		ssize_t n = send(runner, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			die("send to the runner");
		buf_drop(&out, (size_t)n);
	}
}

static struct runner_to_client tunnel_message(uint32_t id, enum runner_down_kind kind)
{
	struct runner_to_client m = {.tag = RUNNER_TO_CLIENT_TUNNEL, .tunnel.kind = kind};
	memcpy(m.tunnel.id.gateway, "gate", sizeof(m.tunnel.id.gateway));
	memcpy(m.tunnel.id.request, &id, sizeof(m.tunnel.id.request));
	return m;
}

static void put_pairs(struct buf *elements, const char *const (*pairs)[2], size_t n)
{
	buf_init(elements, 4096);
	for (size_t i = 0; i < n; i++) {
		if (runner_pair_put(elements, slice_str(pairs[i][0]), slice_str(pairs[i][1])) != 0)
			die("a field of ours");
	}
}

/* The request that is sent again and again, with another id each time. */
static void make_request(void)
{
	static const char *const fields[][2] = {{"host", "127.0.0.1:6420"},
						{"user-agent", "fake-engine"},
						{"accept", "*/*"},
						{"x-forwarded-for", "127.0.0.1"},
						{"x-rivet-ray-id", "1w8k6y2wt1gzfkxeq3sok5esnlal00"}};
	struct buf elements;
	struct runner_to_client m = tunnel_message(0, RUNNER_DOWN_REQUEST_START);
	put_pairs(&elements, fields, ARRAY_SIZE(fields));
	m.tunnel.request.actor_id = slice_str(ids[0]);
	m.tunnel.request.method = SLICE_LIT("GET");
	m.tunnel.request.path = SLICE_LIT("/");
	m.tunnel.request.headers = runner_list_of(buf_slice(&elements), ARRAY_SIZE(fields));
	buf_reset(&request);
	if (runner_to_client_put(&request, &m) != 0)
		die("a request of ours");
	buf_done(&elements);
}

static void send_request(uint32_t slot)
{
	uint32_t id = (sequence++ * SLOTS) | slot;
	memcpy(request.mem + request.at + REQUEST_ID_AT, &id, sizeof(id));
	ws_put_frame(&out, WS_BINARY, true, false, buf_slice(&request));
	sent_ns[slot] = now_ns;
	under_way++;
}

static void open_more(void)
{
	static const char *const fields[][2] = {{"host", "127.0.0.1:6420"},
						{"upgrade", "websocket"},
						{"connection", "Upgrade"},
						{"sec-websocket-version", "13"},
						{"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="},
						{"sec-websocket-protocol", "rivet"}};
	struct buf elements;
	put_pairs(&elements, fields, ARRAY_SIZE(fields));
	while (sockets_asked < sockets_wanted && sockets_asked - sockets_open < OPENING_MAX) {
		struct runner_to_client m = tunnel_message((uint32_t)sockets_asked, RUNNER_DOWN_WS_OPEN);
		memcpy(m.tunnel.id.gateway, "sock", sizeof(m.tunnel.id.gateway));
		m.tunnel.open.actor_id = slice_str(ids[sockets_asked++ % n_actors]);
		m.tunnel.open.path = SLICE_LIT("/ws");
		m.tunnel.open.headers = runner_list_of(buf_slice(&elements), ARRAY_SIZE(fields));
		send_message(&m);
	}
	buf_done(&elements);
}

/* ---- in ---- */

static void take_running(const struct runner_event *e)
{
	for (size_t i = 0; i < n_actors; i++) {
		if (running[i] || !slice_is(e->checkpoint.actor_id, ids[i]))
			continue;
		running[i] = true;
		if (++n_running == n_actors)
			printf("{\"running\": %zu}\n", n_running);
		return;
	}
}

static void take_events(struct runner_list events)
{
	struct runner_event e;
	for (struct runner_walk w = runner_walk_of(events); runner_event_next(&w, &e);) {
		if (e.kind == RUNNER_EVENT_STOPPED && loading)
			die("an actor stopped");
		if (e.kind == RUNNER_EVENT_RUNNING)
			take_running(&e);
	}
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static void load_over(void)
{
	loading = false;
	qsort(samples_us, n_samples, sizeof(*samples_us), by_size);
	if (n_samples == 0)
		die("a load without an answer");
	printf("{\"requests\": %zu, \"seconds\": %.6f, \"p50_us\": %u, \"p99_us\": %u}\n", n_samples,
	       (double)(now_ns - load_from_ns) / 1e9, samples_us[n_samples / 2], samples_us[n_samples * 99 / 100]);
}

static void take_answer(const struct runner_tunnel_up *up)
{
	uint32_t id;
	if (up->response.status != 200)
		die("an answer that is not 200");
	memcpy(&id, up->id.request, sizeof(id));
	uint32_t slot = id % SLOTS;
	under_way--;
	if (n_samples < SAMPLES_MAX)
		samples_us[n_samples++] = (uint32_t)((now_ns - sent_ns[slot]) / 1000);
	if (now_ns < load_until_ns)
		send_request(slot);
	else if (under_way == 0)
		load_over();
}

static void take_tunnel(const struct runner_tunnel_up *up)
{
	if (up->kind == RUNNER_UP_RESPONSE_START && loading) {
		take_answer(up);
	} else if (up->kind == RUNNER_UP_WS_OPEN) {
		if (++sockets_open == sockets_wanted)
			printf("{\"open\": %zu}\n", sockets_open);
		open_more();
	} else if (loading || sockets_open < sockets_wanted) {
		die("a tunnel message of another kind");
	}
}

static void take_kv(const struct runner_kv_request *kv)
{
	static const enum runner_kv_answer answers[RUNNER_KV_OPS] = {[RUNNER_KV_GET] = RUNNER_KV_ANSWER_GET,
								     [RUNNER_KV_LIST] = RUNNER_KV_ANSWER_LIST,
								     [RUNNER_KV_PUT] = RUNNER_KV_ANSWER_PUT,
								     [RUNNER_KV_DELETE] = RUNNER_KV_ANSWER_DELETE,
								     [RUNNER_KV_DELETE_RANGE] = RUNNER_KV_ANSWER_DELETE,
								     [RUNNER_KV_DROP] = RUNNER_KV_ANSWER_DROP};
	send_message(&(struct runner_to_client){.tag = RUNNER_TO_CLIENT_KV_RESPONSE,
						.kv = {.request_id = kv->request_id, .answer = answers[kv->op]}});
}

static void on_message(void *arg, bool binary, struct slice payload)
{
	struct runner_to_server m;
	(void)arg;
	if (!binary || runner_to_server_decode(payload, &m) != 0)
		die("a message of the runner");
	if (m.tag == RUNNER_TO_SERVER_INIT)
		send_message(&(struct runner_to_client){.tag = RUNNER_TO_CLIENT_INIT,
							.init = {.runner_id = SLICE_LIT("fake-runner-id"),
								 .lost_threshold_ms = LOST_MS,
								 .stop_threshold_ms = STOP_MS}});
	else if (m.tag == RUNNER_TO_SERVER_EVENTS)
		take_events(m.events);
	else if (m.tag == RUNNER_TO_SERVER_KV_REQUEST)
		take_kv(&m.kv);
	else if (m.tag == RUNNER_TO_SERVER_TUNNEL)
		take_tunnel(&m.tunnel);
}

static void on_ping(void *arg, struct slice payload)
{
	(void)arg;
	ws_put_frame(&out, WS_PONG, true, false, payload);
}

static void on_pong(void *arg, struct slice payload)
{
	(void)arg;
	(void)payload;
}

static void on_close(void *arg, unsigned code, struct slice reason)
{
	(void)arg;
	if (loading)
		die("the runner closes");
	(void)code;
	(void)reason;
}

static const struct ws_reader_events events = {
    .message = on_message, .ping = on_ping, .pong = on_pong, .close = on_close};

/* The upgrade of whatever path. True once it is answered; what is behind it stays in `head`. */
static bool take_upgrade(struct slice in)
{
	char accept[29];
	buf_add(&head, in);
	const char *text = buf_text(&head), *end = strstr(text, "\r\n\r\n");
	const char *key = strcasestr(text, "\r\nsec-websocket-key:");
	if (end == NULL)
		return false;
	if (key == NULL)
		die("an upgrade without a key");
	key = strchr(key, ':') + 1;
	key += strspn(key, " ");
	ws_accept(slice_of(key, strcspn(key, " \r")), accept);
	buf_addf(&out,
		 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		 "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: rivet\r\n\r\n",
		 accept);
	buf_drop(&head, (size_t)(end + 4 - text));
	reader = ws_reader_new(true, LIMIT_WS_MESSAGE_BYTES, &events, NULL);
	return true;
}

static void take(struct slice in)
{
	if (reader == NULL) {
		if (!take_upgrade(in))
			return;
		in = buf_slice(&head);
	}
	if (in.n > 0 && ws_reader_feed(reader, in) != 0)
		die("a frame of the runner");
}

static void runner_gone(void)
{
	if (loading)
		die("the runner is gone");
	(void)close(runner);
	runner = -1;
	ws_reader_free(reader);
	reader = NULL;
	buf_reset(&out);
	buf_reset(&head);
}

static void receive(void)
{
	static uint8_t bytes[READ_BYTES];
	ssize_t n = recv(runner, bytes, sizeof(bytes), MSG_DONTWAIT);
	look_at_clock();
	if (n > 0)
		take(slice_of(bytes, (size_t)n));
	else if (n == 0 || errno != EAGAIN)
		runner_gone();
}

static void accept_runner(void)
{
	int one = 1, fd = accept(listener, NULL, NULL);
	if (fd < 0 || runner >= 0)
		die("a second runner");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	runner = fd;
}

/* ---- commands ---- */

static void start_actors(const char *name, size_t count)
{
	struct buf elements;
	size_t from = n_actors;
	if (count == 0 || count > ACTORS_MAX - n_actors)
		die("too many actors");
	buf_init(&elements, (size_t)16 * 1024 * 1024);
	for (; n_actors < from + count; n_actors++) {
		(void)snprintf(ids[n_actors], ID_SIZE, "fake%024zu00", n_actors);
		struct runner_command c = {.kind = RUNNER_COMMAND_START, .name = slice_str(name), .create_ms = 1};
		c.checkpoint.actor_id = slice_str(ids[n_actors]);
		if (runner_command_put(&elements, &c) != 0)
			die("a command of ours");
	}
	send_message(&(struct runner_to_client){.tag = RUNNER_TO_CLIENT_COMMANDS,
						.commands = runner_list_of(buf_slice(&elements), count)});
	buf_done(&elements);
	make_request();
}

static void start_load(size_t in_flight, double seconds)
{
	if (in_flight == 0 || in_flight > SLOTS || n_actors == 0)
		die("a load that cannot be");
	loading = true;
	n_samples = 0;
	load_from_ns = now_ns;
	load_until_ns = now_ns + (int64_t)(seconds * 1e9);
	for (uint32_t slot = 0; slot < in_flight; slot++)
		send_request(slot);
}

static void obey(const char *line)
{
	char name[64];
	size_t count;
	double seconds;
	errno = 0;
	if (sscanf(line, "start %63s %zu", name, &count) == 2) {
		start_actors(name, count);
	} else if (sscanf(line, "load %zu %lf", &count, &seconds) == 2) {
		start_load(count, seconds);
	} else if (sscanf(line, "sockets %zu", &count) == 1 && n_actors > 0) {
		sockets_wanted += count;
		open_more();
	} else {
		die("a command");
	}
}

/* ---- life ---- */

static void open_listener(void)
{
	struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(place);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&place, n) < 0 || listen(listener, 16) < 0 ||
	    getsockname(listener, (struct sockaddr *)&place, &n) < 0)
		die("listen");
	printf("{\"port\": %u}\n", ntohs(place.sin_port));
}

static void ping_if_due(void)
{
	if (runner < 0 || reader == NULL || now_ns - ping_ns < (int64_t)PING_MS * 1000000)
		return;
	ping_ns = now_ns;
	send_message(&(struct runner_to_client){.tag = RUNNER_TO_CLIENT_PING, .ping_ts = now_ns / 1000000});
}

int main(void)
{
	char line[256];
	buf_init(&head, LIMIT_HTTP_HEAD_BYTES);
	buf_init(&out, OUT_BYTES);
	buf_init(&message, OUT_BYTES);
	buf_init(&request, 4096);
	samples_us = malloc(SAMPLES_MAX * sizeof(*samples_us));
	if (samples_us == NULL)
		die("memory");
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	open_listener();
	for (;;) {
		struct pollfd fds[3] = {{.fd = runner, .events = buf_len(&out) > 0 ? POLLIN | POLLOUT : POLLIN},
					{.fd = listener, .events = POLLIN},
					{.fd = STDIN_FILENO, .events = POLLIN}};
		if (poll(fds, 3, PING_MS / 10) < 0)
			die("poll");
		look_at_clock();
		if (fds[2].revents != 0) {
			ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);
			if (n <= 0)
				return 0;
			line[n] = '\0';
			obey(line);
		}
		if (fds[1].revents != 0)
			accept_runner();
		if (runner >= 0 && fds[0].revents != 0)
			receive();
		ping_if_due();
		flush_out();
	}
}
