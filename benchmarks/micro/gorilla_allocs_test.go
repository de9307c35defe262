package micro

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	theirs "github.com/gorilla/websocket"

	ours "github.com/seed70bc5565/websocket/gorilla"
)

// gorillaConn is what the two packages of gorilla's shape have in common.
type gorillaConn interface {
	ReadMessage() (int, []byte, error)
	WriteMessage(int, []byte) error
	NextReader() (int, io.Reader, error)
	NextWriter(int) (io.WriteCloser, error)
	ReadJSON(any) error
	WriteJSON(any) error
	WriteControl(int, []byte, time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	SetPongHandler(func(string) error)
	Close() error
}

// gorillaPair returns the server's and the client's end of a connection.
func gorillaPair(t testing.TB, upgrade func(w http.ResponseWriter, r *http.Request) (gorillaConn, error), dial func(url string) (gorillaConn, error)) (server, client gorillaConn) {
	t.Helper()
	conns, done := make(chan gorillaConn, 1), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrade(w, r)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		conns <- c
		<-done
	}))
	t.Cleanup(s.Close)
	client, err := dial("ws" + s.URL[4:])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); close(done) })
	return <-conns, client
}

func theirPair(t testing.TB, deflate bool) (server, client gorillaConn) {
	return gorillaPair(t,
		func(w http.ResponseWriter, r *http.Request) (gorillaConn, error) {
			return (&theirs.Upgrader{EnableCompression: deflate}).Upgrade(w, r, nil)
		},
		func(url string) (gorillaConn, error) {
			c, _, err := (&theirs.Dialer{EnableCompression: deflate}).Dial(url, nil)
			return c, err
		})
}

func ourPair(t testing.TB, deflate bool) (server, client gorillaConn) {
	return gorillaPair(t,
		func(w http.ResponseWriter, r *http.Request) (gorillaConn, error) {
			return (&ours.Upgrader{EnableCompression: deflate}).Upgrade(w, r, nil)
		},
		func(url string) (gorillaConn, error) {
			c, _, err := (&ours.Dialer{EnableCompression: deflate}).Dial(url, nil)
			return c, err
		})
}

// A message costs no more allocations than in gorilla/websocket: each way to
// send one, and to receive it.
func TestGorillaAllocations(t *testing.T) {
	payload := make([]byte, 1000)
	buf := make([]byte, 4096)
	fail := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	ways := map[string]func(from, to gorillaConn){
		"ReadMessage, WriteMessage": func(from, to gorillaConn) {
			fail(from.WriteMessage(ours.BinaryMessage, payload))
			_, _, err := to.ReadMessage()
			fail(err)
		},
		"NextReader": func(from, to gorillaConn) {
			fail(from.WriteMessage(ours.BinaryMessage, payload))
			_, r, err := to.NextReader()
			fail(err)
			for err == nil {
				_, err = r.Read(buf)
			}
		},
		"NextWriter": func(from, to gorillaConn) {
			w, err := from.NextWriter(ours.BinaryMessage)
			fail(err)
			_, err = w.Write(payload)
			fail(err)
			fail(w.Close())
			_, _, err = to.ReadMessage()
			fail(err)
		},
		"JSON": func(from, to gorillaConn) {
			fail(from.WriteJSON("hello"))
			var s string
			fail(to.ReadJSON(&s))
		},
		"deadlines": func(from, to gorillaConn) {
			fail(from.SetWriteDeadline(time.Now().Add(time.Minute)))
			fail(from.WriteMessage(ours.BinaryMessage, payload))
			fail(to.SetReadDeadline(time.Now().Add(time.Minute)))
			_, _, err := to.ReadMessage()
			fail(err)
		},
		"ping": func(from, to gorillaConn) {
			fail(from.WriteControl(ours.PingMessage, nil, time.Now().Add(time.Minute)))
			fail(from.WriteMessage(ours.BinaryMessage, payload))
			_, _, err := to.ReadMessage()
			fail(err)
		},
	}
	for name, way := range ways {
		for _, deflate := range []bool{false, true} {
			for _, fromServer := range []bool{true, false} {
				count := func(server, client gorillaConn) float64 {
					if !fromServer {
						server, client = client, server
					}
					return testing.AllocsPerRun(200, func() { way(server, client) })
				}
				want := count(theirPair(t, deflate))
				got := count(ourPair(t, deflate))
				t.Logf("%-26s compression %-5v from the server %-5v: gorilla %v, ours %v", name, deflate, fromServer, want, got)
				if got > want {
					t.Errorf("%s, compression %v, from the server %v: %v allocations, gorilla has %v", name, deflate, fromServer, got, want)
				}
			}
		}
	}
}
