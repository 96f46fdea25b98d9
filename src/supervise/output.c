/* Owns the reading ends of two pipes, the unfinished line of each, and the tail
 * of stderr.
 *
 * Readable: one read, cut into lines, each counted against the rate limit and
 * told; a line longer than a record is told in pieces. End of file, and
 * output_give_up: the unfinished line is told, the pipe closed; over() after
 * the second. The reader never waits for the log: a flood is dropped and
 * counted, so that a worker is not slowed down by its own noise. */
#include "supervise/output.h"

#include <errno.h>
#include <unistd.h>

#define SECOND_MS 1000

static uint8_t read_buffer[LIMIT_STREAM_READ_BYTES]; /* of the loop's thread; consumed before the callback returns */

static void tail_drop_oldest(struct output *o)
{
	size_t n = slice_find(slice_of(o->tail, o->tail_n), '\n');
	n += n < o->tail_n;
	o->tail_n -= n;
	o->tail_lines--;
	memmove(o->tail, o->tail + n, o->tail_n);
}

static void tail_add(struct output *o, struct slice line)
{
	if (line.n > sizeof(o->tail))
		line = slice_from(line, line.n - sizeof(o->tail));
	while (o->tail_lines > 0 &&
	       (o->tail_lines == LIMIT_OUTPUT_TAIL_LINES || o->tail_n + 1 + line.n > sizeof(o->tail)))
		tail_drop_oldest(o);
	if (o->tail_lines++ > 0)
		o->tail[o->tail_n++] = '\n';
	if (line.p != NULL)
		memcpy(o->tail + o->tail_n, line.p, line.n);
	o->tail_n += line.n;
}

static void tell_dropped(struct output *o)
{
	timer_disarm(&o->tell_dropped);
	uint64_t lines = o->dropped;
	o->dropped = 0;
	if (lines > 0)
		o->events->dropped(o->arg, lines);
}

static void on_tell_dropped(void *arg)
{
	tell_dropped(arg);
}

static void tell_line(struct output_stream *s, struct slice line)
{
	struct output *o = s->output;
	int64_t now = loop_mono_ms(o->loop);
	if (s->number == STDERR_FILENO)
		tail_add(o, line);
	if (now - o->second_mono_ms >= SECOND_MS) {
		tell_dropped(o);
		o->second_mono_ms = now;
		o->lines = 0;
	}
	if (o->lines < LIMIT_OUTPUT_LINES_PER_S) {
		o->lines++;
		o->events->line(o->arg, s->number, line);
		return;
	}
	if (o->dropped++ == 0)
		timer_arm(&o->tell_dropped, o->second_mono_ms + SECOND_MS - now);
}

/* Told whole out of the read buffer when it came whole, else from the unfinished line. */
static void end_line(struct output_stream *s, struct slice rest)
{
	if (buf_len(&s->line) == 0) {
		tell_line(s, rest);
		return;
	}
	buf_add(&s->line, rest);
	tell_line(s, buf_slice(&s->line));
	buf_reset(&s->line);
}

static void feed(struct output_stream *s, struct slice in)
{
	while (in.n > 0) {
		size_t line_n = slice_find(in, '\n');
		size_t room = LIMIT_OUTPUT_LINE_BYTES - buf_len(&s->line);
		if (line_n >
		    room) { /* too long for one record: cut; a record is cut only when more of the line is here */
			end_line(s, slice_head(in, room));
			in = slice_from(in, room);
		} else if (line_n < in.n) {
			end_line(s, slice_head(in, line_n));
			in = slice_from(in, line_n + 1);
		} else {
			buf_add(&s->line, in);
			in = slice_from(in, in.n);
		}
	}
}

static void on_stream_closed(void *arg)
{
	struct output_stream *s = arg;
	struct output *o = s->output;
	close(s->fd);
	s->fd = -1;
	s->watch = NULL;
	if (--o->n_handles > 0)
		return;
	tell_dropped(o);
	o->events->over(o->arg);
}

static void end_stream(struct output_stream *s)
{
	if (buf_len(&s->line) > 0)
		tell_line(s, buf_slice(&s->line));
	buf_done(&s->line);
	fd_watch_close(s->watch, on_stream_closed, s);
}

static void on_readable(void *arg)
{
	struct output_stream *s = arg;
	ssize_t n = read(s->fd, read_buffer, sizeof(read_buffer));
	if (n > 0)
		feed(s, slice_of(read_buffer, (size_t)n));
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		end_stream(s);
}

int output_open(struct output *o, struct loop *l, const int fds[2], const struct output_events *events, void *arg)
{
	int r = 0;
	*o = (struct output){.loop = l, .events = events, .arg = arg, .second_mono_ms = loop_mono_ms(l)};
	timer_init(&o->tell_dropped, l, on_tell_dropped, o);
	for (int i = 0; i < 2; i++) {
		struct output_stream *s = &o->streams[i];
		*s = (struct output_stream){.output = o, .number = i + 1, .fd = fds[i]};
		buf_init(&s->line, LIMIT_OUTPUT_LINE_BYTES);
		if (r == 0)
			r = fd_watch_open(l, s->fd, on_readable, s, &s->watch);
		if (r == 0) {
			o->n_handles++;
		} else {
			close(s->fd);
			s->fd = -1;
		}
	}
	return r;
}

bool output_give_up(struct output *o)
{
	for (int i = 0; i < 2; i++)
		if (o->streams[i].watch != NULL)
			end_stream(&o->streams[i]);
	return o->n_handles > 0;
}

struct slice output_tail(const struct output *o)
{
	return slice_of(o->tail, o->tail_n);
}
