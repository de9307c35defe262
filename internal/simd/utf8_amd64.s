//go:build !purego

#include "textflag.h"

// CHECK looks at the bytes of Y3, given the bytes one, two and three before each of them in Y1, Y4 and Y5, and collects in
// Y9 what is wrong.
#define CHECK \
	VPSRLW   $4, Y1, Y2   \
	VPAND    Y13, Y2, Y2  \
	VPSHUFB  Y2, Y10, Y2  \
	VPAND    Y13, Y1, Y1  \
	VPSHUFB  Y1, Y11, Y1  \
	VPAND    Y1, Y2, Y2   \
	VPSRLW   $4, Y3, Y3   \
	VPAND    Y13, Y3, Y3  \
	VPSHUFB  Y3, Y12, Y3  \
	VPAND    Y3, Y2, Y2   \
	VPSUBUSB Y7, Y4, Y4   \
	VPSUBUSB Y8, Y5, Y5   \
	VPOR     Y5, Y4, Y4   \
	VPAND    Y14, Y4, Y4  \
	VPXOR    Y4, Y2, Y2   \
	VPOR     Y2, Y9, Y9

// CHECK32 and CHECK16 look at the bytes from SI+at on. The upper halves are 0, and right, where 16 bytes are loaded.
#define CHECK32(at) \
	VMOVDQU (at)(SI), Y3   \
	VMOVDQU (at-1)(SI), Y1 \
	VMOVDQU (at-2)(SI), Y4 \
	VMOVDQU (at-3)(SI), Y5 \
	CHECK

#define CHECK16(at) \
	VMOVDQU (at)(SI), X3   \
	VMOVDQU (at-1)(SI), X1 \
	VMOVDQU (at-2)(SI), X4 \
	VMOVDQU (at-3)(SI), X5 \
	CHECK

// BYTES fills y, whose low half is x, with the byte b.
#define BYTES(b, x, y) \
	MOVL         b, AX \
	VMOVD        AX, x \
	VPBROADCASTB x, y

// func UTF8Blocks(p *byte, n int) bool
//
// SI p, R9 the end of p; Y10, Y11, Y12 the tables; Y7 and Y8 leave bit 7 only to bytes from E0 and from F0 up.
TEXT ·UTF8Blocks(SB), NOSPLIT, $0-17
	MOVQ p+0(FP), SI
	MOVQ n+8(FP), DX
	LEAQ (SI)(DX*1), R9

	LEAQ           ·utf8Tables(SB), AX
	VBROADCASTI128 (AX), Y10
	VBROADCASTI128 16(AX), Y11
	VBROADCASTI128 32(AX), Y12
	BYTES($0x60, X7, Y7)
	BYTES($0x70, X8, Y8)
	BYTES($0x0f, X13, Y13)
	BYTES($0x80, X14, Y14)
	VPXOR          Y9, Y9, Y9

	// Before the first 16 bytes there is nothing: zeros are shifted in.
	VMOVDQU (SI), X3
	VPSLLDQ $1, X3, X1
	VPSLLDQ $2, X3, X4
	VPSLLDQ $3, X3, X5
	CHECK
	ADDQ    $16, SI

	LEAQ -128(R9), R10
	CMPQ SI, R10
	JBE  loop128
	CMPQ DX, $35
	JAE  below128

	// Fewer than 35 bytes: the three before the last 32 would begin before p.
	CMPQ DX, $32
	JBE  last16
	CHECK16(0)

last16:
	LEAQ -16(R9), SI
	CHECK16(0)
	JMP done

loop128:
	VMOVDQU (SI), Y0
	VPOR    32(SI), Y0, Y0
	VMOVDQU 64(SI), Y1
	VPOR    96(SI), Y1, Y1
	VPOR    -3(SI), Y0, Y0
	VPOR    Y1, Y0, Y0
	VPTEST  Y14, Y0
	JZ      next128        // all ASCII, and so are the three bytes before
	CHECK32(0)
	CHECK32(32)
	CHECK32(64)
	CHECK32(96)
	VPTEST  Y9, Y9
	JNZ     done

next128:
	SUBQ $-128, SI
	CMPQ SI, R10
	JBE  loop128

below128:
	LEAQ -32(R9), R10
	JMP  test32

loop32:
	CHECK32(0)
	ADDQ $32, SI

test32:
	CMPQ SI, R10
	JB   loop32

	// The last 32 bytes may overlap what has been seen.
	MOVQ R10, SI
	CHECK32(0)

done:
	VPTEST Y9, Y9
	SETEQ  ret+16(FP)
	VZEROUPPER
	RET
