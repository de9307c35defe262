//go:build !purego

#include "textflag.h"

// CHECK looks at the bytes of V3, given the bytes one, two and three before each of them in V1, V4 and V5, and collects in
// V9 what is wrong.
#define CHECK \
	VUSHR $4, V1.B16, V2.B16         \
	VTBL  V2.B16, [V10.B16], V2.B16  \
	VAND  V13.B16, V1.B16, V1.B16    \
	VTBL  V1.B16, [V11.B16], V1.B16  \
	VAND  V1.B16, V2.B16, V2.B16     \
	VUSHR $4, V3.B16, V3.B16         \
	VTBL  V3.B16, [V12.B16], V3.B16  \
	VAND  V3.B16, V2.B16, V2.B16     \
	VUSHR $5, V4.B16, V4.B16         \
	VCMEQ V7.B16, V4.B16, V4.B16     \
	VUSHR $4, V5.B16, V5.B16         \
	VCMEQ V13.B16, V5.B16, V5.B16    \
	VORR  V5.B16, V4.B16, V4.B16     \
	VAND  V14.B16, V4.B16, V4.B16    \
	VEOR  V4.B16, V2.B16, V2.B16     \
	VORR  V2.B16, V9.B16, V9.B16

// CHECK16 looks at the 16 bytes at R0 and moves on behind them.
#define CHECK16 \
	VLD1.P 16(R0), [V3.B16] \
	VLD1.P 16(R1), [V1.B16] \
	VLD1.P 16(R2), [V4.B16] \
	VLD1.P 16(R3), [V5.B16] \
	CHECK

// func UTF8Blocks(p *byte, n int) bool
//
// R0 p, R1, R2, R3 one, two, three bytes before it, R9 its end; V10, V11, V12 the tables. The bytes from E0 and from F0 up
// are those whose highest three bits are 7 and whose highest four bits are 0F.
TEXT ·UTF8Blocks(SB), NOSPLIT, $0-17
	MOVD p+0(FP), R0
	MOVD n+8(FP), R9
	ADD  R0, R9

	MOVD $·utf8Tables(SB), R4
	VLD1 (R4), [V10.B16, V11.B16, V12.B16]
	MOVD $0x07, R4
	VDUP R4, V7.B16
	MOVD $0x0f, R4
	VDUP R4, V13.B16
	MOVD $0x80, R4
	VDUP R4, V14.B16
	VEOR V9.B16, V9.B16, V9.B16

	// Before the first 16 bytes there is nothing: zeros are shifted in.
	VEOR   V0.B16, V0.B16, V0.B16
	VLD1.P 16(R0), [V3.B16]
	VEXT   $15, V3.B16, V0.B16, V1.B16
	VEXT   $14, V3.B16, V0.B16, V4.B16
	VEXT   $13, V3.B16, V0.B16, V5.B16
	CHECK

	SUB $1, R0, R1
	SUB $2, R0, R2
	SUB $3, R0, R3
	SUB $64, R9, R10
	CMP R10, R0
	BHI below64

loop64:
	VLD1 (R0), [V16.B16, V17.B16, V18.B16, V19.B16]
	VLD1 (R3), [V20.B16]
	VORR V17.B16, V16.B16, V16.B16
	VORR V19.B16, V18.B16, V18.B16
	VORR V20.B16, V16.B16, V16.B16
	VORR V18.B16, V16.B16, V16.B16
	VMOV V16.D[0], R4
	VMOV V16.D[1], R5
	ORR  R5, R4, R4
	TST  $0x8080808080808080, R4
	BEQ  skip64                 // all ASCII, and so are the three bytes before
	CHECK16
	CHECK16
	CHECK16
	CHECK16
	VMOV V9.D[0], R4
	VMOV V9.D[1], R5
	ORR  R5, R4, R4
	CBNZ R4, done
	CMP  R10, R0
	BLS  loop64
	B    below64

skip64:
	ADD $64, R0
	ADD $64, R1
	ADD $64, R2
	ADD $64, R3
	CMP R10, R0
	BLS loop64

below64:
	SUB $16, R9, R10
	B   test16

loop16:
	CHECK16

test16:
	CMP R10, R0
	BLO loop16

	// The last 16 bytes may overlap what has been seen.
	MOVD R10, R0
	SUB  $1, R10, R1
	SUB  $2, R10, R2
	SUB  $3, R10, R3
	CHECK16
	VMOV V9.D[0], R4
	VMOV V9.D[1], R5
	ORR  R5, R4, R4

done:
	CMP  $0, R4
	CSET EQ, R4
	MOVB R4, ret+16(FP)
	RET
