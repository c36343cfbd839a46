package main

import (
	"net"
	"reflect"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// The network stack's own times are Linux's: a connection whose peer has vanished lasts
// over two hours, and one whose peer acknowledges but takes nothing lasts for ever, also
// after it was closed here. A gateway's calls last seconds. A relayed path may be away
// for half a minute.
const (
	keepaliveIdle     = time.Minute
	keepaliveInterval = 15 * time.Second
	// ackTime is how long a peer may leave bytes, or the question whether it is there,
	// without an answer. With the times above an idle connection ends 75 s after its peer.
	ackTime = time.Minute
)

// timed is a listener whose connections do not outlast their peers for long.
type timed struct{ net.Listener }

func (l timed) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		setTimes(conn)
	}
	return conn, err
}

func setTimes(conn net.Conn) {
	ep := endpoint(conn)
	if ep == nil {
		return
	}
	idle, interval := tcpip.KeepaliveIdleOption(keepaliveIdle), tcpip.KeepaliveIntervalOption(keepaliveInterval)
	unacked := tcpip.TCPUserTimeoutOption(ackTime)
	// Where the peer has gone meanwhile these fail, and so will all that follows.
	ep.SetSockOpt(&idle)
	ep.SetSockOpt(&interval)
	ep.SetSockOpt(&unacked)
}

// endpoint is what the network stack has of a connection. gonet keeps it to itself and
// has no method for these options; a test fails when a new gonet has another shape.
func endpoint(conn net.Conn) tcpip.Endpoint {
	tcp, ok := conn.(*gonet.TCPConn)
	if !ok {
		return nil
	}
	field := reflect.ValueOf(tcp).Elem().FieldByName("ep")
	if !field.IsValid() || field.Type() != reflect.TypeFor[tcpip.Endpoint]() {
		return nil
	}
	return *(*tcpip.Endpoint)(unsafe.Pointer(field.UnsafeAddr()))
}
