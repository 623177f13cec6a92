#!/usr/bin/env bash
# A host with an IPv4 address and an IPv6 address of fd00::/8 (a unique local address, as company networks have
# them): the go command's resolver puts IPv4 first, the C library IPv6. So of one `go mod download` go itself and the
# git or ssh that it starts go to different addresses, and where one of the two is not reachable only one of them
# waits. go follows RFC 6724's policy table (fc00::/7 has precedence 3, IPv4 35); glibc 2.36 keeps RFC 3484's, in
# which unique local addresses have no entry and rank as any IPv6 (40).
#
# Seen with go1.26.8 and glibc 2.36 (Debian 12). Needs root, go, python3, iproute2. Fails when either order changes.
set -eu
if [ -z "${IN_NAMESPACE:-}" ]; then exec env IN_NAMESPACE=1 unshare --net --mount --propagation private bash "$0"; fi
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
cat > "$folder/main.go" <<'G'
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	addresses, err := net.LookupHost(os.Args[1])
	if err != nil {
		panic(err)
	}
	fmt.Println(addresses[0])
}
G
cd "$folder"
CGO_ENABLED=0 GOFLAGS= GOWORK=off GO111MODULE=off go build -o lookup main.go
printf '127.0.0.1 localhost\n10.9.0.1 git.corp.test\nfd00:9::1 git.corp.test\n' > hosts
: > gai.conf
mount --bind hosts /etc/hosts
if [ -e /etc/gai.conf ]; then mount --bind gai.conf /etc/gai.conf; fi # the C library's own table
ip link set lo up
ip link add here type veth peer name there
ip address add 10.9.0.2/24 dev here
ip -6 address add fd00:9::2/64 dev here nodad
ip link set here up; ip link set there up
of_go=$(./lookup git.corp.test)
of_libc=$(python3 -c 'import socket; print(socket.getaddrinfo("git.corp.test", 443, type=socket.SOCK_STREAM)[0][4][0])')
echo "$(go version | cut -d' ' -f3): $of_go first"
echo "$(ldd --version | head -n 1): $of_libc first"
[ "$of_go" = 10.9.0.1 ] && [ "$of_libc" = fd00:9::1 ]
