#include "textflag.h"

// nothing is a signal handler that returns at once.
TEXT ·nothing(SB),NOSPLIT|NOFRAME,$0-0
	RET

// func handler() uintptr
TEXT ·handler(SB),NOSPLIT,$0-8
	MOVD $·nothing(SB), R0
	MOVD R0, ret+0(FP)
	RET

// notOwn is called with the signal's number, its siginfo in R1, and a context.
TEXT ·notOwn(SB),NOSPLIT|NOFRAME,$0-0
	MOVW 8(R1), R3 // si_code: the kernel's own are above
	CMPW $0, R3
	BGT  own
	MOVW 16(R1), R3 // si_pid
	CMPW $1, R3
	BEQ  own
	MOVD ·filtered(SB), R3
	JMP  (R3)

own:
	RET

// func filter() uintptr
TEXT ·filter(SB),NOSPLIT,$0-8
	MOVD $·notOwn(SB), R0
	MOVD R0, ret+0(FP)
	RET
