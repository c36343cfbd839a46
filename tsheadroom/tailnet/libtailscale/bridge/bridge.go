// Package bridge hands accepted connections to another owner in this process as
// descriptors: what that owner reads and writes there crosses to the connection.
//
// Each connection costs two goroutines that wait in Go's network poller, and no
// thread: the descriptors are ends of non-blocking socket pairs.
package bridge

import (
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// drainTime is what a closing bridge gives to answers whose writer has already
	// closed its end, so that the last response of a stopping server gets out.
	drainTime = time.Second
	// acceptPause keeps the accept loop from spinning while descriptors are out.
	acceptPause = 100 * time.Millisecond
)

// Bridge owns listeners and the connections that came from them.
type Bridge struct {
	mu        sync.Mutex
	closed    bool
	listeners map[*listener]struct{}
	links     map[*link]struct{}
	peers     map[socketID]string
}

// New returns a bridge with nothing on it.
func New() *Bridge {
	return &Bridge{
		listeners: map[*listener]struct{}{},
		links:     map[*link]struct{}{},
		peers:     map[socketID]string{},
	}
}

// socketID tells sockets apart whatever descriptor numbers they have.
type socketID struct{ dev, ino uint64 }

func identify(fd int) (socketID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return socketID{}, err
	}
	return socketID{uint64(st.Dev), st.Ino}, nil
}

// Serve accepts from ln until either side closes, and returns the caller's end: a
// blocking AF_UNIX stream socket that brings one message a connection.
func (b *Bridge) Serve(ln net.Listener) (int, error) {
	ours, theirs, err := pair()
	if err != nil {
		ln.Close()
		return -1, err
	}
	l := &listener{bridge: b, accepts: ln, sends: ours}
	b.mu.Lock()
	closed := b.closed
	if !closed {
		b.listeners[l] = struct{}{}
	}
	b.mu.Unlock()
	if closed {
		l.close()
		unix.Close(theirs)
		return -1, net.ErrClosed
	}
	go l.awaitHangup()
	go l.acceptLoop()
	return theirs, nil
}

// Peer is the address of the connection behind a descriptor that was handed over.
func (b *Bridge) Peer(fd int) (string, bool) {
	id, err := identify(fd)
	if err != nil {
		return "", false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	addr, ok := b.peers[id]
	return addr, ok
}

// Close ends the listeners and all descriptors handed over.
func (b *Bridge) Close() {
	b.mu.Lock()
	b.closed = true
	listeners := keys(b.listeners)
	b.mu.Unlock()
	for _, l := range listeners {
		l.close()
	}
	b.drain()
	b.mu.Lock()
	links := keys(b.links)
	b.mu.Unlock()
	for _, k := range links {
		k.abort()
	}
}

// drain waits, a bounded time, for the links whose owner has let go of them.
func (b *Bridge) drain() {
	deadline := time.Now().Add(drainTime)
	for time.Now().Before(deadline) {
		b.mu.Lock()
		waiting := false
		for k := range b.links {
			waiting = waiting || k.hungUp()
		}
		b.mu.Unlock()
		if !waiting {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (b *Bridge) add(k *link) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.links[k] = struct{}{}
	b.peers[k.id] = k.addr
	return true
}

func (b *Bridge) forget(k *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.links, k)
	delete(b.peers, k.id)
}

func keys[K comparable](set map[K]struct{}) []K {
	all := make([]K, 0, len(set))
	for k := range set {
		all = append(all, k)
	}
	return all
}
