//go:build !purego

package simd

// HasVectors reports whether the processor and the operating system support
// AVX2.
var HasVectors = hasAVX2()

// hasAVX2 asks what the standard library asks in internal/cpu. The instructions
// are there (CPUID leaf 7). The operating system saves the registers they use
// (OSXSAVE, and XCR0 as XGETBV reads it).
func hasAVX2() bool {
	const (
		osxsave = 1 << 27     // leaf 1, ECX
		avx     = 1 << 28     // leaf 1, ECX
		avx2    = 1 << 5      // leaf 7, EBX
		vectors = 1<<1 | 1<<2 // XCR0: XMM and YMM
	)
	highest, _, _, _ := cpuid(0, 0)
	if highest < 7 {
		return false
	}
	_, _, ecx, _ := cpuid(1, 0)
	if ecx&(osxsave|avx) != osxsave|avx {
		return false
	}
	if xcr0, _ := xgetbv(); xcr0&vectors != vectors {
		return false
	}
	_, ebx, _, _ := cpuid(7, 0)
	return ebx&avx2 != 0
}

func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)

func xgetbv() (eax, edx uint32)
