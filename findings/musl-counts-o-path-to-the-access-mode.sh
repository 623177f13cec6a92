#!/usr/bin/env bash
# O_ACCMODE is the mask for "reads, writes or both" in open's flags: 3 in the kernel and in glibc, O_PATH and 3 in musl
# (010000003), so that its O_SEARCH and O_EXEC, which are O_PATH, count as access modes. A filter of system calls
# that allows open where (flags & O_ACCMODE) == O_RDONLY, built against musl, therefore refuses every O_PATH open,
# which the same source built against glibc allows; a descriptor opened with O_PATH says through fcntl(F_GETFL) that
# it reads only in one and something else in the other.
#
# Seen with musl 1.2.3 and glibc 2.36 on Linux 6.18. Needs gcc and Debian's musl-tools. Fails when either changes.
set -eu
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
cat > "$folder/main.c" <<'C'
#include <fcntl.h>
#include <stdio.h>

int main(void) {
    int file = open("/", O_PATH);
    int flags = fcntl(file, F_GETFL);
    printf("O_ACCMODE %#o, of O_PATH %s\n", O_ACCMODE, (flags & O_ACCMODE) == O_RDONLY ? "O_RDONLY" : "another");
    return 0;
}
C
answer() { "$1" -D_GNU_SOURCE -o "$folder/main" "$folder/main.c" && "$folder/main"; }
glibc=$(answer gcc)
musl=$(answer musl-gcc)
echo "glibc: $glibc"
echo "musl:  $musl"
[ "$glibc" = "O_ACCMODE 03, of O_PATH O_RDONLY" ] && [ "$musl" = "O_ACCMODE 010000003, of O_PATH another" ]
