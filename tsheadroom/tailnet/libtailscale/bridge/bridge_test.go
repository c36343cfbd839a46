package bridge

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait for something that happens by itself.
const patience = 20 * time.Second

// serve puts a TCP listener behind a bridge; the bridge knows nothing of tailnets.
func serve(t *testing.T) (b *Bridge, addr string, fd int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b = New()
	return b, ln.Addr().String(), behind(t, b, ln)
}

// behind puts a listener behind a bridge until the test ends.
func behind(t *testing.T, b *Bridge, ln net.Listener) (fd int) {
	t.Helper()
	fd, err := b.Serve(ln)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(); unix.Close(fd) })
	return fd
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// owner accepts a connection and gives it as the other owner in the process sees it.
func owner(t *testing.T, listener int) *os.File {
	t.Helper()
	fd, err := Accept(listener)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "owner")
	t.Cleanup(func() { file.Close() })
	return file
}

func until(t *testing.T, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

func (b *Bridge) open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.links)
}

func TestBytesCrossBothWays(t *testing.T) {
	_, addr, listener := serve(t)
	peer := dial(t, addr)
	mine := owner(t, listener)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MB: more than any buffer on the way
	go func() {
		peer.Write(big)
		peer.CloseWrite()
	}()
	got, err := io.ReadAll(mine)
	if err != nil || !bytes.Equal(got, big) {
		t.Fatalf("the owner got %d bytes, %v", len(got), err)
	}
	// The peer has shut its writing side; the answer still goes out.
	go func() {
		mine.Write(big)
		mine.Close()
	}()
	got, err = io.ReadAll(peer)
	if err != nil || !bytes.Equal(got, big) {
		t.Fatalf("the peer got %d bytes, %v", len(got), err)
	}
}

func TestTheMessageCarriesThePeersAddress(t *testing.T) {
	b, addr, listener := serve(t)
	for range 20 {
		peer := dial(t, addr)
		text := make([]byte, 256)
		control := make([]byte, unix.CmsgSpace(4))
		n, oobn, _, _, err := unix.Recvmsg(listener, text, control, 0)
		if err != nil {
			t.Fatal(err)
		}
		if want := peer.LocalAddr().String(); string(text[:n]) != want {
			t.Errorf("the message says %q, the peer is %s", text[:n], want)
		}
		fd, err := received(control[:oobn])
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := b.Peer(fd); !ok || got != peer.LocalAddr().String() {
			t.Errorf("Peer says %q, %v", got, ok)
		}
		unix.Close(fd)
	}
	if got, ok := b.Peer(listener); ok {
		t.Errorf("a descriptor that is no connection has the peer %q", got)
	}
}

func TestOwnersCloseEndsTheConnection(t *testing.T) {
	b, addr, listener := serve(t)
	peer := dial(t, addr)
	mine := owner(t, listener)
	mine.Close()
	if n, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("the peer read %d bytes, %v", n, err)
	}
	peer.Close()
	until(t, "the link is forgotten", func() bool { return b.open() == 0 })
}

func TestAPeerThatNeverClosesDoesNotKeepAClosedConnection(t *testing.T) {
	b, addr, listener := serve(t)
	dial(t, addr) // stays open to the test's end
	owner(t, listener).Close()
	until(t, "the link is forgotten", func() bool { return b.open() == 0 })
}

func TestOwnersCloseAfterItsHalfCloseIsNoticed(t *testing.T) {
	b, addr, listener := serve(t)
	peer := dial(t, addr)
	mine := owner(t, listener)
	if err := unix.Shutdown(int(mine.Fd()), unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("the half-close brought %v", err)
	}
	fmt.Fprint(peer, "still heard")
	got := make([]byte, len("still heard"))
	if _, err := io.ReadFull(mine, got); err != nil {
		t.Fatalf("after its half-close the owner reads %v", err)
	}
	mine.Close()
	until(t, "the link is forgotten", func() bool { return b.open() == 0 })
}

func TestPeersResetEndsTheOwnersSide(t *testing.T) {
	_, addr, listener := serve(t)
	peer := dial(t, addr)
	mine := owner(t, listener)
	peer.SetLinger(0)
	peer.Close()
	if n, err := mine.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatalf("the owner read %d bytes, %v", n, err)
	}
	until(t, "writing fails", func() bool { _, err := mine.Write([]byte("x")); return err != nil })
}

func TestClosingTheBridgeEndsEverything(t *testing.T) {
	b, addr, listener := serve(t)
	peer := dial(t, addr)
	mine := owner(t, listener)
	b.Close()
	if n, err := mine.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the owner read %d bytes, %v", n, err)
	}
	if n, err := peer.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the peer read %d bytes, %v", n, err)
	}
	if _, err := Accept(listener); err == nil {
		t.Error("a closed bridge still gives connections")
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("a closed bridge still listens")
	}
}

