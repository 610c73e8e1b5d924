package scanner

import "runitbox/testdata/aloud"

var skip = aloud.Skip
