/* The log: the only writer of stderr once the daemon runs.
 *
 * A record is a level, a sentence and typed fields. Ranks 0 to 2 never log;
 * above them an error is logged once, where it stops. Text from strangers is
 * escaped, so one record is always one line. No secret is ever a field. */
#pragma once

#include "base/log_ring.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_TRACE };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON, LOG_FORMAT_JOURNAL, LOG_FORMAT_SYSLOG };

struct log_field {
	const char *key; /* lower snake case, a literal */
	struct slice text;
	int64_t number;
	enum { LOG_FIELD_TEXT, LOG_FIELD_NUMBER } kind;
};

/* A text that is NULL: the field is left out. */
#define LOG_STR(k, s) ((struct log_field){.key = (k), .text = slice_str(s), .kind = LOG_FIELD_TEXT})
#define LOG_SLICE(k, s) ((struct log_field){.key = (k), .text = (s), .kind = LOG_FIELD_TEXT})
#define LOG_NUM(k, v) ((struct log_field){.key = (k), .number = (int64_t)(v), .kind = LOG_FIELD_NUMBER})

/* What every record about an actor carries. A NULL, and a generation below 0, is not known and left out. */
struct log_actor {
	const char *id, *name, *key;
	int64_t generation;
};

static inline struct log_field log_generation(int64_t generation)
{
	return generation < 0 ? LOG_STR("generation", NULL) : LOG_NUM("generation", generation);
}

#define LOG_ACTOR_OF(i, n, k, g) \
	LOG_STR("actor_id", (i)), LOG_STR("actor_name", (n)), LOG_STR("actor_key", (k)), log_generation((g))
#define LOG_ACTOR(who) LOG_ACTOR_OF((who).id, (who).name, (who).key, (who).generation)

/* Where records go. Called once at start; again to change level or file.
 * fd is borrowed (stderr or an opened log file). */
void log_setup(enum log_level level, enum log_format format, int fd);
void log_set_level(enum log_level level);
bool log_wants(enum log_level level);

/* Keeps the latest `cap` bytes of records as lines of JSON, whatever the format, for log_next. 0: forgets them. */
void log_keep(size_t cap);
/* The next kept record as one line of JSON, newline included, appended to out. False: there is none yet. */
struct buf;
bool log_next(struct log_ring_cursor *c, struct buf *out);

/* Writes one record. `fields` may be NULL when n is 0. A write that fails is
 * counted (log_dropped), never retried, never blocks longer than the write. */
void log_record(enum log_level level, struct slice msg, const struct log_field *fields, size_t n);
uint64_t log_dropped(void);

/* The everyday form: LOG(WARN, "worker ended", LOG_STR("worker_id", id), LOG_NUM("code", 1)).
 * The sentence is a literal; variable parts are fields, at least one. */
#define LOG(lvl, msg, ...)                                                                                 \
	do {                                                                                               \
		if (log_wants(LOG_LEVEL_##lvl)) {                                                          \
			const struct log_field log_fields_[] = {__VA_ARGS__};                              \
			log_record(LOG_LEVEL_##lvl, SLICE_LIT(msg), log_fields_, ARRAY_SIZE(log_fields_)); \
		}                                                                                          \
	} while (0)

/* Without fields. */
#define LOG_PLAIN(lvl, msg)                                                   \
	do {                                                                  \
		if (log_wants(LOG_LEVEL_##lvl))                               \
			log_record(LOG_LEVEL_##lvl, SLICE_LIT(msg), NULL, 0); \
	} while (0)
