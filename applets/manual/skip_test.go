package manual

import "runitbox/testdata/aloud"

var skip = aloud.Skip
