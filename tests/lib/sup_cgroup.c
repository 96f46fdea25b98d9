/* Owns nothing: what is made is removed by name. */
#include "lib/sup_cgroup.h"

#include "base/check.h"
#include "base/mem.h"
#include "supervise/cgroup.h"
#include "supervise/cgroup_kill.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool sup_cgroup_make(char ret_path[256])
{
	static unsigned n_made;
	static char mounts[65536];
	FILE *file = fopen("/proc/self/mountinfo", "re");
	CHECK(file != NULL);
	mounts[fread(mounts, 1, sizeof(mounts) - 1, file)] = '\0';
	fclose(file);
	MEM_AUTO char *top = cgroup_find("0::/\n", mounts);
	snprintf(ret_path, 256, "%s/sup-test-%d-%u", top == NULL ? "" : top, (int)getpid(), n_made++);
	return top != NULL && mkdir(ret_path, 0755) == 0;
}

int sup_cgroup_put(const char *group, const char *name, const char *text)
{
	MEM_AUTO char *path = mem_printf("%s/%s", group, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int r = fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	return r;
}

bool sup_cgroup_has(const char *group, const char *prefix, char ret_path[256])
{
	bool found = false;
	DIR *d = opendir(group);
	for (struct dirent *de; !found && d != NULL && (de = readdir(d)) != NULL;) {
		found = de->d_type == DT_DIR && strncmp(de->d_name, prefix, strlen(prefix)) == 0;
		if (found && ret_path != NULL)
			CHECK(snprintf(ret_path, 256, "%s/%s", group, de->d_name) < 256);
	}
	if (d != NULL)
		closedir(d);
	return found;
}

/* Groups are three deep at most. */
static void remove_below(const char *path)
{
	char child[256], grandchild[256];
	while (sup_cgroup_has(path, "rivet", child)) {
		while (sup_cgroup_has(child, "w", grandchild))
			CHECK(rmdir(grandchild) == 0);
		CHECK(rmdir(child) == 0);
	}
}

void sup_cgroup_remove(const char *path)
{
	char events[256] = "populated 1";
	MEM_AUTO char *file = mem_printf("%s/cgroup.events", path);
	(void)sup_cgroup_put(path, "cgroup.kill", "1");
	for (int tries = 0; tries < 5000 && strstr(events, "populated 1") != NULL; tries++) {
		int fd = open(file, O_RDONLY | O_CLOEXEC);
		CHECK(fd >= 0 && read(fd, events, sizeof(events) - 1) > 0);
		close(fd);
		usleep(1000);
	}
	remove_below(path);
	CHECK(rmdir(path) == 0);
}
