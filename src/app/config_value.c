/* Words to numbers, each refusal naming what it refused and what would do. */
#include "app/config_value.h"

#include "base/limits.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define DURATION_MAX_MS ((uint64_t)24855 * 24 * 3600 * 1000)

static bool parse_u64(const char *text, uint64_t *ret, const char **ret_rest)
{
	uint64_t v = 0;
	const char *at = text;
	for (; *at >= '0' && *at <= '9'; at++) {
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, (uint64_t)(*at - '0'), &v))
			return false;
	}
	*ret = v;
	*ret_rest = at;
	return at != text;
}

int config_duration(const char *what, const char *text, bool never_allowed, int64_t *ret_ms, struct err *e)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	if (strcmp(text, "never") == 0 && never_allowed) {
		*ret_ms = -1;
		return 0;
	}
	uint64_t v, sum = 0, last_ms = UINT64_MAX;
	const char *rest = text;
	while (parse_u64(rest, &v, &rest)) {
		size_t n = strspn(rest, "abcdefghijklmnopqrstuvwxyz"), i = 0;
		while (i < ARRAY_SIZE(units) && (strlen(units[i].unit) != n || strncmp(units[i].unit, rest, n) != 0))
			i++;
		if (i == ARRAY_SIZE(units) || units[i].ms >= last_ms)
			break;
		if (v > DURATION_MAX_MS / units[i].ms || sum + v * units[i].ms > DURATION_MAX_MS)
			return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: \"%s\" is too long; at most 24855 days", what,
				       text);
		sum += v * units[i].ms;
		last_ms = units[i].ms;
		rest += n;
		if (*rest != '\0')
			continue;
		*ret_ms = (int64_t)sum;
		return 0;
	}
	return err_set(e, EINVAL, EXIT_CODE_CONFIG,
		       "%s: \"%s\" is not a time; write a number with ms, s, min or h, such as 30s%s", what, text,
		       never_allowed ? ", or never" : "");
}

int config_size(const char *what, const char *text, uint64_t *ret, struct err *e)
{
	uint64_t v;
	const char *rest;
	static const char units[] = "KMGT";
	if (parse_u64(text, &v, &rest)) {
		const char *unit = *rest == '\0' ? NULL : strchr(units, *rest);
		unsigned shift = unit == NULL ? 0 : (unsigned)(unit - units + 1) * 10;
		if ((*rest == '\0' || (unit != NULL && rest[1] == '\0')) && v <= (uint64_t)INT64_MAX >> shift) {
			*ret = v << shift;
			return 0;
		}
	}
	return err_set(e, EINVAL, EXIT_CODE_CONFIG,
		       "%s: \"%s\" is not a size; write bytes, or a number with K, M or G, such as 256M", what, text);
}

int config_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret, struct err *e)
{
	uint64_t v;
	const char *rest;
	if (!parse_u64(text, &v, &rest) || *rest != '\0' || v < min || v > max)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: \"%s\" is not a whole number from %llu to %llu", what,
			       text, (unsigned long long)min, (unsigned long long)max);
	*ret = v;
	return 0;
}

int config_choice(const char *what, const char *text, const char *const *names, size_t *ret, struct err *e)
{
	struct buf known;
	buf_init(&known, 512);
	for (size_t i = 0; names[i] != NULL; i++) {
		if (strcmp(names[i], text) == 0) {
			*ret = i;
			buf_done(&known);
			return 0;
		}
		buf_addf(&known, "%s%s", i == 0 ? "" : ", ", names[i]);
	}
	int r = err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: \"%s\" is not one of: %s", what, text, buf_text(&known));
	buf_done(&known);
	return r;
}

#define EDIT_MAX 40

/* Levenshtein distance, bounded word length. */
static size_t edits(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	size_t row[EDIT_MAX + 1];
	if (na > EDIT_MAX || nb > EDIT_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= nb; j++)
		row[j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t best = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[nb];
}

const char *config_nearest(const char *word, const char *const *names, size_t n)
{
	const char *best = NULL;
	size_t best_edits = 4;
	for (size_t i = 0; i < n; i++) {
		size_t d = names[i] == NULL ? SIZE_MAX : edits(word, names[i]);
		if (d < best_edits && d < strlen(word)) {
			best = names[i];
			best_edits = d;
		}
	}
	return best;
}

/* Copies the host part without brackets; false when the form is wrong. */
static bool split_address(const char *text, char *host, size_t room, const char **ret_port)
{
	const char *colon = strrchr(text, ':');
	if (colon == NULL)
		return false;
	size_t n = (size_t)(colon - text);
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	} else if (memchr(text, ':', n) != NULL) {
		return false;
	}
	if (n == 0 || n >= room)
		return false;
	memcpy(host, text, n);
	host[n] = '\0';
	*ret_port = colon + 1;
	return true;
}

int config_address(const char *what, const char *text, struct err *e)
{
	char host[64];
	const char *port = NULL;
	uint64_t number;
	struct in6_addr addr;
	if (split_address(text, host, sizeof(host), &port) && config_number(what, port, 0, 65535, &number, NULL) == 0 &&
	    (strcmp(host, "localhost") == 0 || inet_pton(AF_INET, host, &addr) == 1 ||
	     inet_pton(AF_INET6, host, &addr) == 1))
		return 0;
	return err_set(e, EINVAL, EXIT_CODE_CONFIG,
		       "%s: \"%s\" is not an address; write ADDR:PORT, such as 127.0.0.1:6420 or [::1]:6420", what,
		       text);
}

bool config_address_is_loopback(const char *text)
{
	char host[64];
	const char *port;
	struct in_addr v4;
	if (!split_address(text, host, sizeof(host), &port))
		return false;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24) == 127;
	return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
}

bool config_is_actor_name(const char *name)
{
	size_t n = strlen(name);
	if (n == 0 || n > LIMIT_ACTOR_NAME_BYTES || name[0] == ' ' || name[n - 1] == ' ')
		return false;
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
			return false;
	}
	return true;
}

bool config_is_env_name(const char *name)
{
	static const char others[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
	size_t n = strlen(name);
	return n > 0 && strspn(name, others) == n && (name[0] < '0' || name[0] > '9');
}

char *config_absolute(const char *path)
{
	char here[PATH_MAX];
	if (path[0] == '/' || path[0] == '\0' || getcwd(here, sizeof(here)) == NULL)
		return mem_strdup(path);
	return mem_printf("%s/%s", here, path);
}

char **config_split(const char *text)
{
	size_t n = 0, room = 4;
	char **list = mem_zalloc(room * sizeof(*list));
	while (*text != '\0') {
		size_t len = strcspn(text, ",");
		const char *next = text[len] == ',' ? text + len + 1 : text + len;
		while (len > 0 && isspace((unsigned char)*text)) {
			text++;
			len--;
		}
		while (len > 0 && isspace((unsigned char)text[len - 1]))
			len--;
		if (n + 1 == room) {
			room *= 2;
			list = mem_realloc(list, room * sizeof(*list));
		}
		if (len > 0)
			list[n++] = mem_strndup(text, len);
		text = next;
	}
	list[n] = NULL;
	return list;
}

void config_strings_free(char **list)
{
	for (char **at = list; at != NULL && *at != NULL; at++)
		mem_free(*at);
	mem_free(list);
}
