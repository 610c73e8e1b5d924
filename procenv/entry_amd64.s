#include "textflag.h"

// The process begins here where the linker is told so (-E runitbox/procenv.entry), or comes
// here from package loghost:
// what the kernel says of it is written down before Go's runtime changes it.
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0
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
