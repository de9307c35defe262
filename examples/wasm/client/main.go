//go:build js

// Command client is the page of the example, as a program of js/wasm.
package main

import (
	"context"
	"fmt"
	"strings"
	"syscall/js"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/examples/wasm/internal/message"
	"github.com/seed70bc5565/websocket/wsjson"
)

func main() {
	p := &page{said: make(chan message.Message, 16)}
	p.listen()
	client := websocket.Redialer{
		URL:      strings.TrimSuffix(js.Global().Get("location").Get("href").String(), "/") + "/ws",
		OnState:  p.show,
		MaxDelay: 5 * time.Second,
	}
	err := client.Run(context.Background(), p.talk)
	fmt.Println("the chat is over:", err) // in the browser's console
}

// talk is one connection: it writes what was said on this page, and shows what
// comes. The server sends the last messages first.
func (p *page) talk(ctx context.Context, c *websocket.Conn) error {
	p.clear()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case m := <-p.said:
				if wsjson.Write(ctx, c, m) != nil {
					return // the reader learns why
				}
			}
		}
	}()
	for m, err := range wsjson.Messages[message.Message](ctx, c) {
		if err != nil {
			return err
		}
		p.add(m)
	}
	return nil // the server has closed the connection: the Redialer dials again
}

// A page is what the user sees. The goroutine of main changes it.
type page struct {
	said chan message.Message
}

func element(id string) js.Value { return js.Global().Get("document").Call("getElementById", id) }

// listen takes what the user says. The browser calls the function, which must
// not wait.
func (p *page) listen() {
	element("say").Call("addEventListener", "submit", js.FuncOf(func(_ js.Value, args []js.Value) any {
		args[0].Call("preventDefault")
		m, ok := message.Message{From: element("name").Get("value").String(), Text: element("text").Get("value").String()}.Clean()
		if !ok {
			return nil
		}
		select {
		case p.said <- m:
			element("text").Set("value", "")
		default: // the text stays: the connection is slow, or there is none
		}
		return nil
	}))
}

// show tells the state of the connection.
func (p *page) show(s websocket.RedialStatus) {
	text, state := "Connecting", "busy"
	switch s.State {
	case websocket.RedialConnected:
		text, state = "Connected", "open"
	case websocket.RedialWaiting:
		text, state = "Not connected: trying again", "lost"
	case websocket.RedialStopped:
		text, state = "Stopped", "lost"
	}
	status := element("status")
	status.Set("textContent", text)
	status.Get("dataset").Set("state", state)
	element("send").Set("disabled", s.State != websocket.RedialConnected)
}

func (p *page) clear() { element("entries").Call("replaceChildren") }

func (p *page) add(m message.Message) {
	document := js.Global().Get("document")
	from := document.Call("createElement", "b")
	from.Set("textContent", m.From)
	entry := document.Call("createElement", "li")
	entry.Call("append", from, " "+m.Text)
	element("entries").Call("append", entry)
	entry.Call("scrollIntoView")
}
