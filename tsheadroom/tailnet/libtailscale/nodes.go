package main

import (
	"errors"
	"os"
	"sync"

	"tailscale.com/tsnet"
	"tsheadroom/tailnet/libtailscale/bridge"
)

// nodes is every node that C holds a handle of.
var nodes = &table{byHandle: map[int]*node{}}

// table gives out handles. They are never reused, so that a stale one is refused.
type table struct {
	mu       sync.Mutex
	last     int
	byHandle map[int]*node
}

func (t *table) add() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	n := &node{server: new(tsnet.Server), bridge: bridge.New()}
	n.bridge.Say = n.say
	t.byHandle[t.last] = n
	return t.last
}

func (t *table) get(handle int) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byHandle[handle]
}

func (t *table) remove(handle int) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byHandle[handle]
	delete(t.byHandle, handle)
	return n
}

// peer names the tailnet peer behind a descriptor that any of the nodes handed over.
func (t *table) peer(fd int) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.byHandle {
		if addr, ok := n.bridge.Peer(fd); ok {
			return addr, true
		}
	}
	return "", false
}

var (
	errStarted    = errors.New("the node has been started; settings go before that")
	errNotStarted = errors.New("the node has not been started")
	errClosed     = errors.New("the node has been closed")
)

// node is one tsnet server and what C was given of it.
type node struct {
	server *tsnet.Server
	bridge *bridge.Bridge

	life   sync.Mutex // held while tsnet starts, works and closes: it forbids these at once
	up     bool       // guarded by life: it has started, and without an error
	closed bool       // guarded by life: whoever got hold of the node before that comes too late

	mu      sync.Mutex // guards what follows; never held while tsnet works
	started bool
	logs    *logPipe
	lastErr string
}

func (n *node) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lastErr = err.Error()
}

func (n *node) failure() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lastErr
}

// configure applies a setting; tsnet reads its settings once, at the start.
func (n *node) configure(apply func(*node)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.started {
		return errStarted
	}
	apply(n)
	return nil
}

// logTo sends the node's logs to fd, which is the node's from now on. Called under n.mu.
func (n *node) logTo(fd int) {
	if n.logs != nil {
		n.logs.close()
		n.logs = nil
	}
	logf := func(string, ...any) {}
	if fd >= 0 {
		n.logs = newLogPipe(os.NewFile(uintptr(fd), "log"))
		logf = n.logs.logf
	}
	n.server.Logf, n.server.UserLogf = logf, logf
}

// say passes a sentence on to whoever reads the node's logs.
func (n *node) say(sentence string) {
	n.mu.Lock()
	logs := n.logs
	n.mu.Unlock()
	if logs != nil {
		logs.logf("%s%s", forOperator, sentence)
	}
}

func (n *node) start() error {
	n.life.Lock()
	defer n.life.Unlock()
	if n.closed { // nobody could close what would run from here on
		return errClosed
	}
	n.mu.Lock()
	n.started = true
	n.mu.Unlock()
	err := n.server.Start()
	n.up = err == nil
	return err
}

// running says whether tsnet's other methods may be called: some start a node by
// themselves, others crash without one. Called under n.life.
func (n *node) running() error {
	if n.closed {
		return errClosed
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.started {
		return errNotStarted
	}
	return nil
}

func (n *node) addresses() ([]string, error) {
	n.life.Lock()
	defer n.life.Unlock()
	if err := n.running(); err != nil {
		return nil, err
	}
	if err := n.server.Start(); err != nil { // answers what the first start answered
		return nil, err
	}
	ips := []string{}
	ip4, ip6 := n.server.TailscaleIPs()
	if ip4.IsValid() {
		ips = append(ips, ip4.String())
	}
	if ip6.IsValid() {
		ips = append(ips, ip6.String())
	}
	return ips, nil
}

func (n *node) loopback() (addr, proxyCred, localCred string, err error) {
	n.life.Lock()
	defer n.life.Unlock()
	if err := n.running(); err != nil {
		return "", "", "", err
	}
	return n.server.Loopback()
}

func (n *node) listen(network, addr string) (int, error) {
	n.life.Lock()
	defer n.life.Unlock()
	if err := n.running(); err != nil {
		return -1, err
	}
	ln, err := n.server.Listen(network, addr)
	if err != nil {
		return -1, err
	}
	return n.bridge.Serve(timed{ln})
}

// close ends every descriptor handed over, then the node.
func (n *node) close() error {
	n.bridge.Close()
	n.life.Lock()
	defer n.life.Unlock()
	n.closed = true
	var err error
	if n.up { // closing crashes a server that never started, or failed to
		err = n.server.Close()
	}
	n.mu.Lock()
	logs := n.logs
	n.mu.Unlock()
	if logs != nil {
		logs.close()
	}
	return err
}
