package websocket

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"sync/atomic"
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
// The result shared has the same without http.LocalAddrContextKey. It mostly is
// the context of all connections. If plain is false, both are ctx.
//
// net/http makes the connection's context with the value LocalAddrContextKey,
// and from it the context of each request, by context.WithCancel alone. The
// parent of such a context is its exported field Context. A context that others
// make may look so. But net/http's ResponseWriter knows the request that it was
// made for, and the context of that. Should a release of Go name one of these
// fields differently, nothing is plain.
func plainValues(w http.ResponseWriter, ctx context.Context) (values, shared context.Context, plain bool) {
	resp, ok := asResponse(reflect.ValueOf(w))
	if !ok {
		return ctx, ctx, false
	}
	own, ok := resp.context()
	if !ok {
		return ctx, ctx, false
	}
	if values, shared = plainParent(ctx, own); values == nil {
		return ctx, ctx, false
	}
	return values, shared, true
}

// plainParent returns what plainValues returns for ctx if it is plain, else
// nil. The argument own is where the context of net/http's request is.
func plainParent(ctx context.Context, own uintptr) (values, shared context.Context) {
	derived := false // from own
	for range plainContextDepth {
		v := reflect.ValueOf(ctx)
		if v.Kind() != reflect.Pointer || v.IsNil() {
			return nil, nil
		}
		derived = derived || v.Pointer() == own
		switch v.Type() {
		case cancelContextType:
			if ctx = cancelParent.context(v.Elem()); ctx == nil {
				return nil, nil
			}
		case valueContextType:
			parent := valueParent.context(v.Elem())
			if derived && parent != nil && // a value that stands here, and not below
				ctx.Value(http.LocalAddrContextKey) != nil && parent.Value(http.LocalAddrContextKey) == nil {
				return ctx, parent
			}
			return nil, nil
		default:
			return nil, nil
		}
	}
	return nil, nil
}

var (
	cancelContextType = func() reflect.Type {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return reflect.TypeOf(ctx)
	}()
	valueContextType = reflect.TypeOf(context.WithValue(context.Background(), http.LocalAddrContextKey, 0))
)

// The fields of other packages that are looked at for each handshake.
var (
	cancelParent  = knownField{name: "Context"}
	valueParent   = knownField{name: "Context"}
	responseReq   = knownField{name: "req"}
	responseWrote = knownField{name: "wroteHeader"}
	streamWrote   = knownField{name: "wroteHeader"}
	requestCtx    = knownField{name: "ctx"}
)

// A knownField is a field of a struct, which is mostly of the same type. It
// keeps where that type has the field: package reflect compares the names of
// all fields, with 900 bytes of stack.
type knownField struct {
	name string
	at   atomic.Pointer[fieldPlace]
}

type fieldPlace struct {
	in    reflect.Type
	index int // -1: it has no such field
}

// of returns the field of v, which is a struct, or the zero Value.
func (f *knownField) of(v reflect.Value) reflect.Value {
	at := f.at.Load()
	if at == nil || at.in != v.Type() {
		at = f.find(v.Type())
	}
	if at.index < 0 {
		return reflect.Value{}
	}
	return v.Field(at.index)
}

// find is apart, to keep the frame of its caller small.
//
//go:noinline
func (f *knownField) find(t reflect.Type) *fieldPlace {
	at := &fieldPlace{in: t, index: -1}
	if field, ok := t.FieldByName(f.name); ok && len(field.Index) == 1 {
		at.index = field.Index[0]
	}
	f.at.Store(at)
	return at
}

// context returns the field of v if it is a context, else nil.
func (f *knownField) context(v reflect.Value) context.Context {
	parent := f.of(v)
	if !parent.IsValid() || !parent.CanInterface() {
		return nil
	}
	ctx, _ := parent.Interface().(context.Context)
	return ctx
}

// plainContextDepth is how many contexts plainValues looks at.
const plainContextDepth = 8

// A response is what net/http keeps for a request, found behind w.
type response struct{ v reflect.Value }

// asResponse returns what v is, if that is net/http's own ResponseWriter of
// HTTP/1.1.
func asResponse(v reflect.Value) (resp response, ok bool) {
	if v.Kind() != reflect.Pointer || v.IsNil() || !isResponse(v.Type()) {
		return response{}, false
	}
	return response{v.Elem()}, true
}

// isResponse reports whether t is a pointer to net/http's own ResponseWriter of
// HTTP/1.1.
func isResponse(t reflect.Type) bool {
	if known := responseType.Load(); known != nil && *known == t {
		return true
	}
	if t.Elem().PkgPath() != "net/http" || t.Elem().Name() != "response" {
		return false
	}
	found := t // which the heap gets, not t
	responseType.Store(&found)
	return true
}

// responseType is what isResponse has found before.
var responseType atomic.Pointer[reflect.Type]

// context returns where the context of the request is that the response was
// made for.
func (r response) context() (ptr uintptr, ok bool) {
	req := responseReq.of(r.v)
	if req.Kind() != reflect.Pointer || req.IsNil() {
		return 0, false
	}
	ctx := requestCtx.of(req.Elem())
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
// mostly looks at one field only, which the argument knows.
func (r response) begun(field *knownField) error {
	if wrote := field.of(r.v); wrote.Kind() != reflect.Bool || !wrote.Bool() || !r.tellsStatus() {
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
