/* Typed values out of text. Each returns 0 or -EINVAL with "WHAT: ..." in e. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

/* "250ms", "30s", "5min", "1h", "2d", or several from the largest unit down, "4min50s": milliseconds. `never` (-1)
 * only where allowed. */
int config_duration(const char *what, const char *text, bool never_allowed, int64_t *ret_ms, struct err *e);

/* "64K", "256M", "2G", "1T" or plain bytes. */
int config_size(const char *what, const char *text, uint64_t *ret, struct err *e);

/* A whole number from min to max. */
int config_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret, struct err *e);

/* One of the names (NULL-terminated); *ret is its index. */
int config_choice(const char *what, const char *text, const char *const *names, size_t *ret, struct err *e);

/* The nearest of the names within two edits, or NULL. */
const char *config_nearest(const char *word, const char *const *names, size_t n);

/* Checks ADDR:PORT (IPv4, [IPv6] or localhost). */
int config_address(const char *what, const char *text, struct err *e);
/* True when the address part is a loopback one. */
bool config_address_is_loopback(const char *text);

#define CONFIG_ACTOR_NAME_FORM "a name has 1 to 512 bytes, no control characters, and no white space at its ends"
/* Of that form: it becomes the value of a header field and of a variable. */
bool config_is_actor_name(const char *name);

/* Letters, digits and _, no digit first. */
bool config_is_env_name(const char *name);
/* The path from the root on, owned; an empty one stays empty. */
char *config_absolute(const char *path);

/* Splits at commas, white space around items removed, empty ones dropped: NULL-terminated, owned. */
char **config_split(const char *text);
void config_strings_free(char **list);
