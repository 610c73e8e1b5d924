//go:build !forkpath

#include "textflag.h"

// func vfork(args *cloneArgs, flags uintptr, tid *uint32, calls *call, n uintptr, failed *failure) uintptr
//
// The child shares the parent's memory and stack, so it only makes system
// calls: it writes nothing but what failed.
TEXT ·vfork(SB),NOSPLIT|NOFRAME,$0-56
	MOVD	calls+24(FP), R19
	MOVD	n+32(FP), R20
	MOVD	failed+40(FP), R21
	MOVD	args+0(FP), R0
	CBZ	R0, old
	MOVD	$64, R1
	MOVD	$435, R8		// clone3
	SVC
	B	both
old:
	MOVD	flags+8(FP), R0
	MOVD	$0, R1
	MOVD	tid+16(FP), R2
	MOVD	$0, R3
	MOVD	$0, R4
	MOVD	$220, R8		// clone
	SVC
both:
	CBZ	R0, child
	MOVD	R0, ret+48(FP)
	RET
child:
	MOVD	0(R19), R8
	MOVD	8(R19), R0
	MOVD	16(R19), R1
	MOVD	24(R19), R2
	MOVD	32(R19), R3
	SVC
	CMN	$4095, R0
	BCS	fail
	MOVD	0(R19), R9
	CMP	$435, R9
	BEQ	forked
	CMP	$220, R9
	BEQ	forked
next:
	ADD	$72, R19
	SUB	$1, R20
	B	child			// the last call does not return
forked:
	CBZ	R0, next
	MOVD	$0, R0
	MOVD	$94, R8			// exit_group
	SVC
	BRK
fail:
	MOVD	56(R19), R9		// optional
	CBNZ	R9, next
	NEG	R0, R0
	MOVD	R0, 0(R21)
	MOVD	R20, 8(R21)
	MOVD	$111, R0
	MOVD	$94, R8			// exit_group
	SVC
	BRK
