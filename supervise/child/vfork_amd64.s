//go:build !forkpath

#include "textflag.h"

// func vfork(args *cloneArgs, flags uintptr, tid *uint32, calls *call, n uintptr, failed *failure) uintptr
//
// The child shares the parent's memory and stack, so it only makes system
// calls: it writes nothing but what failed.
TEXT ·vfork(SB),NOSPLIT|NOFRAME,$0-56
	MOVQ	calls+24(FP), R12
	MOVQ	n+32(FP), R13
	MOVQ	failed+40(FP), BX
	MOVQ	args+0(FP), DI
	TESTQ	DI, DI
	JZ	old
	MOVL	$64, SI
	MOVL	$435, AX		// clone3
	SYSCALL
	JMP	both
old:
	MOVQ	flags+8(FP), DI
	XORL	SI, SI
	MOVQ	tid+16(FP), DX
	XORL	R10, R10
	XORL	R8, R8
	MOVL	$56, AX			// clone
	SYSCALL
both:
	TESTQ	AX, AX
	JZ	child
	MOVQ	AX, ret+48(FP)
	RET
child:
	MOVQ	0(R12), AX
	MOVQ	8(R12), DI
	MOVQ	16(R12), SI
	MOVQ	24(R12), DX
	MOVQ	32(R12), R10
	SYSCALL
	CMPQ	AX, $0xfffffffffffff001
	JCC	fail
	MOVQ	0(R12), CX
	CMPQ	CX, $435
	JEQ	forked
	CMPQ	CX, $56
	JEQ	forked
next:
	ADDQ	$72, R12
	DECQ	R13
	JMP	child			// the last call does not return
forked:
	TESTQ	AX, AX
	JZ	next
	XORL	DI, DI
	MOVL	$231, AX		// exit_group
	SYSCALL
	INT	$3
fail:
	CMPQ	56(R12), $0		// optional
	JNE	next
	NEGQ	AX
	MOVQ	AX, 0(BX)
	MOVQ	R13, 8(BX)
	MOVL	$111, DI
	MOVL	$231, AX		// exit_group
	SYSCALL
	INT	$3
