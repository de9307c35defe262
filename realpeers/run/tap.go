package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// A tap relays TCP connections to a server and counts their bytes.
type tap struct {
	addr string
	ln   net.Listener
	to   string

	mu     sync.Mutex
	counts map[string]*[2]atomic.Int64 // bytes to the server and to the client, by the address that the server sees
}

func newTap(to string) (*tap, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tap{addr: ln.Addr().String(), ln: ln, to: to, counts: make(map[string]*[2]atomic.Int64)}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go t.relay(c.(*net.TCPConn))
		}
	}()
	return t, nil
}

func (t *tap) close() { t.ln.Close() }

func (t *tap) relay(client *net.TCPConn) {
	defer client.Close()
	c, err := net.Dial("tcp", t.to)
	if err != nil {
		return
	}
	defer c.Close()
	server := c.(*net.TCPConn)
	counts := new([2]atomic.Int64)
	t.mu.Lock()
	t.counts[server.LocalAddr().String()] = counts
	t.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { pump(server, client, &counts[0]) })
	both.Go(func() { pump(client, server, &counts[1]) })
	both.Wait()
}

// pump copies one direction and passes its end on.
func pump(dst, src *net.TCPConn, n *atomic.Int64) {
	buf := make([]byte, 32<<10)
	for {
		k, err := src.Read(buf)
		n.Add(int64(k))
		if _, werr := dst.Write(buf[:k]); werr != nil || err != nil {
			if err != io.EOF {
				dst.SetLinger(0)
			}
			dst.CloseWrite()
			return
		}
	}
}

// count returns the bytes to the server and to the client of the connection
// that the server knows by its remote address.
func (t *tap) count(addr string) ([2]int64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok := t.counts[addr]
	if !ok {
		return [2]int64{}, false
	}
	return [2]int64{n[0].Load(), n[1].Load()}, true
}

// total returns the bytes to the server and to the client of all connections.
func (t *tap) total() (sum [2]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.counts {
		sum[0] += n[0].Load()
		sum[1] += n[1].Load()
	}
	return sum
}
