#include "textflag.h"

// The process begins here where the linker is told so (-E runitbox/procenv.entry), or comes
// here from package loghost:
// what the kernel says of it is written down before Go's runtime changes it.
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0
#ifdef KEEP_BLOCKED
	JMP	3(PC)
	WORD	$0x7065656b		// "keepsblk": what the scanner looks for (supervise/scanner/successor.go)
	WORD	$0x6b6c6273
#endif
	MOVD	R0, R19			// the runtime's to be: keep it
	MOVD	$0, R20
	MOVD	$64, R21
signal:					// for each signal: is it ignored?
	MOVD	R21, R0
	MOVD	$0, R1
	MOVD	$·action(SB), R2
	MOVD	$8, R3
	MOVD	$134, R8		// rt_sigaction
	SVC
	MOVD	·action(SB), R4
	LSL	$1, R20
	CMP	$1, R4			// SIG_IGN
	BNE	next
	ORR	$1, R20
next:
	SUBS	$1, R21
	BNE	signal
	MOVD	R20, ·ignored(SB)

	MOVD	$0, R0
	MOVD	$0, R1
	MOVD	$·blocked(SB), R2
	MOVD	$8, R3
	MOVD	$135, R8		// rt_sigprocmask
	SVC

#ifdef KEEP_BLOCKED
// A runsvdir that became this program by an upgrade has blocked its signals, so that they stay
// pending until the scanner asks for them; 62 is blocked and 63 is not where that is so
// (supervise/self/become.go). The runtime would unblock those that end a program, and the first
// of them would end this one: KEEP has it leave one blocked, where it is, by taking from the
// runtime's table that the signal ends a program.
//
// So it is for process 1, whatever is blocked: the kernel keeps from it a signal that it does
// not catch, and the runtime would end it by one, and the machine with it.
#define KEEP(sig) \
	TBZ	$(sig-1), R6, 4(PC); \
	MOVWU	(24*sig)(R4), R5; \
	AND	$1, R5; \
	MOVW	R5, (24*sig)(R4)

	MOVD	$172, R8		// getpid
	SVC
	MOVD	R0, R7
	MOVD	$runtime·sigtable(SB), R4	// 24 bytes a signal, flags first: 1 may be asked for, 2 ends the program, 4 does so with a trace
	MOVWU	(24*1)(R4), R5
	CMPW	$3, R5
	BNE	kept
	MOVWU	(24*15)(R4), R5
	CMPW	$3, R5
	BNE	kept
	MOVD	$-1, R6
	CMPW	$1, R7
	BEQ	keep
	MOVD	·blocked(SB), R6
	LSR	$(62-1), R6, R5
	AND	$3, R5
	CMP	$1, R5			// 62, not 63
	BNE	kept
keep:
	KEEP(1)
	KEEP(2)
	KEEP(3)
	KEEP(15)
kept:
#endif

	MOVD	$0, R20
	MOVD	$2, R21
descriptor:				// for stderr, stdout, stdin: is it open?
	MOVD	R21, R0
	MOVD	$1, R1			// F_GETFD
	MOVD	$25, R8			// fcntl
	SVC
	LSR	$63, R0
	LSL	$1, R20
	ORR	R0, R20
	SUBS	$1, R21
	BPL	descriptor
	MOVW	R20, ·closed(SB)

	MOVD	$·raised(SB), R22
	MOVD	$·given(SB), R23
	MOVD	$3, R21
limit:					// for each resource: raise the soft limit
	MOVD	$0, R0
	MOVWU	(R22), R1
	MOVD	$0, R2
	MOVD	R23, R3
	MOVD	$261, R8		// prlimit64
	SVC
	MOVD	8(R23), R4
	MOVD	R4, ·action+0(SB)	// the hard limit, twice
	MOVD	R4, ·action+8(SB)
	MOVD	$0, R0
	MOVD	$·action(SB), R2
	MOVD	$0, R3
	SVC
	ADD	$4, R22
	ADD	$16, R23
	SUBS	$1, R21
	BNE	limit

	MOVD	$1, R4
	MOVB	R4, ·recorded(SB)
	MOVD	R19, R0
	JMP	_rt0_arm64_linux(SB)
