"""What /proc knows about the processes of one daemon."""

import os


def _read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def stat(pid):
    """The fields of /proc/PID/stat from the state on, or None for a process that is gone."""
    text = _read(pid, "stat")
    return text.rpartition(b")")[2].split() if text else None


def alive(pid):
    """True while the process runs; a zombie does not."""
    fields = stat(pid)
    return fields is not None and fields[0] not in (b"Z", b"X")


def parent(pid):
    fields = stat(pid)
    return int(fields[1]) if fields else None


def group(pid):
    fields = stat(pid)
    return int(fields[2]) if fields else None


def children(pid):
    return [child for child in all_pids() if parent(child) == pid]


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def environ(pid):
    pairs = (item.partition(b"=") for item in _read(pid, "environ").split(b"\0") if item)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def cmdline(pid):
    return [os.fsdecode(word) for word in _read(pid, "cmdline").split(b"\0")[:-1]]


def status_kb(pid, field):
    """A size field of /proc/PID/status, such as VmRSS or VmHWM, in KiB."""
    for line in _read(pid, "status").decode().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise LookupError(f"no {field} for process {pid}")


def with_environment(marker):
    """Live processes whose environment holds the marker: a worker and whatever it has started."""
    wanted = os.fsencode(marker)
    return [pid for pid in all_pids() if wanted in _read(pid, "environ") and alive(pid)]
