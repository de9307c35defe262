package websocket

import (
	"context"
	"encoding/binary"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed70bc5565/websocket/internal/netfake"
	"github.com/seed70bc5565/websocket/internal/wstest"
)

// "The masking key needs to be unpredictable; thus, the masking key MUST be derived from a strong source of entropy,
// and the masking key for a given frame MUST NOT make it simple for a server/proxy to predict the masking key for a
// subsequent frame." (RFC 6455, section 5.3)

// wireKeys returns the masking keys of n frames as a client puts them on the wire.
func wireKeys(t *testing.T, n int) []uint32 {
	t.Helper()
	ours, theirs := netfake.Pipe(netfake.Options{Buffer: 1 << 20})
	c := newConn(connConfig{transport: ours, client: true})
	defer c.CloseNow()
	keys := make([]uint32, 0, n)
	for len(keys) < n {
		if err := c.Write(context.Background(), MessageBinary, []byte("x")); err != nil {
			t.Fatal(err)
		}
		f, err := wstest.ReadFrame(theirs)
		if err != nil || f.Mask != wstest.Masked {
			t.Fatalf("%v, %v", f, err)
		}
		keys = append(keys, binary.LittleEndian.Uint32(f.Key[:]))
	}
	return keys
}

// The masking keys of 100,000 frames look random, and so do the differences between each and the one before. The
// bounds are 7 standard deviations from what is expected and more: a good source fails less than one run in 10^9.
func TestMaskingKeysStatistics(t *testing.T) {
	const n = 100_000
	keys := wireKeys(t, n)
	steps, sums := make([]uint32, n-1), make([]uint32, n-1)
	for i := range n - 1 {
		steps[i], sums[i] = keys[i+1]^keys[i], keys[i+1]-keys[i]
	}
	for what, values := range map[string][]uint32{"keys": keys, "their changes": steps, "their differences": sums} {
		total := float64(len(values))
		// Each bit is set half of the time: binomial, with a deviation of sqrt(n)/2.
		for bit := range 32 {
			set := 0.0
			for _, v := range values {
				set += float64(v >> bit & 1)
			}
			if z := (set - total/2) / (math.Sqrt(total) / 2); math.Abs(z) > 7 {
				t.Errorf("%s: bit %d is set %.0f times in %.0f: %.1f deviations", what, bit, set, total, z)
			}
		}
		// Each byte takes all values alike: chi-square of 255 degrees of freedom, which is near to normal.
		for shift := 0; shift < 32; shift += 8 {
			var counts [256]float64
			for _, v := range values {
				counts[v>>shift&255]++
			}
			chi, want := 0.0, total/256
			for _, count := range counts {
				chi += (count - want) * (count - want) / want
			}
			if z := (chi - 255) / math.Sqrt(2*255); z > 10 || z < -7 {
				t.Errorf("%s: the byte at bit %d: chi-square %.0f of 255 degrees", what, shift, chi)
			}
		}
		// How often a value comes that came before is Poisson with a mean of n*n/2/2^32, 1.2; 30 are out of the question.
		seen, again := make(map[uint32]bool, len(values)), 0
		for _, v := range values {
			if seen[v] {
				again++
			}
			seen[v] = true
		}
		if again > 30 {
			t.Errorf("%s: %d of %d come again", what, again, len(values))
		}
	}
	// No period: at a distance of up to 300 keys, more than two blocks of them, no more bits agree than by chance.
	for lag := 1; lag <= 300; lag++ {
		agree := 0
		for i := lag; i < n; i++ {
			agree += 32 - bits.OnesCount32(keys[i]^keys[i-lag])
		}
		total := float64(32 * (n - lag))
		if z := (float64(agree) - total/2) / (math.Sqrt(total) / 2); math.Abs(z) > 8 {
			t.Errorf("%d keys apart %d bits of %.0f agree: %.1f deviations", lag, agree, total, z)
		}
	}
}

// Goroutines that take keys at the same time never get the same piece of a block: among a million keys of 32 bits about
// 116 come twice by chance (Poisson), and pieces that are shared would add thousands.
func TestMaskingKeysConcurrent(t *testing.T) {
	const users, each = 16, 1_000_000 / 16
	keys := make([][]uint32, users)
	var all sync.WaitGroup
	for u := range keys {
		all.Go(func() {
			for range each {
				keys[u] = append(keys[u], newMaskingKey())
			}
		})
	}
	all.Wait()
	seen, again, zero := make(map[uint32]bool, users*each), 0, 0
	for _, of := range keys {
		for _, key := range of {
			if seen[key] {
				again++
			}
			seen[key] = true
			if key == 0 {
				zero++ // a piece that was used is cleared
			}
		}
	}
	if again > 116+8*11 || zero > 8 {
		t.Errorf("%d keys come again, %d are zero", again, zero)
	}
}

// No file of the module imports math/rand, tests and what is only run from the repository aside; and what makes keys
// and nonces takes its bytes from crypto/rand.
func TestRandomnessSources(t *testing.T) {
	sources := map[string]bool{"next": false, "newKey": false}
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); path != "." && (err == nil || d.Name() == "testdata" || d.Name()[0] == '.') {
				return filepath.SkipDir
			}
			if path == "soak" || d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		crypto := false // the name rand is crypto/rand's
		for _, spec := range f.Imports {
			switch spec.Path.Value {
			case `"math/rand"`, `"math/rand/v2"`:
				if !strings.HasPrefix(path, "examples") && !strings.HasPrefix(path, "cmd") && !strings.HasPrefix(path, "autobahn") { // programs: no keys of ours
					t.Errorf("%s imports %s", path, spec.Path.Value)
				}
			case `"crypto/rand"`:
				crypto = spec.Name == nil
			}
		}
		if strings.ContainsRune(path, filepath.Separator) {
			return nil
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if _, wanted := sources[fn.Name.Name]; wanted && crypto {
				sources[fn.Name.Name] = calls(fn, "rand", "Read")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, ok := range sources {
		if !ok {
			t.Errorf("%s does not read crypto/rand", name)
		}
	}
}

// calls reports whether fn calls pkg.name.
func calls(fn *ast.FuncDecl, pkg, name string) (found bool) {
	ast.Inspect(fn, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if s, ok := call.Fun.(*ast.SelectorExpr); ok && lastName(s.X) == pkg && s.Sel.Name == name {
				found = true
			}
		}
		return true
	})
	return found
}

// A piece of a block of keys is used once, and is not kept.
func TestMaskingKeyBlock(t *testing.T) {
	k := &keyBlock{}
	var last [512]byte
	zero := 0 // one key in 4 billion is
	for range 3 {
		for left := len(k.bytes); left > 0; left -= 4 {
			key := k.next()
			if left == len(k.bytes) {
				if k.bytes == last {
					t.Fatal("a block is used twice")
				}
				last = k.bytes
			}
			if key == 0 {
				zero++
			}
			for _, b := range k.bytes[left-4:] {
				if b != 0 {
					t.Fatal("a key that was used is kept")
				}
			}
		}
	}
	if zero > 2 {
		t.Errorf("%d keys of zeros: pieces that were used", zero)
	}
}
