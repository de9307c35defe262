package suite

import (
	"context"
	"encoding/json"
	"flag"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed70bc5565/websocket/autobahn/internal/broken"
)

// full asks for all broken peers: go test ./autobahn/suite -run Broken -timeout
// 30m -args -full
var full = flag.Bool("full", false, "judge all broken peers")

// judged is what the suite says of a broken peer, and the official one.
type judged struct {
	name    string // the fault and the role
	want    map[string]string
	results []*Result
	err     error
}

// again runs a case a second time.
func (j *judged) again(t *testing.T, r *Result) *Result {
	fault, role, _ := strings.Cut(j.name, " ")
	cases, err := Select(Cases(), r.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	results, err := judgeBroken(t, fault, role, cases)
	if err != nil {
		t.Fatal(err)
	}
	return results[0]
}

// TestBrokenPeers holds the suite to the verdicts that the official one gave
// to the same peers. testdata/broken.json is written by autobahn/agreement.
func TestBrokenPeers(t *testing.T) {
	b, err := os.ReadFile("testdata/broken.json")
	if err != nil {
		t.Fatal(err)
	}
	var official map[string]map[string]string // peer, verdicts, ids
	if err := json.Unmarshal(b, &official); err != nil {
		t.Fatal(err)
	}
	quick := []string{"none", "echo-opcode", "accept-rsv", "close-1005", "error-1007"}
	var all []*judged
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8) // a broken peer mostly waits
	for _, f := range broken.Faults {
		for _, role := range []string{"server", "client"} {
			verdicts := official[f.Name+" "+role]
			if verdicts == nil || !*full && (role == "client" || !slices.Contains(quick, f.Name)) {
				continue
			}
			j := &judged{name: f.Name + " " + role, want: map[string]string{}}
			all = append(all, j)
			var ids []string
			for verdict, list := range verdicts {
				for _, id := range strings.Fields(list) {
					j.want[id] = verdict
					ids = append(ids, id)
				}
			}
			cases, err := Select(Cases(), strings.Join(ids, ","), "")
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				j.results, j.err = judgeBroken(t, f.Name, role, cases)
			})
		}
	}
	wg.Wait()
	for _, j := range all {
		t.Run(j.name, func(t *testing.T) {
			if j.err != nil {
				t.Fatal(j.err)
			}
			for _, r := range j.results {
				if broken.Differs(j.name, r.ID) != nil {
					continue
				}
				// The limits are as short as half a second. On a busy machine a
				// case is run again, alone.
				for range 2 {
					if r.Behavior+" / "+r.BehaviorClose != j.want[r.ID] {
						r = j.again(t, r)
					}
				}
				if got := r.Behavior + " / " + r.BehaviorClose; got != j.want[r.ID] {
					t.Errorf("%s, want %s", r, j.want[r.ID])
				}
			}
		})
	}
}

// TestBeyondBroken holds the cases beyond the original to what they are for. A
// peer that breaks no rule passes all of them. One that breaks one rule fails
// those about it, and no other.
func TestBeyondBroken(t *testing.T) {
	all := append([]broken.BeyondFault{{Name: "none"}, {Name: "none", Client: true}}, broken.BeyondFaults...)
	named := map[string]bool{}
	slots := make(chan struct{}, 6)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, f := range all {
		role := "server"
		if f.Client {
			role = "client"
		}
		var wrong []*Case // those to fail
		var err error
		if f.Cases != "" {
			if wrong, err = Select(Beyond(), f.Cases, ""); err != nil {
				t.Fatal(f.Name, err)
			}
		}
		for _, c := range wrong {
			named[c.ID] = true
		}
		cases := Beyond()
		if !*full {
			cases = slices.DeleteFunc(slices.Clone(cases), func(c *Case) bool {
				return strings.HasPrefix(c.ID, "b.5.") || strings.HasPrefix(c.ID, "b.6.") || c.ID == "b.7.13" || f.Name != "none" && !slices.Contains(wrong, c)
			})
		}
		if len(cases) == 0 {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results, err := judgeBroken(t, f.Name, role, cases)
			if err != nil {
				t.Error(f.Name, err)
				return
			}
			for i, r := range results {
				fails := slices.Contains(wrong, cases[i])
				// As above, a busy machine may make a peer late.
				for range 2 {
					if r.Passed() != fails {
						break
					}
					if again, err := judgeBroken(t, f.Name, role, cases[i:i+1]); err == nil {
						r = again[0]
					}
				}
				switch {
				case fails && r.Passed():
					t.Errorf("a %s that %s passes %s", role, f.Words, r)
				case !fails && !r.Passed():
					t.Errorf("the %s %s fails %s", role, f.Name, r)
				}
			}
		})
	}
	for _, c := range Beyond() {
		if !named[c.ID] && !c.informational {
			t.Errorf("no broken peer fails %s: %s", c.ID, c.Sends)
		}
	}
}

func judgeBroken(t *testing.T, fault, role string, cases []*Case) ([]*Result, error) {
	if role == "server" {
		return TestServer(t.Context(), brokenServer(t, fault), Options{Cases: cases, Jobs: 16})
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tester := &Tester{Cases: cases}
	go tester.Serve(ctx, ln, nil)
	results := make([]*Result, len(cases))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i, c := range cases {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			broken.RunCase("ws://"+ln.Addr().String()+"/runCase?agent=a&casetuple="+c.ID, fault)
			results[i] = tester.await(ctx, "a", c.ID)
		})
	}
	wg.Wait()
	return results, nil
}
