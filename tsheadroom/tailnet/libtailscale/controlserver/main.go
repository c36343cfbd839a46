// Command controlserver is a private tailnet's control server for tests and demos,
// with DERP and STUN, all on the loopback interface.
//
// It prints one line of JSON with its addresses, and a few POST requests under
// /test/ change what a real tailnet's administrator would change.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve on; port 0 chooses a free one")
	requireAuth := flag.Bool("require-auth", false, "let new nodes wait for a login at the URL that they get")
	requireKey := flag.String("require-authkey", "", "the one auth key that is let in")
	untilEOF := flag.Bool("until-eof", false, "stop when standard input ends, so as never to outlive a test")
	verbose := flag.Bool("verbose", false, "log to standard error")
	flag.Parse()

	logf := logger.Discard
	if *verbose {
		logf = log.Printf
	}
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	derp := startDERP(logf)
	control := &testcontrol.Server{
		Logf:            logf,
		Verbose:         *verbose,
		DERPMap:         derp,
		ExplicitBaseURL: "http://" + ln.Addr().String(),
		RequireAuth:     *requireAuth,
		RequireAuthKey:  *requireKey,
		AllOnline:       true,
	}
	if *untilEOF {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	node := derp.Regions[1].Nodes[0]
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"url": control.BaseURL(), "derp_port": node.DERPPort, "stun_port": node.STUNPort,
	})
	log.Fatal(http.Serve(ln, routes(control)))
}

// routes adds an administrator's wishes to what nodes ask.
func routes(control *testcontrol.Server) http.Handler {
	expired := map[key.NodePublic]bool{} // one request at a time: the administrator is one test
	mux := http.NewServeMux()
	mux.Handle("/", control)
	mux.HandleFunc("POST /test/grants", func(w http.ResponseWriter, r *http.Request) {
		caps := tailcfg.PeerCapMap{}
		if err := json.NewDecoder(r.Body).Decode(&caps); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		control.SetGlobalAppCaps(caps)
	})
	mux.HandleFunc("POST /test/login", func(w http.ResponseWriter, r *http.Request) {
		url, _ := io.ReadAll(r.Body)
		// The key that a node logs in with inherits the old one's expiry otherwise.
		for _, n := range control.AllNodes() {
			if !n.KeyExpiry.IsZero() && !expired[n.Key] {
				n.KeyExpiry = time.Time{}
				control.UpdateNode(n)
			}
		}
		if !control.CompleteAuth(strings.TrimSpace(string(url))) {
			http.Error(w, "no node waits for a login there", http.StatusNotFound)
		}
	})
	mux.HandleFunc("POST /test/expire", func(w http.ResponseWriter, r *http.Request) {
		for _, n := range control.AllNodes() {
			expired[n.Key] = true
			n.KeyExpiry = time.Now().Add(-time.Minute)
			control.UpdateNode(n)
		}
	})
	mux.HandleFunc("POST /test/tags", func(w http.ResponseWriter, r *http.Request) {
		tags := strings.FieldsFunc(r.FormValue("tags"), func(c rune) bool { return c == ',' })
		for _, n := range control.AllNodes() {
			if n.Hostinfo.Valid() && n.Hostinfo.Hostname() == r.FormValue("hostname") {
				n.Tags = tags
				control.UpdateNode(n)
				return
			}
		}
		http.Error(w, "no such node", http.StatusNotFound)
	})
	mux.HandleFunc("GET /test/nodes", func(w http.ResponseWriter, r *http.Request) {
		for _, n := range control.AllNodes() {
			fmt.Fprintln(w, n.Hostinfo.Hostname(), n.Addresses[0].Addr())
		}
	})
	return mux
}

// standIn is the testing.TB that the helpers of tailscale.com ask for, outside a test.
type standIn struct{ testing.TB }

func (standIn) Helper()                           {}
func (standIn) Cleanup(func())                    {} // the process ends with what it started
func (standIn) Logf(string, ...any)               {}
func (standIn) Fatal(args ...any)                 { log.Fatal(args...) }
func (standIn) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
