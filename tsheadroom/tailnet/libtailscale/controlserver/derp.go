package main

import (
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"net/http/httptest"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stun/stuntest"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
	"tailscale.com/types/nettype"
)

// loopback is where the whole private tailnet lives.
const loopback = "127.0.0.1"

// startDERP starts a relay with a certificate of its own and a STUN server, and
// describes the two to nodes.
func startDERP(logf logger.Logf) *tailcfg.DERPMap {
	relay := derpserver.New(key.NewNode(), logf)
	web := httptest.NewUnstartedServer(derpserver.Handler(relay))
	web.Config.ErrorLog = logger.StdLogger(logf)
	// HTTP/2 has no connection upgrade, which DERP starts with.
	web.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	web.StartTLS()
	relayAddr, ok := web.Listener.Addr().(*net.TCPAddr)
	if !ok {
		log.Fatalf("the relay listens on %v", web.Listener.Addr())
	}
	stunAddr, _ := stuntest.ServeWithPacketListener(standIn{}, nettype.Std{})
	node := &tailcfg.DERPNode{
		Name: "1a", RegionID: 1, HostName: loopback, IPv4: loopback, IPv6: "none",
		DERPPort: relayAddr.Port, STUNPort: stunAddr.Port, STUNTestIP: loopback,
		InsecureForTests: true,
	}
	region := &tailcfg.DERPRegion{RegionID: 1, RegionCode: "private", Nodes: []*tailcfg.DERPNode{node}}
	return &tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{1: region}}
}
