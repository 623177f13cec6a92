#!/usr/bin/env bash
# A Landlock ruleset that handles writing alone, and nothing that reads, still takes away what /proc has of other
# processes: reading the links exe, cwd and root of a process of the same user, not sandboxed, fails with EACCES, for
# root with every capability too, while cmdline, stat and status stay readable. The kernel
# takes them for tracing (ptrace access checks), which a domain may do only to what is inside it; no right of a
# ruleset, nor one left out, has a say. What watches others cannot lock itself in this way, where a filter of system
# calls leaves /proc as it was.
#
# Seen on Linux 6.18 with ABI 7. Needs gcc, root, and Linux 5.13 with Landlock switched on. Fails when that changes.
set -eu
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
cat > "$folder/main.c" <<'C'
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *links[] = {"exe", "cwd", "root"}, *files[] = {"cmdline", "stat", "status"};

static void all(const char *when, int pid) {
    char path[64], to[4096];
    printf("%s:", when);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", pid, links[i]);
        printf(" %s %s", links[i], readlink(path, to, sizeof to) < 0 ? strerrorname_np(errno) : "ok");
    }
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", pid, files[i]);
        int file = open(path, O_RDONLY);
        ssize_t got = file < 0 ? -1 : read(file, to, sizeof to);
        printf(" %s %s", files[i], got < 0 ? strerrorname_np(errno) : "ok");
        if (file >= 0) close(file);
    }
    printf("\n");
}

int main(void) {
    int parent = getppid();
    all("before", parent);
    struct landlock_ruleset_attr attr = {.handled_access_fs = LANDLOCK_ACCESS_FS_WRITE_FILE};
    int rules = syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (rules < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_landlock_restrict_self, rules, 0)) {
        perror("landlock");
        return 2;
    }
    all("inside", parent);
    return 0;
}
C
gcc -O1 -D_GNU_SOURCE -o "$folder/main" "$folder/main.c"
# The parent that is read is a shell, started as anybody starts one.
said=$(sh -c '"$0"; true' "$folder/main")
echo "$(uname -r)"
echo "$said"
[ "$said" = "before: exe ok cwd ok root ok cmdline ok stat ok status ok
inside: exe EACCES cwd EACCES root EACCES cmdline ok stat ok status ok" ]
