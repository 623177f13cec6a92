#!/usr/bin/env bash
# /proc/self/mountinfo has an exceptional condition when a mount has changed, and whoever polls it first takes the
# news away. An epoll instance that watches it, itself watched by poll or by another epoll, is therefore reported as
# readable, and when it is asked it has nothing: the outer look has already taken the change. Level-triggered
# descriptors are not expected to do so. Whoever gathers descriptors in one epoll (for a library, an event loop in an
# event loop) misses mounts and unmounts; polling the file itself, beside the epoll, does not.
#
# Seen on Linux 6.18. Needs root and python3; makes a mount namespace of its own. Fails when the behaviour changes.
set -eu
exec unshare --mount --propagation private python3 - <<'P'
import os, platform, select, subprocess, sys, tempfile

folder = tempfile.mkdtemp()
table = os.open("/proc/self/mountinfo", os.O_RDONLY)


def change():
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)


def undo():
    subprocess.run(["umount", folder], check=True)


inner = select.epoll()
inner.register(table, select.EPOLLPRI)
inner.poll(0)
change()
alone = len(inner.poll(1))
undo()
inner.poll(0)

seen = []
for outer in (select.poll(), select.epoll()):
    outer.register(inner.fileno(), select.POLLIN)
    outer.poll(0)
    change()
    reported = len(outer.poll(1000 if isinstance(outer, type(select.poll())) else 1))
    seen.append((reported, len(inner.poll(0))))
    undo()
    inner.poll(0)
os.rmdir(folder)
print(f"Linux {platform.release()}: the epoll alone reports {alone} change")
print(f"below poll: the epoll is reported readable {seen[0][0]} time, and then has {seen[0][1]} events")
print(f"below epoll: the epoll is reported readable {seen[1][0]} time, and then has {seen[1][1]} events")
sys.exit(not (alone == 1 and seen == [(1, 0), (1, 0)]))
P
