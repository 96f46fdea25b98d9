/* The disk alone: appends 128 bytes to a file and waits for them to be durable,
 * over and over.
 *
 *   append_sync FILE SECONDS
 *
 * prints {"puts": n, "seconds": s, "p50_us": n, "p99_us": n} and removes the file. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define VALUE_BYTES 128
#define SAMPLES_MAX 10000000

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

int main(int argc, char **argv)
{
	char value[VALUE_BYTES];
	long seconds = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
	uint32_t *samples_us = malloc(SAMPLES_MAX * sizeof(*samples_us));
	if (seconds < 1 || seconds > 120 || samples_us == NULL) {
		fprintf(stderr, "usage: append_sync FILE SECONDS\n");
		return 64;
	}
	memset(value, 'v', sizeof(value));
	int fd = open(argv[1], O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	size_t n = 0;
	int64_t start_ns = now_ns(), at_ns = start_ns;
	while (n < SAMPLES_MAX && at_ns - start_ns < seconds * 1000000000) {
		int64_t sent_ns = at_ns;
		if (write(fd, value, sizeof(value)) != (ssize_t)sizeof(value) || fdatasync(fd) < 0) {
			perror(argv[1]);
			return 1;
		}
		at_ns = now_ns();
		samples_us[n++] = (uint32_t)((at_ns - sent_ns) / 1000);
	}
	unlink(argv[1]);
	qsort(samples_us, n, sizeof(*samples_us), compare);
	printf("{\"puts\": %zu, \"seconds\": %.6f, \"p50_us\": %u, \"p99_us\": %u}\n", n,
	       (double)(at_ns - start_ns) / 1e9, samples_us[n / 2], samples_us[n / 100 * 99]);
	return 0;
}
