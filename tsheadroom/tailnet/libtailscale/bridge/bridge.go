// Package bridge hands accepted connections to another owner in this process as
// descriptors: what that owner reads and writes there crosses to the connection.
//
// Each connection costs two goroutines that wait in Go's network poller, and no
// thread: the descriptors are ends of non-blocking socket pairs.
package bridge

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
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
	// maxLingering bounds the links that still have something to say to their peers
	// although their owner has closed: nobody else counts those.
	maxLingering = 128
	// sayAgain is how long a sentence is not said again.
	sayAgain = 10 * time.Second
)

// Bridge owns listeners and the connections that came from them.
type Bridge struct {
	// Say, if set before the first use, takes sentences for the operator. It must not block.
	Say func(sentence string)

	mu        sync.Mutex
	closed    bool
	listeners map[*listener]struct{}
	links     map[*link]struct{}
	byID      map[socketID]*link
	lingering []*link // the longest lingering first
	said      map[string]time.Time
}

// New returns a bridge with nothing on it.
func New() *Bridge {
	return &Bridge{
		listeners: map[*listener]struct{}{},
		links:     map[*link]struct{}{},
		byID:      map[socketID]*link{},
		said:      map[string]time.Time{},
	}
}

// say tells the operator, each topic once in a while. Topics are few and fixed.
func (b *Bridge) say(topic, detail string) {
	b.mu.Lock()
	now := time.Now()
	last, before := b.said[topic]
	quiet := before && now.Sub(last) < sayAgain
	if !quiet {
		b.said[topic] = now
	}
	b.mu.Unlock()
	if b.Say != nil && !quiet {
		b.Say(topic + ": " + detail)
	}
}

// contain is deferred by every goroutine here: a panic that leaves one would end the
// process, and with it everybody's connections. It costs only what end closes.
func (b *Bridge) contain(end func()) {
	if reason := recover(); reason != nil {
		b.say("a connection was closed after an internal error", fmt.Sprintf("%v at %s", reason, culprit()))
		end()
	}
}

// culprit is the place of the panic that is being recovered from.
func culprit() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") || !more {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
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
	k, ok := b.byID[id]
	if !ok {
		return "", false
	}
	return k.addr, true
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
	b.byID[k.id] = k
	return true
}

// linger notes that a link's owner has closed. Too many of these at a time, and the
// one that had the longest time is cut off.
func (b *Bridge) linger(k *link) {
	b.mu.Lock()
	var oldest *link
	if _, open := b.links[k]; open && !slices.Contains(b.lingering, k) {
		b.lingering = append(b.lingering, k)
		if len(b.lingering) > maxLingering {
			oldest = b.lingering[0]
			b.lingering = b.lingering[1:]
		}
	}
	b.mu.Unlock()
	if oldest != nil {
		oldest.abort()
	}
}

func (b *Bridge) forget(k *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.links, k)
	if b.byID[k.id] == k { // the owner's end may be long gone, and its identity another link's
		delete(b.byID, k.id)
	}
	b.lingering = slices.DeleteFunc(b.lingering, func(other *link) bool { return other == k })
}

func keys[K comparable](set map[K]struct{}) []K {
	all := make([]K, 0, len(set))
	for k := range set {
		all = append(all, k)
	}
	return all
}
