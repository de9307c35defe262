package main

import (
	"context"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/seed70bc5565/websocket"
	"github.com/seed70bc5565/websocket/hub/memorybroker"
	"github.com/seed70bc5565/websocket/wsjson"
)

type visitor struct {
	t      *testing.T
	c      *websocket.Conn
	engine event // the latest of this type
	people []person
}

func visit(t *testing.T, base, name, after string) *visitor {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), base+"/ws?"+url.Values{"name": {name}, "after": {after}}.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return &visitor{t: t, c: c}
}

func (v *visitor) say(text string) {
	v.t.Helper()
	if err := wsjson.Write(v.t.Context(), v.c, map[string]string{"text": text}); err != nil {
		v.t.Fatal(err)
	}
}

// next returns the next event that is wanted. What is told of people may come
// between at any time.
func (v *visitor) next(wanted func(event) bool) event {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Minute)
	defer cancel()
	for {
		var got event
		if err := wsjson.Read(ctx, v.c, &got); err != nil {
			v.t.Fatal(err)
		}
		repeated := got.Type == "engine" && reflect.DeepEqual(v.engine, got) // a page that comes meanwhile may be told twice
		aboutPeople := true
		switch got.Type {
		case "engine":
			v.engine = got
			aboutPeople = false
		case "people":
			v.people = got.People
		case "joined":
			v.people = append(v.people, person{got.Name, got.Node})
		case "left":
			i := slices.Index(v.people, person{got.Name, got.Node})
			v.people = slices.Delete(v.people, i, i+1)
		default:
			aboutPeople = false
		}
		if repeated {
			continue
		}
		if wanted(got) {
			return got
		}
		if !aboutPeople {
			v.t.Fatalf("got %+v", got)
		}
	}
}

// sees waits until these are here, each as "name on node".
func (v *visitor) sees(want ...string) {
	v.t.Helper()
	v.next(func(event) bool { return slices.Equal(names(v.people), want) })
}

func names(people []person) (all []string) {
	for _, p := range people {
		all = append(all, p.Name+" on "+p.Node)
	}
	slices.Sort(all)
	return all
}

func (v *visitor) want(want event) (position string) {
	v.t.Helper()
	got := v.next(func(e event) bool { return e.Type == want.Type })
	position, got.Position, got.Previous, got.At = got.Position, "", 0, 0
	if !reflect.DeepEqual(got, want) {
		v.t.Fatalf("got %+v, want %+v", got, want)
	}
	return position
}

// serveNodes serves two nodes for the time of the test.
func serveNodes(t *testing.T) (engine *memorybroker.Engine, a, b string) {
	engine, a, b, _ = serveNodesUntil(t)
	return engine, a, b
}

// serveNodesUntil is serveNodes, with a function that ends the work of the
// second node.
func serveNodesUntil(t *testing.T) (engine *memorybroker.Engine, a, b string, endB func()) {
	engine = memorybroker.New()
	serve := func(name string) (string, func()) {
		n := newNode(name, "memory", engine.Connect())
		p := program(n, nil)
		s := httptest.NewServer(p.Handler())
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); p.Work(ctx) }()
		t.Cleanup(func() { s.Close(); cancel(); <-ended })
		return s.URL, cancel
	}
	a, _ = serve("A")
	b, endB = serve("B")
	return engine, a, b, endB
}

func TestTwoNodes(t *testing.T) {
	_, a, b := serveNodes(t)
	ada, bob := visit(t, a, "Ada", ""), visit(t, b, "Bob", "")
	ada.want(event{Type: "hello", Node: "A", Name: "Ada", Engine: "memory"})
	bob.want(event{Type: "hello", Node: "B", Name: "Bob", Engine: "memory"})
	for _, v := range []*visitor{ada, bob} {
		v.sees("Ada on A", "Bob on B")
	}
	ada.say(" hello ")
	var at string
	for _, v := range []*visitor{ada, bob} {
		at = v.want(event{Type: "message", Node: "A", Name: "Ada", Text: "hello"})
	}

	// Messages that were missed on one node are there on the other.
	bob.c.Close(websocket.StatusNormalClosure, "")
	ada.say("are you there?")
	ada.want(event{Type: "message", Node: "A", Name: "Ada", Text: "are you there?"})
	bob = visit(t, a, "Bob", at)
	bob.want(event{Type: "hello", Node: "A", Name: "Bob", Engine: "memory", Resumed: true, Missed: 1})
	bob.want(event{Type: "message", Node: "A", Name: "Ada", Text: "are you there?"})
}

// A node that stops says that no member is there any more.
func TestNodeStops(t *testing.T) {
	_, a, b, endB := serveNodesUntil(t)
	ada, bob := visit(t, a, "Ada", ""), visit(t, b, "Bob", "")
	ada.want(event{Type: "hello", Node: "A", Name: "Ada", Engine: "memory"})
	bob.want(event{Type: "hello", Node: "B", Name: "Bob", Engine: "memory"})
	ada.sees("Ada on A", "Bob on B")
	endB()
	ada.sees("Ada on A")
}

func TestEngineLost(t *testing.T) {
	engine, a, b := serveNodes(t)
	ada := visit(t, a, "Ada", "")
	ada.want(event{Type: "hello", Node: "A", Name: "Ada", Engine: "memory"})
	eve := visit(t, b, "Eve", "")
	eve.want(event{Type: "hello", Node: "B", Name: "Eve", Engine: "memory"})
	engine.Stop()
	ada.want(event{Type: "engine", Lost: true})
	eve.want(event{Type: "engine", Lost: true}) // the second node knows before Bob comes
	ada.say("does it arrive?")
	ada.want(event{Type: "failed", Text: "does it arrive?"})
	bob := visit(t, b, "Bob", "")
	bob.want(event{Type: "hello", Node: "B", Name: "Bob", Engine: "memory", Lost: true})
	engine.Start()
	ada.want(event{Type: "engine"})
	bob.want(event{Type: "engine"})
	bob.say("we are back")
	for _, v := range []*visitor{ada, bob} {
		v.want(event{Type: "message", Node: "B", Name: "Bob", Text: "we are back"})
	}
}

func TestBadInput(t *testing.T) {
	_, a, _ := serveNodes(t)
	for _, test := range []struct{ name, after string }{{"", ""}, {"a name that is longer than a name may be", ""}, {"Ada", "nonsense"}} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if _, _, err := visit(t, a, test.name, test.after).c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("%+v: %v", test, err)
		}
		cancel()
	}
}

func TestConnect(t *testing.T) {
	for _, engine := range []string{"redis", "jetstream", "nats"} {
		b, err := connect(engine, "")
		if err != nil {
			t.Errorf("%s: %v", engine, err)
			continue
		}
		b.Close()
	}
	if _, err := connect("mongo", ""); err == nil {
		t.Error("there is no such engine")
	}
}
