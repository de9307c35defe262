package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/seed70bc5565/websocket"
)

// client sends each line of in to the echo server at url and prints its answer
// to out, until in ends.
func client(ctx context.Context, url string, in io.Reader, out io.Writer) error {
	dialCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel() // bounds the handshake; the connection outlives it
	c, _, err := websocket.Dial(dialCtx, url, nil)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if err := c.Write(ctx, websocket.MessageText, lines.Bytes()); err != nil {
			return err
		}
		_, answer, err := c.Read(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", answer)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return c.Close(websocket.StatusNormalClosure, "")
}
