package self

import "runitbox/testdata/aloud"

var skip = aloud.Skip
