package bridge

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Idle connections are many and busy ones few: a buffer starts small and grows
	// with the first reads that fill it.
	firstBuffer = 2 << 10
	lastBuffer  = 128 << 10
	// lingerTime is how long a connection whose owner has closed is still read, so
	// that a peer in the middle of sending gets the answer and not a reset.
	lingerTime = 2 * time.Second
	// hangupPoll is how often a half-closed connection is looked at for its owner's
	// full close, which brings no event of its own.
	hangupPoll = 250 * time.Millisecond
)

// Variables for tests only.
var (
	// stallTime is how long a peer may take no byte of what its owner writes.
	stallTime = time.Minute
	// partingTime is what a peer has in all to take the rest once the owner has closed.
	partingTime = 10 * time.Second
	// stallPoll is how often a write that makes no progress looks at these.
	stallPoll = time.Second
)

// pair returns the two ends of a socket pair: ours in Go's poller, theirs blocking.
func pair() (*net.UnixConn, int, error) {
	fds, err := socketpair()
	if err != nil {
		return nil, -1, err
	}
	// FileConn takes a copy and makes it non-blocking. Fd() must not be called on
	// it again: that would undo it and cost a thread.
	file := os.NewFile(uintptr(fds[0]), "bridge")
	conn, err := net.FileConn(file)
	file.Close()
	if err != nil {
		unix.Close(fds[1])
		return nil, -1, err
	}
	local, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		unix.Close(fds[1])
		return nil, -1, fmt.Errorf("a socket pair is a %T", conn)
	}
	return local, fds[1], nil
}

// link joins one accepted connection to the descriptor that stands for it.
type link struct {
	bridge *Bridge
	id     socketID
	addr   string
	tail   net.Conn      // the tailnet's side
	local  *net.UnixConn // the owner's side

	inboundDone atomic.Bool
}

// abort ends both sides at once.
func (k *link) abort() {
	defer k.bridge.contain(func() {})
	k.local.Close()
	k.tail.Close()
}

// run pumps both directions until both have ended.
func (k *link) run() {
	defer k.bridge.contain(func() {})
	defer k.bridge.forget(k)
	defer k.abort()
	var wg sync.WaitGroup
	wg.Go(k.inbound)
	wg.Go(k.outbound)
	wg.Wait()
}

// inbound carries the peer's bytes to the owner.
func (k *link) inbound() {
	defer k.inboundDone.Store(true)
	defer k.bridge.contain(k.abort)
	readErr, writeErr := pump(k.local, k.tail)
	switch {
	case writeErr != nil: // the owner has closed; let the peer finish its sentence
		k.tail.SetReadDeadline(time.Now().Add(lingerTime))
		io.Copy(io.Discard, k.tail)
	case readErr == io.EOF:
		k.local.CloseWrite()
	default: // reset: the owner must not take it for an orderly end and keep waiting
		k.abort()
	}
}

// outbound carries the owner's bytes to the peer.
func (k *link) outbound() {
	defer k.bridge.contain(k.abort)
	readErr, writeErr := pump(impatient{k}, k.local)
	if writeErr != nil || readErr != io.EOF {
		k.abort()
		return
	}
	if half, ok := k.tail.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	for !k.inboundDone.Load() && !k.hungUp() {
		time.Sleep(hangupPoll)
	}
	k.bridge.linger(k)
	k.tail.SetReadDeadline(time.Now().Add(lingerTime))
}

// hungUp says whether the owner has closed its end, as opposed to having shut down
// the sending direction only.
func (k *link) hungUp() bool {
	raw, err := k.local.SyscallConn()
	if err != nil {
		return true
	}
	up := true
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(fds, 0)
		up = err == nil && (n == 0 || fds[0].Revents&(unix.POLLHUP|unix.POLLERR) == 0)
	})
	return err != nil || !up
}

// impatient writes to a link's peer, and gives up on one that takes nothing. While the
// owner waits it sees that its bytes do not go, and has limits of its own; once it has
// closed, nobody else would ever end this.
type impatient struct{ link *link }

func (w impatient) Write(p []byte) (int, error) {
	k, taken := w.link, 0
	progress := time.Now()
	var parting time.Time
	for {
		k.tail.SetWriteDeadline(time.Now().Add(stallPoll))
		n, err := k.tail.Write(p[taken:])
		taken += n
		var late net.Error
		if err == nil || !errors.As(err, &late) || !late.Timeout() {
			return taken, err
		}
		now := time.Now()
		if n > 0 {
			progress = now
		}
		if parting.IsZero() && k.hungUp() {
			parting = now
			k.bridge.linger(k)
		}
		if now.Sub(progress) >= stallTime || !parting.IsZero() && now.Sub(parting) >= partingTime {
			return taken, err
		}
	}
}

// pump copies until one side fails; exactly one of the errors is set. The end of
// src is io.EOF as its error.
func pump(dst io.Writer, src io.Reader) (readErr, writeErr error) {
	buf := make([]byte, firstBuffer)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return nil, werr
			}
		}
		if err != nil {
			return err, nil
		}
		if n == len(buf) && n < lastBuffer {
			buf = make([]byte, min(4*n, lastBuffer))
		}
	}
}
