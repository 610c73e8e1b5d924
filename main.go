// Command runitbox is all of runit in one executable, dispatched by the name
// it is called with.
package main

import (
	"os"

	"runitbox/applets"
)

func main() { os.Exit(applets.Main(os.Args)) }
