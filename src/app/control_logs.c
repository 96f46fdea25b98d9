/* The kept log records as lines of JSON, oldest first; followed on demand.
 *
 * The answer is streamed: a client that does not read is waited for, and what
 * the ring forgets meanwhile is told as a line of its own. */
#include "app/control_private.h"

#include <stdio.h>

#define POLL_MS 200
#define LINES_PER_TURN 1000

static void pump(struct control_call *call);

static void on_poll(void *arg)
{
	pump(CAST(struct control_call, arg, CONTROL_CALL_MAGIC));
}

static bool is_wanted(const struct control_call *call, struct slice line)
{
	char want[128];
	if (call->id == NULL)
		return true;
	int n = snprintf(want, sizeof(want), "\"actor_id\":\"%.64s\"", call->id);
	return n > 0 && memmem(line.p, line.n, want, (size_t)n) != NULL;
}

static void send_missed(struct control_call *call, uint64_t n)
{
	char line[128];
	int len =
	    snprintf(line, sizeof(line), "{\"missed\":%llu,\"why\":\"pushed out before this client had read them\"}\n",
		     (unsigned long long)n);
	(void)http_conn_data(call->conn, slice_of(line, (size_t)len));
}

static void pump(struct control_call *call)
{
	size_t lines = 0;
	uint64_t expect = call->cursor.number;
	while (!call->full && lines < LINES_PER_TURN) {
		buf_reset(&call->out);
		if (!log_next(&call->cursor, &call->out))
			break;
		lines++;
		uint64_t number = call->cursor.number - 1;
		struct slice line = buf_slice(&call->out);
		if (expect != 0 && number > expect)
			send_missed(call, number - expect);
		if (is_wanted(call, line))
			call->full = !http_conn_data(call->conn, line);
		expect = number + 1;
	}
	if (call->full)
		return; /* control_logs_writable */
	if (lines == LINES_PER_TURN || call->follow) {
		timer_arm(&call->poll, lines == LINES_PER_TURN ? 0 : POLL_MS);
		return;
	}
	http_conn_end(call->conn);
	control_call_free(call);
}

static void on_writable(struct control_call *call)
{
	call->full = false;
	pump(call);
}

void control_logs(struct control_call *call)
{
	call->streaming = true;
	call->writable = on_writable;
	timer_init(&call->poll, call->control->o.loop, on_poll, call);
	http_conn_head(call->conn, 200, SLICE_LIT("content-type: application/x-ndjson\r\n"), HTTP_FRAMING_CHUNKED, 0);
	pump(call);
}
