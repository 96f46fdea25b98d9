/* Formats records and writes each with one write(2), so that lines of several
 * threads or processes never mix. Owns no descriptor. */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <syslog.h>
#include <unistd.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <sys/uio.h>
#include <systemd/sd-journal.h>

#define RECORD_MAX ((size_t)64 * 1024)
#define JOURNAL_FIELDS_MAX 24

static enum log_level current_level = LOG_LEVEL_INFO;
static enum log_format current_format = LOG_FORMAT_TEXT;
static int current_fd = STDERR_FILENO;
static atomic_uint_fast64_t dropped;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_ring *ring; /* under the lock, but for looking whether it is there: set before threads are */

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};
/* syslog(3) priorities. */
static const int level_priority[] = {3, 4, 6, 7, 7};

void log_setup(enum log_level level, enum log_format format, int fd)
{
	current_level = level;
	current_format = format;
	current_fd = fd;
}

void log_set_level(enum log_level level)
{
	current_level = level;
}

bool log_wants(enum log_level level)
{
	return level <= current_level;
}

uint64_t log_dropped(void)
{
	return atomic_load(&dropped);
}

static void put_time(struct buf *b)
{
	int64_t now = clock_wall_ms();
	time_t seconds = (time_t)(now / 1000);
	struct tm tm;
	gmtime_r(&seconds, &tm);
	char text[32];
	size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_add(b, slice_of(text, n));
	buf_addf(b, ".%03dZ", (int)(now % 1000));
}

/* Length of the well-formed UTF-8 sequence in the n > 0 bytes at p, or 0. */
static size_t utf8_length(const uint8_t *p, size_t room)
{
	uint8_t c = p[0];
	size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
	if (n == 0 || n > room)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) || (c == 0xf0 && p[1] < 0x90) ||
	    (c == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

/* JSON string content; also used for the quoted values of text and logfmt. */
static void put_escaped(struct buf *b, struct slice s)
{
	for (size_t i = 0; i < s.n;) {
		uint8_t c = s.p[i];
		size_t n = utf8_length(s.p + i, s.n - i);
		if (c == '"' || c == '\\') {
			buf_add_byte(b, '\\');
			buf_add_byte(b, c);
			i++;
		} else if (c == '\n') {
			buf_add_str(b, "\\n");
			i++;
		} else if (c == '\t') {
			buf_add_str(b, "\\t");
			i++;
		} else if (c < 0x20 || c == 0x7f) {
			buf_addf(b, "\\u%04x", c);
			i++;
		} else if (n == 0) {
			buf_add_str(b, "\xef\xbf\xbd");
			i++;
		} else {
			buf_add(b, slice_of(s.p + i, n));
			i += n;
		}
	}
}

static void put_quoted(struct buf *b, struct slice s)
{
	buf_add_byte(b, '"');
	put_escaped(b, s);
	buf_add_byte(b, '"');
}

static bool is_plain(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '=' || s.p[i] == '\\')
			return false;
	}
	return s.n > 0;
}

static bool is_absent(const struct log_field *f)
{
	return f->kind == LOG_FIELD_TEXT && f->text.p == NULL;
}

static void put_pairs(struct buf *b, const struct log_field *fields, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (is_absent(&fields[i]))
			continue;
		buf_addf(b, " %s=", fields[i].key);
		if (fields[i].kind == LOG_FIELD_NUMBER)
			buf_addf(b, "%lld", (long long)fields[i].number);
		else if (is_plain(fields[i].text))
			buf_add(b, fields[i].text);
		else
			put_quoted(b, fields[i].text);
	}
}

static void format_json(struct buf *b, enum log_level level, struct slice msg, const struct log_field *fields, size_t n)
{
	buf_add_str(b, "{\"ts\":\"");
	put_time(b);
	buf_addf(b, "\",\"level\":\"%s\",\"msg\":", level_names[level]);
	put_quoted(b, msg);
	for (size_t i = 0; i < n; i++) {
		if (is_absent(&fields[i]))
			continue;
		buf_addf(b, ",\"%s\":", fields[i].key);
		if (fields[i].kind == LOG_FIELD_NUMBER)
			buf_addf(b, "%lld", (long long)fields[i].number);
		else
			put_quoted(b, fields[i].text);
	}
	buf_add_str(b, "}\n");
}

