package procenv

import "runitbox/testdata/aloud"

var skip = aloud.Skip
