package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/seed70bc5565/websocket"
)

// The server greets whoever comes, and closes the connection. The client comes back, until it has been greeted three
// times.
func ExampleRedialer() {
	server := httptest.NewServer(websocket.Handler(greet, nil))
	defer server.Close()

	client := websocket.Redialer{
		URL:       server.URL,
		BaseDelay: time.Millisecond, // for the example: the default is 500 ms
		OnState: func(s websocket.RedialStatus) {
			if s.State == websocket.RedialWaiting {
				fmt.Println("waiting:", s.Err)
			}
		},
	}
	greetings := 0
	err := client.Run(context.Background(), func(ctx context.Context, c *websocket.Conn) error {
		for m, err := range c.Messages(ctx) {
			if err != nil {
				return err
			}
			fmt.Printf("%s\n", m.Data)
			if greetings++; greetings == 3 {
				return nil // while the connection is alive: that was all
			}
		}
		return nil // the server has closed the connection: the next one, please
	})
	fmt.Println(err)
	// Output:
	// hello
	// waiting: websocket: closed by the peer: 1000 StatusNormalClosure: "that was all"
	// hello
	// waiting: websocket: closed by the peer: 1000 StatusNormalClosure: "that was all"
	// hello
	// <nil>
}

// A feed that goes on where it stopped. Each connection asks for what follows the last message that the application
// has done its work with, and brings a fresh token.
func ExampleRedialer_resume() {
	feed := []string{"goal", "corner", "foul", "penalty", "goal"}
	// The server restarts after every second message.
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		from, err := strconv.Atoi(r.URL.Query().Get("from"))
		if err != nil || from < 0 || from > len(feed) {
			c.Close(websocket.StatusPolicyViolation, "no such offset") // final: there is no use in coming back
			return
		}
		for _, text := range feed[from:min(from+2, len(feed))] {
			if err := c.Write(r.Context(), websocket.MessageText, []byte(text)); err != nil {
				return
			}
		}
		c.Close(websocket.StatusServiceRestart, "")
	}, nil))
	defer server.Close()

	offset := 0
	client := websocket.Redialer{
		BaseDelay: time.Millisecond,
		BeforeDial: func(ctx context.Context, a *websocket.RedialAttempt) error {
			a.URL = fmt.Sprintf("%s?from=%d", server.URL, offset)
			a.Options.HTTPHeader.Set("Authorization", "Bearer "+freshToken())
			fmt.Println("from", offset)
			return nil
		},
	}
	err := client.Run(context.Background(), func(ctx context.Context, c *websocket.Conn) error {
		for m, err := range c.Messages(ctx) {
			if err != nil {
				return err
			}
			fmt.Printf("%d %s\n", offset, m.Data)
			if offset++; offset == len(feed) { // only now: what was not done is asked for again
				return nil
			}
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// from 0
	// 0 goal
	// 1 corner
	// from 2
	// 2 foul
	// 3 penalty
	// from 4
	// 4 goal
	// <nil>
}

func freshToken() string { return "secret" }

// A program on a phone gives up an attempt soon, comes back soon, and does not stay away for as long as a server may
// ask for.
func ExampleRedialer_times() {
	s := httptest.NewServer(websocket.Handler(greet, nil))
	defer s.Close()
	r := &websocket.Redialer{
		URL:           s.URL,
		DialTimeout:   5 * time.Second,
		BaseDelay:     100 * time.Millisecond,
		MaxDelay:      10 * time.Second,
		StableAfter:   time.Minute,
		MaxRetryAfter: 30 * time.Second,
	}
	err := r.Run(context.Background(), func(ctx context.Context, c *websocket.Conn) error {
		_, data, err := c.Read(ctx)
		fmt.Printf("%s\n", data)
		c.Close(websocket.StatusNormalClosure, "")
		return err
	})
	fmt.Println(err)
	// Output:
	// hello
	// <nil>
}

// What is final is the application's to say. Here the server's own code 4001 is, besides what is by default.
func ExampleIsFinal() {
	server := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		c.Close(4001, "your account is closed")
	}, nil))
	defer server.Close()

	client := websocket.Redialer{
		URL: server.URL,
		IsFinal: func(err error) bool {
			return websocket.CloseStatus(err) == 4001 || websocket.IsFinal(err)
		},
	}
	err := client.Run(context.Background(), func(ctx context.Context, c *websocket.Conn) error {
		_, _, err := c.Read(ctx)
		return err
	})
	var ce websocket.CloseError
	fmt.Println(errors.As(err, &ce), ce.Code, ce.Reason)
	// Output: true StatusCode(4001) your account is closed
}
