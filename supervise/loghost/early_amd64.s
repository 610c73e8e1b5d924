//go:build !slim

#include "textflag.h"

// The process begins here where the linker is told so (-E runitbox/supervise/loghost.entry).
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0
#ifdef KEEP_BLOCKED
	MOVQ	$0x6b6c62737065656b, AX	// "keepsblk", as in procenv/entry_amd64.s
#endif
	MOVQ	SP, BX
	SUBQ	$32, SP
	MOVQ	DX, 16(SP)		// the runtime's to be: keep it
	MOVQ	BX, 0(SP)
	MOVL	$158, AX		// arch_prctl: where Go code has a variable of the thread
	MOVL	$0x1002, DI		// ARCH_SET_FS
	LEAQ	·thread+8(SB), SI
	SYSCALL
	CALL	·askEarly(SB)
	MOVQ	16(SP), DX
	ADDQ	$32, SP
	JMP	runitbox∕procenv·entry(SB)

DATA	·thread+0(SB)/8, $0
GLOBL	·thread(SB), NOPTR, $16
