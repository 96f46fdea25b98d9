/* The admin listener: /healthz, /readyz, /metrics and a page of the actors. */
#pragma once

#include "app/mode.h"

struct admin;

struct admin_options {
	struct loop *loop;
	struct mode *mode;
	const char *address; /* ADDR:PORT; not looked at with fd >= 0 */
	int fd;              /* a passed listening socket, taken over on success; -1: none */
};

/* 0 or -errno with a sentence. */
int admin_open(const struct admin_options *o, struct admin **ret, struct err *e);

/* What /readyz says from now on: NULL is ready, else the reason for 503 (static text). */
void admin_set_ready(struct admin *a, const char *why_not);
void admin_address(const struct admin *a, char ret[80]);
/* Resident memory of a process (0: this one) as the kernel counts it; 0 when it cannot be read. */
uint64_t admin_resident_bytes(int32_t pid);
void admin_close(struct admin *a, void (*closed)(void *arg), void *arg);
