package websocket

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A connection keeps the values of net/http's context, and no context that only
// ends: on every version of Go that the module supports.
func TestConnKeepsValuesOnly(t *testing.T) {
	kept := make(chan *connContext, 1)
	s := httptest.NewServer(Handler(func(c *Conn, r *http.Request) {
		kept <- r.Context().(*connContext)
		c.Read(r.Context())
	}, nil))
	defer s.Close()
	c, _, err := Dial(t.Context(), s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	ctx := <-kept
	values := ctx.values
	if values.Done() != nil {
		t.Errorf("the context that is kept can end: %T", values)
	}
	if values.Value(http.ServerContextKey) == nil {
		t.Error("the context that is kept has no value for http.ServerContextKey")
	}
	if v := values.Value(http.LocalAddrContextKey); v != nil {
		t.Errorf("the context that is kept has the address %v of its own", v)
	}
	if ctx.ctx.Load() != nil {
		t.Error("the values have made a context that ends")
	}
	for range 2 { // before and after the first call of Done
		if v := ctx.Value(http.LocalAddrContextKey); v != ctx.c.LocalAddr() {
			t.Errorf("the local address is %v, want %v", v, ctx.c.LocalAddr())
		}
		ctx.Done()
	}
	if n := testing.AllocsPerRun(100, func() { ctx.Value(http.ServerContextKey) }); n != 0 {
		t.Errorf("a look at a value after the first call of Done: %v allocations", n)
	}
}
