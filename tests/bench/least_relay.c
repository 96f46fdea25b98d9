/* The least that a runner can do, to know what a tunnelled request costs on
 * this machine whatever the runner is:
 *
 *   least_relay PORT NAMESPACE POOL NAME WORKER
 *
 * Registers with the engine at 127.0.0.1:PORT for actors of this name, starts
 * WORKER with a Unix socket, says "connected", tells of every actor that it
 * runs. For each request it sends the same request to the worker, and for
 * whatever the worker says the same answer to the engine: it reads neither.
 *
 * A request is so six system calls when it comes alone: wait, read from the
 * engine, write to the worker, wait, read from it, write to the engine. What
 * comes at once shares the waits, the reads and writes at the engine. Anything
 * unexpected is fatal. Ends with the engine. */
#include "base/buf.h"
#include "codec/runner_msg.h"
#include "codec/ws_frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS 256
#define EVENTS 64
#define READ_BYTES ((size_t)64 * 1024)
#define OUT_BYTES ((size_t)1024 * 1024)
#define BODY_BYTES 128 /* as the worker's */
#define IDS_AT 1       /* in an encoded tunnel message, behind its tag: of gateway and request */
#define IDS_BYTES 8
#define KIND_AT 11 /* behind the ids and the index */
#define LISTEN_FD 3

/* About as long as what the daemon sends. */
static const char request[] = "GET / HTTP/1.1\r\nhost: 127.0.0.1:6420\r\n"
			      "x-rivet-ray-id: 1w8k6y2wt1gzfkxeq3sok5esnlal00\r\n"
			      "x-rivet-actor-id: 1w8k6y2wt1gzfkxeq3sok5esnlal00\r\n"
			      "x-rivet-actor-name: c\r\nx-rivet-actor-generation: 0\r\n"
			      "x-rivet-request-id: 0123456789abcdef\r\n\r\n";
static int engine = -1, epoll = -1;
static int idle[CONNECTIONS], n_idle;
static uint8_t ids[CONNECTIONS + 64][IDS_BYTES]; /* by descriptor */
static struct buf in, out, message, answer;
static struct sockaddr_un worker = {.sun_family = AF_UNIX};

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "least_relay: %s: %s\n", what, errno != 0 ? strerror(errno) : "unexpected");
	exit(1);
}

static void send_all(int fd, struct slice s)
{
	if (send(fd, s.p, s.n, MSG_NOSIGNAL) != (ssize_t)s.n)
		die("send");
}

static void flush_out(void)
{
	if (buf_len(&out) > 0)
		send_all(engine, buf_slice(&out));
	buf_reset(&out);
}

static void watch(int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll_ctl");
}

static void say(const struct runner_to_server *m)
{
	buf_reset(&message);
	if (runner_to_server_put(&message, m) != 0)
		die("a message of ours");
	ws_put_frame(&out, WS_BINARY, true, true, buf_slice(&message));
}

/* ---- the worker ---- */

static int take_connection(void)
{
	if (n_idle > 0)
		return idle[--n_idle];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || (size_t)fd >= ARRAY_SIZE(ids) || connect(fd, (struct sockaddr *)&worker, sizeof(worker)) < 0)
		die("connect to the worker");
	watch(fd);
	return fd;
}

static void from_worker(int fd)
{
	static uint8_t bytes[READ_BYTES];
	const uint8_t head[8] = {0x80 | WS_BINARY, 0x80 | 126, (uint8_t)(buf_len(&answer) >> 8),
				 (uint8_t)buf_len(&answer)}; /* the mask is 0 */
	if (read(fd, bytes, sizeof(bytes)) <= 0 || n_idle == CONNECTIONS)
		die("the worker");
	idle[n_idle++] = fd;
	memcpy(answer.mem + answer.at + IDS_AT, ids[fd], IDS_BYTES);
	buf_add(&out, slice_of(head, sizeof(head)));
	buf_add(&out, buf_slice(&answer));
}

static void start_worker(char *program)
{
	/* Its name is in the abstract namespace, which leaves nothing behind. */
	(void)snprintf(worker.sun_path + 1, sizeof(worker.sun_path) - 1, "least-relay-%d", (int)getpid());
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd != LISTEN_FD || bind(fd, (struct sockaddr *)&worker, sizeof(worker)) < 0 || listen(fd, CONNECTIONS) < 0)
		die("the worker's socket");
	pid_t child = fork();
	if (child == 0) {
		char pid[16];
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
		(void)setenv("LISTEN_FDS", "1", 1);
		(void)setenv("LISTEN_PID", pid, 1);
		(void)execl(program, program, (char *)NULL);
		die("the worker's program");
	}
	if (child < 0)
		die("fork");
	(void)close(fd);
}

/* ---- the engine ---- */

static void take_commands(struct runner_list commands)
{
	struct runner_command c;
	for (struct runner_walk w = runner_walk_of(commands); runner_command_next(&w, &c);) {
		struct runner_event e = {.checkpoint = c.checkpoint, .kind = RUNNER_EVENT_RUNNING};
		struct buf events;
		if (c.kind != RUNNER_COMMAND_START)
			continue;
		e.checkpoint.index = 0;
		buf_init(&events, OUT_BYTES);
		if (runner_event_put(&events, &e) != 0)
			die("an event of ours");
		say(&(struct runner_to_server){.tag = RUNNER_TO_SERVER_EVENTS,
					       .events = runner_list_of(buf_slice(&events), 1)});
		buf_done(&events);
	}
}

