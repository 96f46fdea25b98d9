/* Listening: addresses and their error sentences, accepting, pausing, and what
 * happens without descriptors. */
#include "io/listener.h"
#include "lib/io_loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define FDS_MAX 256

struct user {
	struct loop *loop;
	struct listener *listener;
	int fds[FDS_MAX];
	int n_fds;
	int closed;
	int stop_after; /* accepted connections; 0: never */
	struct err err;
};

static void on_accepted(void *arg, int fd)
{
	struct user *u = arg;
	assert_true(u->n_fds < FDS_MAX);
	u->fds[u->n_fds++] = fd;
	if (u->n_fds == u->stop_after)
		listener_pause(u->listener, true);
}

static void on_closed(void *arg)
{
	struct user *u = arg;
	u->closed++;
}

static const struct listener_events events = {on_accepted, on_closed};

static void user_open(struct user *u, const char *address)
{
	*u = (struct user){.loop = io_loop_open()};
	int r = listener_open_tcp(u->loop, address, &events, u, &u->listener, &u->err);
	if (r < 0)
		fail_msg("%s", u->err.text);
}

static void user_done(struct user *u)
{
	listener_close(u->listener);
	listener_close(u->listener);
	assert_int_equal(u->closed, 0);
	IO_UNTIL(u->loop, u->closed == 1);
	for (int i = 0; i < u->n_fds; i++)
		close(u->fds[i]);
	io_loop_done(u->loop);
}

static unsigned port_of(const struct listener *ls)
{
	char text[80];
	listener_address(ls, text);
	return (unsigned)strtoul(strrchr(text, ':') + 1, NULL, 10);
}

static int dial(unsigned port)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void test_accepted_descriptors_are_ready_for_use(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, "127.0.0.1:0");
	int fd = dial(port_of(u.listener));
	IO_UNTIL(u.loop, u.n_fds == 1);
	assert_true(fcntl(u.fds[0], F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(u.fds[0], F_GETFD) & FD_CLOEXEC);
	int on = 0;
	socklen_t len = sizeof(on);
	assert_int_equal(getsockopt(u.fds[0], IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
	assert_true(on);
	assert_int_equal(getsockopt(u.fds[0], SOL_SOCKET, SO_KEEPALIVE, &on, &len), 0);
	assert_true(on);
	close(fd);
	user_done(&u);
}

static void test_a_flood_is_accepted_whole(void **state)
{
	(void)state;
	struct user u;
	int fds[200];
	user_open(&u, "localhost:0");
	for (int i = 0; i < 200; i++)
		fds[i] = dial(port_of(u.listener));
	loop_turn(u.loop);
	assert_in_range(u.n_fds, 1, 199); /* in more than one turn */
	IO_UNTIL(u.loop, u.n_fds == 200);
	for (int i = 0; i < 200; i++)
		close(fds[i]);
	user_done(&u);
}

static void test_address_is_text(void **state)
{
	(void)state;
	struct user u;
	char text[80], want[80];
	user_open(&u, "127.0.0.1:0");
	listener_address(u.listener, text);
	snprintf(want, sizeof(want), "127.0.0.1:%u", port_of(u.listener));
	assert_true(port_of(u.listener) > 0);
	assert_string_equal(text, want);
	user_done(&u);

	user_open(&u, "[::1]:0");
	listener_address(u.listener, text);
	assert_int_equal(strncmp(text, "[::1]:", 6), 0);
	user_done(&u);
}

static void test_malformed_addresses_are_refused_with_a_sentence(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "",
	    ":",
	    "6420",
	    "127.0.0.1",
	    "127.0.0.1:",
	    "127.0.0.1:65536",
	    "127.0.0.1:-1",
	    "127.0.0.1:1x",
	    "127.0.0.1:000001",
	    "::1:80",
	    "[::1]",
	    "[127.0.0.1]:80",
	    "[::1:80",
	    "[]:80",
	    ":80",
	    "example.com:80",
	    "127.0.0.1 :80",
	    "256.0.0.1:80",
	    "0123456789012345678901234567890123456789012345678901234567890123456789:80",
	};
	struct loop *l = io_loop_open();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = {0};
		struct listener *ls = NULL;
		assert_int_equal(listener_open_tcp(l, bad[i], &events, NULL, &ls, &e), -EINVAL);
		assert_null(ls);
		assert_int_equal(e.exit_code, EXIT_CODE_CONFIG);
		assert_non_null(strstr(e.text, "ADDR:PORT"));
	}
	io_loop_done(l);
}

