//go:build !purego

#include "textflag.h"

// func XorBlocks(dst, src *byte, n int, key, next uint32)
//
// As in mask_amd64.s: vectors from both ends, which may overlap in the middle; above 128 bytes a loop of 64 bytes
// a turn over dst aligned to 16, with the first 16 and the last 64 bytes held in registers meanwhile. Everything
// that is stored twice is stored twice with the same value, also when dst is src.
//
// R0 dst, R1 src, R2 n, R3 key; V16, V17, V18 the key for the first vectors, for the last ones, which begin a multiple of
// 16 before the end and so take next, and for the loop.
TEXT ·XorBlocks(SB), NOSPLIT, $0-32
	MOVD  dst+0(FP), R0
	MOVD  src+8(FP), R1
	MOVD  n+16(FP), R2
	MOVWU key+24(FP), R3
	MOVWU next+28(FP), R5
	VDUP  R3, V16.S4
	VDUP  R5, V17.S4

	ADD R2, R0, R6 // the end of dst
	ADD R2, R1, R7 // the end of src
	CMP $64, R2
	BHI over64

	SUB  $32, R7, R7
	SUB  $32, R6, R6
	VLD1 (R1), [V0.B16, V1.B16]
	VLD1 (R7), [V2.B16, V3.B16]
	VEOR V16.B16, V0.B16, V0.B16
	VEOR V16.B16, V1.B16, V1.B16
	VEOR V17.B16, V2.B16, V2.B16
	VEOR V17.B16, V3.B16, V3.B16
	VST1 [V0.B16, V1.B16], (R0)
	VST1 [V2.B16, V3.B16], (R6)
	RET

over64:
	SUB  $64, R7, R7
	SUB  $64, R6, R6 // from here on V4 to V7 cover all
	VLD1 (R7), [V4.B16, V5.B16, V6.B16, V7.B16]
	VEOR V17.B16, V4.B16, V4.B16
	VEOR V17.B16, V5.B16, V5.B16
	VEOR V17.B16, V6.B16, V6.B16
	VEOR V17.B16, V7.B16, V7.B16
	CMP  $128, R2
	BHI  over128

	VLD1 (R1), [V0.B16, V1.B16, V2.B16, V3.B16]
	VEOR V16.B16, V0.B16, V0.B16
	VEOR V16.B16, V1.B16, V1.B16
	VEOR V16.B16, V2.B16, V2.B16
	VEOR V16.B16, V3.B16, V3.B16
	VST1 [V0.B16, V1.B16, V2.B16, V3.B16], (R0)
	VST1 [V4.B16, V5.B16, V6.B16, V7.B16], (R6)
	RET

over128:
	VLD1 (R1), [V19.B16]
	VEOR V16.B16, V19.B16, V19.B16
	MOVD R0, R8 // where V19 belongs

	// On to the next multiple of 16 in dst: 1 to 16 bytes, which V19 covers.
	AND  $15, R0, R9
	SUB  R9, R0, R10
	SUB  R9, R1, R11
	ADD  $16, R10, R0
	ADD  $16, R11, R1
	NEG  R9, R9        // as many bytes, modulo 4
	LSL  $3, R9, R9
	RORW R9, R3, R9
	VDUP R9, V18.S4

loop:
	VLD1.P 64(R1), [V0.B16, V1.B16, V2.B16, V3.B16]
	VEOR   V18.B16, V0.B16, V0.B16
	VEOR   V18.B16, V1.B16, V1.B16
	VEOR   V18.B16, V2.B16, V2.B16
	VEOR   V18.B16, V3.B16, V3.B16
	VST1.P [V0.B16, V1.B16, V2.B16, V3.B16], 64(R0)
	CMP    R6, R0
	BLO    loop

	VST1 [V19.B16], (R8)
	VST1 [V4.B16, V5.B16, V6.B16, V7.B16], (R6)
	RET
