package httpfake

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// A StreamWriter is a ResponseWriter over one end of a transport, as net/http
// gives one to the handler of an extended CONNECT.
type StreamWriter struct {
	Conn    net.Conn
	Fields  http.Header
	Status  int
	Flushes atomic.Int32
	Resets  atomic.Int32
	Stuck   chan struct{} // not nil: writes wait for it, and a reset does not end them
	Gone    atomic.Bool   // the handler has returned
}

func (w *StreamWriter) Header() http.Header    { return w.Fields }
func (w *StreamWriter) WriteHeader(status int) { w.Status = status }
func (w *StreamWriter) FlushError() error      { w.Flushes.Add(1); return nil }

func (w *StreamWriter) Write(p []byte) (int, error) {
	if w.Gone.Load() {
		panic("Write called after Handler finished")
	}
	if w.Stuck != nil {
		<-w.Stuck
	}
	return w.Conn.Write(p)
}

// SetWriteDeadline is final, as that of net/http.
func (w *StreamWriter) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() && time.Until(t) <= 0 {
		w.Resets.Add(1)
		return w.Conn.SetWriteDeadline(t)
	}
	return nil
}
