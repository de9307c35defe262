package suite

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
)

// A TestOption changes what Server and Client demand.
type TestOption func(*testOptions)

type testOptions struct {
	Options
	allow []string
}

// WithCases runs these cases in place of the 517, such as those of Select or
// Beyond.
func WithCases(cases []*Case) TestOption {
	return func(o *testOptions) { o.Cases = cases }
}

// Allow lets a case pass with these verdicts too, such as NonStrict, or
// Unimplemented if the peer has no permessage-deflate.
func Allow(verdicts ...string) TestOption {
	return func(o *testOptions) { o.allow = append(o.allow, verdicts...) }
}

// WithOptions sets how the cases are run.
func WithOptions(options Options) TestOption {
	return func(o *testOptions) { o.Options = options }
}

func testOptionsOf(options []TestOption) *testOptions {
	o := &testOptions{}
	for _, option := range options {
		option(o)
	}
	if o.Cases == nil {
		o.Cases = Cases()
	}
	return o
}

// Server tests the echo server at url: a subtest for each case, which fails
// unless both verdicts are OK or INFORMATIONAL. The cases are run before the
// subtests, several at a time.
func Server(t *testing.T, url string, options ...TestOption) {
	t.Helper()
	o := testOptionsOf(options)
	results, err := TestServer(t.Context(), url, o.Options)
	if err != nil {
		t.Fatal(err)
	}
	o.report(t, results)
}

// Client tests an echo client: it calls run with the URL of each case, in
// several goroutines. The function must connect to the URL, echo each data
// message with its type until the connection ends, and return. Its error is
// shown if the case fails. It may call t.FailNow: the other cases still run.
func Client(t *testing.T, run func(url string) error, options ...TestOption) {
	t.Helper()
	o := testOptionsOf(options)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tester := &Tester{Cases: o.Cases}
	go tester.Serve(ctx, ln, o.TLS)
	base := "ws://"
	if o.TLS != nil {
		base = "wss://"
	}
	base += ln.Addr().String()

	var mu sync.Mutex
	results := make([]*Result, len(o.Cases))
	one := func(i int) {
		id := o.Cases[i].ID
		err := returned(func() error { return run(base + "/runCase?agent=" + id + "&casetuple=" + id) })
		waiting, cancel := context.WithTimeout(ctx, 2*straggling)
		defer cancel()
		r := tester.verdict(waiting, id, id)
		if r == nil {
			r = &Result{ID: id, Behavior: Failed, BehaviorClose: Failed, Explanation: "The client did not run the case to its end."}
		}
		mu.Lock()
		defer mu.Unlock()
		results[i] = r
		if err != nil {
			r.CloseNote = strings.TrimSpace(r.CloseNote + " The client: " + err.Error())
		}
	}
	runAll(ctx, o.Options, o.Cases, one)
	o.report(t, results)
}

var errGoexit = errors.New("it did not return")

// returned calls f on a goroutine of its own, which f may end.
func returned(f func() error) error {
	result := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() { result <- err }()
		err = f()
	}()
	return <-result
}

func (o *testOptions) report(t *testing.T, results []*Result) {
	t.Helper()
	for _, r := range results {
		t.Run(r.ID, func(t *testing.T) {
			if !r.Passed(o.allow...) {
				t.Error(r)
			}
		})
	}
}
