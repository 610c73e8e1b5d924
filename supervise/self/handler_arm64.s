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
