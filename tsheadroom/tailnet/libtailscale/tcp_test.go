package main

import (
	"net"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/waiter"
)

// recorded is an endpoint that remembers its options.
type recorded struct {
	tcpip.Endpoint
	idle, interval, unacked time.Duration
}

func (r *recorded) SetSockOpt(opt tcpip.SettableSocketOption) tcpip.Error {
	switch opt := opt.(type) {
	case *tcpip.KeepaliveIdleOption:
		r.idle = time.Duration(*opt)
	case *tcpip.KeepaliveIntervalOption:
		r.interval = time.Duration(*opt)
	case *tcpip.TCPUserTimeoutOption:
		r.unacked = time.Duration(*opt)
	}
	return nil
}

type one struct {
	net.Listener
	conn net.Conn
}

func (o one) Accept() (net.Conn, error) { return o.conn, nil }

func TestAcceptedConnectionsDoNotOutlastTheirPeers(t *testing.T) {
	ep := &recorded{}
	conn := gonet.NewTCPConn(new(waiter.Queue), ep)
	got, err := timed{one{conn: conn}}.Accept()
	if err != nil || got != net.Conn(conn) {
		t.Fatal(got, err)
	}
	if ep.idle != keepaliveIdle || ep.interval != keepaliveInterval || ep.unacked != ackTime {
		t.Errorf("the options are %v, %v, %v", ep.idle, ep.interval, ep.unacked)
	}
}

func TestConnectionsOfAnotherKindAreLeftAlone(t *testing.T) {
	conn, _ := net.Pipe()
	if got, err := (timed{one{conn: conn}}).Accept(); err != nil || got != conn {
		t.Error(got, err)
	}
}
