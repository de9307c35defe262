package websocket

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A connection keeps the values of net/http's context, and no context that only
// ends: on every version of Go that the module supports.
func TestConnKeepsValuesOnly(t *testing.T) {
	kept := make(chan context.Context, 1)
	s := httptest.NewServer(Handler(func(c *Conn, r *http.Request) {
		kept <- r.Context().(*connContext).values
		c.Read(r.Context())
	}, nil))
	defer s.Close()
	c, _, err := Dial(t.Context(), s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	values := <-kept
	if values.Done() != nil {
		t.Errorf("the context that is kept can end: %T", values)
	}
	for _, key := range []any{http.LocalAddrContextKey, http.ServerContextKey} {
		if values.Value(key) == nil {
			t.Errorf("the context that is kept has no value for %v", key)
		}
	}
}
