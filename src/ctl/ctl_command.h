/* The commands of rivet-runnerctl: a table of names, and what each does. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct ctl_options {
	const char *socket;   /* path of the control socket */
	bool json;            /* the daemon's JSON instead of text */
	bool follow;          /* logs, status: go on until interrupted */
	const char *actor;    /* logs: of this actor only; NULL: all */
	const char *encoding; /* kv: NULL, "utf8" or "base64" */
};

struct ctl_command {
	const char *name;
	const char *arguments; /* as --help shows them */
	int n_min, n_max;      /* words behind the name */
	const char *prose;
	/* words: n of them. The program's exit code; a sentence in e when it is not 0. */
	int (*run)(const struct ctl_options *o, int n, char *const *words, struct err *e);
};

/* Ends with name NULL. */
extern const struct ctl_command ctl_commands[];
