package bridge

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errPeerGone says that a peer reset its connection before it could be handed over.
var errPeerGone = errors.New("the peer has gone")

// listener passes what it accepts over a socket, one message a connection.
type listener struct {
	bridge  *Bridge
	accepts net.Listener
	sends   *net.UnixConn
	once    sync.Once
}

func (l *listener) close() {
	l.once.Do(func() {
		l.accepts.Close()
		l.sends.Close()
		l.bridge.mu.Lock()
		delete(l.bridge.listeners, l)
		l.bridge.mu.Unlock()
	})
}

// awaitHangup closes the listener when the owner closes its end. Nothing is ever
// sent in that direction.
func (l *listener) awaitHangup() {
	defer l.bridge.contain(l.close)
	var one [1]byte
	l.sends.Read(one[:])
	l.close()
}

func (l *listener) acceptLoop() {
	defer l.close()
	for l.acceptOne() {
	}
}

// acceptOne serves one connection, and says whether there may be another one.
func (l *listener) acceptOne() (more bool) {
	// Whatever is wrong with one connection, the next one is served.
	defer l.bridge.contain(func() {
		time.Sleep(acceptPause)
		more = true
	})
	conn, err := l.accepts.Accept()
	if err != nil {
		return false
	}
	handedOver := false
	defer func() {
		if !handedOver {
			conn.Close() // its peer sees at once that nobody serves it
		}
	}()
	err = l.handOver(conn)
	handedOver = err == nil
	if handedOver || errors.Is(err, errPeerGone) {
		return true
	}
	if errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) {
		return false
	}
	l.bridge.say("a connection cannot be handed over", err.Error())
	time.Sleep(acceptPause) // out of descriptors, most likely: the next one may fare better
	return true
}

// handOver makes a descriptor for conn and sends it to the owner.
func (l *listener) handOver(conn net.Conn) error {
	// A connection that was reset since has no remote address any more in tsnet's network stack.
	remote := conn.RemoteAddr()
	if remote == nil {
		return errPeerGone
	}
	ours, theirs, err := pair()
	if err != nil {
		return err
	}
	defer unix.Close(theirs) // the message carries a copy
	k := &link{bridge: l.bridge, addr: remote.String(), tail: conn, local: ours}
	running := false
	defer func() {
		if !running {
			k.abort()
			l.bridge.forget(k)
		}
	}()
	if k.id, err = identify(theirs); err != nil {
		return err
	}
	if !l.bridge.add(k) {
		return net.ErrClosed
	}
	if _, _, err := l.sends.WriteMsgUnix([]byte(k.addr), unix.UnixRights(theirs), nil); err != nil {
		return err
	}
	running = true
	go k.run()
	return nil
}

// Accept takes one connection from an end that Serve returned, waiting as long as
// that descriptor lets it.
func Accept(fd int) (int, error) {
	text := make([]byte, 256)
	control := make([]byte, unix.CmsgSpace(4))
	for {
		n, controlLen, _, _, err := unix.Recvmsg(fd, text, control, cloexecFlag)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, err
		}
		if n == 0 && controlLen == 0 {
			return -1, net.ErrClosed
		}
		return received(control[:controlLen])
	}
}

func received(control []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return -1, err
	}
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return -1, unix.EMFILE // the kernel drops what there is no number for
}
