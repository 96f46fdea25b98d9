/* A backup as one long answer: the copy is made by the mode, then read and sent
 * piece by piece, as fast as the client takes it. */
#include "app/control_private.h"

#include <errno.h>
#include <unistd.h>

#define PIECE_BYTES 65536
#define PIECES_PER_TURN 16

static void pump(struct control_call *call);

static void on_more(void *arg)
{
	pump(CAST(struct control_call, arg, CONTROL_CALL_MAGIC));
}

static void pump(struct control_call *call)
{
	uint8_t piece[PIECE_BYTES];
	for (int i = 0; i < PIECES_PER_TURN && !call->full; i++) {
		ssize_t n = read(call->fd, piece, sizeof(piece));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) { /* the length was promised: the client must not take it for whole */
			LOG(ERROR, "a backup could not be read back", LOG_STR("reason", strerror(errno)));
			http_conn_abort(call->conn);
			call->conn = NULL;
			control_call_free(call);
			return;
		}
		if (n == 0) {
			http_conn_end(call->conn);
			control_call_free(call);
			return;
		}
		call->full = !http_conn_data(call->conn, slice_of(piece, (size_t)n));
	}
	if (!call->full)
		timer_arm(&call->poll, 0);
}

static void on_writable(struct control_call *call)
{
	call->full = false;
	pump(call);
}

static void on_copied(void *arg, int fd, uint64_t size, unsigned status, const char *message)
{
	struct control_call *call = CAST(struct control_call, arg, CONTROL_CALL_MAGIC);
	call->owed = false;
	call->fd = fd;
	if (fd < 0) {
		control_refuse(call, status, message);
		return;
	}
	if (call->conn == NULL) {
		control_call_free(call);
		return;
	}
	call->streaming = true;
	call->writable = on_writable;
	timer_init(&call->poll, call->control->o.loop, on_more, call);
	http_conn_head(call->conn, 200, SLICE_LIT("content-type: application/vnd.sqlite3\r\n"), HTTP_FRAMING_LENGTH,
		       size);
	pump(call);
}

void control_backup(struct control_call *call)
{
	struct mode *m = call->control->o.mode;
	if (m->ops->backup == NULL) {
		control_refuse(call, 501, "in engine mode the engine keeps the state; back up the engine");
		return;
	}
	call->owed = true;
	m->ops->backup(m, on_copied, call);
}
