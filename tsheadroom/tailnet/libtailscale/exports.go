// Command libtailscale is libtailscale's C API over tsnet, as a shared library.
//
// The names, signatures and return conventions are those of libtailscale's public
// header, so that a program bound to one library runs with the other: handles and
// descriptors are ints, 0 is success, -1 an error whose text tailscale_errmsg
// gives, EBADF an unknown handle, ERANGE a buffer that is too small.
//
// This file holds nothing but the border between C and Go.
package main

// #include <errno.h>
// #include <stddef.h>
import "C"

import (
	"fmt"
	"math"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
	"tsheadroom/tailnet/libtailscale/bridge"
)

func main() {} // c-shared wants one; nobody calls it

// answer turns a result into C's: remembered text and -1, or 0.
func answer(n *node, err error) C.int {
	if err != nil {
		n.fail(err)
		return -1
	}
	return 0
}

// contain is deferred by every call: a panic that leaves Go for C ends the process.
func contain(sd C.int, rc *C.int) {
	if reason := recover(); reason != nil {
		*rc = -1
		if n := nodes.get(int(sd)); n != nil {
			n.fail(fmt.Errorf("internal error: %v", reason))
		}
	}
}

// set applies a setting to the node behind sd.
func set(sd C.int, apply func(*node)) (rc C.int) {
	defer contain(sd, &rc)
	n := nodes.get(int(sd))
	if n == nil {
		return C.EBADF
	}
	return answer(n, n.configure(apply))
}

// fill copies text and its closing NUL to a C buffer of size bytes.
func fill(buf *C.char, size C.size_t, text string) C.int {
	if buf == nil || size == 0 || C.size_t(len(text))+1 > size {
		return C.ERANGE
	}
	out := unsafe.Slice((*byte)(unsafe.Pointer(buf)), len(text)+1)
	copy(out, text)
	out[len(text)] = 0
	return 0
}

//export tailscale_new
func tailscale_new() C.int { return C.int(nodes.add()) }

//export tailscale_set_dir
func tailscale_set_dir(sd C.int, dir *C.char) C.int {
	return set(sd, func(n *node) { n.server.Dir = C.GoString(dir) })
}

//export tailscale_set_hostname
func tailscale_set_hostname(sd C.int, name *C.char) C.int {
	return set(sd, func(n *node) { n.server.Hostname = C.GoString(name) })
}

//export tailscale_set_authkey
func tailscale_set_authkey(sd C.int, key *C.char) C.int {
	return set(sd, func(n *node) { n.server.AuthKey = C.GoString(key) })
}

//export tailscale_set_control_url
func tailscale_set_control_url(sd C.int, url *C.char) C.int {
	return set(sd, func(n *node) { n.server.ControlURL = C.GoString(url) })
}

//export tailscale_set_ephemeral
func tailscale_set_ephemeral(sd C.int, on C.int) C.int {
	return set(sd, func(n *node) { n.server.Ephemeral = on != 0 })
}

// tailscale_set_logfd takes over fd; -1 discards the node's logs.
//
//export tailscale_set_logfd
func tailscale_set_logfd(sd, fd C.int) C.int {
	return set(sd, func(n *node) { n.logTo(int(fd)) })
}

// tsheadroom_set_tags names the tags to ask for, comma separated. It is not in
// libtailscale's API: an OAuth client secret in place of an auth key needs them.
//
//export tsheadroom_set_tags
func tsheadroom_set_tags(sd C.int, tags *C.char) C.int {
	return set(sd, func(n *node) {
		n.server.AdvertiseTags = strings.FieldsFunc(C.GoString(tags), func(r rune) bool { return r == ',' || r == ' ' })
	})
}

// tsheadroom_set_port names the UDP port for WireGuard; 0, and one that is taken, mean
// any. It is not in libtailscale's API: peers find a restarted node at once where they
// left it.
//
//export tsheadroom_set_port
func tsheadroom_set_port(sd, port C.int) C.int {
	if port < 0 || port > math.MaxUint16 {
		return C.ERANGE
	}
	return set(sd, func(n *node) { n.server.Port = uint16(port) })
}