static void test_a_port_in_use_says_so(void **state)
{
	(void)state;
	struct user u;
	char text[80];
	struct listener *second = NULL;
	struct err e = {0};
	user_open(&u, "127.0.0.1:0");
	listener_address(u.listener, text);
	assert_int_equal(listener_open_tcp(u.loop, text, &events, &u, &second, &e), -EADDRINUSE);
	assert_null(second);
	assert_int_equal(e.exit_code, EXIT_CODE_FAILED);
	assert_non_null(strstr(e.text, text));
	assert_non_null(strstr(e.text, "in use"));
	user_done(&u);
}

static void test_a_foreign_address_says_so(void **state)
{
	(void)state;
	struct loop *l = io_loop_open();
	struct listener *ls = NULL;
	struct err e = {0};
	assert_int_equal(listener_open_tcp(l, "192.0.2.1:0", &events, NULL, &ls, &e), -EADDRNOTAVAIL);
	assert_non_null(strstr(e.text, "no such address"));
	io_loop_done(l);
}

static void test_paused_clients_wait(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, "127.0.0.1:0");
	u.stop_after = 1;
	int a = dial(port_of(u.listener)), b = dial(port_of(u.listener));
	IO_UNTIL(u.loop, u.n_fds == 1);
	io_loop_settle(u.loop);
	assert_int_equal(u.n_fds, 1); /* pausing from inside counts at once */
	listener_pause(u.listener, true);
	listener_pause(u.listener, false);
	IO_UNTIL(u.loop, u.n_fds == 2);
	close(a);
	close(b);
	user_done(&u);
}

static void test_out_of_descriptors_it_rests_and_goes_on(void **state)
{
	(void)state;
	struct user u;
	struct rlimit had, none;
	user_open(&u, "127.0.0.1:0");
	int fd = dial(port_of(u.listener));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &had), 0);
	none = had;
	none.rlim_cur = (rlim_t)fd + 1; /* the descriptors up to fd are open */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (int i = 0; i < 3; i++)
		io_loop_turn(u.loop, 1);
	assert_int_equal(u.n_fds, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &had), 0);
	for (int i = 0; i < 3; i++)
		io_loop_turn(u.loop, 1);
	assert_int_equal(u.n_fds, 0); /* it rests, it does not spin */
	loop_skew(u.loop, 101);
	IO_UNTIL(u.loop, u.n_fds == 1);
	close(fd);
	user_done(&u);
}

static void test_closing_while_resting_leaves_no_timer(void **state)
{
	(void)state;
	struct user u;
	struct rlimit had, none;
	user_open(&u, "127.0.0.1:0");
	int fd = dial(port_of(u.listener));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &had), 0);
	none = had;
	none.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	io_loop_turn(u.loop, 10);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &had), 0);
	close(fd);
	user_done(&u);
}

static void test_a_unix_socket_is_adopted(void **state)
{
	(void)state;
	struct user u = {.loop = io_loop_open()};
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/test-listener-XXXXXX", text[80];
	assert_non_null(mkdtemp(dir));
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/s", dir);
	int ls = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(ls, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listener_open_fd(u.loop, ls, &events, &u, &u.listener), -EINVAL); /* not listening */
	assert_int_equal(listen(ls, 8), 0);
	assert_int_equal(listener_open_fd(u.loop, ls, &events, &u, &u.listener), 0);
	listener_address(u.listener, text);
	assert_int_equal(strncmp(text, "unix:/tmp/test-listener-", 24), 0);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	IO_UNTIL(u.loop, u.n_fds == 1);
	close(fd);
	user_done(&u);
	assert_int_equal(fcntl(ls, F_GETFD), -1); /* adopted means closed with it */
	unlink(at.sun_path);
	rmdir(dir);
}

static void test_what_is_no_socket_is_refused(void **state)
{
	(void)state;
	struct loop *l = io_loop_open();
	struct listener *ls = NULL;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(listener_open_fd(l, fd, &events, NULL, &ls), -ENOTSOCK);
	assert_int_equal(close(fd), 0);
	io_loop_done(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_accepted_descriptors_are_ready_for_use),
	    cmocka_unit_test(test_a_flood_is_accepted_whole),
	    cmocka_unit_test(test_address_is_text),
	    cmocka_unit_test(test_malformed_addresses_are_refused_with_a_sentence),
	    cmocka_unit_test(test_a_port_in_use_says_so),
	    cmocka_unit_test(test_a_foreign_address_says_so),
	    cmocka_unit_test(test_paused_clients_wait),
	    cmocka_unit_test(test_out_of_descriptors_it_rests_and_goes_on),
	    cmocka_unit_test(test_closing_while_resting_leaves_no_timer),
	    cmocka_unit_test(test_a_unix_socket_is_adopted),
	    cmocka_unit_test(test_what_is_no_socket_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
