module runitbox

go 1.26.0

// The runtime is not to look at the container's share of the processors: that
// is three files read at every start, and descriptors held open.
godebug (
	containermaxprocs=0
	updatemaxprocs=0
)

require (
	github.com/google/go-cmp v0.7.0
	github.com/spf13/cobra v1.10.2
	golang.org/x/sys v0.49.0
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
)