//export tailscale_start
func tailscale_start(sd C.int) (rc C.int) {
	defer contain(sd, &rc)
	n := nodes.get(int(sd))
	if n == nil {
		return C.EBADF
	}
	return answer(n, n.start())
}

//export tailscale_close
func tailscale_close(sd C.int) (rc C.int) {
	defer contain(sd, &rc)
	n := nodes.remove(int(sd))
	if n == nil {
		return C.EBADF
	}
	if n.close() != nil {
		return -1 // the handle is gone, and the text with it
	}
	return 0
}

//export tailscale_errmsg
func tailscale_errmsg(sd C.int, buf *C.char, size C.size_t) (rc C.int) {
	defer contain(sd, &rc)
	n := nodes.get(int(sd))
	if n == nil {
		return C.EBADF
	}
	return fill(buf, size, n.failure())
}

//export tailscale_getips
func tailscale_getips(sd C.int, buf *C.char, size C.size_t) (rc C.int) {
	defer contain(sd, &rc)
	n := nodes.get(int(sd))
	if n == nil {
		return C.EBADF
	}
	ips, err := n.addresses()
	if err != nil {
		return answer(n, err)
	}
	return fill(buf, size, strings.Join(ips, ","))
}

//export tailscale_loopback
func tailscale_loopback(sd C.int, addrOut *C.char, addrLen C.size_t, proxyCredOut, localCredOut *C.char) (rc C.int) {
	defer contain(sd, &rc)
	n := nodes.get(int(sd))
	if n == nil {
		return C.EBADF
	}
	addr, proxyCred, localCred, err := n.loopback()
	if err != nil {
		return answer(n, err)
	}
	const credSize = 33 // the API's: 32 hexadecimal digits and the NUL
	if rc := fill(addrOut, addrLen, addr); rc != 0 {
		return rc
	}
	if rc := fill(proxyCredOut, credSize, proxyCred); rc != 0 {
		return rc
	}
	return fill(localCredOut, credSize, localCred)
}

// tailscale_listen leaves a socket's descriptor in out; tailscale_accept says what arrives on it.
//
//export tailscale_listen
func tailscale_listen(sd C.int, network, addr *C.char, out *C.int) (rc C.int) {
	defer contain(sd, &rc)
	n := nodes.get(int(sd))
	if n == nil {
		return C.EBADF
	}
	if out == nil {
		return C.ERANGE
	}
	fd, err := n.listen(C.GoString(network), C.GoString(addr))
	if err != nil {
		return answer(n, err)
	}
	*out = C.int(fd)
	return 0
}

// tailscale_accept is the blocking way to take a connection. An event loop rather
// receives the messages by itself: each is one connection, its descriptor as
// SCM_RIGHTS and the peer's "ip:port" as the text.
//
//export tailscale_accept
func tailscale_accept(listener C.int, out *C.int) (rc C.int) {
	defer contain(-1, &rc)
	if out == nil {
		return C.ERANGE
	}
	fd, err := bridge.Accept(int(listener))
	if err == unix.EBADF || err == unix.ENOTSOCK {
		return C.EBADF
	}
	if err != nil {
		return -1
	}
	*out = C.int(fd)
	return 0
}

// tailscale_getremoteaddr names the tailnet peer of an accepted descriptor. It goes
// by the socket, not by its number, which differs on the two sides of the hand-over.
//
//export tailscale_getremoteaddr
func tailscale_getremoteaddr(listener, conn C.int, buf *C.char, size C.size_t) (rc C.int) {
	defer contain(-1, &rc)
	addr, ok := nodes.peer(int(conn))
	if !ok {
		return C.EBADF
	}
	return fill(buf, size, addr)
}