func TestClosingTheBridgeLetsTheLastAnswerOut(t *testing.T) {
	b, addr, listener := serve(t)
	peer := dial(t, addr)
	mine := owner(t, listener)
	answer := bytes.Repeat([]byte("x"), 1<<20)
	received := make(chan int)
	go func() {
		all, _ := io.ReadAll(peer)
		peer.Close()
		received <- len(all)
	}()
	mine.Write(answer)
	mine.Close()
	b.Close()
	if n := <-received; n != len(answer) {
		t.Errorf("%d of %d bytes got out", n, len(answer))
	}
}

func TestClosingTheListeningEndStopsListening(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := New().Serve(ln)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	until(t, "the port is free", func() bool {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

func TestIdleConnectionsCostNoThreads(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts threads in /proc")
	}
	_, addr, listener := serve(t)
	threads := func() int {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(tasks)
	}
	open := func(n int) {
		for range n {
			dial(t, addr)
			fd, err := Accept(listener) // not as a Go file: those would be in the poller as well
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
		}
	}
	open(20)
	before := threads()
	open(200)
	if more := threads() - before; more > 10 {
		t.Errorf("200 connections added %d threads", more)
	}
}

// pipes is a listener whose connections need no descriptors, as gVisor's do.
type pipes struct {
	net.Listener
	conns chan net.Conn
}

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p pipes) Close() error { return nil }

// reset is a connection whose peer has gone, as tsnet's network stack shows it.
type reset struct{ net.Conn }

func (reset) RemoteAddr() net.Addr { return nil }

func TestAPeerThatResetBeforeItWasServedHarmsNobody(t *testing.T) {
	ln := pipes{conns: make(chan net.Conn)}
	fd := behind(t, New(), ln)
	peer, gone := net.Pipe()
	ln.conns <- reset{gone}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("the connection of a peer that has gone ended with %v", err)
	}
	_, next := net.Pipe()
	ln.conns <- next
	owner(t, fd)
	close(ln.conns)
}

// odd is a connection on which one thing goes wrong.
type odd struct {
	net.Conn
	on string
}

func (o odd) fails(on string) {
	if o.on == on {
		panic("on purpose: " + on)
	}
}

func (o odd) Read(p []byte) (int, error)  { o.fails("read"); return o.Conn.Read(p) }
func (o odd) Write(p []byte) (int, error) { o.fails("write"); return o.Conn.Write(p) }
func (o odd) Close() error                { o.fails("close"); return o.Conn.Close() }
func (o odd) RemoteAddr() net.Addr        { o.fails("address"); return o.Conn.RemoteAddr() }
func (o odd) SetWriteDeadline(at time.Time) error {
	o.fails("deadline")
	return o.Conn.SetWriteDeadline(at)
}

func TestAPanicOfOneConnectionHarmsNobodyElse(t *testing.T) {
	for _, on := range []string{"address", "read", "write", "close", "deadline"} {
		t.Run(on, func(t *testing.T) {
			ln := pipes{conns: make(chan net.Conn)}
			t.Cleanup(func() { close(ln.conns) })
			said := make(chan string, 100)
			b := New()
			b.Say = func(sentence string) { said <- sentence }
			fd := behind(t, b, ln)
			peer, conn := net.Pipe()
			ln.conns <- odd{conn, on}
			if on != "address" {
				mine := owner(t, fd)
				mine.Write([]byte("x"))
				mine.Close()
			}
			if on == "close" {
				peer.Close()
			}
			until(t, "the link is forgotten", func() bool { return b.open() == 0 })
			if got := <-said; !strings.Contains(got, "on purpose: "+on) || !strings.Contains(got, "odd") {
				t.Errorf("said %q", got)
			}
			next, conn := net.Pipe()
			ln.conns <- conn
			mine := owner(t, fd)
			go next.Write([]byte("hello"))
			if _, err := io.ReadFull(mine, make([]byte, 5)); err != nil {
				t.Error("the next connection:", err)
			}
		})
	}
}

type panicking struct {
	pipes
	times *int
}

func (p panicking) Accept() (net.Conn, error) {
	if *p.times++; *p.times == 1 {
		panic("on purpose")
	}
	return p.pipes.Accept()
}

func TestAPanicInAcceptIsNotTheListenersEnd(t *testing.T) {
	ln := panicking{pipes{conns: make(chan net.Conn)}, new(int)}
	t.Cleanup(func() { close(ln.conns) })
	fd := behind(t, New(), ln)
	_, conn := net.Pipe()
	ln.conns <- conn
	owner(t, fd)
}

func TestTheSameIsNotSaidAgainAtOnce(t *testing.T) {
	b, said := New(), 0
	b.Say = func(string) { said++ }
	for range 100 {
		b.say("descriptors", "are out")
		b.say("something", "else")
	}
	if said != 2 {
		t.Errorf("said %d sentences", said)
	}
}

