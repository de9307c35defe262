package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"
)

func parseOp(t *testing.T, s string) operation {
	t.Helper()
	var op operation
	if err := json.Unmarshal([]byte(s), &op); err != nil {
		t.Fatal(err)
	}
	return op
}

func TestApply(t *testing.T) {
	for _, test := range []struct {
		text, op, want string
		err            error
	}{
		{"", `[]`, "", nil},
		{"", `["new"]`, "new", nil},
		{"abc", `[3]`, "abc", nil},
		{"abc", `[1,"x",-1,1]`, "axc", nil},
		{"abc", `[1,-1,"x",1]`, "axc", nil},
		{"grüße 😀!", `[6,-2,"🎉🎉",1]`, "grüße 🎉🎉!", nil},
		{"abc", `[2]`, "", errLength},
		{"abc", `[4]`, "", errLength},
		{"abc", `[-4]`, "", errLength},
		{"abc", fmt.Sprintf(`[%d,"x"]`, math.MaxInt), "", errLength},
		{"abc", fmt.Sprintf(`[%d]`, -math.MaxInt), "", errLength},
		{"😀", `[1,"x",1]`, "", errHalf},
		{"😀", `[-1,1]`, "", errHalf},
	} {
		got, err := parseOp(t, test.op).apply(newText(test.text))
		if got.String() != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s on %q: %q, %v, want %q, %v", test.op, test.text, got, err, test.want, test.err)
		}
	}
}

func TestBadOperations(t *testing.T) {
	for _, s := range []string{`{}`, `[null]`, `[1.5]`, `[[]]`, `["a"`, `[true]`, `[1e30]`} {
		var op operation
		if err := json.Unmarshal([]byte(s), &op); err == nil && len(op) > 0 {
			t.Errorf("%s is %v", s, op)
		}
	}
}

func TestTransform(t *testing.T) {
	for _, test := range []struct{ name, text, a, b, want string }{
		{"a's insertion comes first", "-", `["A",1]`, `["B",1]`, "AB-"},
		{"at the end", "-", `[1,"A"]`, `[1,"B"]`, "-AB"},
		{"both delete the same", "abcd", `[1,-2,1]`, `[2,-2]`, "a"},
		{"insertion into what the other deletes", "abcd", `[2,"X",2]`, `[1,-2,1]`, "aXd"},
		{"replaced by both", "abc", `["x",-3]`, `["y",-3]`, "xy"},
		{"nothing and all", "abc", `[3]`, `[-3]`, ""},
	} {
		a, b := parseOp(t, test.a), parseOp(t, test.b)
		a2, b2, err := transform(a, b)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if got := must(must(newText(test.text), a), b2).String(); got != test.want {
			t.Errorf("%s: a, then b: %q, want %q", test.name, got, test.want)
		}
		if got := must(must(newText(test.text), b), a2).String(); got != test.want {
			t.Errorf("%s: b, then a: %q, want %q", test.name, got, test.want)
		}
	}
	if _, _, err := transform(parseOp(t, `[3]`), parseOp(t, `[4]`)); !errors.Is(err, errLength) {
		t.Errorf("operations for texts of two lengths: %v", err)
	}
}

// must is op applied to t, which it fits.
func must(t text, op operation) text {
	t, err := op.apply(t)
	if err != nil {
		panic(err)
	}
	return t
}

var alphabet = []rune("abc \n" + "üß世😀🎉")

func randomText(r *rand.Rand, n int) text {
	runes := make([]rune, r.IntN(n+1))
	for i := range runes {
		runes[i] = alphabet[r.IntN(len(alphabet))]
	}
	return newText(string(runes))
}

// randomOp returns an operation on t, with several steps and whole characters.
func randomOp(r *rand.Rand, t text) operation {
	var op operation
	for at := 0; ; {
		if r.IntN(3) == 0 {
			op = op.push(step{insert: randomText(r, 3)})
		}
		if at == len(t) {
			return op
		}
		n := 1 + r.IntN(min(len(t)-at, 6))
		if t.splits(at + n) {
			n++
		}
		at += n
		if r.IntN(3) == 0 {
			n = -n
		}
		op = op.push(step{n: n})
	}
}

func TestTransformConverges(t *testing.T) {
	r := rand.New(rand.NewPCG(6455, 1))
	for range 20_000 {
		base := randomText(r, 20)
		a, b := randomOp(r, base), randomOp(r, base)
		a2, b2, err := transform(a, b)
		if err != nil {
			t.Fatalf("%q, %v, %v: %v", base, a, b, err)
		}
		ab, ba := must(must(base, a), b2), must(must(base, b), a2)
		if !slices.Equal(ab, ba) {
			t.Fatalf("%q, %v, %v: %q and %q", base, a, b, ab, ba)
		}
	}
}

// A vector is an example of what transform does, which the page's own transform
// is tested with: the two must agree.
type vector struct {
	Text, After string
	A, B        operation
	A2, B2      operation
}

var update = flag.Bool("update", false, "write testdata/transform.json anew")

func TestVectors(t *testing.T) {
	const file = "testdata/transform.json"
	if *update {
		r := rand.New(rand.NewPCG(6455, 2))
		var vs []vector
		for range 200 {
			base := randomText(r, 10)
			v := vector{Text: base.String(), A: randomOp(r, base), B: randomOp(r, base)}
			v.A2, v.B2, _ = transform(v.A, v.B)
			v.After = must(must(base, v.A), v.B2).String()
			vs = append(vs, v)
		}
		data, err := json.Marshal(vs)
		if err == nil {
			err = os.WriteFile(file, append(data, '\n'), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(data, &vs); err != nil || len(vs) == 0 {
		t.Fatalf("%d vectors, %v", len(vs), err)
	}
	for _, v := range vs {
		a2, b2, err := transform(v.A, v.B)
		if err != nil || !reflect.DeepEqual(a2, v.A2) || !reflect.DeepEqual(b2, v.B2) {
			t.Fatalf("transform(%v, %v) = %v, %v, %v, want %v, %v", v.A, v.B, a2, b2, err, v.A2, v.B2)
		}
		if got := must(must(newText(v.Text), v.A), v.B2).String(); got != v.After {
			t.Fatalf("%q after both: %q, want %q", v.Text, got, v.After)
		}
	}
}
