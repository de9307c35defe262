// Package echo is what the echo server and the echo client under test have in
// common.
package echo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/seed70bc5565/websocket"
)

// ReadLimit is above the suite's longest message, which is 16 MiB.
const ReadLimit = 32 << 20

// Options say how a peer is to use the library.
type Options struct {
	Compression websocket.CompressionMode
	loop        func(ctx context.Context, c *websocket.Conn) error
}

// Flags defines the options on fs.
func Flags(fs *flag.FlagSet) *Options {
	o := &Options{loop: echoMessages}
	fs.Func("compression", "`mode` of permessage-deflate: disabled, context-takeover or no-context-takeover (default disabled)", o.setCompression)
	fs.Func("api", "`calls` to echo with: message (ReadInto and Write) or stream (Reader and Writer) (default message)", o.setAPI)
	return o
}

func (o *Options) setCompression(s string) error {
	switch s {
	case "disabled":
		o.Compression = websocket.CompressionDisabled
	case "context-takeover":
		o.Compression = websocket.CompressionContextTakeover
	case "no-context-takeover":
		o.Compression = websocket.CompressionNoContextTakeover
	default:
		return fmt.Errorf("there is no compression mode %q", s)
	}
	return nil
}

func (o *Options) setAPI(s string) error {
	switch s {
	case "message":
		o.loop = echoMessages
	case "stream":
		o.loop = echoStreams
	default:
		return fmt.Errorf("there is no api %q", s)
	}
	return nil
}

// Echo sends back what c receives until the connection ends. It returns nil if
// the peer closed it in good order.
func (o *Options) Echo(ctx context.Context, c *websocket.Conn) error {
	defer c.CloseNow()
	err := o.loop(ctx, c)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func echoMessages(ctx context.Context, c *websocket.Conn) error {
	var buf []byte
	for {
		typ, msg, err := c.ReadInto(ctx, buf)
		if err != nil {
			return err
		}
		if err := c.Write(ctx, typ, msg); err != nil {
			return err
		}
		buf = msg[:0]
	}
}

func echoStreams(ctx context.Context, c *websocket.Conn) error {
	for {
		if err := echoStream(ctx, c); err != nil {
			return err
		}
	}
}

// echoStream sends the pieces of one message back as they come.
func echoStream(ctx context.Context, c *websocket.Conn) error {
	typ, r, err := c.Reader(ctx)
	if err != nil {
		return err
	}
	w, err := c.Writer(ctx, typ)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}