static void format_record(struct buf *b, enum log_level level, struct slice msg, const struct log_field *fields,
			  size_t n)
{
	switch (current_format) {
	case LOG_FORMAT_JSON:
		format_json(b, level, msg, fields, n);
		break;
	case LOG_FORMAT_LOGFMT:
		buf_add_str(b, "ts=");
		put_time(b);
		buf_addf(b, " level=%s msg=", level_names[level]);
		put_quoted(b, msg);
		put_pairs(b, fields, n);
		buf_add_byte(b, '\n');
		break;
	case LOG_FORMAT_SYSLOG:
		buf_add(b, msg);
		put_pairs(b, fields, n);
		break;
	case LOG_FORMAT_TEXT:
	case LOG_FORMAT_JOURNAL:
		put_time(b);
		buf_addf(b, " %-5s ", level_names[level]);
		put_escaped(b, msg);
		put_pairs(b, fields, n);
		buf_add_byte(b, '\n');
		break;
	}
}

/* Journal fields: MESSAGE, PRIORITY and RIVET_KEY for each field. */
static bool send_journal(struct slice msg, enum log_level level, const struct log_field *fields, size_t n)
{
	struct iovec iov[JOURNAL_FIELDS_MAX + 2];
	struct buf text;
	size_t ends[JOURNAL_FIELDS_MAX + 2], count = 0;
	buf_init(&text, RECORD_MAX * 2);
	buf_add_str(&text, "MESSAGE=");
	buf_add(&text, msg);
	put_pairs(&text, fields, n);
	ends[count++] = buf_len(&text);
	buf_addf(&text, "PRIORITY=%d", level_priority[level]);
	ends[count++] = buf_len(&text);
	for (size_t i = 0; i < n && i < JOURNAL_FIELDS_MAX; i++) {
		if (is_absent(&fields[i]))
			continue;
		buf_add_str(&text, "RIVET_");
		for (const char *k = fields[i].key; *k != '\0'; k++)
			buf_add_byte(&text, (uint8_t)(*k >= 'a' && *k <= 'z' ? *k - 32 : *k));
		buf_add_byte(&text, '=');
		if (fields[i].kind == LOG_FIELD_NUMBER)
			buf_addf(&text, "%lld", (long long)fields[i].number);
		else
			buf_add(&text, fields[i].text);
		ends[count++] = buf_len(&text);
	}
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		iov[i] = (struct iovec){.iov_base = text.mem + at, .iov_len = ends[i] - at};
		at = ends[i];
	}
	bool sent = !text.over && sd_journal_sendv(iov, (int)count) >= 0;
	buf_done(&text);
	return sent;
}

void log_keep(size_t cap)
{
	pthread_mutex_lock(&lock);
	if (ring != NULL)
		log_ring_free(ring);
	ring = cap == 0 ? NULL : log_ring_new(cap);
	pthread_mutex_unlock(&lock);
}

bool log_next(struct log_ring_cursor *c, struct buf *out)
{
	struct slice line;
	pthread_mutex_lock(&lock);
	bool there = ring != NULL && log_ring_next(ring, c, &line);
	if (there)
		buf_add(out, line);
	pthread_mutex_unlock(&lock);
	return there;
}

static void keep(enum log_level level, struct slice msg, const struct log_field *fields, size_t n)
{
	struct buf b;
	if (ring == NULL)
		return;
	buf_init(&b, RECORD_MAX);
	format_json(&b, level, msg, fields, n);
	pthread_mutex_lock(&lock);
	if (ring != NULL && !b.over)
		log_ring_add(ring, buf_slice(&b));
	pthread_mutex_unlock(&lock);
	buf_done(&b);
}

void log_record(enum log_level level, struct slice msg, const struct log_field *fields, size_t n)
{
	if (!log_wants(level))
		return;
	keep(level, msg, fields, n);
	if (current_format == LOG_FORMAT_JOURNAL && send_journal(msg, level, fields, n))
		return;
	struct buf b;
	buf_init(&b, RECORD_MAX);
	format_record(&b, level, msg, fields, n);
	struct slice out = buf_slice(&b);
	bool ok = !b.over;
	if (ok && current_format == LOG_FORMAT_SYSLOG) {
		syslog(level_priority[level], "%.*s", SLICE_FMT(out));
	} else if (ok) {
		pthread_mutex_lock(&lock);
		ok = write(current_fd, out.p, out.n) == (ssize_t)out.n;
		pthread_mutex_unlock(&lock);
	}
	if (!ok)
		atomic_fetch_add(&dropped, 1);
	buf_done(&b);
}
