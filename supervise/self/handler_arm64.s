#include "textflag.h"

// note is called with the signal's number.
TEXT ·note(SB),NOSPLIT|NOFRAME,$0-0
	SUB  $1, R0, R1
	MOVD $1, R2
	LSL  R1, R2
	MOVD $·noted(SB), R3

again:
	LDAXR (R3), R4
	ORR   R2, R4
	STLXR R4, (R3), R5
	CBNZ  R5, again
	MOVWU ·eventFD(SB), R0
	MOVD  $·one(SB), R1
	MOVD  $8, R2
	MOVD  $64, R8 // write
	SVC
	RET // to where the kernel has all registers restored

// func handler() uintptr
TEXT ·handler(SB),NOSPLIT,$0-8
	MOVD $·note(SB), R0
	MOVD R0, ret+0(FP)
	RET

// hold is called with the signal's number and a context in R2.
TEXT ·hold(SB),NOSPLIT|NOFRAME,$0-0
	MOVD ·holding(SB), R4
	MOVD 40(R2), R5 // uc_sigmask: what the thread blocks when this returns
	ORR  R4, R5
	MOVD R5, 40(R2)
	MOVWU ·holdSignal(SB), R4
	CMPW R4, R0
	BNE  again
	MOVD $·heldBy(SB), R4

add:
	LDAXRW (R4), R5
	ADDW   $1, R5
	STLXRW R5, (R4), R3
	CBNZ   R3, add
	RET

again:
	MOVW R0, R1
	MOVD $172, R8 // getpid
	SVC
	MOVD $129, R8 // kill
	SVC
	RET

// func holder() uintptr
TEXT ·holder(SB),NOSPLIT,$0-8
	MOVD $·hold(SB), R0
	MOVD R0, ret+0(FP)
	RET

// notFault is called with the signal's number, its siginfo in R1, and a context.
TEXT ·notFault(SB),NOSPLIT|NOFRAME,$0-0
	MOVW 8(R1), R3 // si_code: the kernel's own are above
	CMPW $0, R3
	BGT  fault
	RET

fault:
	MOVD ·runtimes(SB), R3
	JMP  (R3)

// func fromOthers() uintptr
TEXT ·fromOthers(SB),NOSPLIT,$0-8
	MOVD $·notFault(SB), R0
	MOVD R0, ret+0(FP)
	RET
