/* A worker that answers every request with the state of its process as it was before main() did anything. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static char report[65536];
static size_t used;

static void say(const char *format, ...) {
	va_list args;

	va_start(args, format);
	int n = vsnprintf(report + used, sizeof report - used, format, args);
	va_end(args);
	if (n > 0 && (size_t)n < sizeof report - used)
		used += (size_t)n;
}

static void say_descriptors(void) {
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char target[PATH_MAX] = "";
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd == dirfd(dir))
			continue;
		if (readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1) < 0)
			strcpy(target, strerror(errno));
		say("fd %d %s\n", fd, target);
	}
	if (dir)
		closedir(dir);
}

static void say_status(void) {
	static const char *const wanted[] = {"SigBlk", "SigIgn", "SigCgt", "CapEff", "CapPrm", "CapInh", "CapAmb", "Uid", "Gid", "Groups",
					     "NoNewPrivs"};
	FILE *file = fopen("/proc/self/status", "r");
	char line[512];

	while (file && fgets(line, sizeof line, file))
		for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
			if (!strncmp(line, wanted[i], strlen(wanted[i])) && line[strlen(wanted[i])] == ':')
				say("status %s", line);
	if (file)
		fclose(file);
}

static void say_limits(void) {
	static const struct {
		const char *name;
		int which;
	} limits[] = {{"open_files", RLIMIT_NOFILE}, {"processes", RLIMIT_NPROC}, {"address_space", RLIMIT_AS}, {"core", RLIMIT_CORE},
		      {"cpu_time", RLIMIT_CPU}};

	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		struct rlimit limit;

		getrlimit(limits[i].which, &limit);
		say("limit %s %lld %lld\n", limits[i].name, (long long)limit.rlim_cur, (long long)limit.rlim_max);
	}
}

static void say_socket(void) {
	int kind = 0, accepting = 0, domain = 0;
	socklen_t size = sizeof kind;

	getsockopt(3, SOL_SOCKET, SO_TYPE, &kind, &size);
	getsockopt(3, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &size);
	getsockopt(3, SOL_SOCKET, SO_DOMAIN, &domain, &size);
	say("listener %s %s %s %s\n", domain == AF_UNIX ? "unix" : "other", kind == SOCK_STREAM ? "stream" : "other",
	    accepting ? "listening" : "idle", fcntl(3, F_GETFL) & O_NONBLOCK ? "nonblocking" : "blocking");
}

static void look(char **argv) {
	char where[PATH_MAX] = "?";
	mode_t mask = umask(0);

	umask(mask);
	say("pid %d\nppid %d\npgid %d\nsid %d\numask %04o\ncwd %s\n", getpid(), getppid(), getpgid(0), getsid(0), (unsigned)mask,
	    getcwd(where, sizeof where) ? where : "?");
	FILE *score = fopen("/proc/self/oom_score_adj", "r");
	int adjust = 12345;

	if (!score || fscanf(score, "%d", &adjust) != 1)
		adjust = 12345;
	if (score)
		fclose(score);
	say("nice %d\noom_score_adj %d\n", getpriority(PRIO_PROCESS, 0), adjust);
	for (; *argv; argv++)
		say("arg %s\n", *argv);
	say_status();
	say_limits();
	say_socket();
	say_descriptors();
	for (char **variable = environ; *variable; variable++)
		say("env %s\n", *variable);
}

int main(int argc, char **argv) {
	char request[65536], head[128];

	(void)argc;
	look(argv);
	for (;;) {
		int peer = accept(3, NULL, NULL);
		ssize_t got = peer < 0 ? -1 : read(peer, request, sizeof request - 1);

		if (got > 0) {
			request[got] = '\0';
			int own = !strstr(request, " /.rivet/");
			int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
					 own ? "200 OK" : "404 Not Found", own ? used : 0);
			if (write(peer, head, (size_t)n) < 0 || (own && write(peer, report, used) < 0))
				perror("write");
		}
		if (peer >= 0)
			close(peer);
	}
}
