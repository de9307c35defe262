//go:build !purego

#include "textflag.h"

// func XorBlocks(dst, src *byte, n int, key, next uint32)
//
// Up to 128 bytes are two or four vectors, taken from both ends, which may overlap in the middle. More is a
// loop of 128 bytes a turn over dst aligned to 32, with the first 32 and the last 128 bytes held in registers
// meanwhile: everything that is stored twice is stored twice with the same value, also when dst is src.
//
// DI dst, SI src, DX n; Y15, Y14, Y13 the key for the first vectors, for the last ones, which begin a multiple of
// 32 before the end and so take next, and for the loop.
TEXT ·XorBlocks(SB), NOSPLIT, $0-32
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	MOVQ         n+16(FP), DX
	VBROADCASTSS key+24(FP), Y15
	VBROADCASTSS next+28(FP), Y14

	CMPQ DX, $64
	JA   over64
	VPXOR   (SI), Y15, Y0
	VPXOR   -32(SI)(DX*1), Y14, Y1
	VMOVDQU Y0, (DI)
	VMOVDQU Y1, -32(DI)(DX*1)
	VZEROUPPER
	RET

over64:
	VPXOR (SI), Y15, Y0
	VPXOR -64(SI)(DX*1), Y14, Y2
	VPXOR -32(SI)(DX*1), Y14, Y3
	CMPQ  DX, $128
	JA    over128
	VPXOR   32(SI), Y15, Y1
	VMOVDQU Y0, (DI)
	VMOVDQU Y1, 32(DI)
	VMOVDQU Y2, -64(DI)(DX*1)
	VMOVDQU Y3, -32(DI)(DX*1)
	VZEROUPPER
	RET

over128:
	VPXOR -128(SI)(DX*1), Y14, Y4
	VPXOR -96(SI)(DX*1), Y14, Y5
	MOVQ  DI, R9           // where Y0 belongs
	LEAQ  (DI)(DX*1), R10  // the end of dst: where Y4, Y5, Y2, Y3 belong
	LEAQ  -128(R10), R11   // from here on they cover all

	// On to the next multiple of 32 in dst; 1 to 32 bytes, which Y0 covers.
	MOVQ DI, CX
	ANDQ $31, CX
	NEGQ CX
	ADDQ $32, CX
	ADDQ CX, DI
	ADDQ CX, SI
	SHLL $3, CX
	MOVL key+24(FP), AX
	RORL CX, AX
	VMOVD        AX, X13
	VPBROADCASTD X13, Y13
	CMPQ DI, R11
	JAE  ends

loop:
	VPXOR   (SI), Y13, Y6
	VPXOR   32(SI), Y13, Y7
	VPXOR   64(SI), Y13, Y8
	VPXOR   96(SI), Y13, Y9
	VMOVDQA Y6, (DI)
	VMOVDQA Y7, 32(DI)
	VMOVDQA Y8, 64(DI)
	VMOVDQA Y9, 96(DI)
	SUBQ    $-128, SI
	SUBQ    $-128, DI
	CMPQ    DI, R11
	JB      loop

ends:
	VMOVDQU Y0, (R9)
	VMOVDQU Y4, -128(R10)
	VMOVDQU Y5, -96(R10)
	VMOVDQU Y2, -64(R10)
	VMOVDQU Y3, -32(R10)
	VZEROUPPER
	RET

// func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL leaf+0(FP), AX
	MOVL subleaf+4(FP), CX
	CPUID
	MOVL AX, eax+8(FP)
	MOVL BX, ebx+12(FP)
	MOVL CX, ecx+16(FP)
	MOVL DX, edx+20(FP)
	RET

// func xgetbv() (eax, edx uint32)
TEXT ·xgetbv(SB), NOSPLIT, $0-8
	XORL CX, CX
	XGETBV
	MOVL AX, eax+0(FP)
	MOVL DX, edx+4(FP)
	RET
