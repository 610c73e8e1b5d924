#include "textflag.h"

// The process begins here where the linker is told so (-E runitbox/procenv.entry), or comes
// here from package loghost:
// what the kernel says of it is written down before Go's runtime changes it.
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0
#ifdef KEEP_BLOCKED
	MOVQ	$0x6b6c62737065656b, AX	// "keepsblk": what the scanner looks for (supervise/scanner/successor.go)
#endif
	MOVQ	DX, R13			// the runtime's to be: keep it
	XORL	R12, R12
	MOVL	$64, BX
signal:					// for each signal: is it ignored?
	MOVL	$13, AX			// rt_sigaction
	MOVL	BX, DI
	XORL	SI, SI
	LEAQ	·action(SB), DX
	MOVL	$8, R10
	SYSCALL
	SHLQ	$1, R12
	CMPQ	·action(SB), $1		// SIG_IGN
	JNE	next
	ORQ	$1, R12
next:
	DECL	BX
	JNZ	signal
	MOVQ	R12, ·ignored(SB)

	MOVL	$14, AX			// rt_sigprocmask
	XORL	DI, DI
	XORL	SI, SI
	LEAQ	·blocked(SB), DX
	MOVL	$8, R10
	SYSCALL

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
	BTQ	$(sig-1), R10; \
	JCC	2(PC); \
	ANDL	$1, (24*sig)(R8)

	LEAQ	runtime·sigtable(SB), R8	// 24 bytes a signal, flags first: 1 may be asked for, 2 ends the program, 4 does so with a trace
	CMPL	(24*1)(R8), $3
	JNE	kept
	CMPL	(24*15)(R8), $3
	JNE	kept
	MOVL	$39, AX			// getpid
	SYSCALL
	MOVQ	$-1, R10
	CMPL	AX, $1
	JEQ	keep
	MOVQ	·blocked(SB), R10
	MOVQ	R10, R9
	SHRQ	$(62-1), R9
	ANDL	$3, R9
	CMPL	R9, $1			// 62, not 63
	JNE	kept
keep:
	KEEP(1)
	KEEP(2)
	KEEP(3)
	KEEP(15)
kept:
#endif

	MOVL	$2, BX
descriptor:				// for stderr, stdout, stdin: is it open?
	MOVL	$72, AX			// fcntl
	MOVL	BX, DI
	MOVL	$1, SI			// F_GETFD
	SYSCALL
	SHRQ	$63, AX
	SHLL	$1, ·closed(SB)
	ORL	AX, ·closed(SB)
	DECL	BX
	JGE	descriptor

	LEAQ	·raised(SB), R8
	LEAQ	·given(SB), R9
	MOVL	$3, BX
limit:					// for each resource: raise the soft limit
	MOVL	$302, AX		// prlimit64
	XORL	DI, DI
	MOVL	(R8), SI
	XORL	DX, DX
	MOVQ	R9, R10
	SYSCALL
	MOVQ	8(R9), AX
	MOVQ	AX, ·action+0(SB)	// the hard limit, twice
	MOVQ	AX, ·action+8(SB)
	MOVL	$302, AX
	LEAQ	·action(SB), DX
	XORL	R10, R10
	SYSCALL
	ADDQ	$4, R8
	ADDQ	$16, R9
	DECL	BX
	JNZ	limit

	MOVB	$1, ·recorded(SB)
	MOVQ	R13, DX
	JMP	_rt0_amd64_linux(SB)
