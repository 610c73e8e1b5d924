//go:build !slim

#include "textflag.h"

// The process begins here where the linker is told so (-E runitbox/supervise/loghost.entry).
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0
#ifdef KEEP_BLOCKED
	JMP	3(PC)
	WORD	$0x7065656b		// "keepsblk", as in procenv/entry_arm64.s
	WORD	$0x6b6c6273
#endif
	MOVD	RSP, R1
	SUB	$32, RSP
	MOVD	R0, 16(RSP)		// the runtime's to be: keep it
	MOVD	R1, 8(RSP)
	CALL	·askEarly(SB)
	MOVD	16(RSP), R0
	ADD	$32, RSP
	JMP	runitbox∕procenv·entry(SB)
