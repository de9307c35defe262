package httpfake

import (
	"net/http"
	"reflect"
	"testing"
)

// LineBreaks are what can end a line, or a string, in a program on the way.
var LineBreaks = []string{"\r\n", "\n", "\r", "\x00", "\r\n\r\n", "\x0b", "\u2028"}

// EachString calls f with each copy of opts in which one string, wherever it
// is, has become s. It finds new fields by itself; those that it does not know
// how to fill fail the test, except those of type skip.
func EachString[O any](t *testing.T, opts O, s string, skip reflect.Type, f func(field string, opts O)) {
	t.Helper()
	typ := reflect.TypeFor[O]()
	for i := range typ.NumField() {
		field := typ.Field(i)
		changed := opts
		v := reflect.ValueOf(&changed).Elem().Field(i)
		switch field.Type {
		case reflect.TypeFor[string]():
			v.SetString(s)
			f(field.Name, changed)
		case reflect.TypeFor[[]string]():
			v.Set(reflect.ValueOf([]string{"chat", s}))
			f(field.Name, changed)
		case reflect.TypeFor[http.Header]():
			v.Set(reflect.ValueOf(http.Header{s: {"x"}}))
			f(field.Name+", name", changed)
			v.Set(reflect.ValueOf(http.Header{"X-Own": {"a", s}}))
			f(field.Name+", value", changed)
		case reflect.TypeFor[*http.Client](), skip:
		default:
			switch field.Type.Kind() {
			case reflect.Bool, reflect.Int, reflect.Int64, reflect.Func:
			default:
				t.Errorf("%s is a %v: what could it smuggle?", field.Name, field.Type)
			}
		}
	}
}
