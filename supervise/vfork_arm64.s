#include "textflag.h"

// func vfork(args *cloneArgs, flags uintptr, calls *call, told *told) uintptr
//
// The child shares the parent's memory and stack, so it only makes system
// calls: it writes nothing but what it tells. Where one of them is clone, the
// child of the child makes the rest of them while the child waits, which then
// ends.
TEXT ·vfork(SB),NOSPLIT|NOFRAME,$0-40
	MOVD	calls+16(FP), R19
	MOVD	told+24(FP), R21
	MOVD	args+0(FP), R0
	CBZ	R0, old
	MOVD	$64, R1
	MOVD	$435, R8		// clone3
	SVC
	B	both
old:
	MOVD	flags+8(FP), R0
	MOVD	$0, R1
	MOVD	$0, R2
	MOVD	$0, R3
	MOVD	$0, R4
	MOVD	$220, R8		// clone
	SVC
both:
	CBZ	R0, child
	MOVD	R0, ret+32(FP)
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
	MOVD	0(R19), R8
	CMP	$220, R8		// clone
	BEQ	cloned
next:
	ADD	$40, R19
	B	child			// the last call does not return
cloned:
	CBZ	R0, next
	MOVD	$0, R0
	MOVD	$94, R8			// exit_group
	SVC
	BRK
fail:
	NEG	R0, R0
	MOVD	R0, 0(R21)
	MOVD	$127, R0
	MOVD	$94, R8			// exit_group
	SVC
	BRK
