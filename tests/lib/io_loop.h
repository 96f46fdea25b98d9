/* A loop for tests that fails the test when something is left alive, waits
 * that end, and the other end of a socket. */
#pragma once

#include "io/loop.h"

struct loop *io_loop_open(void);
/* Lets what is closing close, then frees the loop. A handle still open or a timer still armed fails the test. */
void io_loop_done(struct loop *l);

/* One turn that waits at most wait_ms. */
void io_loop_turn(struct loop *l, int wait_ms);
/* Enough turns for everything that is going to happen by itself to have happened. */
void io_loop_settle(struct loop *l);

/* Turns the loop until the condition holds; fails the test after five seconds. */
#define IO_UNTIL(l, cond)                                                            \
	do {                                                                         \
		int64_t io_end_ms_ = clock_mono_ms() + 5000;                         \
		while (!(cond)) {                                                    \
			if (clock_mono_ms() > io_end_ms_)                            \
				check_failed(__FILE__, __LINE__, "in time: " #cond); \
			io_loop_turn((l), 5);                                        \
		}                                                                    \
	} while (0)

/* A connected pair; fds[0] for the code under test, fds[1] for the test. Both close-on-exec and non-blocking. */
enum io_pair { IO_PAIR_UNIX, IO_PAIR_TCP, IO_PAIR_RECORDS }; /* RECORDS: each write arrives as one record */
void io_pair(enum io_pair kind, int fds[2]);

/* The test's end of a pair. */
struct io_peer {
	int fd;
	struct buf got;
	size_t records; /* reads that gave bytes */
	bool eof;
	int error; /* errno of a failed read */
};

void io_peer_open(struct io_peer *p, int fd);
void io_peer_done(struct io_peer *p);
/* Writes all of it; the kernel must take it at once. */
void io_peer_send(struct io_peer *p, const char *text);
/* Reads what is there. */
void io_peer_read(struct io_peer *p);
/* Reads, then: do all bytes so far contain, or end with, the text? */
bool io_peer_has(struct io_peer *p, const char *text);
bool io_peer_ends(struct io_peer *p, const char *text);
/* Reads, then: has the connection ended, by FIN or by reset? */
bool io_peer_over(struct io_peer *p);
/* What came so far, as text; forget it. */
const char *io_peer_text(struct io_peer *p);
void io_peer_forget(struct io_peer *p);
