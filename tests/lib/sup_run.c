/* Owns the loop and the guardian of one test at a time, and the words of one
 * shell command: a spec is borrowed during the spawn only. */
#include "lib/sup_run.h"

#include <stdio.h>
#include <unistd.h>

#define GOT_MAX ((size_t)64 * 1024 * 1024)

struct loop *sup_loop;
struct guardian *sup_guardian;

int sup_setup(void **state)
{
	(void)state;
	struct err e;
	CHECK(guardian_start(&sup_guardian, &e) == 0);
	sup_loop = io_loop_open();
	CHECK(guardian_watch(sup_guardian, sup_loop, NULL, NULL) == 0);
	return 0;
}

int sup_teardown(void **state)
{
	(void)state;
	guardian_stop(sup_guardian);
	loop_signals_close(sup_loop);
	io_loop_done(sup_loop);
	return 0;
}

static void on_output(void *arg, int fd, struct slice line)
{
	struct sup_run *r = arg;
	struct buf *b = fd == STDERR_FILENO ? &r->err : &r->out;
	CHECK(fd == STDOUT_FILENO || fd == STDERR_FILENO);
	CHECK(!r->exited);
	buf_add(b, line);
	buf_add_byte(b, '\n');
	r->n_lines++;
}

static void on_output_dropped(void *arg, uint64_t lines)
{
	struct sup_run *r = arg;
	CHECK(!r->exited && lines > 0);
	r->dropped += lines;
}

static void on_exited(void *arg, const struct proc_exit *how)
{
	struct sup_run *r = arg;
	CHECK(!r->exited);
	r->exited = true;
	r->how = *how;
	proc_exit_text(how, r->text);
	buf_add(&r->tail, proc_stderr_tail(r->proc));
	r->proc = NULL;
}

static const struct proc_events events = {
    .output = on_output,
    .output_dropped = on_output_dropped,
    .exited = on_exited,
};

struct proc_spec sup_sh(const char *script)
{
	static char sh[] = "sh", dash_c[] = "-c", path[] = "PATH=/usr/bin:/bin";
	static char text[4096];
	static char *argv[] = {sh, dash_c, text, NULL};
	static char *envp[] = {path, NULL};
	CHECK(strlen(script) < sizeof(text));
	memcpy(text, script, strlen(script) + 1);
	return (struct proc_spec){.argv = argv, .search_path = "/usr/bin:/bin", .envp = envp, .fd3 = -1};
}

int sup_spawn(struct sup_run *r, const struct proc_spec *spec)
{
	*r = (struct sup_run){0};
	buf_init(&r->out, GOT_MAX);
	buf_init(&r->err, GOT_MAX);
	buf_init(&r->tail, GOT_MAX);
	return proc_spawn(sup_loop, sup_guardian, spec, &events, r, &r->proc, &r->error);
}

void sup_run(struct sup_run *r, const struct proc_spec *spec)
{
	if (sup_spawn(r, spec) != 0)
		check_failed(__FILE__, __LINE__, r->error.text);
	IO_UNTIL(sup_loop, r->exited);
}

void sup_run_done(struct sup_run *r)
{
	if (r->proc != NULL) {
		proc_stop(r->proc, 0);
		IO_UNTIL(sup_loop, r->exited);
	}
	buf_done(&r->out);
	buf_done(&r->err);
	buf_done(&r->tail);
}

const char *sup_out(struct sup_run *r)
{
	return buf_text(&r->out);
}

const char *sup_err(struct sup_run *r)
{
	return buf_text(&r->err);
}

const char *sup_tail(struct sup_run *r)
{
	return buf_text(&r->tail);
}

bool sup_alive(int32_t pid)
{
	char path[64], line[512] = "";
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return false;
	size_t n = fread(line, 1, sizeof(line) - 1, f);
	fclose(f);
	line[n] = '\0';
	const char *state = strrchr(line, ')');
	return state != NULL && state[2] != 'Z' && state[2] != 'X';
}
