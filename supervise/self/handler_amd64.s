#include "textflag.h"

// note is called with the signal's number.
TEXT ·note(SB),NOSPLIT|NOFRAME,$0-0
	LEAL -1(DI), CX
	MOVL $1, AX
	SHLQ CX, AX
	LOCK
	ORQ  AX, ·noted(SB)
	MOVL $1, AX // write
	MOVL ·eventFD(SB), DI
	LEAQ ·one(SB), SI
	MOVL $8, DX
	SYSCALL
	RET // to where the kernel has all registers restored

// func handler() uintptr
TEXT ·handler(SB),NOSPLIT,$0-8
	LEAQ ·note(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// hold is called with the signal's number and a context in DX.
TEXT ·hold(SB),NOSPLIT|NOFRAME,$0-0
	MOVQ ·holding(SB), AX
	ORQ  AX, 296(DX) // uc_sigmask: what the thread blocks when this returns
	CMPL DI, ·holdSignal(SB)
	JNE  again
	LOCK
	INCL ·heldBy(SB)
	RET

again:
	MOVL DI, SI
	MOVL $39, AX // getpid
	SYSCALL
	MOVL AX, DI
	MOVL $62, AX // kill
	SYSCALL
	RET

// func holder() uintptr
TEXT ·holder(SB),NOSPLIT,$0-8
	LEAQ ·hold(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// notFault is called with the signal's number, its siginfo in SI, and a context.
TEXT ·notFault(SB),NOSPLIT|NOFRAME,$0-0
	CMPL 8(SI), $0 // si_code: the kernel's own are above
	JGT  fault
	RET

fault:
	MOVQ ·runtimes(SB), AX
	JMP  AX

// func fromOthers() uintptr
TEXT ·fromOthers(SB),NOSPLIT,$0-8
	LEAQ ·notFault(SB), AX
	MOVQ AX, ret+0(FP)
	RET
