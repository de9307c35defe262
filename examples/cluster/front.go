package main

import (
	"context"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"time"

	"github.com/seed70bc5565/websocket/examples/internal/site"
)

// nodeTimeout is how long a node may take to accept a connection.
const nodeTimeout = time.Second

// front is a balancer: each request, and each WebSocket connection, goes to a
// node that is there. Which one does not matter: what a page has missed is
// known to all nodes.
func front(nodes []string) *site.Program {
	transport := &http.Transport{
		DialContext:       dialAny(nodes),
		DisableKeepAlives: true, // or the next request would go to the same node
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "node"
			r.Out.Host = r.In.Host // the node compares it with the origin
		},
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0), // pages and nodes that go are nothing to tell
	}
	return &site.Program{Page: page, Routes: map[string]http.Handler{"GET /": proxy}}
}

// dialAny connects to one of the nodes, in a random order.
func dialAny(nodes []string) func(ctx context.Context, network, _ string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (c net.Conn, err error) {
		d := net.Dialer{Timeout: nodeTimeout}
		for _, i := range rand.Perm(len(nodes)) {
			if c, err = d.DialContext(ctx, network, nodes[i]); err == nil {
				return c, nil
			}
		}
		return nil, err
	}
}