// hastily shortens the times for which a peer may take nothing.
func hastily(t *testing.T, stall, parting time.Duration) {
	t.Helper()
	s, p, poll := stallTime, partingTime, stallPoll
	stallTime, partingTime, stallPoll = stall, parting, 10*time.Millisecond
	t.Cleanup(func() { stallTime, partingTime, stallPoll = s, p, poll })
}

// stuff writes to the owner's end until nothing more goes in.
func stuff(t *testing.T, mine *os.File) {
	t.Helper()
	fd := int(mine.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	for full := 0; full < 20; {
		if _, err := unix.Write(fd, buf); err == unix.EAGAIN {
			full++
			time.Sleep(5 * time.Millisecond)
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPeerThatTakesNothingDoesNotKeepAClosedConnection(t *testing.T) {
	b, addr, listener := serve(t)
	hastily(t, time.Hour, 50*time.Millisecond)
	dial(t, addr) // never reads, and stays open to the test's end
	mine := owner(t, listener)
	stuff(t, mine)
	mine.Close()
	until(t, "the link is forgotten", func() bool { return b.open() == 0 })
}

func TestAPeerThatTakesNothingIsGivenUp(t *testing.T) {
	b, addr, listener := serve(t)
	hastily(t, 50*time.Millisecond, time.Hour)
	dial(t, addr)
	mine := owner(t, listener)
	unix.SetNonblock(int(mine.Fd()), true)
	until(t, "the owner sees the end", func() bool {
		_, err := unix.Write(int(mine.Fd()), make([]byte, 64<<10))
		return err == unix.EPIPE || err == unix.ECONNRESET
	})
	until(t, "the link is forgotten", func() bool { return b.open() == 0 })
}

func TestASlowPeerGetsEverything(t *testing.T) {
	_, addr, listener := serve(t)
	hastily(t, time.Hour, time.Hour)
	peer := dial(t, addr)
	peer.SetReadBuffer(64 << 10)
	mine := owner(t, listener)
	answer := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	go func() {
		mine.Write(answer)
		mine.Close()
	}()
	var got bytes.Buffer
	for buf := make([]byte, 256<<10); ; time.Sleep(5 * time.Millisecond) { // many polls of a stalled write
		n, err := peer.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if !bytes.Equal(got.Bytes(), answer) {
		t.Errorf("%d of %d bytes arrived", got.Len(), len(answer))
	}
}

func TestLingeringLinksAreBounded(t *testing.T) {
	b := New()
	links := make([]*link, maxLingering+3)
	for i := range links {
		ours, theirs, err := pair()
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(theirs)
		_, tail := net.Pipe()
		links[i] = &link{bridge: b, id: socketID{ino: uint64(i)}, tail: tail, local: ours}
		b.add(links[i])
		b.linger(links[i])
		b.linger(links[i])
	}
	for i, k := range links {
		_, err := k.local.Write([]byte("x"))
		if ended := err != nil; ended != (i < 3) {
			t.Errorf("link %d ended: %v", i, ended)
		}
		b.forget(k)
	}
	if len(b.lingering) != 0 {
		t.Error("forgotten links linger:", len(b.lingering))
	}
}

func TestALinkForgottenLateLeavesTheNextOneItsName(t *testing.T) {
	b, fd := New(), os.Stdin
	id, err := identify(int(fd.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	old, next := &link{id: id, addr: "old"}, &link{id: id, addr: "next"}
	b.add(old)
	b.add(next) // the kernel has given the identity of a closed socket to another
	b.forget(old)
	if addr, ok := b.Peer(int(fd.Fd())); !ok || addr != "next" {
		t.Errorf("Peer says %q, %v", addr, ok)
	}
}

func TestOutOfDescriptorsIsSurvived(t *testing.T) {
	ln := pipes{conns: make(chan net.Conn)}
	t.Cleanup(func() { close(ln.conns) })
	listener := behind(t, New(), ln)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 3 // every new descriptor is refused; open ones stay
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Skip("cannot lower the limit:", err)
	}
	peer, conn := net.Pipe()
	ln.conns <- conn
	peer.SetDeadline(time.Now().Add(patience))
	_, err := peer.Read(make([]byte, 1))
	if restored := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); restored != nil {
		t.Fatal(restored)
	}
	if err != io.EOF {
		t.Errorf("the peer of a connection without a descriptor sees %v", err)
	}
	peer, conn = net.Pipe()
	defer peer.Close()
	ln.conns <- conn
	owner(t, listener)
}

func TestAcceptOnSomethingElseFails(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := Accept(int(file.Fd())); err == nil || !strings.Contains(err.Error(), "socket") {
		t.Errorf("accepting on a file: %v", err)
	}
}
