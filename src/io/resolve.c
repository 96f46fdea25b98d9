/* Owns one look-up: its thread, the pipe by which the thread tells that it is
 * done, and the watch on that pipe.
 *
 * The thread and the loop share `struct lookup`; each lets go of it once, the
 * second frees it. The thread writes the answer, then closes its end of the
 * pipe, which is what the loop sees. After resolve_close the loop has let go
 * and the thread ends when getaddrinfo does, with nobody to tell. */
#include "io/resolve.h"

#include "base/limits.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define RESOLVE_MAGIC 0x72736c76u
#define THREAD_STACK_BYTES ((size_t)512 * 1024) /* modules of the name service run on it */

struct lookup {
	atomic_int holders;
	int fd; /* the thread's end of the pipe */
	char *host;
	struct resolve_answer answer; /* the thread's until fd is closed */
	atomic_bool done;
};

struct resolve {
	uint32_t magic;
	bool closing;
	int fd;
	struct fd_watch *watch;
	struct lookup *lookup;
	void (*done)(void *arg, const struct resolve_answer *a);
	void *arg;
};

static atomic_int n_lookups;

static void lookup_release(struct lookup *k)
{
	if (atomic_fetch_sub(&k->holders, 1) > 1)
		return;
	mem_free(k->host);
	mem_free(k);
}

/* ---- in the thread ---- */

static void look_up(struct lookup *k)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *all = NULL;
	int r = getaddrinfo(k->host, NULL, &hints, &all);
	if (r != 0) {
		k->answer.error = gai_strerror(r);
		return;
	}
	for (struct addrinfo *i = all; i != NULL && k->answer.n < RESOLVE_ADDRESSES_MAX; i = i->ai_next) {
		char *to = k->answer.address[k->answer.n];
		if (getnameinfo(i->ai_addr, i->ai_addrlen, to, RESOLVE_ADDRESS_BYTES, NULL, 0, NI_NUMERICHOST) == 0)
			k->answer.n++;
	}
	if (k->answer.n == 0)
		k->answer.error = "the name has no address";
	freeaddrinfo(all);
}

static void *thread_main(void *arg)
{
	struct lookup *k = arg;
	look_up(k);
	atomic_store(&k->done, true);
	atomic_fetch_sub(&n_lookups, 1);
	close(k->fd);
	lookup_release(k);
	return NULL;
}

/* 0 or -errno. Detached: nobody waits for it. */
static int thread_start(struct lookup *k)
{
	pthread_t thread;
	pthread_attr_t attr;
	sigset_t all, before;
	CHECK(pthread_attr_init(&attr) == 0);
	CHECK(pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES) == 0);
	CHECK(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
	int code = pthread_create(&thread, &attr, thread_main, k);
	CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
	pthread_attr_destroy(&attr);
	return -code;
}

/* ---- on the loop ---- */

static void on_watch_closed(void *arg)
{
	struct resolve *r = CAST(struct resolve, arg, RESOLVE_MAGIC);
	close(r->fd);
	r->magic = 0;
	mem_free(r);
}

void resolve_close(struct resolve *r)
{
	if (r->closing)
		return;
	r->closing = true;
	lookup_release(TAKE(r->lookup));
	fd_watch_close(r->watch, on_watch_closed, r);
}

static void on_readable(void *arg)
{
	struct resolve *r = CAST(struct resolve, arg, RESOLVE_MAGIC);
	if (r->done != NULL && atomic_load(&r->lookup->done)) {
		void (*done)(void *arg, const struct resolve_answer *a) = TAKE(r->done);
		struct resolve_answer answer = r->lookup->answer; /* done() may close */
		done(r->arg, &answer);
	}
}

int resolve_open(struct loop *l, const char *host, void (*done)(void *arg, const struct resolve_answer *a), void *arg,
		 struct resolve **ret)
{
	int fds[2];
	if (atomic_load(&n_lookups) >= LIMIT_RESOLVES)
		return -EAGAIN;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	struct resolve *r = mem_zalloc(sizeof(*r));
	struct lookup *k = mem_zalloc(sizeof(*k));
	*r = (struct resolve){.magic = RESOLVE_MAGIC, .fd = fds[0], .lookup = k, .done = done, .arg = arg};
	k->fd = fds[1];
	k->host = mem_strdup(host);
	atomic_init(&k->holders, 2);
	int code = fd_watch_open(l, r->fd, on_readable, r, &r->watch);
	if (code == 0) {
		atomic_fetch_add(&n_lookups, 1);
		code = thread_start(k);
		if (code == 0) {
			*ret = r;
			return 0;
		}
		atomic_fetch_sub(&n_lookups, 1);
		close(fds[1]);
		lookup_release(k);
		resolve_close(r);
		return code;
	}
	close(fds[0]);
	close(fds[1]);
	atomic_store(&k->holders, 1);
	lookup_release(k);
	mem_free(r);
	return code;
}

bool resolve_is_address(const char *host)
{
	uint8_t to[sizeof(struct in6_addr)];
	return inet_pton(AF_INET, host, to) == 1 || inet_pton(AF_INET6, host, to) == 1;
}
