package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub"
	"github.com/seed70bc5565/websocket/hub/memorybroker"
)

// who is what the pages are told of the members of a topic.
type who struct {
	Event string   `json:"event"`
	Users []string `json:"users"`
	Count int      `json:"count"`
}

// Two processes know who is in a room, and tell their pages.
func ExampleHub_Presence() {
	engine := memorybroker.New()
	serve := func() (*hub.Hub, *httptest.Server) {
		h := hub.New(&hub.Options{
			Broker:     engine.Connect(),
			PresenceOf: func(topic string) bool { return topic == "room" },
			OnPresence: func(ev hub.PresenceEvent) (websocket.MessageType, []byte) {
				w := who{Event: "here", Count: ev.Count}
				switch ev.Kind {
				case hub.PresenceState:
					for _, m := range ev.Members {
						w.Users = append(w.Users, m.ID)
					}
				case hub.PresenceJoin:
					w.Event, w.Users = "joined", []string{ev.Member.ID}
				case hub.PresenceLeave:
					w.Event, w.Users = "left", []string{ev.Member.ID}
				}
				data, _ := json.Marshal(w)
				return websocket.MessageText, data
			},
		})
		return h, httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
			s := h.JoinAs(c, hub.Member{ID: r.URL.Query().Get("user")})
			defer s.Leave()
			if err := s.Subscribe(r.Context(), "room"); err != nil {
				return
			}
			<-c.CloseRead(r.Context()).Done()
		}, nil))
	}
	a, serverA := serve()
	b, serverB := serve()
	defer func() { serverA.Close(); serverB.Close(); a.Close(); b.Close() }()

	ctx := context.Background()
	visit := func(s *httptest.Server, user string) *websocket.Conn {
		c, _, err := websocket.Dial(ctx, s.URL+"?user="+user, nil)
		if err != nil {
			log.Fatal(err)
		}
		return c
	}
	show := func(c *websocket.Conn) {
		_, data, err := c.Read(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(data))
	}
	ada := visit(serverA, "ada")
	defer ada.CloseNow()
	show(ada)
	bob := visit(serverB, "bob") // on the other process
	defer bob.CloseNow()
	show(ada)

	here, err := b.Presence(ctx, "room")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(here.Count, here.Members[0].ID, here.Members[1].ID, here.Complete)

	// Output:
	// {"event":"here","users":["ada"],"count":1}
	// {"event":"joined","users":["bob"],"count":2}
	// 2 ada bob true
}

// Three pages of one user are three members. A user has come with the first and
// gone with the last of them.
func ExampleHub_JoinAs() {
	tell := func(ev hub.PresenceEvent) (websocket.MessageType, []byte) {
		switch {
		case ev.Kind == hub.PresenceJoin && ev.Same == 1:
			return websocket.MessageText, []byte(ev.Member.ID + " is online")
		case ev.Kind == hub.PresenceLeave && ev.Same == 0:
			return websocket.MessageText, []byte(ev.Member.ID + " is offline")
		case ev.Kind == hub.PresenceState:
			return websocket.MessageText, fmt.Appendf(nil, "pages: %d", ev.Count)
		}
		return 0, nil // another page of the same user
	}
	h := hub.New(&hub.Options{
		PresenceOf: func(string) bool { return true },
		OnPresence: tell,
	})
	s := httptest.NewServer(websocket.Handler(func(c *websocket.Conn, r *http.Request) {
		s := h.JoinAs(c, hub.Member{ID: r.URL.Query().Get("user")})
		defer s.Leave()
		if err := s.Subscribe(r.Context(), "room"); err != nil {
			return
		}
		<-c.CloseRead(r.Context()).Done()
	}, nil))
	defer s.Close()
	visit := func(user string) *websocket.Conn {
		c, _, err := websocket.Dial(context.Background(), s.URL+"?user="+user, nil)
		if err != nil {
			log.Fatal(err)
		}
		return c
	}
	show := func(c *websocket.Conn) {
		_, data, err := c.Read(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(data))
	}
	ada := visit("ada")
	defer ada.CloseNow()
	show(ada)
	first := visit("bob")
	defer first.CloseNow()
	show(ada)
	second := visit("bob")
	defer second.CloseNow()
	show(second)
	// Output:
	// pages: 1
	// bob is online
	// pages: 3
}
