package websocket

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
)

// The values of a request that a handler may keep after it returned. A router,
// a logger or a framework often takes back what it put into the request's
// context, and gives it to the next request. The package net/http itself takes
// back nothing that a request refers to.

// plainValues reports whether net/http made both w and ctx, the context of the
// request. It also demands that nothing between net/http and the handler could
// take back a value. False is always safe.
//
// If plain is true, values has the values of ctx. It does without the contexts
// around it that only end: they take 270 bytes, which a connection would keep.
// If plain is false, values is ctx.
//
// net/http makes the connection's context with the value LocalAddrContextKey,
// and from it the context of each request, by context.WithCancel alone. The
// parent of such a context is its exported field Context. A context that others
// make may look so. But net/http's ResponseWriter knows the request that it was
// made for, and the context of that. Should a release of Go name one of these
// fields differently, nothing is plain.
func plainValues(w http.ResponseWriter, ctx context.Context) (values context.Context, plain bool) {
	all := ctx
	resp, ok := asResponse(reflect.ValueOf(w))
	if !ok {
		return all, false
	}
	own, ok := resp.context()
	derived := false // from own
	for range plainContextDepth {
		v := reflect.ValueOf(ctx)
		if !ok || v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
			return all, false
		}
		derived = derived || v.Pointer() == own
		f := v.Elem().FieldByName("Context")
		if !f.IsValid() || !f.CanInterface() {
			return all, false
		}
		parent, isContext := f.Interface().(context.Context)
		if !isContext {
			return all, false
		}
		if v.Type() != cancelContextType {
			if derived && v.Type().Elem().PkgPath() == "context" && // a value that stands here, and not below
				ctx.Value(http.LocalAddrContextKey) != nil && parent.Value(http.LocalAddrContextKey) == nil {
				return ctx, true
			}
			return all, false
		}
		ctx = parent
	}
	return all, false
}

var cancelContextType = func() reflect.Type {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return reflect.TypeOf(ctx)
}()

// plainContextDepth is how many contexts plainValues looks at.
const plainContextDepth = 8

// A response is what net/http keeps for a request, found behind w.
type response struct{ v reflect.Value }

// asResponse returns what v is, if that is net/http's own ResponseWriter of
// HTTP/1.1.
func asResponse(v reflect.Value) (resp response, ok bool) {
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Type().Elem().PkgPath() != "net/http" || v.Type().Elem().Name() != "response" {
		return response{}, false
	}
	return response{v.Elem()}, true
}

// context returns where the context of the request is that the response was
// made for.
func (r response) context() (ptr uintptr, ok bool) {
	req := r.field("req")
	if req.Kind() != reflect.Pointer || req.IsNil() {
		return 0, false
	}
	ctx := req.Elem().FieldByName("ctx")
	if ctx.Kind() != reflect.Interface || ctx.Elem().Kind() != reflect.Pointer {
		return 0, false
	}
	return ctx.Elem().Pointer(), true
}

// wrapperDepth is how many wrappers findResponse looks through.
const wrapperDepth = 32

type unwrapper interface{ Unwrap() http.ResponseWriter }

var (
	responseWriterType = reflect.TypeFor[http.ResponseWriter]()
	hijackerType       = reflect.TypeFor[http.Hijacker]()
	unwrapperType      = reflect.TypeFor[unwrapper]()
)

func implements(t, iface reflect.Type) bool {
	return t.Implements(iface) || t.Kind() == reflect.Struct && reflect.PointerTo(t).Implements(iface)
}

// findResponse looks for net/http's own ResponseWriter, which w is or wraps. A
// wrapper has a method Unwrap, as http.ResponseController demands, or it has
// what it wraps in a field. The result ok is false if there is no such thing.
//
// Only net/http knows whether a WriteHeader has come through all wrappers. Some
// wrappers keep it back until there is a body. So its fields are read, never
// written. Should a release of Go name them differently, ok is false.
func findResponse(w http.ResponseWriter) (resp response, behind, ok bool) {
	v := reflect.ValueOf(w)
	for depth := range wrapperDepth {
		if v.Kind() == reflect.Interface {
			v = v.Elem()
		}
		if !v.IsValid() {
			return response{}, false, false
		}
		if resp, ok := asResponse(v); ok {
			return resp, depth > 0, depth == 0 || resp.tellsStatus()
		}
		if !implements(v.Type(), hijackerType) && !implements(v.Type(), unwrapperType) {
			return response{}, false, false // the connection cannot be taken over from there
		}
		if v = wrapped(v); !v.IsValid() {
			return response{}, false, false
		}
	}
	return response{}, false, false
}

// wrapped returns the ResponseWriter that v wraps, or the zero Value.
func wrapped(v reflect.Value) reflect.Value {
	if v.CanInterface() {
		if u, ok := v.Interface().(unwrapper); ok {
			return reflect.ValueOf(u.Unwrap())
		}
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Interface:
			if f.Type().Implements(responseWriterType) && !f.IsNil() {
				return f
			}
		case reflect.Pointer, reflect.Struct:
			if !v.Type().Field(i).Anonymous || f.Kind() == reflect.Pointer && f.IsNil() {
				continue
			}
			if implements(f.Type(), responseWriterType) {
				return f
			}
		}
	}
	return reflect.Value{}
}

func (r response) field(name string) reflect.Value { return r.v.FieldByName(name) }

// tellsStatus reports whether the fields are there that wroteHeader reads.
func (r response) tellsStatus() bool {
	return r.field("wroteHeader").Kind() == reflect.Bool && r.field("status").Kind() == reflect.Int
}

// begun returns an error if the handler has begun a response of its own. It
// mostly looks at one field only, because each look costs time.
func (r response) begun() error {
	if wrote := r.field("wroteHeader"); wrote.Kind() != reflect.Bool || !wrote.Bool() || !r.tellsStatus() {
		return nil
	}
	return fmt.Errorf("websocket: the handler has responded already, with status %d", r.wroteHeader())
}

// wroteHeader returns the status that the response was given, or 0.
func (r response) wroteHeader() int {
	if !r.field("wroteHeader").Bool() {
		return 0
	}
	return int(r.field("status").Int())
}

// canHijack reports whether http.ResponseController finds an http.Hijacker. If
// not, last is the ResponseWriter at which its search ends.
func canHijack(w http.ResponseWriter) (ok bool, last http.ResponseWriter) {
	for range wrapperDepth {
		if _, ok := w.(http.Hijacker); ok {
			return true, nil
		}
		u, ok := w.(unwrapper)
		if !ok {
			break
		}
		w = u.Unwrap()
	}
	return false, w
}
