package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
)

// ways are the paths whose requests are counted.
var ways = []string{"/short", "/long", "/sse", "/ws"}

// maxClients bounds the memory of a meter. When there are more, it forgets all
// of them.
const maxClients = 1000

// A meter counts the bytes of TCP connections, headers and all, for each client
// and each way. Several requests follow each other on one connection, of
// different ways. So a connection belongs to the way of its present request,
// from the request's first byte to the last of the response.
type meter struct {
	mu      sync.Mutex
	clients map[string]map[string]*count // guarded by mu: by the client's name and the way
}

// A count is what one way has used for one client.
type count struct {
	Requests int   `json:"requests"`
	In       int64 `json:"in"`  // bytes to the server
	Out      int64 `json:"out"` // bytes from the server
}

// of returns what a client has used.
func (m *meter) of(client string) map[string]count {
	m.mu.Lock()
	defer m.mu.Unlock()
	used := make(map[string]count)
	for _, way := range ways {
		used[way[1:]] = count{}
	}
	for way, c := range m.clients[client] {
		used[way[1:]] = *c
	}
	return used
}

type meteredKey struct{}

// install makes s count what goes through l, and returns the listener to use in
// its place.
func (m *meter) install(s *http.Server, l net.Listener) net.Listener {
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, meteredKey{}, c)
	}
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if c, ok := c.(*meteredConn); ok && state == http.StateIdle {
			m.begin(c, nil) // what comes now is the next request's
		}
	}
	next := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(meteredKey{}).(*meteredConn); ok {
			m.begin(c, m.request(r))
		}
		next.ServeHTTP(w, r)
	})
	return meteredListener{l, m}
}

// request finds where to count r, and counts it as a request.
func (m *meter) request(r *http.Request) *count {
	m.mu.Lock()
	defer m.mu.Unlock()
	client := r.URL.Query().Get("client")
	for _, way := range ways {
		if r.URL.Path != way || client == "" {
			continue
		}
		if m.clients == nil || len(m.clients) == maxClients && m.clients[client] == nil {
			m.clients = make(map[string]map[string]*count)
		}
		if m.clients[client] == nil {
			m.clients[client] = make(map[string]*count)
		}
		if m.clients[client][way] == nil {
			m.clients[strings.Clone(client)][way] = new(count)
		}
		c := m.clients[client][way]
		c.Requests++
		return c
	}
	return new(count) // the page's files and all else: counted for no page
}

// begin gives c, and what has gone through it since its last request, to a
// count; nil: to the next.
func (m *meter) begin(c *meteredConn, to *count) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.to = to
	if to != nil {
		to.In += c.pending.In
		to.Out += c.pending.Out
		c.pending = count{}
	}
}

type meteredListener struct {
	net.Listener
	m *meter
}

func (l meteredListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &meteredConn{Conn: c, m: l.m}, nil
}

type meteredConn struct {
	net.Conn
	m       *meter
	to      *count // guarded by the meter's mu: the present request's; nil between requests
	pending count  // guarded by the meter's mu: what has come since the last request
}

func (c *meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.add(n, 0)
	return n, err
}

func (c *meteredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.add(0, n)
	return n, err
}

func (c *meteredConn) add(in, out int) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	to := &c.pending
	if c.to != nil {
		to = c.to
	}
	to.In += int64(in)
	to.Out += int64(out)
}
