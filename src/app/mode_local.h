/* What mode_local.c and mode_local_control.c know of each other. */
#pragma once

#include "app/mode.h"
#include "local/local.h"

/* The local mode inside; m must be one that is open. */
struct local *mode_local_of(struct mode *m);
struct store *mode_local_store(struct mode *m);

/* The control socket's part of struct mode_ops. */
void mode_local_list(struct mode *m, const struct mode_list *q);
void mode_local_command(struct mode *m, enum mode_verb verb, const char *id, mode_answer *done, void *arg);
void mode_local_backup(struct mode *m,
		       void (*done)(void *arg, int fd, uint64_t size, unsigned status, const char *message), void *arg);
void mode_local_kv(struct mode *m, const char *id, const struct mode_kv *q);
