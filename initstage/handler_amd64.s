#include "textflag.h"

// nothing is a signal handler that returns at once.
TEXT ·nothing(SB),NOSPLIT|NOFRAME,$0-0
	RET

// func handler() uintptr
TEXT ·handler(SB),NOSPLIT,$0-8
	LEAQ ·nothing(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// notOwn is called with the signal's number, its siginfo in SI, and a context.
TEXT ·notOwn(SB),NOSPLIT|NOFRAME,$0-0
	CMPL 8(SI), $0 // si_code: the kernel's own are above
	JGT  own
	CMPL 16(SI), $1 // si_pid
	JEQ  own
	MOVQ ·filtered(SB), AX
	JMP  AX

own:
	RET

// func filter() uintptr
TEXT ·filter(SB),NOSPLIT,$0-8
	LEAQ ·notOwn(SB), AX
	MOVQ AX, ret+0(FP)
	RET
