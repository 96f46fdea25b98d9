/* A control group of the kernel's for tests to put daemons in. */
#pragma once

#include <stdbool.h>

/* Makes one. False: this machine has no cgroup v2, or none to write to. */
bool sup_cgroup_make(char ret_path[256]);
/* Ends what is in it and below, and removes it. */
void sup_cgroup_remove(const char *path);

/* Writes to a file of a group; 0 or -errno. */
int sup_cgroup_put(const char *group, const char *name, const char *text);
/* Whether a group of this name's beginning is right below; with ret_path (may be NULL) one of them. */
bool sup_cgroup_has(const char *group, const char *prefix, char ret_path[256]);
