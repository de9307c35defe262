package websocket

import (
	"context"
	"net/http"
	"reflect"
)

// What a handler may keep after it returned. A router, a logger or a framework
// often takes back what it put into the request's context, and gives it to the
// next request. net/http itself takes back nothing that a request refers to.

// isPlainHTTP reports whether net/http made both w and ctx, the context of the
// request, and nothing stands between it and the handler that could take back
// a value. False is always safe.
func isPlainHTTP(w http.ResponseWriter, ctx context.Context) bool {
	t := reflect.TypeOf(w)
	return t != nil && t.Kind() == reflect.Pointer && t.Elem().PkgPath() == "net/http" && isPlainContext(ctx)
}

var cancelContextType = func() reflect.Type {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return reflect.TypeOf(ctx)
}()

// plainContextDepth is how many contexts isPlainContext looks at: net/http
// derives two from that of the connection.
const plainContextDepth = 8

// isPlainContext reports whether ctx adds no values to the context of the HTTP
// connection, which lives as long as the connection.
//
// net/http makes the connection's context with the value LocalAddrContextKey,
// and from it the context of each request, by context.WithCancel alone. The
// parent of such a context is its exported field Context. Should a release of
// Go name it differently, ctx is not plain.
func isPlainContext(ctx context.Context) bool {
	for range plainContextDepth {
		v := reflect.ValueOf(ctx)
		if !v.IsValid() || v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
			return false
		}
		f := v.Elem().FieldByName("Context")
		if !f.IsValid() || !f.CanInterface() {
			return false
		}
		parent, ok := f.Interface().(context.Context)
		if !ok {
			return false
		}
		if v.Type() != cancelContextType {
			return v.Type().Elem().PkgPath() == "context" && // a value that stands here, and not below
				ctx.Value(http.LocalAddrContextKey) != nil && parent.Value(http.LocalAddrContextKey) == nil
		}
		ctx = parent
	}
	return false
}
