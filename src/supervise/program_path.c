/* Owns nothing. The search is made before the child is, so that a program that
 * cannot be found is told with the places that were looked at. */
#include "supervise/program_path.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* 0 or -errno. For another user only the file's bits are judged here, the rest by execve. */
static int usable(const char *path, bool other_user)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0)
		return -EACCES;
	return other_user || eaccess(path, X_OK) == 0 ? 0 : -errno;
}

int program_path(const struct proc_spec *spec, char ret[PROGRAM_PATH_BYTES], struct err *e)
{
	const char *name = spec->argv[0];
	const char *places = spec->search_path == NULL ? "" : spec->search_path;
	char denied[PROGRAM_PATH_BYTES] = "";
	if (strchr(name, '/') != NULL) {
		if (strlen(name) >= PROGRAM_PATH_BYTES)
			return err_set(e, ENAMETOOLONG, EXIT_CODE_FAILED, "cannot execute %s: %s", name,
				       strerror(ENAMETOOLONG));
		memcpy(ret, name, strlen(name) + 1);
		return 0;
	}
	for (struct slice left = slice_str(places); left.n > 0 && name[0] != '\0';) {
		size_t n = slice_find(left, ':');
		struct slice dir = slice_head(left, n);
		left = slice_from(left, n < left.n ? n + 1 : n);
		if (!slice_starts(dir, "/"))
			continue; /* relative to nothing in particular; a surprise at best */
		char path[PROGRAM_PATH_BYTES];
		int len = snprintf(path, sizeof(path), "%.*s/%s", SLICE_FMT(dir), name);
		if (len >= (int)sizeof(path))
			continue;
		int r = usable(path, spec->set_user);
		if (r == 0) {
			memcpy(ret, path, (size_t)len + 1);
			return 0;
		}
		if (r == -EACCES && denied[0] == '\0')
			memcpy(denied, path, (size_t)len + 1);
	}
	if (denied[0] != '\0')
		return err_set(e, EACCES, EXIT_CODE_FAILED, "cannot execute %s: %s", denied, strerror(EACCES));
	return err_set(e, ENOENT, EXIT_CODE_FAILED, "cannot find %s in PATH (%s)", name, places);
}
