#include "textflag.h"

// func vfork(args *cloneArgs, flags uintptr, calls *call, told *told) uintptr
//
// The child shares the parent's memory and stack, so it only makes system
// calls: it writes nothing but what it tells. Where one of them is clone, the
// child of the child makes the rest of them while the child waits, which then
// ends.
TEXT ·vfork(SB),NOSPLIT|NOFRAME,$0-40
	MOVQ	calls+16(FP), R12
	MOVQ	told+24(FP), BX
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
	XORL	DX, DX
	XORL	R10, R10
	XORL	R8, R8
	MOVL	$56, AX			// clone
	SYSCALL
both:
	TESTQ	AX, AX
	JZ	child
	MOVQ	AX, ret+32(FP)
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
	CMPQ	0(R12), $56		// clone
	JEQ	cloned
next:
	ADDQ	$40, R12
	JMP	child			// the last call does not return
cloned:
	TESTQ	AX, AX
	JZ	next
	XORL	DI, DI
	MOVL	$231, AX		// exit_group
	SYSCALL
	INT	$3
fail:
	NEGQ	AX
	MOVQ	AX, 0(BX)
	MOVL	$127, DI
	MOVL	$231, AX		// exit_group
	SYSCALL
	INT	$3
