package micro

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"testing"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/benchmarks/load"
)

// What a compressed message costs each library, a JSON text of 1 KB, and how
// much it allocates.

// newDeflateFeed is newFeed for compressed texts. They refer to nothing but
// themselves, so they suit a connection with context takeover too.
func newDeflateFeed(count int) *feed {
	f := &feed{}
	texts := load.Texts(1000)
	for _, text := range texts {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, 6)
		w.Write(text)
		w.Flush()
		p := bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
		f.block = binary.BigEndian.AppendUint16(append(f.block, 0xc1, 0x80|126), uint16(len(p)))
		f.block = append(f.block, 0, 0, 0, 0) // a key that changes nothing
		f.block = append(f.block, p...)
	}
	// Whole rounds, count messages or a few more.
	f.left = int64((count+len(texts)-1)/len(texts)) * int64(len(f.block))
	return f
}

var deflateLibraries = []struct {
	name    string
	connect func(f *feed, takeover bool) (read func() int64, write func(p []byte) error)
	forgets bool // there is no context takeover
}{
	{name: "ours", connect: func(f *feed, takeover bool) (func() int64, func([]byte) error) {
		opts := &websocket.AcceptOptions{CompressionMode: websocket.CompressionNoContextTakeover}
		if takeover {
			opts.CompressionMode = websocket.CompressionContextTakeover
		}
		w, r := deflateUpgrade(f, takeover)
		c := must(websocket.Accept(w, r, opts))
		ctx := context.Background()
		return func() (total int64) {
			for m, err := range c.Messages(ctx) {
				if err != nil {
					return total
				}
				total += int64(len(m.Data))
			}
			return total
		}, func(p []byte) error { return c.Write(ctx, websocket.MessageText, p) }
	}},
	{name: "gorilla", forgets: true, connect: func(f *feed, takeover bool) (func() int64, func([]byte) error) {
		u := gorillaUpgrader
		u.EnableCompression = true
		w, r := deflateUpgrade(f, takeover)
		c := must(u.Upgrade(w, r, nil))
		return func() (total int64) {
			buf := make([]byte, 4096)
			for {
				_, r, err := c.NextReader()
				if err != nil {
					return total
				}
				total += drain(r, buf)
			}
		}, func(p []byte) error { return c.WriteMessage(gorilla.TextMessage, p) }
	}},
	{name: "coder", connect: func(f *feed, takeover bool) (func() int64, func([]byte) error) {
		opts := &coder.AcceptOptions{CompressionMode: coder.CompressionNoContextTakeover}
		if takeover {
			opts.CompressionMode = coder.CompressionContextTakeover
		}
		w, r := deflateUpgrade(f, takeover)
		c := must(coder.Accept(w, r, opts))
		ctx := context.Background()
		return func() (total int64) {
			buf := make([]byte, 4096)
			for {
				_, r, err := c.Reader(ctx)
				if err != nil {
					return total
				}
				total += drain(r, buf)
			}
		}, func(p []byte) error { return c.Write(ctx, coder.MessageText, p) }
	}},
	{name: "gws", connect: func(f *feed, takeover bool) (func() int64, func([]byte) error) {
		e := &gwsEvents{}
		u := gws.NewUpgrader(e, &gws.ServerOption{PermessageDeflate: gws.PermessageDeflate{
			Enabled: true, ServerContextTakeover: takeover, ClientContextTakeover: takeover,
		}})
		w, r := deflateUpgrade(f, takeover)
		c := must(u.Upgrade(w, r))
		return func() int64 {
			c.ReadLoop()
			return e.total
		}, func(p []byte) error { return c.WriteMessage(gws.OpcodeText, p) }
	}},
}

func benchDeflate(b *testing.B, run func(b *testing.B, connect func(f *feed) (func() int64, func([]byte) error))) {
	for _, takeover := range []bool{false, true} {
		name := "takeover=no"
		if takeover {
			name = "takeover=yes"
		}
		for _, l := range deflateLibraries {
			if takeover && l.forgets {
				continue
			}
			b.Run(name+"/lib="+l.name, func(b *testing.B) {
				b.SetBytes(1000)
				b.ReportAllocs()
				run(b, func(f *feed) (func() int64, func([]byte) error) { return l.connect(f, takeover) })
			})
		}
	}
}

func BenchmarkReadDeflate(b *testing.B) {
	benchDeflate(b, func(b *testing.B, connect func(f *feed) (func() int64, func([]byte) error)) {
		read, _ := connect(newDeflateFeed(b.N))
		b.ResetTimer()
		if read() < int64(b.N)*900 {
			b.Fatal("messages are missing")
		}
	})
}

func BenchmarkWriteDeflate(b *testing.B) {
	texts := load.Texts(1000)
	benchDeflate(b, func(b *testing.B, connect func(f *feed) (func() int64, func([]byte) error)) {
		f := newDeflateFeed(0)
		_, write := connect(f)
		before := f.written
		b.ResetTimer()
		for i := range b.N {
			if err := write(texts[i%len(texts)]); err != nil {
				b.Fatal(err)
			}
		}
		size := float64(f.written-before) / float64(b.N)
		if size > 500 {
			b.Fatalf("%.0f bytes a message: not compressed", size)
		}
		b.ReportMetric(size, "wire-B/op")
	})
}