static void take_other(struct slice frame)
{
	struct runner_to_client m;
	if (runner_to_client_decode(frame, &m) != 0)
		die("a message of the engine");
	if (m.tag == RUNNER_TO_CLIENT_INIT)
		puts("connected");
	else if (m.tag == RUNNER_TO_CLIENT_PING)
		say(&(struct runner_to_server){.tag = RUNNER_TO_SERVER_PONG, .pong_ts = m.ping_ts});
	else if (m.tag == RUNNER_TO_CLIENT_COMMANDS)
		take_commands(m.commands);
}

static void take_frame(unsigned opcode, struct slice payload)
{
	if (opcode == WS_PING) {
		ws_put_frame(&out, WS_PONG, true, true, payload);
	} else if (opcode != WS_BINARY) {
		die("a frame of the engine");
	} else if (payload.n > KIND_AT && payload.p[0] == RUNNER_TO_CLIENT_TUNNEL &&
		   payload.p[KIND_AT] == RUNNER_DOWN_REQUEST_START) {
		int fd = take_connection();
		memcpy(ids[fd], payload.p + IDS_AT, IDS_BYTES);
		send_all(fd, slice_of(request, sizeof(request) - 1));
	} else {
		take_other(payload);
	}
}

/* The whole frames at the front of s; returns their length. */
static size_t take_frames(struct slice s)
{
	size_t at = 0;
	for (;;) {
		struct slice rest = slice_from(s, at);
		size_t head = 2;
		if (rest.n < 4)
			return at;
		size_t n = rest.p[1];
		if (n > 126)
			die("a long frame of the engine");
		if (n == 126) {
			n = (size_t)rest.p[2] << 8 | rest.p[3];
			head = 4;
		}
		if (rest.n < head + n)
			return at;
		take_frame(rest.p[0] & 0x0f, slice_head(slice_from(rest, head), n));
		at += head + n;
	}
}

static void from_engine(void)
{
	static uint8_t bytes[READ_BYTES];
	ssize_t n = read(engine, bytes, sizeof(bytes));
	if (n <= 0)
		exit(0);
	struct slice s = slice_of(bytes, (size_t)n);
	if (buf_len(&in) > 0) {
		buf_add(&in, s);
		buf_drop(&in, take_frames(buf_slice(&in)));
	} else {
		buf_add(&in, slice_from(s, take_frames(s)));
	}
}

/* Up to the open WebSocket. */
static void dial(const char *port, const char *namespace)
{
	static const char good[] = "HTTP/1.1 101 ", end[] = "\r\n\r\n";
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char head[4096];
	size_t n = 0;
	int one = 1;
	engine = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (engine < 0 || connect(engine, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect to the engine");
	(void)setsockopt(engine, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	buf_addf(&out,
		 "GET /runners/connect?protocol_version=%d&namespace=%s&runner_key=least-relay-%d HTTP/1.1\r\n"
		 "Host: 127.0.0.1:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
		 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: rivet\r\n\r\n",
		 RUNNER_PROTOCOL_VERSION, namespace, (int)getpid(), port);
	flush_out();
	while (n < strlen(end) || memcmp(head + n - strlen(end), end, strlen(end)) != 0) {
		if (n == sizeof(head) || read(engine, head + n++, 1) != 1)
			die("the upgrade");
	}
	if (memcmp(head, good, strlen(good)) != 0)
		die("the upgrade");
}

static void introduce(const char *pool, const char *name)
{
	struct buf names;
	buf_init(&names, 4096);
	if (runner_pair_put(&names, slice_str(name), SLICE_LIT("{}")) != 0)
		die("the actor's name");
	say(&(struct runner_to_server){.tag = RUNNER_TO_SERVER_INIT,
				       .init = {.name = slice_str(pool),
						.version = 1,
						.total_slots = 1000,
						.has_actor_names = true,
						.actor_names = runner_list_of(buf_slice(&names), 1)}});
	flush_out();
	buf_done(&names);
}

static void make_answer(void)
{
	static const uint8_t body[BODY_BYTES];
	struct runner_to_server m = {.tag = RUNNER_TO_SERVER_TUNNEL, .tunnel.kind = RUNNER_UP_RESPONSE_START};
	struct buf pairs;
	buf_init(&pairs, 4096);
	if (runner_pair_put(&pairs, SLICE_LIT("content-type"), SLICE_LIT("text/plain")) != 0 ||
	    runner_pair_put(&pairs, SLICE_LIT("content-length"), SLICE_LIT("128")) != 0)
		die("a field of ours");
	m.tunnel.response.status = 200;
	m.tunnel.response.headers = runner_list_of(buf_slice(&pairs), 2);
	m.tunnel.response.has_body = true;
	m.tunnel.response.body = slice_of(body, sizeof(body));
	if (runner_to_server_put(&answer, &m) != 0)
		die("an answer of ours");
	buf_done(&pairs);
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	if (argc != 6)
		die("least_relay PORT NAMESPACE POOL NAME WORKER");
	buf_init(&in, OUT_BYTES);
	buf_init(&out, OUT_BYTES);
	buf_init(&message, OUT_BYTES);
	buf_init(&answer, 4096);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	start_worker(argv[5]);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	make_answer();
	dial(argv[1], argv[2]);
	introduce(argv[3], argv[4]);
	watch(engine);
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == engine)
				from_engine();
			else
				from_worker(events[i].data.fd);
		}
		flush_out();
	}
}
