/* Kills whatever runs in a control group (cgroup v2). Nothing but system calls and the stack: the guardian calls this
 * in a fork of a process that had threads. */
#pragma once

/* Everything in the group that the directory `dir` is, but for the caller itself. By cgroup.kill; where that is missing
 * (before Linux 5.14) or refused (a threaded group) the group is frozen, so that nothing forks out of reach, and each
 * process killed. What is killed takes a moment to be gone. */
void cgroup_kill(int dir);

/* The same for every group right below `dir`. */
void cgroup_kill_below(int dir);
