// Command resetter is a peer that connects over a private tailnet and resets at once,
// as a careless health check does: resetter CONTROL-URL DIRECTORY HOST:PORT COUNT.
//
// It prints how many connections it has reset.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"tailscale.com/tsnet"
	"tailscale.com/types/logger"
)

const (
	atOnce    = 8
	patience  = 25 * time.Second
	oneDial   = 5 * time.Second
	firstDial = 300 * time.Millisecond
)

func main() {
	count, err := strconv.ParseInt(os.Args[4], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	server := &tsnet.Server{
		Dir: os.Args[2], Hostname: "resetter", AuthKey: "any", ControlURL: os.Args[1],
		Logf: logger.Discard, UserLogf: logger.Discard,
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := server.Up(ctx); err != nil {
		log.Fatal(err)
	}
	// The control server tells a node of its peers a moment after it has come up.
	for reset(ctx, server, os.Args[3]) != nil && ctx.Err() == nil {
		time.Sleep(firstDial)
	}
	var left, done atomic.Int64
	left.Store(count)
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				if reset(ctx, server, os.Args[3]) == nil {
					done.Add(1)
				}
			}
		})
	}
	all.Wait()
	fmt.Println(done.Load())
}

func reset(ctx context.Context, server *tsnet.Server, address string) error {
	ctx, cancel := context.WithTimeout(ctx, oneDial)
	defer cancel()
	conn, err := server.Dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	abort(conn)
	return nil
}

// abort ends a connection with a reset. gonet has no method for it, and a closed
// connection of the network stack ends in order.
func abort(conn net.Conn) {
	field := reflect.ValueOf(conn.(*gonet.TCPConn)).Elem().FieldByName("ep")
	(*(*tcpip.Endpoint)(unsafe.Pointer(field.UnsafeAddr()))).Abort()
}
