/* Owns the descriptor of the log file. */
#include "app/log_target.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int log_target_open(const struct config *c, struct log_target *ret, struct err *e)
{
	const char *path = config_get(c, CONFIG_LOG_FILE);
	struct log_target t = {.fd = -1, .format = c->log_format};
	if (*path != '\0') {
		t.fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
		if (t.fd < 0)
			return err_set(e, errno, EXIT_CODE_CONFIG, "cannot open the log file %s: %s", path,
				       strerror(errno));
	} else if (c->detach && access("/run/systemd/journal/socket", W_OK) == 0) {
		t.format = LOG_FORMAT_JOURNAL;
	} else if (c->detach && access("/dev/log", W_OK) == 0) {
		t.format = LOG_FORMAT_SYSLOG;
	} else if (c->detach) {
		return err_set(
		    e, EINVAL, EXIT_CODE_CONFIG,
		    "--detach has nowhere to write its log: neither journald nor syslog is here; add --log-file FILE");
	}
	*ret = t;
	return 0;
}

void log_target_use(struct log_target *t, const struct log_target *next, enum log_level level)
{
	int before = t->fd;
	*t = *next;
	log_setup(level, t->format, t->fd >= 0 ? t->fd : STDERR_FILENO);
	if (before >= 0)
		close(before);
}

void log_target_close(struct log_target *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}
