/* Real processes for tests: a loop with a guardian, and a child whose lines
 * and end are noted. */
#pragma once

#include "lib/io_loop.h"
#include "supervise/proc.h"

extern struct loop *sup_loop;
extern struct guardian *sup_guardian;

/* cmocka's setup and teardown. */
int sup_setup(void **state);
int sup_teardown(void **state);

struct sup_run {
	struct proc *proc;   /* NULL once it has exited */
	struct buf out, err; /* lines, each with a newline */
	uint64_t dropped, n_lines;
	bool exited;
	struct proc_exit how;
	char text[80];    /* proc_exit_text */
	struct buf tail;  /* of stderr, at the exit */
	struct err error; /* of the spawn */
};

/* What runs `sh -c script` in the daemon's directory with PATH alone. */
struct proc_spec sup_sh(const char *script);

/* 0 or what proc_spawn returned. End with sup_run_done. */
int sup_spawn(struct sup_run *r, const struct proc_spec *spec);
/* Spawns, which must succeed, and turns the loop until the exit. */
void sup_run(struct sup_run *r, const struct proc_spec *spec);
/* Kills it if it still runs, waits for that, frees. */
void sup_run_done(struct sup_run *r);

const char *sup_out(struct sup_run *r);
const char *sup_err(struct sup_run *r);
const char *sup_tail(struct sup_run *r);

/* Whether the process exists and is no zombie. */
bool sup_alive(int32_t pid);
